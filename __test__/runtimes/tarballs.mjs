// @ts-check
// The tarballs of a folder, as they are, on the Node that runs this: `RING_AUTH_TARBALLS=FOLDER node --test …/tarballs.mjs`. The release
// workflow runs it on each system. Needs no package and no build.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before } from 'node:test'
import { core } from '../support/core.mjs'
import { PACKAGE } from '../support/packages.mjs'
import { startRegistry } from '../support/registry.mjs'

const folder = resolve(process.env['RING_AUTH_TARBALLS'] ?? assert.fail('RING_AUTH_TARBALLS names no folder'))
const tarballs = readdirSync(folder)
  .filter((name) => name.endsWith('.tgz'))
  .map((name) => join(folder, name))
const cache = mkdtempSync(join(tmpdir(), 'ring-auth-tarballs-'))

/** @type {Awaited<ReturnType<typeof startRegistry>>} */
let registry
before(async () => (registry = await startRegistry(tarballs)))
after(async () => {
  await registry.close()
  rmSync(cache, { recursive: true, force: true, maxRetries: 5 })
})

core(
  {
    name: `${PACKAGE} on Node ${process.versions.node}`,
    command: [process.execPath],
    install: async (there) => {
      await there.npm(['install', 'ring-auth'])
      assert.deepEqual(there.installed(), ['ring-auth', PACKAGE])
    },
    patienceMs: 300_000,
  },
  () => ({ url: registry.url, folder: cache }),
)
