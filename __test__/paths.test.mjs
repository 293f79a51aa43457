// @ts-check
// Paths that are not UTF-8: Node.js replaces each such byte by U+FFFD, which names another file.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { bin } from './support/cli.mjs'
import { rawNames } from './support/systems.mjs'

const require = createRequire(import.meta.url)
const { RingTokenManager } = require('../index.js')

/** @param {import('node:test').TestContext} t */
function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'ring-auth-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

describe('a path that is not UTF-8', () => {
  it('a path that is not UTF-8 is refused by the library, which touches nothing', (t) => {
    const here = folder(t)
    const lost = join(here, 'a\ufffd.json')
    /** @type {import('../index.js').Store[]} */
    const stores = [
      { type: 'file', path: lost },
      { type: 'homebridge', configPath: lost },
      { type: 'dotenv', path: lost },
      { type: 'dotenv', path: join(here, '.env'), statePath: lost },
      // A lone surrogate is no valid text either.
      { type: 'file', path: join(here, 'a\ud800.json') },
    ]
    for (const store of stores) {
      assert.throws(() => new RingTokenManager({ refreshToken: 'a-token-of-this-test', store }), {
        code: 'INVALID_ARGUMENT',
        message: /not UTF-8/,
      })
    }
    assert.deepEqual(readdirSync(here), [])
  })

  it('a path that is not UTF-8 is refused by the command line, and works through a link', {
    skip: rawNames,
  }, (t) => {
    const here = folder(t)
    const journal = execFileSync('printf', [`${here}/a\\377.json`], { encoding: 'buffer' })
    writeFileSync(journal, '')
    /** @param {string} path as printf writes it */
    const status = (path) =>
      spawnSync('sh', ['-c', `exec "$0" "$1" status --state-file "$(printf '${path}')"`, process.execPath, bin], {
        encoding: 'utf8',
      })
    for (const option of ['a\\377.json', 'b\\303\\050.json']) {
      const { status: code, stderr } = status(`${here}/${option}`)
      assert.equal(code, 2, stderr)
      assert.match(stderr, /not UTF-8/)
    }
    assert.equal(readdirSync(here).length, 1, 'no other file was made')
    symlinkSync(journal, join(here, 'link.json'))
    assert.doesNotMatch(status(`${here}/link.json`).stderr, /UTF-8/)
  })
})
