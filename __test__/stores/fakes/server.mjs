// @ts-check
// What the fakes share: an HTTP server on loopback that gives each request, whole, to one function.
import { once } from 'node:events'
import { createServer } from 'node:http'

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} path
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {string} body
 *
 * @typedef {{ status: number, headers?: Record<string, string>, body?: string }} Answer
 */

/** @param {(request: Request) => Answer | Promise<Answer>} answer */
export async function serve(answer) {
  const server = createServer(async (request, response) => {
    try {
      let body = ''
      for await (const part of request.setEncoding('utf8')) body += part
      const { method = '', url = '', headers } = request
      const path = decodeURIComponent(new URL(url, 'http://localhost').pathname)
      const { status, headers: own = {}, body: text = '' } = await answer({ method, path, headers, body })
      response.writeHead(status, own).end(text)
    } catch (error) {
      // A mistake of the fake: the client fails, and the test with it.
      response.writeHead(500).end(String(error))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}`,
    async end() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
