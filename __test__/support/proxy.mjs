// @ts-check
// A proxy on loopback for the tests that give Ring another name: nothing leaves this machine.
import { connect, createServer } from 'node:net'
import { atEnd } from './index.mjs'

/**
 * Records the first line of each request, and forwards each tunnel to a port on loopback, for every requested name. It
 * refuses a line for which it has no port.
 * @param {{ after(end: () => void | Promise<void>): unknown }} t
 * @param {(line: string) => number | undefined} portFor
 */
export async function startProxy(t, portFor) {
  /** @type {string[]} */
  const asked = []
  let connections = 0
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  const server = createServer((client) => {
    connections += 1
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (head) => {
      const line = String(head.toString('latin1').split('\r\n')[0])
      asked.push(line)
      const port = portFor(line)
      if (port === undefined) {
        client.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n')
        return
      }
      const ring = connect({ host: '127.0.0.1', port }, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n')
        client.pipe(ring).pipe(client)
      })
      sockets.add(ring)
      ring.on('error', () => client.destroy())
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  atEnd(t, 'server', () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { url: `http://127.0.0.1:${address.port}`, asked, connections: () => connections }
}
