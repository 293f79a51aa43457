// @ts-check
// Another package of the program puts something on Object.prototype. The program has not passed it to ring-auth, so it does not count.
// Each case runs in a process of its own, because everything in it sees what is put there.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  EMAIL,
  optionsFor,
  PASSWORD,
  rawOf,
  readJournal,
  root,
  runScript,
  startRing,
  tempDir,
  until,
  wrap,
} from './support/index.mjs'
import { startProxy } from './support/proxy.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const CANARY = 'cNaRy7f3a'

/** `everybodyHas(name, value)` puts something on Object.prototype; `without(name)` takes it away again. */
const PRELUDE = `
  // Node makes these when they are first needed, with options that it reads from Object.prototype.
  void [process.stdout, process.stderr]
  import { createRequire } from 'node:module'
  const require = createRequire(${JSON.stringify(join(root, 'package.json'))})
  const everybodyHas = (things) => {
    for (const [name, value] of Object.entries(things))
      Object.defineProperty(Object.prototype, name, { value, writable: true, configurable: true, enumerable: true })
  }
  const nobodyHas = (things) => {
    for (const name of Object.keys(things)) delete Object.prototype[name]
  }
`

/**
 * Runs a script, and returns its output.
 * @param {TestContext} t
 * @param {string} source
 * @param {object} config
 * @param {NodeJS.ProcessEnv} [env]
 */
async function said(t, source, config, env = process.env) {
  const { code, stdout, stderr } = await runScript(t, PRELUDE + source, config, { env }).ended
  assert.equal(code, 0, `${stdout}\n${stderr}`)
  return stdout.trim()
}

/** A fake Ring, and one that no request should reach. @param {TestContext} t */
async function twoRings(t) {
  const ring = await startRing(t, { canary: CANARY })
  const evil = await startRing(t)
  return { ring, evil, folder: tempDir(t) }
}

describe('what another package puts on Object.prototype', { concurrency: 2 }, () => {
  it('a property of Object.prototype is not the host that gets the refresh token', async (t) => {
    const { ring, evil } = await twoRings(t)
    // Requests for Ring end at a proxy that forwards nothing.
    const proxy = await startProxy(t, () => undefined)
    const env = { ...process.env, HTTPS_PROXY: proxy.url, NO_PROXY: '' }
    const source = `
      everybodyHas({ oauthUrl: config.evil.oauthUrl, apiUrl: config.evil.apiUrl })
      const { RingRestClient } = require('ring-auth/rest-client')
      const options = { refreshToken: config.token }
      for (const asked of [
        () => new RingTokenManager(options).getAccessToken(),
        () => new RingTokenManager({ ...options, store: { type: 'memory' } }).refresh(),
        () => new RingRestClient(options).getAuth(),
      ]) {
        asked().catch(() => {})
      }
    `
    const child = runScript(t, PRELUDE + source, { root, evil: optionsFor(evil), token: ring.mint() }, { env })
    await until(
      () => proxy.asked.length >= 3 || evil.requests.length > 0,
      () => `requests, not ${child.stderr()}`,
    )
    assert.equal(evil.requests.length, 0)
    assert.deepEqual([...new Set(proxy.asked.map((line) => line.split(' ')[1]))], ['oauth.ring.com:443'])
  })

  it('a property of Object.prototype is not the host that gets the access token', async (t) => {
    const { ring, evil } = await twoRings(t)
    const proxy = await startProxy(t, () => undefined)
    const env = { ...process.env, HTTPS_PROXY: proxy.url, NO_PROXY: '' }
    const source = `
      everybodyHas({ apiUrl: config.evil.apiUrl })
      const { RingRestClient } = require('ring-auth/rest-client')
      const client = new RingRestClient({ refreshToken: config.token, oauthUrl: config.ring.oauthUrl })
      await client.request({ url: config.evil.apiUrl + '/clients_api/x' }).then(() => say('an answer'), (error) => say(error.code))
      process.exit()
    `
    const config = { ring: optionsFor(ring), evil: optionsFor(evil), token: ring.mint() }
    assert.equal(await said(t, source, config, env), 'INVALID_ARGUMENT')
    assert.equal(evil.requests.length, 0)
  })

  it('a property of Object.prototype is no store, and no part of one', async (t) => {
    const { ring, folder } = await twoRings(t)
    const [mine, evil] = [join(folder, 'mine'), join(folder, 'evil')]
    const source = `
      const tokens = JSON.parse(require('node:fs').readFileSync(config.tokens, 'utf8'))
      const evil = {
        store: { type: 'file', path: config.evil },
        caller: { load: () => 'a token of somebody else', save: () => {} },
        type: 'file', kind: 'file', path: config.evil, configPath: config.evil, statePath: config.evil, platform: 'Evil', name: 'Evil', key: 'EVIL',
        load: () => 'a token of somebody else', save: () => {}, token: 'a token of somebody else', failed: 'evil',
      }
      /** A manager that is made and used while every object inherits one of these values. */
      const used = async (name, store) => {
        everybodyHas({ [name]: evil[name] })
        try {
          const manager = new RingTokenManager({ ...config.options, ...(store && { store }), refreshToken: tokens.shift() })
          try {
            const { refreshToken } = await manager.refresh()
            return refreshToken
          } finally {
            await manager.close()
          }
        } catch (error) {
          return error.code ?? error.stack
        } finally {
          nobodyHas(evil)
        }
      }
      class Kept {
        saved = null
        load() { return this.saved }
        save(token) { this.saved = token }
      }
      let number = 0
      for (const name of Object.keys(evil)) {
        const at = config.mine + number++
        const stores = {
          none: undefined,
          memory: { type: 'memory' },
          file: { type: 'file', path: at },
          dotenv: { type: 'dotenv', path: at + '.env', statePath: at + '.state' },
          own: new Kept(),
          plain: (({ load, save }) => ({ load, save }))({ load: () => null, save: () => {} }),
        }
        for (const [kind, store] of Object.entries(stores)) {
          const outcome = await used(name, store)
          if (!outcome.startsWith('ey')) say(name + ' beside ' + kind + ': ' + outcome)
        }
        // Half a store does not count as a store.
        for (const store of [{}, { type: 'file' }, { type: 'dotenv' }, { save() {} }, { load() {} }]) {
          const outcome = await used(name, store)
          if (outcome !== 'INVALID_ARGUMENT') say(name + ' beside ' + Object.keys(store) + ': ' + outcome)
        }
      }
      say('done')
    `
    // In a file: on Windows a variable of the environment holds 32,767 characters.
    const tokens = join(folder, 'tokens')
    writeFileSync(tokens, JSON.stringify(Array.from({ length: 400 }, () => ring.mint())))
    const config = { options: optionsFor(ring, { systemId: undefined }), mine, evil, tokens }
    assert.equal(await said(t, source, config), 'done')
    assert.throws(() => readFileSync(evil), { code: 'ENOENT' })
    // No file is in a place that the program has not passed.
    assert.equal(readJournal(`${mine}0`).issuer, ring.oauthUrl)
  })

  it('a property of Object.prototype is no option of a manager, of a call, of a login or of a request', async (t) => {
    const { ring, evil } = await twoRings(t)
    const source = `
      const things = {
        refreshToken: config.stolen, systemId: 'evil', controlCenterDisplayName: 'evil', loginFlow: 'evil', userAgent: 'evil/1',
        requestTimeoutMs: 1, autoRefresh: true, logger: () => say('logged'), force: true, signal: AbortSignal.abort(), email: 'evil@example.com',
        password: 'evil', url: 'http://evil.invalid/', method: 'DELETE', json: { evil: true }, body: 'evil', headers: { evil: 'yes' },
        timeout: 1, redirect: 'manual', allowNoResponse: true, responseType: 'buffer', timeoutMs: 1, error: { code: 'EVIL', message: 'evil' },
        auth: { accessToken: 'evil' }, step: { authenticated: true }, twoFactor: { method: 'evil', prompt: 'evil' }, answer: {}, noToken: true,
        httpStatus: 7, retryAfterMs: 7, cause: 'evil', next: () => say('told'), closed: true, rt: 'evil', pnc: { evil: true }, hid: 'evil',
      }
      const { RingRestClient } = require('ring-auth/rest-client')
      for (const name of Object.keys(things)) {
        everybodyHas({ [name]: things[name] })
        try {
          const manager = new RingTokenManager({ oauthUrl: config.options.oauthUrl, apiUrl: config.options.apiUrl, store: { type: 'memory' } })
          if (manager.refreshToken !== null) say(name + ': a token of somebody else')
          manager.onRefreshTokenUpdated.subscribe({})
          await manager.setRefreshToken(config.tokens.shift())
          const { accessToken } = await manager.refresh({})
          if ((await manager.getAccessToken({})) !== accessToken) say(name + ': another access token')
          await manager.close()
          const client = new RingRestClient({ ...config.options, refreshToken: config.tokens.shift() })
          client.onRefreshTokenUpdated.subscribe({})
          const answer = await client.request({ url: config.options.apiUrl + '/clients_api/x' })
          if (Buffer.isBuffer(answer)) say(name + ': an answer of another kind')
          if (client._internalOnly_pushNotificationCredentials !== undefined) say(name + ': push credentials of somebody else')
          await client.close()
          const login = new RingTokenManager({ ...config.options, loginFlow: 'password' })
          const step = await login.login({ email: config.email, password: config.password })
          if (Object.hasOwn(step, 'twoFactor') !== true) say(name + ': no code')
          await login.login({}).then(() => say(name + ': a login'), (error) => {
            if (error.code !== 'INVALID_ARGUMENT') say(name + ': ' + error.code)
            for (const field of ['httpStatus', 'retryAfterMs', 'cause']) if (Object.hasOwn(error, field)) say(name + ': ' + field)
          })
          await login.close()
        } catch (error) {
          say(name + ': ' + error.stack)
        } finally {
          nobodyHas(things)
        }
      }
      say('done')
    `
    const tokens = Array.from({ length: 100 }, () => ring.mint())
    const options = optionsFor(ring, { systemId: undefined })
    ring.settings.maxCodesPerWindow = tokens.length
    const config = { options, tokens, stolen: evil.mint(), email: EMAIL, password: PASSWORD }
    assert.equal(await said(t, source, config), 'done')
    assert.equal(evil.requests.length, 0)
    for (const { headers, method, body } of ring.requests) {
      assert.notEqual(headers['user-agent'], 'evil/1')
      assert.equal(headers['evil'], undefined)
      assert.notEqual(method, 'DELETE')
      assert.ok(!String(body).includes('evil'))
    }
  })

  it('a property of Object.prototype of another realm is not used either', async (t) => {
    const { ring } = await twoRings(t)
    const source = `
      const vm = require('node:vm')
      const realm = vm.createContext({ given: config.options })
      // Plain http to another machine would be refused.
      const options = vm.runInContext("Object.prototype.oauthUrl = 'http://evil.invalid'; ({ ...given, oauthUrl: undefined })", realm)
      delete options.oauthUrl
      const manager = new RingTokenManager(options)
      say(manager.status.state)
      await manager.close()
    `
    assert.equal(await said(t, source, { options: optionsFor(ring) }), 'needs-login')
  })

  it('a setter on Object.prototype does not get the values of the caller', async (t) => {
    const { ring, folder } = await twoRings(t)
    const source = `
      const { RingRestClient } = require('ring-auth/rest-client')
      // Not the names that Node's own classes set on objects, because Node itself would fail.
      const names = [
        'refreshToken', 'oauthUrl', 'apiUrl', 'store', 'systemId', 'kind', 'statePath', 'key', 'token', 'failed', 'newRefreshToken',
        'oldRefreshToken', 'accessToken', 'persisted', 'prompt', 'destination', 'retryAt', 'resendInSeconds', 'twoFactor', 'load', 'save',
      ]
      const things = Object.fromEntries(names.map((name) => [name, undefined]))
      for (const name of names) {
        // Called when the property is set on an object that does not have it itself.
        const set = () => heardOf.push(name)
        Object.defineProperty(Object.prototype, name, { get: () => undefined, set, configurable: true })
      }
      const heardOf = []
      const manager = new RingTokenManager({ ...config.options, refreshToken: config.tokens.shift(), store: { type: 'dotenv', path: config.path } })
      await manager.refresh()
      await manager.close()
      const client = new RingRestClient({ ...config.options, refreshToken: config.tokens.shift() })
      client.onRefreshTokenUpdated.subscribe(() => {})
      await client.request({ url: config.options.apiUrl + '/clients_api/x' })
      await client.close()
      let kept = config.tokens.shift()
      const own = new RingTokenManager({ ...config.options, store: { load: () => kept, save: (token) => void (kept = token) } })
      await own.refresh()
      await own.close()
      nobodyHas(things)
      say(heardOf.join() || 'nothing')
    `
    const config = {
      options: optionsFor(ring, { systemId: undefined }),
      path: join(folder, '.env'),
      tokens: [ring.mint(), ring.mint(), ring.mint()],
    }
    assert.equal(await said(t, source, config), 'nothing')
  })

  it('a property that a class of the caller defines counts', async (t) => {
    const { ring, folder } = await twoRings(t)
    const path = join(folder, 'journal')
    const source = `
      class Options {
        constructor(token) { this.refreshToken = token }
        get oauthUrl() { return config.options.oauthUrl }
        get apiUrl() { return config.options.apiUrl }
        get store() { return new Store() }
        toString() { return 'options' }
      }
      class Store {
        get type() { return 'file' }
        get path() { return config.path }
      }
      class Listener { next({ newRefreshToken }) { say(newRefreshToken) } }
      const manager = new RingTokenManager(new Options(config.token))
      manager.onRefreshTokenUpdated.subscribe(new Listener())
      const base = { force: true }
      await manager.refresh(Object.create(base))
      await manager.close()
    `
    const token = await said(t, source, { options: optionsFor(ring), path, token: ring.mint() })
    assert.equal(rawOf(token), ring.newest())
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
  })
})

it('attachToRingApi does not take a signal from Object.prototype', async (t) => {
  const { ring } = await twoRings(t)
  const source = `
    const { attachToRingApi } = require('ring-auth')
    const subject = () => ({ next() {}, subscribe: () => ({ unsubscribe() {} }) })
    class RestClient {
      refreshToken = config.token
      authConfig = { rt: config.token }
      hardwareIdPromise = 'x'; timeouts = []; sessionPromise = undefined; _authPromise = undefined
      onRefreshTokenUpdated = subject(); onSession = subject()
      baseSessionMetadata = { api_version: 11, device_model: 'x' }
      getAuth() {} getCurrentAuth() {} getSession() {} request() {} clearTimeouts() {} refreshAuth() {} refreshSession() {}
    }
    const manager = new RingTokenManager({ ...config.options, refreshToken: config.token })
    const ringApi = { restClient: new RestClient() }
    attachToRingApi(ringApi, manager)
    const things = { signal: AbortSignal.abort(), url: 'http://evil.invalid', responseType: 'buffer' }
    everybodyHas(things)
    const answer = await ringApi.restClient.request({ url: config.options.apiUrl + '/clients_api/x' })
    nobodyHas(things)
    say(Buffer.isBuffer(answer) ? 'a buffer' : 'an answer')
    await manager.close()
  `
  assert.equal(
    await said(t, source, {
      options: optionsFor(ring),
      token: wrap({ rt: ring.mint(), hid: 'b2c1f1de-6b0c-4d5e-9d56-1f5c8d1f8a11' }),
    }),
    'an answer',
  )
})
