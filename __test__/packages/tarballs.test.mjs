// @ts-check
// The packages that would be published, file by file.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { PACKAGE, PLATFORMS, VERSION, binaryOf, publish, read, readJson, root } from '../support/packages.mjs'
import { create, publishedFiles } from '../../scripts/packages.mjs'
import { unpack } from '../../scripts/tar.mjs'
import { manifestOf } from '../support/registry.mjs'
import { modes } from '../support/systems.mjs'

const tools = join(root, '__test__', 'packages', 'node_modules')

describe('the tarballs', () => {
  /** @type {Awaited<ReturnType<typeof publish>>} */
  let packages
  before(async () => (packages = await publish()))
  after(() => packages.end())

  it('the tarball of the main package has everything that `files` lists, and nothing else', () => {
    const files = unpack(packages.main)
    const always = ['LICENSE', 'README.md', 'package.json']
    assert.deepEqual([...files.keys()].sort(), [...publishedFiles(), ...always].sort())
    for (const [name, { bytes }] of files) {
      if (name !== 'package.json') assert.equal(bytes.toString('utf8'), read(join(root, name)), name)
    }
  })

  it('the tarball of the main package names each platform with its own version, unlike package.json of a clone', () => {
    const { optionalDependencies, ...published } = manifestOf(packages.main)
    assert.deepEqual(
      optionalDependencies,
      Object.fromEntries(PLATFORMS.map((platform) => [`ring-auth-${platform}`, VERSION])),
    )
    assert.deepEqual(published, readJson(join(root, 'package.json')))
    assert.equal(published.dependencies, undefined)
    const lock = readJson(join(root, 'package-lock.json')).packages['']
    assert.equal(lock.optionalDependencies, undefined)
  })

  it('packing takes the platforms out of package.json again, byte for byte', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-pack-'))
    t.after(() => rmSync(folder, { recursive: true }))
    for (const name of ['package.json', 'lib/load.js', 'scripts/pack.mjs']) cpSync(join(root, name), join(folder, name))
    const manifest = () => read(join(folder, 'package.json'))
    const first = manifest()
    const run = (/** @type {string} */ when) =>
      assert.equal(spawnSync(process.execPath, [join(folder, 'scripts', 'pack.mjs'), when]).status, 0)
    run('before')
    assert.notEqual(manifest(), first)
    run('after')
    assert.equal(manifest(), first)
  })

  it('the tarball of a platform has its binary and names its system', () => {
    const names = packages.platforms.map((path) => manifestOf(path).name)
    assert.deepEqual(names.sort(), PLATFORMS.map((platform) => `ring-auth-${platform}`).sort())
    for (const path of packages.platforms) {
      const { name, version, main, os, cpu, libc, engines, license, scripts, dependencies } = manifestOf(path)
      const platform = name.replace('ring-auth-', '')
      assert.deepEqual(
        [...unpack(path).keys()].sort(),
        ['LICENSE', 'README.md', 'package.json', binaryOf(platform)].sort(),
      )
      const [system, arch, abi] = platform.split('-')
      const c = system === 'linux' && arch !== 'arm' ? [abi === 'musl' ? 'musl' : 'glibc'] : undefined
      assert.deepEqual(
        { version, main, os, cpu, libc, engines, license, scripts, dependencies },
        {
          version: VERSION,
          main: binaryOf(platform),
          os: [system],
          cpu: [arch],
          libc: c,
          engines: readJson(join(root, 'package.json')).engines,
          license: 'MIT',
          scripts: undefined,
          dependencies: undefined,
        },
      )
    }
    const ours = packages.platforms.find((path) => manifestOf(path).name === PACKAGE)
    assert.ok(ours && (unpack(ours).get(binaryOf(PACKAGE.replace('ring-auth-', '')))?.bytes.length ?? 0) > 100_000)
  })

  it('the tarballs are those of npm/, which is made from package.json', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-npm-'))
    t.after(() => rmSync(folder, { recursive: true }))
    create(folder)
    const listed = (/** @type {string} */ at) =>
      readdirSync(at, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.endsWith('.node'))
        .map((entry) => relative(at, join(entry.parentPath, entry.name)))
        .sort()
    const [made, committed] = [join(folder, 'npm'), join(root, 'npm')]
    assert.deepEqual(listed(committed), listed(made), 'run `node scripts/packages.mjs create`')
    for (const name of listed(made)) assert.equal(read(join(committed, name)), read(join(made, name)), name)
  })

  it('the tarball of ring-auth-cli runs the command of the main package', () => {
    const files = unpack(packages.cli)
    assert.deepEqual([...files.keys()].sort(), ['LICENSE', 'README.md', 'bin/ring-auth-cli.js', 'package.json'])
    // npm takes the mode of the file, and Windows has none. An install makes the command executable all the same.
    if (!modes) assert.equal((files.get('bin/ring-auth-cli.js')?.mode ?? 0) & 0o111, 0o111)
    const { name, version, dependencies, bin } = manifestOf(packages.cli)
    assert.deepEqual(
      { name, version, dependencies, bin },
      {
        name: 'ring-auth-cli',
        version: VERSION,
        dependencies: { 'ring-auth': VERSION },
        bin: { 'ring-auth-cli': 'bin/ring-auth-cli.js' },
      },
    )
  })

  it('the tarballs are those of the targets that are built', () => {
    // The names that napi-rs derives from the targets in package.json, and those that the loader looks for.
    const { parseTriple } = createRequire(import.meta.url)('@napi-rs/cli')
    /** @type {string[]} */
    const targets = readJson(join(root, 'package.json')).napi.targets
    assert.deepEqual(targets.map((target) => parseTriple(target).platformArchABI).sort(), PLATFORMS)
  })

  it('the tarballs pass publint and are-the-types-wrong', () => {
    const checks = [
      ['publint', 'publint', 'run', packages.main, '--strict'],
      ['@arethetypeswrong/cli', 'attw', packages.main, '--no-emoji', '--no-color'],
    ]
    for (const [name = '', command = '', ...args] of checks) {
      const script = join(tools, name, readJson(join(tools, name, 'package.json')).bin[command])
      const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' })
      assert.equal(status, 0, `${command}: ${stdout}${stderr}`)
    }
  })
})
