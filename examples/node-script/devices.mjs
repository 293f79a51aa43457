// @ts-check
// Prints the names of your Ring devices, from an ES module. Store a token in `ring-auth.json` first, then run this as often as you like:
//
//   npx ring-auth login --state-file ring-auth.json
//   node devices.mjs
import { RingAuthError, RingTokenManager } from 'ring-auth'

const manager = new RingTokenManager({ store: { type: 'file', path: 'ring-auth.json' } })

try {
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
} catch (error) {
  // The message says what is wrong and what to do; the code is for programs.
  console.error(error instanceof RingAuthError ? `${error.code}: ${error.message}` : error)
  process.exitCode = 1
} finally {
  await manager.close()
}
