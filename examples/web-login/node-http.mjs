// The login page on a server of node:http, behind the program's own login.

import { createServer } from 'node:http'
import { RingTokenManager } from 'ring-auth'
import { loginHandler } from 'ring-auth/web'

const manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })
const ringLogin = loginHandler(manager)

const server = createServer((request, response) => {
  // The page itself lets every visitor log in: check your own login first.
  if (!isLoggedIn(request)) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="example"' }).end()
  } else if (request.url?.startsWith('/ring')) {
    ringLogin(request, response)
  } else {
    response.end(`Ring: ${manager.status.state}. Log in at /ring/\n`)
  }
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => console.log('Listening.'))

/** Stands for the login of your program. @param {import('node:http').IncomingMessage} request */
function isLoggedIn(request) {
  const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ')
  return scheme === 'Basic' && Buffer.from(value, 'base64').toString() === `admin:${process.env.ADMIN_PASSWORD}`
}
