// @ts-check
// A gateway in front of a fake Ring that changes the answers of the token endpoint: Ring has processed the request, and the
// test decides which bytes arrive.
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { atEnd } from './index.mjs'

/**
 * @typedef {object} RingAnswer
 * @property {number} status
 * @property {string} body
 */

/**
 * The bytes that arrive in place of Ring's own.
 * @typedef {object} Spoiled
 * @property {(string | Buffer)[]} parts written one after the other, each in a segment of its own
 * @property {'fin' | 'reset' | 'hang' | 'destroy'} end `destroy`: under TLS, the connection ends without a close_notify
 */

/** @typedef {(answer: RingAnswer) => Spoiled} Spoil */

/** The pause after a part, so that the next one is another segment. */
const SEGMENT_MS = 25

/**
 * @param {import('node:test').TestContext} t
 * @param {{ oauthUrl: string }} ring
 * @param {{ key: string, cert: string }} [tls]
 */
export async function startGateway(t, ring, tls) {
  /** @type {{ path: string, spoil: Spoil }[]} */
  const plan = []
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  /** @param {import('node:http').IncomingMessage} incoming @param {import('node:http').ServerResponse} response */
  const forward = async (incoming, response) => {
    const chunks = []
    for await (const chunk of incoming) chunks.push(chunk)
    const answer = await ask(ring, incoming, Buffer.concat(chunks))
    const at = plan.findIndex(({ path }) => incoming.method === 'POST' && path === incoming.url)
    const [next] = at < 0 ? [] : plan.splice(at, 1)
    if (next) return put(response, next.spoil({ status: answer.status, body: answer.body.toString() }))
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  }
  const server = tls ? createTlsServer(tls, forward) : createServer(forward)
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(t, 'server', () => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const oauthUrl = tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
  return {
    oauthUrl,
    /** The next answers of the token endpoint, one each. @param {Spoil[]} spoils */
    spoil: (...spoils) => {
      for (const spoil of spoils) plan.push({ path: '/oauth/token', spoil })
    },
    /** The next answer to a POST to another path. @param {string} path @param {Spoil} spoil */
    spoilAt: (path, spoil) => plan.push({ path, spoil }),
    left: () => plan.length,
  }
}

/**
 * @param {{ oauthUrl: string }} ring
 * @param {import('node:http').IncomingMessage} incoming
 * @param {Buffer} body
 * @returns {Promise<{ status: number, headers: import('node:http').IncomingHttpHeaders, body: Buffer }>}
 */
function ask(ring, incoming, body) {
  return new Promise((resolve, reject) => {
    const { host: _, ...headers } = incoming.headers
    // Ring checks the origin of a form.
    for (const name of /** @type {const} */ (['origin', 'referer'])) {
      if (headers[name]) headers[name] = headers[name].replace(/^https?:\/\/[^/]+/, ring.oauthUrl)
    }
    const request = httpRequest(
      `${ring.oauthUrl}${incoming.url}`,
      { method: incoming.method, headers, agent: false },
      async (answer) => {
        const chunks = []
        for await (const chunk of answer) chunks.push(chunk)
        const { 'transfer-encoding': _te, connection: _c, 'keep-alive': _k, ...kept } = answer.headers
        resolve({ status: answer.statusCode ?? 0, headers: kept, body: Buffer.concat(chunks) })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

/** @param {import('node:http').ServerResponse} response @param {Spoiled} spoiled */
async function put(response, { parts, end }) {
  const socket = /** @type {any} */ (response.socket)
  for (const part of parts) {
    socket.write(part)
    await new Promise((resolve) => setTimeout(resolve, SEGMENT_MS))
  }
  if (end === 'fin') socket.end()
  else if (end === 'reset') (socket._parent ?? socket).resetAndDestroy()
  else if (end === 'destroy') (socket._parent ?? socket).destroy()
}
