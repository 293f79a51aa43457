// @ts-check
// A program that runs on several hosts with one Ring account: it prints the account's devices.
//
//   npx ring-auth login --store-module ./postgres-store.mjs     # once, on one of the hosts
//   node devices.mjs ./postgres-store.mjs                       # on each of them
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { RingTokenManager } from 'ring-auth'

const { default: store, close } = await import(pathToFileURL(resolve(process.argv[2] ?? './postgres-store.mjs')).href)

const manager = new RingTokenManager({
  // Used only at the first start. Once the store has a token, the manager ignores this one.
  refreshToken: process.env.RING_REFRESH_TOKEN,
  store,
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
await close()
