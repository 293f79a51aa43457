// @ts-check
// The packages that were built for other platforms, under emulation: `npm run test:cross`.
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { publish } from '../support/packages.mjs'
import { core } from '../support/core.mjs'

/** @type {Record<string, { name: string, command: string[] }>} */
const runtimes = JSON.parse(String(process.env['RING_AUTH_CROSS']))

/** @type {Awaited<ReturnType<typeof publish>>} */
let packages
before(async () => (packages = await publish([], Object.keys(runtimes))))
after(() => packages.end())

for (const [platform, runtime] of Object.entries(runtimes)) {
  const [, cpu, abi] = platform.split('-')
  core(
    {
      ...runtime,
      install: async (there) => {
        await there.npm([
          'install',
          'ring-auth',
          '--os=linux',
          `--cpu=${cpu}`,
          `--libc=${abi === 'musl' ? 'musl' : 'glibc'}`,
        ])
        assert.deepEqual(there.installed(), ['ring-auth', `ring-auth-${platform}`])
      },
      // An emulated Node takes seconds to start.
      patienceMs: 300_000,
    },
    () => packages,
  )
}
