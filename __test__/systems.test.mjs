// @ts-check
// The rules for skipped tests are in one place, each with a reason, and the gate on Linux skips none.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { testFiles } from '../scripts/test-files.mjs'
import { root } from './support/packages.mjs'
import * as systems from './support/systems.mjs'

const LINUX = { platform: 'linux', gate: true }

describe('where a test holds', () => {
  it('the reason of a skipped test names the system, the cause and the replacement', () => {
    assert.equal(systems.only('unix', 'because', 'instead', { ...LINUX }), false)
    assert.equal(systems.only('unix', 'because', 'instead', { platform: 'darwin', gate: true }), false)
    assert.match(String(systems.only('linux', 'because', 'instead', { platform: 'darwin', gate: true })), /Linux alone/)
    const windows = systems.only('unix', 'because', 'instead', { platform: 'win32', gate: true })
    assert.equal(windows, 'on Unix alone: because. In its place: instead')
  })

  it('a tool that the machine lacks is an error in the gate on Linux', () => {
    assert.equal(
      systems.needs('it', () => true, LINUX),
      false,
    )
    assert.throws(
      () => systems.needs('a thing', () => false, LINUX),
      /the gate runs every test, and this machine lacks a thing/,
    )
    for (const where of [
      { platform: 'linux', gate: false },
      { platform: 'win32', gate: true },
    ])
      assert.equal(
        systems.needs('a thing', () => false, where),
        'this machine lacks a thing',
      )
  })

  it('no test has its own rule for a skip, so that the gate on Linux skips none for its system', () => {
    const files = testFiles('__test__')
    assert.ok(files.length > 40, String(files.length))
    const own =
      /skip:\s[^{}]*process\.(platform|getuid)|skip:\s+spawnSync|process\.platform [!=]== '(win32|linux)' &&|t\.skip\('sudo/
    assert.deepEqual(
      files.filter((file) => own.test(readFileSync(join(root, file), 'utf8'))),
      [],
    )
    if (process.platform === 'linux')
      for (const [name, skip] of Object.entries(systems)) if (typeof skip === 'string') assert.fail(`${name}: ${skip}`)
  })
})
