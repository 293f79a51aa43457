// @ts-check
// Runs each example unchanged in its folder, through rotations, against the fake Ring. (The Homebridge plugin:
// real/homebridge.test.mjs, in a real Homebridge.)
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  age,
  atEnd,
  EMAIL,
  freePort,
  linkPackage,
  PASSWORD,
  PATIENCE_MS,
  rawOf,
  root,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'
import { assertMode, shell } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * An example in a folder in which `ring-auth` is installed as by npm, with the fake Ring as the default, because the examples name no server.
 * @param {TestContext} t
 * @param {string} name
 */
async function install(t, name) {
  const ring = await startRing(t)
  const folder = tempDir(t)
  cpSync(join(root, 'examples', name), folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true })
  linkPackage(root, join(folder, 'node_modules'), 'ring-auth')
  // On Windows the command is a script of npm's, and the example that calls it is for a POSIX shell.
  if (!shell)
    symlinkSync(join('..', 'ring-auth', 'bin', 'ring-auth.js'), join(folder, 'node_modules', '.bin', 'ring-auth'))
  const preload = join(folder, 'node_modules', 'preload.cjs')
  writeFileSync(
    preload,
    `
    const ours = require('ring-auth')
    const { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: apiUrl } = process.env
    ours.RingTokenManager = class RingTokenManager extends ours.RingTokenManager {
      constructor(options) { super({ ...options, oauthUrl, apiUrl }) }
    }
    const real = globalThis.fetch
    globalThis.fetch = (url, options) => {
      const given = new URL(url)
      if (given.origin !== 'https://api.ring.com') throw new Error('not for ' + given.origin)
      return real(new URL(given.pathname, apiUrl), options)
    }
  `,
  )
  const { PATH, SystemRoot } = process.env
  // Without the settings of the user who runs the tests. npm needs a home.
  const environment = {
    PATH,
    SystemRoot,
    HOME: folder,
    RING_AUTH_OAUTH_URL: ring.oauthUrl,
    RING_AUTH_API_URL: ring.apiUrl,
  }
  /** @param {string} command @param {string[]} args @param {Record<string, string>} [env] */
  const run = (command, args, env = {}) => finished(command, args, { cwd: folder, env: { ...environment, ...env } })
  return {
    ring,
    folder,
    run,
    /** A program that keeps running. @param {string} script @param {Record<string, string>} env */
    start: (script, env) => {
      const args = ['--require', preload, '--unhandled-rejections=strict', script]
      const child = spawn(process.execPath, args, { cwd: folder, env: { ...environment, ...env } })
      let said = ''
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (data) => (said += data))
      const closed = new Promise((resolve) => child.on('close', resolve))
      return { output: () => said, end: async () => (child.kill(), await closed) }
    },
    /** @param {string} script @param {Record<string, string>} [env] */
    node: (script, env) => run(process.execPath, ['--require', preload, '--unhandled-rejections=strict', script], env),
    /** @param {string} file */
    text: (file) => readFileSync(join(folder, file), 'utf8'),
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string }>}
 */
function finished(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 2 * PATIENCE_MS,
      killSignal: 'SIGKILL',
    })
    let [stdout, stderr] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (data) => (stdout += data))
    child.stderr?.setEncoding('utf8').on('data', (data) => (stderr += data))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** Makes the access token old, so that the next run has to rotate. @param {string} path the journal, or the folder that holds it */
function grownOld(path) {
  const names = statSync(path).isDirectory() ? readdirSync(path).filter((name) => name.endsWith('.json')) : ['']
  assert.equal(names.length, 1, names.join())
  age(join(path, ...names), 24 * 3_600_000)
}

/**
 * @param {{ code: number | null, stdout: string, stderr: string }} result
 * @param {string} [devices]
 */
function listsTheDevices({ code, stdout, stderr }, devices = 'Front Door\nHall\nYard\nGate\n') {
  assert.equal(code, 0, stderr)
  assert.equal(stdout, devices)
  assert.equal(stderr, '')
}

/** @param {{ ring: import('./support/index.mjs').FakeRing }} example @param {string} token what is stored now */
function isTheNewest({ ring }, token) {
  assert.equal(rawOf(token), ring.newest(EMAIL), 'what is stored is not the newest token')
  assert.ok(ring.isLive(rawOf(token)))
  assert.equal(ring.counts.stalePresentations, 0)
  assert.equal(ring.counts.invalidGrants, 0)
}

describe('the examples', () => {
  it('all examples are run, here, in a real Homebridge or on real databases', () => {
    assert.deepEqual(readdirSync(join(root, 'examples')).sort(), [
      'README.md',
      'custom-store',
      'dotenv',
      'homebridge-plugin',
      'node-script',
      'shared-store',
      'shell',
      'web-login',
    ])
  })

  it('the example plugin has one name, and passes none of the options that docs/homebridge-plugins.md forbids', () => {
    const file = (/** @type {string} */ name) =>
      readFileSync(join(root, 'examples', 'homebridge-plugin', ...name.split('/')), 'utf8')
    const manifest = JSON.parse(file('package.json'))
    const named = (/** @type {string} */ name) =>
      new RegExp(`export const ${name} = '([^']+)'`).exec(file('src/settings.ts'))?.[1]
    assert.equal(named('PLUGIN_NAME'), manifest.name)
    const platform = named('PLATFORM_NAME')
    assert.equal(JSON.parse(file('config.schema.json')).pluginAlias, platform)
    assert.ok(file('homebridge-ui/server.js').includes(`serve({ platform: '${platform}' })`))
    assert.ok(manifest.engines.homebridge)
    const page = readFileSync(join(root, 'docs', 'homebridge-plugins.md'), 'utf8')
    for (const option of ['refreshToken', 'systemId', 'statePath']) {
      assert.match(page, new RegExp(`^- \\*\\*(?:Do not|No)[^*]*\`[^\`]*${option}`, 'm'))
      assert.doesNotMatch(file('src/platform.ts'), new RegExp(`\\b${option}:`))
    }
  })

  for (const script of ['devices.cjs', 'devices.mjs']) {
    it(`the example node-script/${script} runs`, async (t) => {
      const example = await install(t, 'node-script')
      const { ring, folder, node, text } = example
      const given = ring.mint(EMAIL)
      if (script === 'devices.mjs') {
        const empty = await node(script)
        assert.equal(empty.code, 1)
        assert.match(empty.stderr, /^NO_REFRESH_TOKEN: .+\n$/)
        // The journal that `ring-auth login --state-file` leaves behind.
        listsTheDevices(await node('devices.cjs', { RING_REFRESH_TOKEN: given }))
      }
      // The token in the environment becomes old, and stays there.
      for (let i = 1; i <= 3; i++) {
        listsTheDevices(await node(script, script === 'devices.cjs' ? { RING_REFRESH_TOKEN: given } : {}))
        assert.equal(ring.counts.rotations, i)
        isTheNewest(example, JSON.parse(text('ring-auth.json')).current.token)
        grownOld(join(folder, 'ring-auth.json'))
      }
    })
  }

  it('the example dotenv runs', async (t) => {
    const example = await install(t, 'dotenv')
    const { ring, folder, node, text } = example
    renameSync(join(folder, '.env.example'), join(folder, '.env'))
    const before = text('.env')
    assert.match(before, /^RING_REFRESH_TOKEN=$/m)
    const put = (/** @type {string} */ token) =>
      writeFileSync(join(folder, '.env'), before.replace(/^RING_REFRESH_TOKEN=.*$/m, `RING_REFRESH_TOKEN=${token}`))
    const token = () => /^RING_REFRESH_TOKEN=['"]?([^'"\n]+)['"]?$/m.exec(text('.env'))?.[1] ?? ''
    const given = ring.mint(EMAIL)
    put(given)
    for (let i = 1; i <= 3; i++) {
      listsTheDevices(await node('devices.mjs'), 'Front Door\n')
      assert.equal(ring.counts.rotations, i)
      isTheNewest(example, token())
      grownOld(join(folder, '.ring-auth'))
    }
    assert.equal(
      text('.env').replace(/^RING_REFRESH_TOKEN=.*$/m, 'RING_REFRESH_TOKEN='),
      before,
      'every other byte is as it was',
    )
    put(given)
    listsTheDevices(await node('devices.mjs'), 'Front Door\n')
    isTheNewest(example, token())
    assert.equal(ring.counts.rotations, 4)
    assertMode(join(folder, '.ring-auth'), 0o700)
    assert.equal(text(join('.ring-auth', '.gitignore')), '*\n')
  })

  it('the example custom-store runs', async (t) => {
    const example = await install(t, 'custom-store')
    const { ring, folder, node, text } = example
    const given = ring.mint(EMAIL)
    const others = { theme: 'dark', numbers: [1, 2] }
    writeFileSync(join(folder, 'settings.json'), JSON.stringify(others))
    const stored = () => JSON.parse(text('settings.json')).ringRefreshToken
    for (let i = 1; i <= 3; i++) {
      listsTheDevices(await node('devices.mjs', i === 1 ? { RING_REFRESH_TOKEN: given } : {}))
      assert.equal(ring.counts.rotations, i)
      isTheNewest(example, stored())
      grownOld(join(folder, 'ring-auth-state'))
    }
    // A backup of the database came back.
    writeFileSync(join(folder, 'settings.json'), JSON.stringify({ ...others, ringRefreshToken: given }))
    listsTheDevices(await node('devices.mjs'))
    isTheNewest(example, stored())
    const { ringRefreshToken: _, ...rest } = JSON.parse(text('settings.json'))
    assert.deepEqual(rest, others)
    assert.ok(readdirSync(join(folder, 'ring-auth-state')).length > 0)
  })

  it('the example custom-store runs without its statePath', async (t) => {
    const example = await install(t, 'custom-store')
    const { ring, folder, node, text } = example
    const script = text('devices.mjs')
    const without = script.replace(/^ +statePath: .*\n/m, '')
    assert.notEqual(without, script)
    writeFileSync(join(folder, 'devices.mjs'), without)
    listsTheDevices(await node('devices.mjs', { RING_REFRESH_TOKEN: ring.mint(EMAIL) }))
    for (let i = 0; i < 2; i++) {
      listsTheDevices(await node('devices.mjs'))
      isTheNewest(example, JSON.parse(text('settings.json')).ringRefreshToken)
    }
    assert.equal(ring.counts.rotations, 3, 'nothing else remembers an access token')
    assert.deepEqual(readdirSync(folder).sort(), ['devices.mjs', 'node_modules', 'settings.json'])
  })

  it('the example shell runs', { skip: shell }, async (t) => {
    const example = await install(t, 'shell')
    const { ring, folder, run, text } = example
    const empty = await run('./devices.sh', [])
    assert.equal(empty.code, 3, empty.stderr)
    assert.match(empty.stderr, /ring-auth/)
    assert.equal(empty.stdout, '')
    const given = ring.mint(EMAIL)
    const first = await run(process.execPath, [
      '--input-type=module',
      '-e',
      `
      import { RingTokenManager } from 'ring-auth'
      const manager = new RingTokenManager({
        oauthUrl: ${JSON.stringify(ring.oauthUrl)}, refreshToken: ${JSON.stringify(given)}, store: { type: 'file', path: 'ring-auth.json' },
      })
      await manager.getAccessToken()
      await manager.close()
    `,
    ])
    assert.equal(first.code, 0, first.stderr)
    for (let i = 2; i <= 3; i++) {
      grownOld(join(folder, 'ring-auth.json'))
      const { code, stdout, stderr } = await run('./devices.sh', [])
      assert.equal(code, 0, stderr)
      assert.equal(JSON.parse(stdout).doorbots[0].description, 'Front Door')
      assert.equal(ring.counts.rotations, i)
      isTheNewest(example, JSON.parse(text('ring-auth.json')).current.token)
    }
    const seen = ring.requests.filter(({ path }) => path === '/clients_api/ring_devices')
    assert.equal(seen.length, 2)
    assert.ok(
      seen.every(
        ({ headers }) => headers['hardware_id'] !== undefined && /^curl/.test(headers['user-agent'] ?? '') === false,
      ),
    )
    // Ring rejects the token: the script reports that, and prints nothing that looks like an answer.
    ring.fault({ kind: 'status', path: '/clients_api/ring_devices', status: 500, body: 'oops' })
    const refused = await run('./devices.sh', [])
    assert.notEqual(refused.code, 0)
    assert.equal(refused.stdout, '')
  })

  for (const [script, path, login] of /** @type {const} */ ([
    ['service.mjs', '/', false],
    ['node-http.mjs', '/ring/', true],
    ['express.mjs', '/ring/', true],
  ])) {
    it(`the example web-login/${script} runs`, async (t) => {
      const example = await install(t, 'web-login')
      const { ring, folder, text } = example
      if (script === 'express.mjs') {
        const express = join(root, '__test__', 'browser', 'node_modules')
        for (const name of readdirSync(express)) {
          if (!name.startsWith('.') && !existsSync(join(folder, 'node_modules', name)))
            linkPackage(join(express, name), join(folder, 'node_modules'))
        }
      }
      const port = await freePort()
      const program = example.start(script, { PORT: String(port), ADMIN_PASSWORD: 'open sesame' })
      atEnd(t, 'manager', () => program.end())
      const [link] = await until(
        () => /http:\S+|Listening/.exec(program.output()),
        () => program.output(),
      )
      const url = login ? `http://127.0.0.1:${port}` : String(link).replace(/\/#.*/, '')
      if (login) assert.equal((await fetch(`${url}${path}`)).status, 401)
      /** @type {Record<string, string>} */
      const own = login ? { authorization: `Basic ${Buffer.from('admin:open sesame').toString('base64')}` } : {}
      const post = async (
        /** @type {string} */ step,
        /** @type {object} */ body,
        /** @type {Record<string, string>} */ more = {},
      ) => {
        const headers = { ...own, ...more, origin: url, 'content-type': 'application/json' }
        const response = await fetch(`${url}${path}api/${step}`, {
          method: 'POST',
          headers,
          body: JSON.stringify(body),
        })
        assert.equal(response.status, 200)
        return /** @type {any} */ (await response.json())
      }
      assert.match(await (await fetch(`${url}${path}`, { headers: own })).text(), /Log in to Ring/)
      if (!login) {
        const { session } = await post('session', {}, { 'x-ring-auth-secret': String(link).split('#')[1] ?? '' })
        own['x-ring-auth-session'] = session
      }
      assert.equal((await post('login', { email: EMAIL, password: PASSWORD })).step, 'code')
      assert.deepEqual(await post('code', { code: ring.codeFor() }), { step: 'done' })
      isTheNewest(example, JSON.parse(text('ring-auth.json')).current.token)
      if (login) assert.match(await (await fetch(url, { headers: own })).text(), /^Ring: ready/)
      else
        await until(
          () => /Logged in\. The access token is valid until 20/.test(program.output()),
          () => program.output(),
        )
    })
  }
})
