// The login page in an Express application, behind the application's own login.

import express from 'express'
import { RingTokenManager } from 'ring-auth'
import { loginHandler } from 'ring-auth/web'

const manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })
const app = express()

// Stands for the login of your application. The page itself lets every visitor log in.
app.use((request, response, next) => {
  const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ')
  const isAdmin = Buffer.from(value, 'base64').toString() === `admin:${process.env.ADMIN_PASSWORD}`
  if (scheme === 'Basic' && isAdmin) next()
  else response.status(401).set('www-authenticate', 'Basic realm="example"').end()
})
app.use('/ring', loginHandler(manager))
app.get('/', (_request, response) => {
  response.send(`Ring: ${manager.status.state}. Log in at /ring/`)
})

app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => console.log('Listening.'))
