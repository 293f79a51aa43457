// @ts-check
// The packages that were built for other platforms, on what runs them here: `npm run test:cross`.
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync } from 'node:fs'
import { after, before } from 'node:test'
import { VERSION, binaryOf, publish, writeJson } from '../support/packages.mjs'
import { core } from '../support/core.mjs'

/** @typedef {import('../../scripts/cross/runtimes.mjs').Runtime & { platform: string }} Runtime */

/** @type {Runtime[]} */
const runtimes = JSON.parse(String(process.env['RING_AUTH_CROSS']))

/** @type {Awaited<ReturnType<typeof publish>>} */
let packages
before(async () => (packages = await publish([], [...new Set(runtimes.map(({ platform }) => platform))])))
after(() => packages.end())

for (const { platform, name, command, loader } of runtimes) {
  const [system, cpu, abi] = platform.split('-')
  const libc = system === 'linux' ? [`--libc=${abi === 'musl' ? 'musl' : 'glibc'}`] : []
  /** @type {NodeJS.ProcessEnv} */
  const env = {}
  core(
    {
      name: `${platform}: ${name}`,
      command,
      env,
      install: async (there) => {
        await there.npm(['install', 'ring-auth', `--os=${system}`, `--cpu=${cpu}`, ...libc])
        assert.deepEqual(there.installed(), ['ring-auth', `ring-auth-${platform}`])
        if (!loader) return
        // Linux's Node looks for the package of Linux, and finds what loads the one of macOS.
        const host = `linux-${cpu}-gnu`
        const folder = there.path('node_modules', `ring-auth-${host}`)
        mkdirSync(folder)
        writeJson(`${folder}/package.json`, { name: `ring-auth-${host}`, version: VERSION, main: binaryOf(host) })
        copyFileSync(loader, `${folder}/${binaryOf(host)}`)
        env['RING_AUTH_MACHO'] = there.path('node_modules', `ring-auth-${platform}`, binaryOf(platform))
      },
      // An emulated Node takes seconds to start.
      patienceMs: 300_000,
    },
    () => packages,
  )
}
