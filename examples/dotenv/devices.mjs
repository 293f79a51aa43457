// @ts-check
// A program that has its settings in `.env`. The manager keeps the Ring token in that file current:
//
//   cp .env.example .env        # and put a token in
//   node devices.mjs            # as often as you like
import { RingTokenManager } from 'ring-auth'

// `node --env-file=.env` and the package dotenv work as well.
process.loadEnvFile('.env')

// The manager reads the token from the file, not from `process.env`: after the first rotation, the token in `process.env`
// is spent. Do not use that one or pass it on.
const manager = new RingTokenManager({ store: { type: 'dotenv', path: '.env' } })
delete process.env.RING_REFRESH_TOKEN

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
for (const device of devices[process.env.RING_DEVICE_KIND ?? 'doorbots']) console.log(device.description)
await manager.close()
