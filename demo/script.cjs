// A user's script: it keeps its token in a file, and asks for an access token before each use.
//
//   node script.cjs watch FILE    asks again and again, until standard input ends
//   node script.cjs rotate FILE   rotates once
//
// It reports to the demo with lines of JSON, which contain no token.
'use strict'

const { createHash } = require('node:crypto')
const { readFileSync } = require('node:fs')
const { setTimeout: pause } = require('node:timers/promises')
const { RingTokenManager } = require('ring-auth')

const [mode, path] = process.argv.slice(2)
const { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: apiUrl } = process.env
const CALLERS = 10

const manager = new RingTokenManager({ store: { type: 'file', path }, oauthUrl, apiUrl })

manager.onRefreshTokenUpdated.subscribe(({ newRefreshToken }) => {
  const { current, previous } = JSON.parse(readFileSync(path, 'utf8'))
  const onDisk = [current, previous].some((held) => held?.token === newRefreshToken)
  tell({ rotated: createHash('sha256').update(newRefreshToken).digest('hex').slice(0, 8), onDisk })
})

async function watch() {
  let ended = false
  process.stdin.on('end', () => (ended = true)).resume()
  while (!ended) {
    const askedAt = Date.now()
    try {
      const auths = await Promise.all(Array.from({ length: CALLERS }, () => manager.getAuth()))
      const { expiresAt } = auths[0]
      // A token that expires at this moment is no failure of the manager.
      const answer = expiresAt - Date.now() > 500 ? await devices(auths[0]) : undefined
      tell({ askedAt, served: auths.length, expiresAt, answer })
    } catch (error) {
      const { code, transient, httpStatus, retryAfterMs, message } = error
      tell({ askedAt, failed: { code, transient, httpStatus, retryAfterMs, message }, at: Date.now() })
    }
    await pause(50)
  }
}

/** @param {import('ring-auth').Auth} auth */
async function devices({ accessToken, hardwareId }) {
  // Ring's edge refuses clients that do not look like its app.
  const headers = {
    authorization: `Bearer ${accessToken}`,
    hardware_id: hardwareId,
    'user-agent': 'android:com.ringapp',
  }
  const response = await fetch(`${apiUrl}/clients_api/ring_devices`, { headers })
  return response.status
}

/** @param {object} line */
function tell(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function main() {
  if (mode === 'watch') await watch()
  else await manager.refresh()
  await manager.close()
}

main()
