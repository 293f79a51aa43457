// @ts-check
// A network that can fail: a proxy before a server, which cuts connections, swallows what it should pass on, or holds it back.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** @typedef {Awaited<ReturnType<typeof startProxy>>} Proxy */

/**
 * @typedef {object} Fault What happens to the bytes that pass. Each is undone by `heal`.
 * @property {boolean} swallowAnswers The server's answers do not arrive, and nobody is told.
 * @property {boolean} swallowRequests
 * @property {number} delayMs
 * @property {boolean} refuse New connections are cut at once.
 * @property {((data: Buffer) => boolean) | undefined} cutAfter The connection is cut after the server has answered a request that
 * matches, and before the client gets the answer. Once.
 */

/** @param {number} port of the server */
export async function startProxy(port) {
  let target = port
  /** @type {Fault} */
  const none = { swallowAnswers: false, swallowRequests: false, delayMs: 0, refuse: false, cutAfter: undefined }
  const fault = { ...none }
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  const counts = { connections: 0, cut: 0 }
  /** @type {((from: 'client' | 'server', data: Buffer) => void) | undefined} */
  let observer
  const server = createServer((client) => {
    counts.connections++
    if (fault.refuse) {
      client.destroy()
      return
    }
    const upstream = connect(target, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    /** Whether the next answer ends the connection. */
    let cuts = false
    client.on('data', (data) => {
      observer?.('client', data)
      if (fault.swallowRequests) return
      if (fault.cutAfter?.(data)) {
        cuts = true
        fault.cutAfter = undefined
      }
      pass(data, upstream)
    })
    upstream.on('data', (data) => {
      observer?.('server', data)
      if (cuts) {
        counts.cut++
        client.destroy()
        upstream.destroy()
        return
      }
      if (!fault.swallowAnswers) pass(data, client)
    })
  })
  /** @param {Buffer} data @param {import('node:net').Socket} to */
  const pass = (data, to) => {
    if (fault.delayMs === 0) to.write(data)
    else setTimeout(() => to.destroyed || to.write(data), fault.delayMs)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    port: address.port,
    fault,
    counts,
    heal: () => void Object.assign(fault, none),
    /** Cuts every connection. */
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    /** Sees all that passes, before it is passed on. @param {typeof observer} see */
    watch: (see) => void (observer = see),
    /** Leads to another server from now on. @param {number} other */
    retarget(other) {
      target = other
      for (const socket of sockets) socket.destroy()
    },
    async end() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
