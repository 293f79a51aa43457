// @ts-check
// That the list of what fails under Wine can be trusted without Wine: each entry names a test that exists and says why, and the list
// grows only together with this file. `npm run test:wine` holds that each entry fails, and that nothing else does.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RUST } from '../scripts/cross/wine-list.mjs'
import { root } from './support/packages.mjs'

const read = (/** @type {string} */ path) => readFileSync(join(root, path), 'utf8')

describe('the list of what fails under Wine', () => {
  it('names tests that exist', () => {
    const suites = readdirSync(join(root, 'tests')).filter((name) => name.endsWith('.rs'))
    for (const name of Object.keys(RUST)) {
      const [test = '', , ...modules] = name.split('::').reverse()
      // A test without a module is in a suite of its own.
      const files =
        modules.length > 0 ? [`src/${modules.reverse().join('/')}.rs`] : suites.map((suite) => `tests/${suite}`)
      assert.ok(
        files.some((file) => read(file).includes(`fn ${test}(`)),
        name,
      )
    }
  })

  it('gives a reason for each entry', () => {
    for (const reason of Object.values(RUST)) assert.ok(reason.length > 30, reason)
  })

  it('has as many entries as were looked at', () => {
    assert.equal(Object.keys(RUST).length, 3)
  })
})
