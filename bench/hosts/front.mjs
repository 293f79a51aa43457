// @ts-check
// One address of Ring for all hosts, because a journal belongs to one server. Each connection continues in the network of the host that made
// it.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** The `User-Agent` of a host, by which its connections are recognised. @param {number} host */
export const userAgentOf = (host) => `android:com.ringapp:3.113.0(70497080) host-${host};`

/** @param {(host: number) => number | undefined} portOf the port of a host's own network to Ring */
export async function startFront(portOf) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (first) => {
      // ring-client-api has a User-Agent of its own. It runs on one host alone, which is host 0.
      const port = portOf(Number(/host-(\d+);/.exec(first.toString('latin1'))?.[1] ?? 0))
      if (port === undefined) {
        client.destroy()
        return
      }
      const upstream = connect(port, '127.0.0.1')
      sockets.add(upstream)
      upstream.on('error', () => {})
      upstream.on('close', () => client.destroy())
      client.on('close', () => upstream.destroy())
      upstream.write(first)
      client.pipe(upstream)
      upstream.pipe(client)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}`,
    async end() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
