// What README.md and docs/api.md show is run as it stands there, against the fake Ring. Needs a built addon.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { FakeRing } from './fake-ring/index.mjs'
import { HOMEBRIDGE } from './support/plugin.mjs'

const require = createRequire(import.meta.url)
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const text = (/** @type {string} */ name) => readFileSync(join(root, name), 'utf8')
const README = text('README.md')
const API = text('docs/api.md')
const ERRORS = text('docs/errors.md')

const EMAIL = 'me@example.com'
const PASSWORD = 'correct horse'

/** The fenced blocks of a language. @param {string} document @param {string} language @returns {string[]} */
function blocks(document, language) {
  return [...document.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, block]) => /** @type {string} */ (block))
}

/** @type {FakeRing} */
let ring
/** @type {string} */
let folder

beforeEach(async () => {
  ring = await FakeRing.start({ accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'sms' }] })
  folder = mkdtempSync(join(tmpdir(), 'ring-auth-readme-'))
})

afterEach(async () => {
  assert.deepEqual(ring.internalErrors, [])
  assert.equal(ring.counts.stalePresentations, 0)
  await ring.close()
  rmSync(folder, { recursive: true, force: true })
})

/**
 * A folder in which `ring-auth` is installed as this tree is, only that Ring is the fake one: the snippets name none.
 * @returns {NodeJS.ProcessEnv}
 */
function install() {
  const installed = join(folder, 'node_modules', 'ring-auth')
  mkdirSync(installed, { recursive: true })
  writeFileSync(join(installed, 'index.js'), `
    const real = require(${JSON.stringify(root)})
    const { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: apiUrl } = process.env
    class RingTokenManager extends real.RingTokenManager {
      constructor(options) { super({ ...options, oauthUrl, apiUrl }) }
    }
    const { RingAuthError, parseRefreshToken } = real
    module.exports = { RingTokenManager, RingAuthError, parseRefreshToken }
  `)
  const preload = join(folder, 'preload.cjs')
  writeFileSync(preload, `
    const real = globalThis.fetch
    globalThis.fetch = (url, options) => {
      const given = new URL(url)
      if (given.origin !== 'https://api.ring.com') throw new Error('not for ' + given.origin)
      return real(new URL(given.pathname, process.env.RING_AUTH_API_URL), options)
    }
  `)
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('RING_')))
  return { ...inherited, RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl, NODE_OPTIONS: `--require ${JSON.stringify(preload)}` }
}

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {(child: import('node:child_process').ChildProcessWithoutNullStreams) => void} [talk]
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string }>}
 */
function node(args, env, talk = (child) => child.stdin.end()) {
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: 'pipe' })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (data) => (stdout += data))
  child.stderr.setEncoding('utf8').on('data', (data) => (stderr += data))
  talk(child)
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

/** @param {string[]} args @param {NodeJS.ProcessEnv} env @param {(child: any) => void} [talk] */
const cli = (args, env, talk) => node([join(root, 'bin', 'ring-auth.js'), ...args], env, talk)

describe('README.md', () => {
  const [script, plugin, ...others] = blocks(README, 'js')

  it('has the two snippets that are run here', () => {
    assert.match(script ?? '', /^\/\/ devices\.mjs$/m)
    assert.match(plugin ?? '', /registerPlatform/)
    assert.deepEqual(others, [])
  })

  it('logs in with a script, and the script after it lists the devices', async () => {
    const env = install()
    const line = commands(README).find((command) => command.includes('--password-stdin'))
    assert.ok(line)
    const args = line.replace(/^.*npx ring-auth /, '').split(' ')
    const login = await cli(args, env, (child) => {
      child.stdin.write(`${PASSWORD}\n`)
      const timer = setInterval(() => {
        if (ring.codesSent === 0) return
        clearInterval(timer)
        child.stdin.end(`${ring.codeFor()}\n`)
      }, 10)
    })
    assert.equal(login.code, 0, login.stderr)
    assert.ok(existsSync(join(folder, 'ring-auth.json')))

    writeFileSync(join(folder, 'devices.mjs'), String(script))
    const first = await node(['devices.mjs'], env)
    assert.equal(first.code, 0, first.stderr)
    assert.match(first.stdout, /Front Door/)
    const rotations = ring.counts.rotations
    const second = await node(['devices.mjs'], env)
    assert.match(second.stdout, /Front Door/)
    assert.equal(ring.counts.rotations, rotations, 'while the access token is valid, no request')

    const token = await cli(['token', '--state-file', 'ring-auth.json'], env)
    assert.ok(ring.isAccessLive(token.stdout.trim()), 'the command line shares the file')
    assert.equal(ring.counts.rotations, rotations)
    assert.equal(ring.codesSent, 1)
  })

  it('has a Homebridge plugin that starts, stops, and keeps its config current', async () => {
    const env = install()
    const config = (/** @type {string} */ token) => `{\n\t"bridge": {},\n\t"platforms": [{ "platform": "ExampleRing", "refreshToken": "${token}" }]\n}`
    const path = join(folder, 'config.json')
    const given = ring.mint(EMAIL)
    writeFileSync(path, config(given))
    writeFileSync(join(folder, 'plugin.cjs'), String(plugin))
    writeFileSync(join(folder, 'homebridge.cjs'), HOMEBRIDGE)
    const start = async () => {
      const { code, stdout, stderr } = await node(['homebridge.cjs'], env)
      assert.equal(code, 0, stderr)
      return JSON.parse(stdout)
    }
    const first = await start()
    assert.deepEqual(first.status, { state: 'ready', persisted: true })
    assert.ok(first.lines.length > 0, 'the logger is wired')
    assert.ok(first.lines.every((/** @type {string[]} */ [level]) => level !== 'error'), JSON.stringify(first.lines))
    assert.equal(ring.counts.rotations, 1)
    assert.equal(readFileSync(path, 'utf8'), config(first.token), 'only the token differs')

    // An old one comes back. Without its access token the next start needs a rotation.
    writeFileSync(path, config(given))
    const journals = join(folder, '.ring-auth')
    const [journal = ''] = readdirSync(journals).filter((name) => name.endsWith('.json'))
    const state = JSON.parse(readFileSync(join(journals, journal), 'utf8'))
    writeFileSync(join(journals, journal), JSON.stringify({ ...state, access: null }))
    const second = await start()
    assert.equal(ring.counts.rotations, 2)
    assert.equal(ring.counts.invalidGrants, 0, 'the old token was not sent')
    assert.equal(readFileSync(path, 'utf8'), config(second.token))

    const pasted = ring.mint(EMAIL)
    writeFileSync(path, config(pasted))
    const third = await start()
    assert.equal(ring.inspect(pasted).spent, true, 'a new one that was pasted is used')
    assert.equal(readFileSync(path, 'utf8'), config(third.token))
  })

  it('shows commands that exist', async () => {
    const { scripts, bin } = JSON.parse(text('package.json'))
    assert.ok(bin['ring-auth'])
    const env = install()
    const help = (await cli(['--help'], env)).stdout
    const shown = commands(README)
    assert.ok(shown.length >= 10, String(shown.length))
    for (const command of shown) {
      const [, program, rest] = /(?:^|\| )(npm|npx) (.*)$/.exec(command) ?? []
      assert.ok(program && rest, `not understood: ${command}`)
      const words = rest.split(' ')
      if (program === 'npm') {
        const script = words[0] === 'run' ? words[1] : words[0] === 'test' ? 'test' : undefined
        if (script !== undefined) assert.ok(scripts[script], `no script for: ${command}`)
        else assert.ok(['ci', 'install'].includes(words[0] ?? ''), command)
        continue
      }
      assert.equal(words[0], 'ring-auth')
      const options = words.filter((word) => word.startsWith('--'))
      for (const option of options) assert.ok(help.includes(option), `no option ${option}`)
      const [action] = words.slice(1)
      if (action !== undefined && !action.startsWith('-')) assert.ok(help.includes(`ring-auth ${action}`), `no command ${action}`)
    }
    for (const [, script] of README.matchAll(/`npm run ([\w:-]+)`/g)) assert.ok(scripts[/** @type {string} */ (script)], script)
  })

  it('names each error code of docs/errors.md, and no other', () => {
    const [, table] = README.split('\n## Errors\n')
    const shown = [...(table ?? '').split('\n## ')[0]?.matchAll(/^\| (`[A-Z_`, ]+`) \|/gm) ?? []].flatMap(([, cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, code]) => code))
    const documented = [...ERRORS.matchAll(/^## `(\w+)`$/gm)].map(([, code]) => code)
    assert.ok(documented.length > 10)
    assert.deepEqual(shown.toSorted(), documented.toSorted())
  })

  it('names members and options that exist', () => {
    const { RingTokenManager, ...functions } = require(root)
    const [, section] = README.split('\n## API\n')
    const headings = [...(section ?? '').split('\n## ')[0]?.matchAll(/^### (.*)$/gm) ?? []].map(([, heading = '']) => heading)
    assert.ok(headings.length >= 10)
    for (const heading of headings) {
      for (const [, name = ''] of heading.matchAll(/`(?:new )?(\w+)/g)) {
        assert.ok(name in RingTokenManager.prototype || name in functions || name === 'RingTokenManager', name)
      }
    }
  })

  for (const name of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md']) {
    it(`has no dead link: ${name}`, () => {
      const prose = text(name).replace(/^```[^]*?^```$/gm, '')
      const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => /** @type {string} */ (link))
      for (const link of links.filter((link) => !link.includes('://'))) {
        const [path = '', anchor] = link.split('#')
        const target = path === '' ? name : join(dirname(name), path)
        assert.ok(existsSync(join(root, target)), `${name} links to ${link}`)
        if (anchor === undefined) continue
        const anchors = [...text(target).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'))
        assert.ok(anchors.includes(anchor), `${name} links to ${link}`)
      }
    })
  }
})

/** The lines of the shell blocks. @param {string} document */
function commands(document) {
  return blocks(document, 'sh').flatMap((block) => block.split('\n')).filter((line) => line !== '')
}

describe('docs/api.md', () => {
  const AsyncFunction = /** @type {any} */ (async () => {}).constructor
  const face = require(root)
  /** @type {any[]} */
  let managers = []
  /** Each manager that a snippet makes talks to the fake. */
  class RingTokenManager extends face.RingTokenManager {
    /** @param {any} [options] */
    constructor(options) {
      if (options?.store?.path) options = { ...options, store: { ...options.store, path: join(folder, options.store.path) } }
      super({ ...options, oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl })
      managers.push(this)
    }
  }

  beforeEach(() => {
    managers = []
  })

  afterEach(() => Promise.all(managers.map((manager) => manager.close())))

  /**
   * Runs the snippet that contains a text, with these names in scope, and gives back what it declared.
   * @param {string} containing
   * @param {Record<string, unknown>} scope
   */
  async function run(containing, scope = {}) {
    const snippets = blocks(API, 'js').filter((block) => block.includes(containing))
    assert.ok(snippets.length >= 1, `no snippet with ${containing}`)
    const snippet = /** @type {string} */ (snippets[0])
    const declared = [...snippet.matchAll(/^(?:const|let) (\w+)/gm)].map(([, name]) => name)
    const names = { RingTokenManager, RingAuthError: face.RingAuthError, parseRefreshToken: face.parseRefreshToken, ...scope }
    const made = new AsyncFunction(...Object.keys(names), `${snippet}\nreturn { ${declared.join(', ')} }`)
    return made(...Object.values(names))
  }

  it('makes a manager with a file store', async () => {
    const { manager } = await run('refreshToken: process.env.RING_REFRESH_TOKEN', { process: { env: { RING_REFRESH_TOKEN: ring.mint(EMAIL) } } })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.ok(existsSync(join(folder, 'ring-auth.json')))
  })

  it('saves each new token of a memory store', async () => {
    /** @type {string[]} */
    const saved = []
    const { manager } = await run('await load()', { load: async () => ring.mint(EMAIL), save: (/** @type {string} */ token) => saved.push(token) })
    await manager.getAccessToken()
    assert.equal(saved.at(-1), manager.refreshToken)
    assert.equal(manager.status.persisted, false)
  })

  it('logs in, and asks again after a wrong code', async () => {
    const manager = new RingTokenManager()
    const codes = [() => '000000x', () => ring.codeFor()]
    const { step } = await run('await ask(', { manager, email: EMAIL, password: PASSWORD, ask: async () => codes.shift()?.() })
    assert.equal(step.authenticated, true)
    assert.equal(codes.length, 0)
    assert.equal(ring.codesSent, 1)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  })

  it('calls an API, and once more after a 401', async () => {
    const manager = new RingTokenManager({ refreshToken: ring.mint(EMAIL) })
    /** @type {any} */
    let sent
    const url = `${ring.apiUrl}/clients_api/ring_devices`
    const fetch = async (/** @type {string} */ url, /** @type {any} */ options) => {
      sent = options
      const { status } = await globalThis.fetch(url, options)
      assert.equal(status, 200, 'the API takes the request as it is shown')
      return { status: 401 }
    }
    const { response } = await run('await fetch(', { manager, url, fetch })
    const accessToken = sent.headers.authorization.replace('Bearer ', '')
    assert.ok(ring.isAccessLive(accessToken))
    await run('invalidateAccessToken(accessToken)', { manager, response, accessToken })
    assert.notEqual(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.rotations, 2)
  })

  it('subscribes, and ends the subscription', async () => {
    const manager = new RingTokenManager({ refreshToken: ring.mint(EMAIL) })
    /** @type {string[]} */
    const states = []
    await run('manager.onStatus.subscribe(', { manager, console: { log: (/** @type {string} */ state) => states.push(state) } })
    await manager.getAccessToken()
    assert.deepEqual(states, [])
  })

  it('looks into a token', async () => {
    const manager = new RingTokenManager({ refreshToken: ring.mint(EMAIL) })
    await manager.getAccessToken()
    await run('= parseRefreshToken(token)', { token: manager.refreshToken })
    assert.equal(face.parseRefreshToken(manager.refreshToken).hardwareId, manager.hardwareId)
  })

  it('has snippets that are JavaScript', () => {
    for (const snippet of blocks(API, 'js')) {
      // Imports belong to a module's top level, and `await using` is newer than the oldest Node we run on.
      const plain = snippet.replace(/^import .*$/gm, '').replaceAll('await using', 'const')
      assert.doesNotThrow(() => new AsyncFunction(plain), snippet)
    }
  })
})
