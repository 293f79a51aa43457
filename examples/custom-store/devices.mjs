// @ts-check
// A program that keeps the token where it keeps everything else: here a small JSON file, with you a database.
//
//   RING_REFRESH_TOKEN=eyJ… node devices.mjs      # the first time
//   node devices.mjs                              # from then on
//
// With `statePath`, as here, the truth is a journal in that folder, which is written before a token is used. `save` shows
// the newest token to your database, and may fail: that is said, and tried again. Old tokens are known as such, and
// several processes can share the folder.
//
// Without `statePath` there is nothing but your two functions. `load` is called before each request, `save` must be durable
// when it resolves (a commit, an fsync), and nothing protects from a second process, or a crash between Ring's answer and
// your commit. Only leave it out where a program has no disk of its own.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { RingTokenManager } from 'ring-auth'

const DATABASE = 'settings.json'

const read = () => (existsSync(DATABASE) ? JSON.parse(readFileSync(DATABASE, 'utf8')) : {})

const manager = new RingTokenManager({
  refreshToken: process.env.RING_REFRESH_TOKEN,
  store: {
    load: () => read().ringRefreshToken,
    // May be async. What it throws is logged, and it is called again later. Do not call the manager from in here.
    save(newRefreshToken) {
      const text = JSON.stringify({ ...read(), ringRefreshToken: newRefreshToken }, null, 2)
      // In one go, so that nobody ever reads half of it; and for its owner only.
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
    'user-agent': 'android:com.ringapp:3.113.0(70497080)', // Ring refuses what does not look like its app.
  },
})
if (!response.ok) throw new Error(`Ring's API answered ${response.status}.`)
/** @type {any} */
const devices = await response.json()
for (const device of Object.values(devices).flat()) console.log(device.description)
await manager.close()
