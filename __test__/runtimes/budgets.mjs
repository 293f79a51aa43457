// @ts-check
// `npm run test:budgets`, after `npm run build`: the size of an install on this platform.
import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { MAX_BYTES } from '../../scripts/cross/platforms.mjs'
import { PACKAGE, binaryOf, project, publish } from '../support/packages.mjs'

const MIB = 1024 * 1024
/**
 * What `npm run build` has and a published binary does not, because only a compiler that may use unstable options can leave it out: the reader of
 * function names for backtraces and the longer, faster functions, in Rust's standard library, and the place in the source of each possible panic.
 * scripts/cross/check.mjs holds the published binaries to MAX_BYTES.
 */
const UNPUBLISHED = 370 * 1024

/** @param {string} folder @returns {number} */
function sizeOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    return sum + (entry.isDirectory() ? sizeOf(path) : statSync(path).size)
  }, 0)
}

describe('the budget of an install', () => {
  it('an install has at most three packages and 4 MiB, and the addon 3.5 MiB, without what is not published', async (t) => {
    const packages = await publish()
    t.after(() => packages.end())
    const { installed, npm, path } = project(t, packages)
    await npm(['install', 'ring-auth'])
    const names = installed()
    const bytes = names.reduce((sum, name) => sum + sizeOf(path('node_modules', name)), 0)
    const addon = statSync(path('node_modules', PACKAGE, binaryOf(PACKAGE.replace('ring-auth-', '')))).size
    t.diagnostic(`${names.join(' and ')}: ${bytes} bytes, ${addon} of them the addon`)
    assert.ok(names.length <= 3, names.join(', '))
    assert.ok(addon <= MAX_BYTES + UNPUBLISHED, `the addon has ${addon} bytes; was it built by npm run build?`)
    assert.ok(bytes <= 4 * MIB + UNPUBLISHED, `${bytes} bytes are installed`)
  })
})
