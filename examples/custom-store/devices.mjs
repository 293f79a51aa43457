// @ts-check
// A program that keeps the token with its other data: here in a small JSON file, in your program in a database.
//
//   RING_REFRESH_TOKEN=eyJ… node devices.mjs      # the first time
//   node devices.mjs                              # from then on
//
// With `statePath`, as here, a journal in that folder holds the token. The manager writes it before it uses a token. `save` passes
// the newest token to your database. If it fails, the manager logs that and tries again. The journal knows which tokens are old, and
// several processes can share the folder.
//
// Without `statePath`, only your two functions keep the token. The manager calls `load` before each request, and the token must be durable
// when `save` resolves (a commit, an fsync). Nothing protects against a second process, or against a crash between Ring's answer and
// your commit. Leave it out only if a program has no disk of its own.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { RingTokenManager } from 'ring-auth'

const DATABASE = 'settings.json'

const read = () => (existsSync(DATABASE) ? JSON.parse(readFileSync(DATABASE, 'utf8')) : {})

const manager = new RingTokenManager({
  refreshToken: process.env.RING_REFRESH_TOKEN,
  store: {
    load: () => read().ringRefreshToken,
    // May be async. The manager logs an error, and calls this function again later. Do not call the manager from here.
    save(newRefreshToken) {
      const text = JSON.stringify({ ...read(), ringRefreshToken: newRefreshToken }, null, 2)
      // Written beside the file and renamed, so that no program ever reads half a file; readable by its owner only.
      writeFileSync(`${DATABASE}.new`, `${text}\n`, { mode: 0o600, flush: true })
      renameSync(`${DATABASE}.new`, DATABASE)
    },
    statePath: 'ring-auth-state',
  },
  logger: ({ level, message }) => {
    if (level === 'error' || level === 'warn') console.error(message)
  },
})

const { accessToken, hardwareId } = await manager.getAuth()
const response = await fetch('https://api.ring.com/clients_api/ring_devices', {
  headers: {
    authorization: `Bearer ${accessToken}`,
    hardware_id: hardwareId,
    'user-agent': 'android:com.ringapp:3.113.0(70497080)', // Ring refuses clients that do not look like its app.
  },
})
if (!response.ok) throw new Error(`Ring's API answered ${response.status}.`)
/** @type {any} */
const devices = await response.json()
for (const device of Object.values(devices).flat()) console.log(device.description)
await manager.close()
