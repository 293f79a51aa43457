// @ts-check
// Installs, as people make and break them. If the loader finds no binary, it names a command: the tests run that command unchanged,
// and then the package has to load.
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  PACKAGE,
  PLATFORMS,
  VERSION,
  binaryOf,
  project,
  publish,
  readJson,
  root,
  writeJson,
} from '../support/packages.mjs'
import { fenced, take } from '../support/pages.mjs'
import { asLinuxRoot, canRun, needs, only } from '../support/systems.mjs'

/** @typedef {ReturnType<typeof project>} Project */
/** @typedef {{ platform: string, arch: string, machine: string, libc?: 'glibc' | 'musl' }} Host */

const { libcOf, platformOf } = createRequire(import.meta.url)('../../lib/load.js')
/** The settings with which npm installs for another system. */
const ELSEWHERE =
  process.platform === 'darwin' ? ['--os=linux', '--cpu=x64', '--libc=glibc'] : ['--os=darwin', '--cpu=arm64']
const OTHER = process.platform === 'darwin' ? 'ring-auth-linux-x64-gnu' : 'ring-auth-darwin-arm64'
const PLUGIN = 'homebridge-example'
const WINDOWS = process.platform === 'win32'
const LIBRARY = 'some-library'

const theirs = readJson(join(root, '__test__', 'real', 'node_modules', 'ring-client-api', 'package.json'))

/** @type {Awaited<ReturnType<typeof publish>>} */
let packages
before(async () => {
  packages = await publish([
    { name: PLUGIN, version: '1.0.0', dependencies: { 'ring-auth': VERSION } },
    { name: LIBRARY, version: '1.0.0', dependencies: { 'ring-auth': VERSION } },
    { name: PACKAGE, version: '0.0.1' },
    // The commands of the real package, without its dependencies. homebridge-ring on npm depends on it.
    {
      name: 'ring-client-api',
      version: '14.3.0',
      bin: Object.fromEntries(Object.keys(theirs.bin).map((name) => [name, 'index.js'])),
    },
    { name: 'homebridge-ring', version: '14.3.0', dependencies: { 'ring-client-api': '14.3.0' } },
  ])
})
after(() => packages.end())

/**
 * The error of loading the package in a project, if there is one.
 * @param {Project} there
 * @param {{ folder?: string, host?: Host }} [how] `folder`: of the package; `host`: instead of the real one
 * @returns {Promise<{ code: string, message: string, cause?: string } | undefined>}
 */
async function failing(there, { folder = 'node_modules/ring-auth', host } = {}) {
  const load = `require(${JSON.stringify(there.path(folder, 'lib/load.js'))}).load(${JSON.stringify(host)})`
  const { code, stdout, output } = await there.run(process.execPath, [
    '-e',
    `try { if (typeof ${load}.open !== 'function') throw new Error('no addon') } catch (error) {
       console.log(JSON.stringify({ code: error.code, message: error.message, cause: error.cause?.code }))
     }`,
  ])
  assert.equal(code, 0, output)
  return stdout ? JSON.parse(stdout) : undefined
}

/**
 * Runs the command that a message names, in the folder that it names.
 * @param {Project} there
 * @param {string} message
 * @param {NodeJS.ProcessEnv} [env]
 */
async function fix(there, message, env = {}) {
  const [, where, command] = /To fix it, run(?: in (.+?))?: (.+)$/.exec(message) ?? assert.fail(message)
  if (where) assert.equal(where, there.folder)
  const { code, output } = await there.run(`${command}`, [], { shell: true, env })
  assert.equal(code, 0, output)
  return command
}

/**
 * Checks that the message gives the reason why the package is missing, and that its command installs it.
 * @param {Project} there
 * @param {RegExp} reason
 * @param {string} command
 * @param {{ folder?: string }} [how]
 */
async function missingThenMended(there, reason, command, how) {
  const error = await failing(there, how)
  assert.equal(error?.code, 'BINARY_MISSING', JSON.stringify(error))
  assert.ok(error.message.startsWith(`ring-auth ${VERSION} needs the package ${PACKAGE} on this system`), error.message)
  assert.match(error.message, reason)
  assert.equal(await fix(there, error.message), command)
  // A plugin that has brought its own copy may now share that of the project.
  const after = how?.folder && existsSync(there.path(how.folder)) ? how : {}
  assert.equal(await failing(there, after), undefined)
}

/**
 * Makes a binary that needs a C library which does not exist yet.
 * @param {Buffer} bytes
 */
function needingNewer(bytes) {
  const hash = (/** @type {string} */ name) => {
    let hash = 0
    for (const char of name) {
      hash = ((hash << 4) + char.charCodeAt(0)) >>> 0
      const high = hash & 0xf0000000
      hash = ((hash ^ (high >>> 24)) & ~high) >>> 0
    }
    const word = Buffer.alloc(4)
    word.writeUInt32LE(hash)
    return word
  }
  const found = /GLIBC_2\.\d+/.exec(bytes.toString('latin1')) ?? assert.fail('it needs no version')
  const [name] = found
  const newer = name.replace('GLIBC_2', 'GLIBC_9')
  const changed = Buffer.from(bytes)
  changed.write(newer, found.index, 'latin1')
  // The table of versions has a hash of each name.
  const at = changed.indexOf(hash(name))
  assert.ok(at > 0)
  hash(newer).copy(changed, at)
  return changed
}

describe('an install', () => {
  it('an install brings the main package and the platform’s own, and asks for nothing else', async (t) => {
    const there = project(t, packages)
    packages.asked.length = 0
    await there.npm(['install', 'ring-auth'])
    assert.deepEqual(there.installed(), ['ring-auth', PACKAGE])
    const tarballs = packages.asked.filter((path) => path.startsWith('-/'))
    assert.deepEqual(tarballs.sort(), [`-/${PACKAGE}-${VERSION}.tgz`, `-/ring-auth-${VERSION}.tgz`].sort())
    assert.equal(await failing(there), undefined)
    await there.npm(['ci'])
    assert.equal(await failing(there), undefined)
    await there.npm(['rebuild', '--foreground-scripts'])
    writeFileSync(
      there.path('main.mjs'),
      "import { RingTokenManager, RingAuthError, parseRefreshToken } from 'ring-auth'\nconsole.log(typeof RingTokenManager, typeof RingAuthError, typeof parseRefreshToken)\n",
    )
    assert.equal((await there.run(process.execPath, ['main.mjs'])).stdout, 'function function function\n')
    assert.equal((await there.npm(['exec', '--', 'ring-auth', '--version'])).stdout.trim(), VERSION)
  })

  it('an install without optional dependencies is fixed by the command of the message, even if .npmrc omits them', async (t) => {
    const there = project(t, packages)
    writeFileSync(there.path('.npmrc'), `registry=${packages.url}\nomit=optional\n`)
    await there.npm(['install', 'ring-auth'])
    assert.deepEqual(there.installed(), ['ring-auth'])
    await missingThenMended(
      there,
      /were left out: look for --omit=optional/,
      `npm install ring-auth@${VERSION} --include=optional`,
    )
  })

  it('an install for another system, or copied from one, is fixed by the command of the message', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth', ...ELSEWHERE])
    assert.deepEqual(there.installed().sort(), ['ring-auth', OTHER].sort())
    const reason = new RegExp(`Its node_modules folder is from another system and has ${OTHER}: the folder was copied`)
    await missingThenMended(there, reason, `npm install ring-auth@${VERSION} --include=optional`)
  })

  it('an install by a lock file that knows another system alone is fixed by the command of the message', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth'])
    // As npm 10 wrote it if there was node_modules and no lock file.
    const lock = readJson(there.path('package-lock.json'))
    for (const path of Object.keys(lock.packages))
      if (/ring-auth-/.test(path) && !path.endsWith(OTHER)) delete lock.packages[path]
    rmSync(there.path('node_modules', PACKAGE), { recursive: true })
    rmSync(there.path('node_modules', '.package-lock.json'))
    writeJson(there.path('package-lock.json'), lock)
    const reason = /package-lock\.json does not list it: it was written on another system/
    await missingThenMended(there, reason, `npm install ring-auth@${VERSION} --include=optional`)
    assert.equal(Object.keys(readJson(there.path('package-lock.json')).packages).length, 2 + PLATFORMS.length)
  })

  it('an install below another package is fixed without a line in package.json', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', LIBRARY, '--omit=optional'])
    const before = readJson(there.path('package.json'))
    await missingThenMended(there, /were left out/, `npm install --no-save ${PACKAGE}@${VERSION}`)
    assert.deepEqual(readJson(there.path('package.json')), before)
  })

  it('a global install is fixed by the command of the message', async (t) => {
    const there = project(t, packages)
    const env = { npm_config_prefix: there.path('everybody') }
    await there.npm(['install', '--global', 'ring-auth', ...ELSEWHERE], { env })
    const folder =
      process.platform === 'win32' ? 'everybody/node_modules/ring-auth' : 'everybody/lib/node_modules/ring-auth'
    const error = await failing(there, { folder })
    assert.equal(error?.code, 'BINARY_MISSING')
    assert.equal(await fix(there, error.message, env), `npm install --global ring-auth@${VERSION} --include=optional`)
    assert.equal(await failing(there, { folder }), undefined)
  })

  it('a global install works beside ring-client-api and homebridge-ring, in any order', async (t) => {
    const bins = (/** @type {Project} */ there) => readdirSync(there.path('everybody', WINDOWS ? '' : 'bin'))
    for (const other of ['ring-client-api', 'homebridge-ring']) {
      for (const order of [
        [other, 'ring-auth'],
        ['ring-auth', other],
      ]) {
        const there = project(t, packages)
        const env = { npm_config_prefix: there.path('everybody') }
        for (const name of order) await there.npm(['install', '--global', name], { env })
        assert.deepEqual(
          bins(there)
            .filter((name) => !/\.(cmd|ps1)$/.test(name))
            .sort(),
          ['ring-auth', ...(other === 'ring-client-api' ? ['ring-auth-cli', 'ring-device-data-cli'] : [])].sort(),
        )
        const version = await there.run(there.path('everybody', WINDOWS ? 'ring-auth.cmd' : 'bin/ring-auth'), [
          '--version',
        ])
        assert.equal(version.stdout, `${VERSION}\n`, version.output)
      }
    }
  })

  it('an install of ring-auth-cli brings the command of that name, which runs that of ring-auth', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth-cli'])
    assert.deepEqual(there.installed(), ['ring-auth', 'ring-auth-cli', PACKAGE].sort())
    const version = await there.run('npx', ['ring-auth-cli', '--version'])
    assert.deepEqual(
      { code: version.code, stdout: version.stdout },
      { code: 0, stdout: `${VERSION}\n` },
      version.output,
    )
    const refused = await there.run('npx', ['ring-auth-cli', '--nonsense'])
    assert.equal(refused.code, 2, refused.output)
    // The command unchanged, in a folder in which nothing is installed.
    const empty = project(t, packages)
    const fetched = await empty.run('npx', ['ring-auth-cli', '--version'], { env: { npm_config_yes: 'true' } })
    assert.deepEqual(
      { code: fetched.code, stdout: fetched.stdout },
      { code: 0, stdout: `${VERSION}\n` },
      fetched.output,
    )
  })

  it('an install with pnpm loads after its script is decided on, and is fixed by the command of the message', async (t) => {
    const there = project(t, packages)
    // As pnpm 11 does by default, it ends with an error if a dependency has a script that was neither allowed nor refused.
    // The decision is the one that docs/packages.md shows.
    writeFileSync(
      there.path('pnpm-workspace.yaml'),
      `strictDepBuilds: true\n${take(fenced('docs/packages.md'), 'docs/packages.md', 'yaml', 'allowBuilds')}`,
    )
    const pnpm = async (/** @type {string[]} */ ...args) => {
      const { code, output } = await there.run('pnpm', args)
      assert.equal(code, 0, output)
    }
    await pnpm('add', 'ring-auth')
    const folder = `node_modules/.pnpm/ring-auth@${VERSION}/node_modules/ring-auth`
    assert.equal(await failing(there, { folder }), undefined)
    rmSync(there.path('node_modules'), { recursive: true })
    await pnpm('install', '--no-optional')
    await missingThenMended(there, /were left out/, 'pnpm install --force', { folder })

    const allowed = project(t, packages)
    writeFileSync(allowed.path('pnpm-workspace.yaml'), 'strictDepBuilds: true\nallowBuilds:\n  ring-auth: true\n')
    const { code, output } = await allowed.run('pnpm', ['add', 'ring-auth', '--no-optional'])
    assert.equal(code, 0, output)
    assert.doesNotMatch(output, /ring-auth: /)
  })
})

describe('the loader', () => {
  it('the loader tells musl from glibc, and says what fixes an Alpine that has the other', async (t) => {
    const there = project(t, packages)
    const glibc = ['--os=linux', '--cpu=arm64', '--libc=glibc']
    await there.npm(['install', 'ring-auth', ...glibc])
    const host = /** @type {const} */ ({ platform: 'linux', arch: 'arm64', machine: 'aarch64', libc: 'musl' })
    const error = await failing(there, { host })
    assert.equal(error?.code, 'BINARY_MISSING')
    assert.match(
      error.message,
      /needs the package ring-auth-linux-arm64-musl .* has ring-auth-linux-arm64-gnu: .* This system has musl, as Alpine does, not glibc\./,
    )
    await fix(there, error.message, { npm_config_os: 'linux', npm_config_cpu: 'arm64', npm_config_libc: 'musl' })
    assert.deepEqual(there.installed(), ['ring-auth', 'ring-auth-linux-arm64-musl'])
    // The loader finds the stand-in, which is no binary.
    assert.equal((await failing(there, { host }))?.code, 'BINARY_FAILED')
  })

  it('the loader names the supported systems on any other', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth'])
    /** @type {[Host, string][]} */
    const hosts = [
      [{ platform: 'freebsd', arch: 'x64', machine: 'amd64' }, 'freebsd x64'],
      [{ platform: 'linux', arch: 'loong64', machine: 'loongarch64', libc: 'glibc' }, 'linux loong64'],
      [{ platform: 'linux', arch: 'arm', machine: 'armv6l', libc: 'glibc' }, 'linux ARMv6'],
      [{ platform: 'linux', arch: 'arm', machine: 'armv7l', libc: 'musl' }, 'linux arm with musl'],
      [{ platform: 'win32', arch: 'ia32', machine: 'i686' }, 'win32 ia32'],
    ]
    for (const [host, words] of hosts) {
      assert.equal(platformOf(host), undefined)
      const error = await failing(there, { host })
      assert.equal(error?.code, 'PLATFORM_UNSUPPORTED')
      assert.ok(
        error.message.startsWith(
          `ring-auth has no binary for this system (${words}). There are binaries for darwin-arm64, `,
        ),
        error.message,
      )
    }
    const names = /** @type {Host[]} */ ([
      { platform: 'linux', arch: 'arm', machine: 'armv7l', libc: 'glibc' },
      { platform: 'linux', arch: 'arm', machine: 'aarch64', libc: 'glibc' },
      { platform: 'linux', arch: 'x64', machine: 'x86_64', libc: 'musl' },
      { platform: 'linux', arch: 's390x', machine: 's390x', libc: 'glibc' },
      { platform: 'darwin', arch: 'arm64', machine: 'arm64' },
      { platform: 'win32', arch: 'x64', machine: 'x86_64' },
    ]).map(platformOf)
    assert.deepEqual(names, [
      'linux-arm-gnueabihf',
      'linux-arm-gnueabihf',
      'linux-x64-musl',
      'linux-s390x-gnu',
      'darwin-arm64',
      'win32-x64-msvc',
    ])
  })

  it('the loader never hides why an existing binary does not load', async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth'])
    const binary = there.path('node_modules', PACKAGE, binaryOf(PACKAGE.replace('ring-auth-', '')))
    writeFileSync(binary, 'this is no library')
    const broken = await failing(there)
    assert.deepEqual(
      { code: broken?.code, cause: broken?.cause },
      { code: 'BINARY_FAILED', cause: 'ERR_DLOPEN_FAILED' },
    )
    assert.match(
      broken?.message ?? '',
      new RegExp(`^${PACKAGE} ${VERSION} is installed, but could not be loaded: .{10}`),
    )
    rmSync(binary)
    const gone = await failing(there)
    assert.deepEqual({ code: gone?.code, cause: gone?.cause }, { code: 'BINARY_FAILED', cause: 'MODULE_NOT_FOUND' })
    // The binary of a clone comes first, and the loader does not replace it if it fails.
    const clone = there.path('node_modules', 'ring-auth', 'binding')
    mkdirSync(clone)
    writeFileSync(join(clone, binaryOf(PACKAGE.replace('ring-auth-', ''))), 'nor is this')
    assert.equal((await failing(there))?.code, 'ERR_DLOPEN_FAILED')
  })

  it('the loader says what helps if a file system allows no code', {
    skip: asLinuxRoot() || needs('the right to make a mount namespace', () => canRun('unshare', ['-m', 'true'])),
  }, async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth'])
    const folder = there.path('node_modules', PACKAGE)
    const script = `mkdir ../copy && cp -r . ../copy && mount -t tmpfs -o noexec none "$PWD" && cp -r ../copy/. "$PWD" && cd / && exec "$0" -e "$1"`
    const source = `try { require(${JSON.stringify(there.path('node_modules', 'ring-auth'))}) } catch (error) { console.log(error.code + ' ' + error.message) }`
    const { code, stdout, output } = await there.run('unshare', ['-m', 'sh', '-c', script, process.execPath, source], {
      cwd: `node_modules/${PACKAGE}`,
    })
    assert.equal(code, 0, output)
    assert.match(stdout, new RegExp(`^BINARY_FAILED ${PACKAGE} ${VERSION} is installed, but could not be loaded: `))
    assert.ok(
      stdout.includes(
        `. The system does not allow code from ${folder}: look whether its file system is mounted with noexec (findmnt --target ${folder}), and install it on one that is not, or mount it with exec.`,
      ),
      stdout,
    )
  })

  it('the loader says what helps if the C library is too old', {
    skip: !PACKAGE.endsWith('-gnu') && 'only glibc has versions',
  }, async (t) => {
    const there = project(t, packages)
    await there.npm(['install', 'ring-auth'])
    const binary = there.path('node_modules', PACKAGE, binaryOf(PACKAGE.replace('ring-auth-', '')))
    writeFileSync(binary, needingNewer(readFileSync(binary)))
    const error = await failing(there)
    assert.equal(error?.code, 'BINARY_FAILED')
    assert.match(
      error.message,
      /version `GLIBC_9\.\d+' not found .+\. The C library of this system is older than that: it needs glibc 9\.\d+ or later, so use a newer version of the system, or a newer base image\.$/,
    )
  })

  it('the loader asks Node’s report for nothing about the network', () => {
    const { report } = process
    const { getReport } = report
    const before = /** @type {any} */ (report).excludeNetwork
    /** @type {unknown[]} */
    const asked = []
    report.getReport = () => {
      asked.push(/** @type {any} */ (report).excludeNetwork)
      return {}
    }
    try {
      assert.equal(libcOf('/nowhere'), 'glibc')
    } finally {
      report.getReport = getReport
    }
    assert.deepEqual(asked, [true])
    assert.equal(/** @type {any} */ (report).excludeNetwork, before)
  })

  it('the loader knows its own version without a package.json', () => {
    const { VERSION: known } = createRequire(import.meta.url)('../../lib/load.js')
    assert.equal(known, VERSION, 'lib/load.js has another version than package.json')
  })

  it('the loader takes no binary of another version', async (t) => {
    const [there, older] = [project(t, packages), project(t, packages)]
    await there.npm(['install', 'ring-auth'])
    await older.npm(['install', `${PACKAGE}@0.0.1`])
    rmSync(there.path('node_modules', PACKAGE), { recursive: true })
    cpSync(older.path('node_modules', PACKAGE), there.path('node_modules', PACKAGE), { recursive: true })
    const error = await failing(there)
    assert.equal(error?.code, 'BINARY_MISMATCH')
    assert.match(
      error.message,
      new RegExp(`^ring-auth ${VERSION} found ${PACKAGE} 0\\.0\\.1 in .+, but the two must have the same version\\.`),
    )
    await fix(there, error.message)
    assert.equal(await failing(there), undefined)
  })

  it('the loader knows the C library of a program by the dynamic loader that it names', {
    skip: only('linux', 'only Linux has two C libraries', 'nothing, as there is one'),
  }, (t) => {
    const there = project(t, packages)
    const program = (/** @type {string} */ text) => {
      writeFileSync(there.path('program'), `\x7fELF${'\0'.repeat(600)}${text}\0${'x'.repeat(8192)}`)
      return libcOf(there.path('program'))
    }
    const own = libcOf(process.execPath)
    assert.equal(own === 'musl', PACKAGE.endsWith('-musl'))
    assert.equal(program('/lib/ld-musl-aarch64.so.1'), 'musl')
    assert.equal(program('/lib/ld-linux-armhf.so.3'), 'glibc')
    assert.equal(program('/lib64/ld-linux-x86-64.so.2'), 'glibc')
    assert.equal(program('/nix/store/abc-musl-1.2/lib/ld-musl-x86_64.so.1'), 'musl')
    // A program that names no dynamic loader, or cannot be read: the loader asks Node's report.
    assert.equal(program('nothing'), own)
    assert.equal(libcOf(there.path('nowhere')), own)
  })
})

describe('a bundle of Homebridge', () => {
  /**
   * Makes a bundle as homebridge/plugins does: by `npm install --ignore-scripts`, without the files that only that install needs.
   * @param {Project} there
   * @param {string[]} system
   */
  async function bundle(there, system) {
    mkdirSync(there.path('bundle'))
    writeJson(there.path('bundle', 'package.json'), { private: true })
    cpSync(there.path('.npmrc'), there.path('bundle', '.npmrc'))
    const env = {
      npm_config_install_strategy: 'shallow',
      npm_config_ignore_scripts: 'true',
      npm_config_package_lock: 'false',
    }
    await there.npm(['install', `${PLUGIN}@1.0.0`, '--omit=dev', ...system], { cwd: 'bundle', env })
    rmSync(there.path('bundle', 'package.json'))
    rmSync(there.path('bundle', 'node_modules', '.package-lock.json'))
    const packed = await there.run('tar', ['-C', 'bundle/node_modules', '-czf', 'bundle.tar.gz', '.'])
    assert.equal(packed.code, 0, packed.output)
    rmSync(there.path('bundle'), { recursive: true })
  }

  /** Installs a bundle as Homebridge's UI does: unpacks it, then rebuilds it. @param {Project} there */
  async function unpackAndRebuild(there) {
    mkdirSync(there.path('node_modules'))
    const unpacked = await there.run('tar', ['-C', 'node_modules', '-xmf', 'bundle.tar.gz'])
    assert.equal(unpacked.code, 0, unpacked.output)
    return there.run('npm', ['rebuild', '--foreground-scripts'], { cwd: `node_modules/${PLUGIN}` })
  }

  const folder = `node_modules/${PLUGIN}/node_modules/ring-auth`

  it('a bundle of Homebridge with this system’s binary works after the rebuild', async (t) => {
    const there = project(t, packages, { dependencies: { [PLUGIN]: '1.0.0' } })
    await bundle(there, [])
    const { code, output } = await unpackAndRebuild(there)
    assert.equal(code, 0, output)
    assert.doesNotMatch(output, /ring-auth: /)
    assert.equal(await failing(there, { folder }), undefined)
  })

  it('a bundle of Homebridge without this system’s binary fails the rebuild in a sentence, and a regular install fixes it', async (t) => {
    const there = project(t, packages, { dependencies: { [PLUGIN]: '1.0.0' } })
    await bundle(there, ELSEWHERE)
    const { code, stderr, output } = await unpackAndRebuild(there)
    assert.equal(code, 1, output)
    const said = stderr.split('\n').filter((line) => line.startsWith('ring-auth: '))
    assert.deepEqual(said, [
      `ring-auth: no binary for ${process.platform} ${process.arch} can be loaded (BINARY_MISSING), and only a regular install brings one.`,
    ])
    // Homebridge's UI removes the plugin again, then installs it with npm.
    rmSync(there.path('node_modules', PLUGIN), { recursive: true })
    await there.npm(['install', '--save', `${PLUGIN}@1.0.0`])
    assert.equal(await failing(there), undefined)
  })

  it('a bundle of Homebridge that was not rebuilt says at the start which plugin to install again', {
    skip: only('unix', 'Homebridge has no bundles for Windows', 'a regular install'),
  }, async (t) => {
    const there = project(t, packages, { dependencies: { [PLUGIN]: '1.0.0' } })
    await bundle(there, ELSEWHERE)
    mkdirSync(there.path('node_modules'))
    await there.run('tar', ['-C', 'node_modules', '-xmf', 'bundle.tar.gz'])
    const reason = new RegExp(`has ${OTHER}: ${PLUGIN} came as a bundle, or was copied`)
    const command = `rm -rf node_modules/${PLUGIN} && npm install ${PLUGIN}@1.0.0 --include=optional`
    await missingThenMended(there, reason, command, { folder })
  })
})

describe('the install script', () => {
  it('the install script does nothing outside of a rebuild, with and without a binary', async (t) => {
    const there = project(t, packages)
    for (const command of [['install', 'ring-auth'], ['ci'], ['install'], ['update']]) {
      const { output } = await there.npm([...command, '--omit=optional', '--foreground-scripts'])
      assert.doesNotMatch(output, /ring-auth: /)
      // The script has run if there was something to install.
      if (command.includes('ring-auth') || command.includes('ci')) assert.match(output, /node lib\/install\.js/)
    }
    assert.deepEqual(there.installed(), ['ring-auth'])
    const { code, output } = await there.run('npm', ['rebuild', '--foreground-scripts'])
    assert.equal(code, 1, output)
    assert.match(output, /^ring-auth: no binary/m)
  })

  it('the install script does nothing in a clone that was not built', async (t) => {
    const { devDependencies: _, overrides: __, ...manifest } = readJson(join(root, 'package.json'))
    const there = project(t, packages, manifest)
    for (const name of ['Cargo.toml', 'lib/install.js', 'lib/load.js']) cpSync(join(root, name), there.path(name))
    for (const command of ['install', 'ci', 'rebuild']) {
      const { output } = await there.npm([command, '--foreground-scripts'])
      assert.doesNotMatch(output, /ring-auth: /)
    }
  })
})
