// @ts-check
// What `npm run build:cross` and `npm run test:cross` do before they build or run anything, with programs that only record how they are called.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { root } from '../support/packages.mjs'
import { needs, only } from '../support/systems.mjs'

const skip =
  only('linux', 'it builds on Linux x64 alone', 'the test of its arguments') ||
  needs('a processor of x64', () => process.arch === 'x64')

describe('the command that builds every platform', () => {
  /** A clone in which nothing was installed, and a PATH of programs that fail. @param {import('node:test').TestContext} t */
  function clone(t) {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-cross-'))
    t.after(() => rmSync(folder, { recursive: true }))
    for (const name of ['scripts', 'package.json', 'package-lock.json', 'lib/load.js', 'LICENSE'])
      cpSync(join(root, name), join(folder, name), { recursive: true })
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    for (const name of ['cargo', 'cc', 'npm', 'apt-get', 'dpkg-deb', 'python3']) {
      writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >> '${folder}/log'\necho 'no network' >&2\nexit 3\n`)
      chmodSync(join(bin, name), 0o755)
    }
    const run = () =>
      spawnSync(process.execPath, [join(folder, 'scripts', 'cross', 'build.mjs'), 'linux-x64-gnu'], {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` },
      })
    return { folder, run, log: () => readFileSync(join(folder, 'log'), 'utf8') }
  }

  it('the build of every platform installs the packages of a fresh clone first, and ends if that fails', {
    skip,
  }, (t) => {
    const { run, log } = clone(t)
    const { status, stderr } = run()
    assert.equal(status, 3)
    assert.match(stderr, /^\nnpm ci .* failed \(3\)\n$|no network/)
    assert.match(log(), /^npm ci [^\n]*\n$/)
  })

  it('the build of every platform ends with what the program said that fetches', { skip }, (t) => {
    const { folder, run } = clone(t)
    mkdirSync(join(folder, 'node_modules'))
    writeFileSync(join(folder, 'node_modules', '.package-lock.json'), '')
    const { status, stderr } = run()
    assert.equal(status, 1)
    assert.equal(stderr, 'apt-get download rustc-web: no network\n\n')
  })

  it('a script that calls a program which this machine lacks ends with its name, and no stack', () => {
    const command = JSON.stringify(pathToFileURL(join(root, 'scripts', 'command.mjs')))
    const script = `import { run } from ${command}; run('no-such-program', ['build'])`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
    })
    assert.deepEqual(
      { status, stderr },
      { status: 1, stderr: '\nno-such-program cannot be started: spawnSync no-such-program ENOENT\n' },
    )
  })

  it('the commands for every platform refuse the name of none, before they fetch anything', () => {
    for (const script of ['build', 'run']) {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [join(root, 'scripts', 'cross', `${script}.mjs`), 'linux-x64-gnu', 'amiga'],
        { encoding: 'utf8' },
      )
      assert.deepEqual({ status, stdout }, { status: 2, stdout: '' })
      assert.match(stderr, /^amiga: not one of darwin-arm64, .*\n$/)
    }
  })
})
