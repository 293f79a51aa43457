// @ts-check
// The process of the login page inside Homebridge's UI, without the UI: its four messages, and its answers to problems.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EMAIL, PASSWORD, atEnd, parseRefreshToken, root, startRing, tempDir, until } from './support/index.mjs'
import { assertMode, signals } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const SECRETS = [EMAIL, PASSWORD, 'cNaRy7f3a']

/**
 * `server.js` of a plugin, as the UI forks it.
 * @param {TestContext} t
 * @param {Record<string, unknown>} options
 * @param {{ config?: string, from?: string, configPath?: string }} [how] `from`: the package
 */
async function open(t, options, { config = '{"platforms":[]}', from = root, configPath } = {}) {
  const storage = tempDir(t)
  const path = configPath ?? join(storage, 'config.json')
  if (configPath === undefined) writeFileSync(path, config)
  const script = join(storage, 'server.js')
  writeFileSync(
    script,
    `require(${JSON.stringify(join(from, 'lib/web/homebridge-ui.js'))}).serve(${JSON.stringify(options)})`,
  )
  const env = {
    PATH: process.env['PATH'],
    HOME: storage,
    HOMEBRIDGE_STORAGE_PATH: storage,
    HOMEBRIDGE_CONFIG_PATH: path,
  }
  const child = fork(script, [], { env, silent: true })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (output += text))
  /** @type {any[]} */
  const messages = []
  child.on('message', (message) => messages.push(message))
  const ended = new Promise((resolve) => child.on('exit', resolve))
  atEnd(t, 'manager', async () => {
    if (child.connected) child.disconnect()
    await ended
    assert.equal(output, '', 'what it prints goes into the log of Homebridge')
  })
  await until(() => messages.length > 0, 'ready')
  assert.deepEqual(messages[0], { action: 'ready', payload: { server: true } })
  let number = 0
  return {
    storage,
    path,
    ended,
    child,
    /** @param {string} name @param {unknown} [body] */
    ask: async (name, body) => {
      const requestId = `r${number++}`
      child.send({ action: 'request', requestId, path: `/ring-auth/${name}`, body })
      const { payload } = await until(() => messages.find((message) => message.payload.requestId === requestId), name)
      assert.equal(payload.success, true)
      return payload.data
    },
  }
}

/** @param {import('./fake-ring/index.mjs').FakeRing} ring */
const urls = (ring) => ({ oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, systemId: 'test' })

describe('the process of the page in Homebridge', () => {
  it('the process of the page in Homebridge stores the token in config.json before its answer, which alone has the token', async (t) => {
    const ring = await startRing(t, { canary: 'cNaRy7f3a' })
    const { ask, path, storage } = await open(t, { platform: 'Mine', managerOptions: urls(ring) })
    const page = await ask('page')
    assert.match(page, /ringAuthPage\(\{"place":"homebridge","platform":"Mine","schemaForm":true/)
    assert.ok(!page.includes('</'), 'it can stand in a script element')
    assert.deepEqual(await ask('status'), { step: 'account' })
    assert.equal(ring.requests.length, 0)
    assert.ok(!existsSync(join(storage, '.ring-auth')), 'a look writes nothing')
    const asked = await ask('login', { email: EMAIL, password: PASSWORD })
    assert.deepEqual([asked.step, asked.method, asked.refreshToken], ['code', 'sms', undefined])
    const note = join(storage, '.ring-auth', 'login-page.json')
    for (const secret of SECRETS) assert.ok(!readFileSync(note, 'utf8').includes(secret))
    assertMode(note, 0o600)
    const done = await ask('code', { code: ring.codeFor() })
    assert.equal(done.step, 'done')
    const [block] = JSON.parse(readFileSync(path, 'utf8')).platforms
    assert.deepEqual(block, { platform: 'Mine', name: 'Mine', refreshToken: done.refreshToken })
    assert.equal(parseRefreshToken(done.refreshToken).raw, ring.newest(EMAIL))
    assert.ok(!existsSync(note))
  })

  it('the process of the page in Homebridge reports problems of options, config.json and its blocks as data', async (t) => {
    const ring = await startRing(t)
    const account = { email: EMAIL, password: PASSWORD }
    for (const [options, config, code, pattern] of /** @type {const} */ ([
      [{}, undefined, 'INVALID_ARGUMENT', /options\.platform/],
      [{ platform: 'Mine', nothing: 1 }, undefined, 'INVALID_ARGUMENT', /options\.nothing/],
      [{ platform: 'Mine', managerOptions: { nothing: 1 } }, undefined, 'INVALID_ARGUMENT', /nothing/],
      [{ platform: 'Mine' }, '{ "platforms": [ }', 'STORE', /not valid JSON/],
      [{ platform: 'Mine' }, '{"platforms":[{"platform":"Mine"},{"platform":"Mine"}]}', 'INVALID_ARGUMENT', /2 blocks/],
    ])) {
      const { ask } = await open(
        t,
        { managerOptions: urls(ring), ...options },
        { ...(config === undefined ? {} : { config }) },
      )
      const { error, step } = await ask('login', account)
      assert.equal(step, 'account')
      assert.equal(error.code, code)
      assert.match(error.message, pattern)
    }
    assert.equal(ring.requests.length, 0, 'Ring is not asked')
    const { ask } = await open(t, {})
    assert.match(await ask('page'), /textContent = "ring-auth: options\.platform/)
    const { ask: missing } = await open(t, { platform: 'Mine' }, { configPath: '/nothing/config.json' })
    assert.equal((await missing('login', account)).error.code, 'STORE')
  })

  it('the process of the page in Homebridge reports a missing addon before a person types a password', async (t) => {
    const copy = join(tempDir(t), 'ring-auth')
    mkdirSync(copy)
    for (const name of ['package.json', 'index.js', 'lib'])
      cpSync(join(root, name), join(copy, name), { recursive: true })
    const { ask } = await open(t, { platform: 'Mine' }, { from: copy })
    assert.match(await ask('page'), /ringAuthPage/)
    const { error } = await ask('status')
    assert.equal(error.code, 'BINARY')
    assert.match(error.message, /npm/)
  })

  it('the process of the page in Homebridge ends with its dialogue, after a login that is being stored', {
    skip: signals,
  }, async (t) => {
    const ring = await startRing(t, {
      latencyMs: 200,
      accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'none' }],
    })
    const { ask, child, ended, path } = await open(t, { platform: 'Mine', managerOptions: urls(ring) })
    const login = ask('login', { email: EMAIL, password: PASSWORD }).catch(() => undefined)
    await until(() => ring.newest(EMAIL), 'the grant')
    child.kill('SIGTERM')
    await ended
    void login
    const [block] = JSON.parse(readFileSync(path, 'utf8')).platforms
    assert.ok(ring.isLive(parseRefreshToken(block.refreshToken).raw), 'the token that Ring gave is stored')
    assert.equal(ring.counts.stalePresentations, 0)
  })
})
