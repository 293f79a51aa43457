// @ts-check
// Prints the names of your Ring devices, from CommonJS. It is like devices.mjs, but you can pass a token for the first run:
//
//   RING_REFRESH_TOKEN=eyJ… node devices.cjs
//
// Later runs recognise that token as an old one, and use the newest, which is in `ring-auth.json`.
const { RingTokenManager } = require('ring-auth')

const manager = new RingTokenManager({
  store: { type: 'file', path: 'ring-auth.json' },
  refreshToken: process.env.RING_REFRESH_TOKEN,
})

async function main() {
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
}

main()
  .catch((error) => {
    console.error(error.message)
    process.exitCode = 1
  })
  .finally(() => manager.close())
