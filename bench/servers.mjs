// @ts-check
// The servers of the benchmark, on loopback: a fake Ring behind TLS, and a plain one. They run in the process that
// measures, which does nothing else at that time.
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { FakeRing } from '../__test__/fake-ring/index.mjs'
import { certificateFor } from '../__test__/support/certificate.mjs'

export const EMAIL = 'person@example.com'
export const PASSWORD = 'correct horse'

/** No limit on codes, and sessions as ring-client-api makes them. */
const SETTINGS = { maxCodesPerWindow: Infinity, sessionNeedsHeaders: false, maxRecorded: 1000 }

/** @param {string} folder for the certificate */
export async function startServers(folder) {
  const { cert, key } = certificateFor('localhost')
  const roots = join(folder, 'roots.pem')
  writeFileSync(roots, cert)
  const secure = await FakeRing.start({ ...SETTINGS, tls: { cert, key } })
  const plain = await FakeRing.start(SETTINGS)
  const relay = await startRelay(Number(new URL(secure.oauthUrl).port))
  return {
    secure,
    plain,
    /** The URL of the fake Ring behind TLS, with the name in its certificate. */
    secureUrl: `https://localhost:${relay.port}`,
    plainUrl: plain.oauthUrl,
    /** The path for NODE_EXTRA_CA_CERTS. */
    roots,
    cutConnections: relay.cut,
    async close() {
      relay.close()
      await Promise.all([secure.close(), plain.close()])
      const mistakes = [...secure.internalErrors, ...plain.internalErrors]
      if (mistakes.length > 0) throw new AggregateError(mistakes, 'the fake Ring made mistakes')
    },
  }
}

/** @typedef {Awaited<ReturnType<typeof startServers>>} Servers */

/**
 * Forwards bytes to a port, and can close all connections, as a server does after hours of silence.
 * @param {number} port
 */
async function startRelay(port) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  const server = createServer({ noDelay: true }, (client) => {
    const ring = connect({ host: '127.0.0.1', port, noDelay: true })
    for (const [socket, other] of /** @type {const} */ ([
      [client, ring],
      [ring, client],
    ])) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: /** @type {import('node:net').AddressInfo} */ (server.address()).port,
    cut,
    close() {
      server.close()
      cut()
    },
  }
}
