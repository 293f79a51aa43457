// @ts-check
// What this package does not touch: files of other programs, and the system of the user who installs it.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { optionsFor, root, runScript, startRing, tempDir } from './support/index.mjs'

const TREE = ['.gitignore', '.homebridge', join('.homebridge', 'config.json'), '.env']

describe('the footprint', () => {
  it('the footprint of a file store is the journal alone: a config.json and a .env beside it that hold the token are never written', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const given = ring.mint()
    mkdirSync(join(folder, '.homebridge'))
    const files = {
      '.gitignore': '.env\n',
      [join('.homebridge', 'config.json')]: JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken: given }] }),
      '.env': `RING_REFRESH_TOKEN=${given}\n`,
    }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const path = join(folder, 'journal.json')
    const script = runScript(
      t,
      `const { path, ...options } = config
       const manager = new RingTokenManager({ ...options, store: { type: 'file', path } })
       for (let i = 0; i < 5; i++) await manager.refresh()
       await manager.close()`,
      { ...optionsFor(ring), refreshToken: given, path },
      { cwd: folder, env: { ...process.env, HOME: folder } },
    )
    assert.equal((await script.ended).code, 0, script.stderr())
    assert.equal(ring.counts.rotations, 5)
    for (const [name, text] of Object.entries(files)) assert.equal(readFileSync(join(folder, name), 'utf8'), text, name)
    const names = readdirSync(folder, { recursive: true }).map(String)
    assert.deepEqual(names.sort(), [...TREE, 'journal.json', 'journal.json.lock'].sort())
  })

  it('the footprint of an install is files alone: no dependency, and one script, which writes nothing and sends nothing', () => {
    const { scripts, dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    assert.deepEqual(
      { dependencies, optionalDependencies },
      { dependencies: undefined, optionalDependencies: undefined },
    )
    for (const name of ['preinstall', 'postinstall', 'prepare']) assert.equal(scripts[name], undefined, name)
    // packages/install.test.mjs runs it in each situation.
    assert.equal(scripts.install, 'node lib/install.js')
    const needed = ['lib/install.js', 'lib/load.js', 'lib/system-ca.js'].flatMap((name) => {
      const source = readFileSync(join(root, name), 'utf8')
      return [...source.matchAll(/require\((.+?)\)/g)].map((match) => match[1])
    })
    assert.deepEqual([...new Set(needed)].sort(), [
      "'./load.js'",
      "'./system-ca.js'",
      "'node:fs'",
      "'node:module'",
      "'node:os'",
      "'node:path'",
      "'node:tls'",
    ])
    // The module node:tls, for the certificates that Node has read from the system.
    assert.match(
      readFileSync(join(root, 'lib', 'system-ca.js'), 'utf8'),
      /\{ getCACertificates \} = .*require\('node:tls'\)/,
    )
    assert.doesNotMatch(readFileSync(join(root, 'lib', 'load.js'), 'utf8'), /write|mkdir|fetch/)
  })
})
