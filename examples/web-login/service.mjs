// A service that opens a login page when Ring needs a person, and continues by itself after the login.

import { RingTokenManager } from 'ring-auth'
import { serveLogin } from 'ring-auth/web'

const manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })

/** Resolves when there is a token that Ring has not rejected. Rejects if there is no login within 15 minutes. */
async function loggedIn() {
  if (manager.status.state !== 'needs-login') return
  const page = await serveLogin(manager)
  // The link is a secret: a person who has it can log in. Show it only to the person who runs this service.
  console.log(`Ring needs you to log in: ${page.url}`)
  await page.done
}

await loggedIn()
const { expiresAt } = await manager.getAuth()
console.log(`Logged in. The access token is valid until ${new Date(expiresAt).toISOString()}.`)
await manager.close()
