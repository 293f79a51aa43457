// @ts-check
// Checks the list of failures under Wine without Wine: each entry names a test that exists and gives a reason, each file that is
// left out exists, and the list grows only together with this file. `npm run test:wine` checks that each entry fails, and that no other test
// does.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ALL_SKIPPED, JAVASCRIPT, LEFT_OUT, RUST } from '../scripts/cross/wine-list.mjs'
import { root } from './support/packages.mjs'

const read = (/** @type {string} */ path) => readFileSync(join(root, path), 'utf8')

describe('the command that runs tests under Wine', () => {
  it('the Wine command refuses what is neither a half nor a test file, and runs nothing', () => {
    for (const name of ['bogus', 'no-such.test.mjs', 'support/core.mjs']) {
      const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/cross/test-wine.mjs', 'rust', name], {
        cwd: root,
        encoding: 'utf8',
      })
      assert.deepEqual({ status, stdout }, { status: 2, stdout: '' })
      assert.equal(stderr, `${name}: not rust, javascript or a test file below __test__/\n`)
    }
  })
})

describe('the list of what fails under Wine', () => {
  it('the Wine list names tests that exist', () => {
    const suites = readdirSync(join(root, 'tests')).filter((name) => name.endsWith('.rs'))
    for (const name of Object.keys(RUST)) {
      const [test = '', ...modules] = name.split('::').reverse()
      const path = modules.reverse().join('/')
      // The module `tests` is in a file of its own, or in that of the module which it tests. A test without a module is in a suite of its own.
      const files = path
        ? [path, path.replace(/\/tests$/, '')].flatMap((one) => [`src/${one}.rs`, `src/${one}/mod.rs`])
        : suites.map((suite) => `tests/${suite}`)
      assert.ok(
        files.some((file) => existsSync(join(root, file)) && read(file).includes(`fn ${test}(`)),
        name,
      )
    }
    for (const [file, tests] of Object.entries(JAVASCRIPT))
      for (const name of Object.keys(tests)) assert.ok(read(`__test__/${file}`).includes(name), `${file}: ${name}`)
  })

  it('the Wine list leaves out files that exist, and no other whose failures it lists', () => {
    for (const file of [...Object.keys(LEFT_OUT), ...Object.keys(ALL_SKIPPED)]) {
      assert.ok(existsSync(join(root, '__test__', file)), file)
      assert.ok(file.endsWith('.test.mjs') && !(file in JAVASCRIPT), file)
    }
  })

  it('the Wine list gives a reason for each entry', () => {
    const reasons = [RUST, LEFT_OUT, ALL_SKIPPED, ...Object.values(JAVASCRIPT)].flatMap((list) => Object.values(list))
    for (const reason of reasons) assert.ok(reason.length > 30, reason)
  })

  it('the Wine list has as many entries as its test expects', () => {
    const lists = Object.values(JAVASCRIPT)
    assert.deepEqual(
      {
        rust: Object.keys(RUST).length,
        javaScript: lists.reduce((sum, list) => sum + Object.keys(list).length, 0),
        leftOut: Object.keys(LEFT_OUT).length,
        allSkipped: Object.keys(ALL_SKIPPED).length,
      },
      { rust: 3, javaScript: 1, leftOut: 1, allSkipped: 12 },
    )
  })
})
