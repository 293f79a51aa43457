// @ts-check
// The public classes over a binding made by hand: what they check, what they pass on, and what they make of the results.
// These tests need no binary.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'

const require = createRequire(import.meta.url)
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const managerPath = join(root, 'lib', 'manager.js')
const { createExports } = require(managerPath)

const SECRET = 'canary-7f3a'
const AUTH = {
  accessToken: `access-${SECRET}`,
  tokenType: 'Bearer',
  scope: 'client',
  expiresAt: 1700000000000,
  refreshToken: `refresh-${SECRET}`,
  hardwareId: 'hid',
}
const FAILURE = {
  code: 'RATE_LIMITED',
  message: 'Too many requests',
  transient: true,
  httpStatus: 429,
  retryAfterMs: 5000,
}

/** A binding whose manager returns the values in `answers`, and which records its calls. */
function fakeBinding() {
  const fake = {
    /** @type {any[][]} */
    calls: [],
    /** @type {Record<string, any>} */
    answers: {},
    /** @type {((event: any) => void)[]} One for each manager, with the number that it was opened with. */
    listeners: [],
    /** The number of event channels that were made. */
    eventsMade: 0,
    /** @type {unknown} */
    openResult: undefined,
    busy: false,
    /** @param {any} event */
    emit(event) {
      for (const listener of fake.listeners) listener(event)
    },
    binding: {
      BindingEvents: class {
        /** @type {any[]} */
        waiting = []
        /** @param {() => void} listener */
        constructor(listener) {
          fake.eventsMade++
          this.listener = listener
        }
        next() {
          return this.waiting.shift() ?? null
        }
      },
      BindingWaiting: class {
        end() {
          fake.calls.push(['end'])
        }
      },
      /** @param {unknown} options @param {{ waiting: any[], listener: () => void }} events @param {number} manager */
      open(options, events, manager) {
        // The native part reads properties, and ignores prototypes.
        fake.calls.push(['open', structuredClone(options)])
        fake.listeners.push((event) => {
          events.waiting.push({ manager, ...event })
          events.listener()
        })
        return fake.openResult ?? { type: 'manager', manager: makeManager() }
      },
      /** @param {string} token */
      parseRefreshToken(token) {
        fake.calls.push(['parseRefreshToken', token])
        return fake.answers['parseRefreshToken'] ?? { type: 'token', raw: token, hasPushCredentials: false }
      },
      isBusy: () => fake.busy,
      untilIdle: async () => {
        fake.busy = false
      },
    },
  }

  /** @param {string} name @param {() => unknown} fallback */
  function answer(name, fallback) {
    /** @param {unknown[]} args */
    return (...args) => {
      fake.calls.push([name, ...args])
      const given = fake.answers[name]
      return typeof given === 'function' ? given(...args) : given === undefined ? fallback() : given
    }
  }

  function makeManager() {
    const step = async () => ({ type: 'step', step: { authenticated: true } })
    return {
      cachedAuth: answer('cachedAuth', () => null),
      cachedAccessToken: answer('cachedAccessToken', () => null),
      getAuth: answer('getAuth', async () => ({ type: 'auth', auth: AUTH })),
      refresh: answer('refresh', async () => ({ type: 'auth', auth: AUTH })),
      login: answer('login', step),
      submitTwoFactorCode: answer('submitTwoFactorCode', step),
      resendTwoFactorCode: answer('resendTwoFactorCode', step),
      invalidateAccessToken: answer('invalidateAccessToken', () => null),
      waitForLogin: answer('waitForLogin', async () => ({ type: 'done' })),
      setRefreshToken: answer('setRefreshToken', async () => ({ type: 'done' })),
      setPushCredentials: answer('setPushCredentials', async () => ({ type: 'done' })),
      close: answer('close', async () => {}),
      get refreshToken() {
        return AUTH.refreshToken
      },
      get hardwareId() {
        return null
      },
      get status() {
        return fake.answers['status'] ?? { state: 'ready', persisted: true }
      },
    }
  }
  return fake
}

/** @type {ReturnType<typeof fakeBinding>} */
let fake
/** @type {Function[]} */
let listenersBefore
// Programs in JavaScript may pass anything, and so do these tests.
/** @type {any} */
let RingTokenManager
/** @type {any} */
let RingAuthError
/** @type {any} */
let parseRefreshToken

beforeEach(() => {
  listenersBefore = process.listeners('beforeExit')
  fake = fakeBinding()
  ;({ RingTokenManager, RingAuthError, parseRefreshToken } = createExports(fake.binding))
})

// Each test loads the public classes again, with process listeners of their own. None of them may outlive its test.
afterEach(() => {
  for (const listener of process.listeners('beforeExit')) {
    if (!listenersBefore.includes(listener)) process.off('beforeExit', listener)
  }
})

const called = () => fake.calls.map(([name]) => name)
const forever = () => new Promise(() => {})
const tick = () => new Promise((resolve) => setImmediate(resolve))

/** @param {RegExp} pattern */
function refusal(pattern) {
  /** @param {any} error */
  return (error) => {
    assert.ok(error instanceof RingAuthError, inspect(error))
    assert.equal(error.code, 'INVALID_ARGUMENT')
    assert.equal(error.transient, false)
    assert.match(error.message, pattern)
    assert.ok(!inspect(error).includes(SECRET))
    return true
  }
}

describe('constructor', () => {
  it('the constructor passes every option on', () => {
    const logger = () => {}
    new RingTokenManager({
      refreshToken: 'token',
      store: { type: 'file', path: '/data/ring.json' },
      systemId: 'system',
      controlCenterDisplayName: 'name',
      loginFlow: 'pkce',
      userAgent: 'agent',
      oauthUrl: 'http://127.0.0.1:1',
      apiUrl: 'http://127.0.0.1:2',
      requestTimeoutMs: 1500.9,
      autoRefresh: true,
      logger,
    })
    assert.deepEqual(fake.calls, [
      [
        'open',
        {
          refreshToken: 'token',
          store: { type: 'file', path: '/data/ring.json' },
          systemId: 'system',
          controlCenterDisplayName: 'name',
          userAgent: 'agent',
          oauthUrl: 'http://127.0.0.1:1',
          apiUrl: 'http://127.0.0.1:2',
          loginFlow: 'pkce',
          requestTimeoutMs: 1500,
          autoRefresh: true,
        },
      ],
    ])
  })

  for (const [what, options] of [
    ['nothing', undefined],
    ['no options', {}],
    [
      'undefined options',
      { refreshToken: undefined, store: undefined, logger: undefined, requestTimeoutMs: undefined },
    ],
    ['the memory store', { store: { type: 'memory' } }],
    ['no prototype', Object.assign(Object.create(null), { store: { type: 'memory' } })],
  ]) {
    it(`the constructor takes ${what}`, () => {
      new RingTokenManager(options)
      assert.deepEqual(fake.calls, [['open', {}]])
    })
  }

  it('the constructor takes an empty refresh token: the store may hold one', () => {
    new RingTokenManager({ refreshToken: '' })
    assert.deepEqual(fake.calls, [['open', { refreshToken: '' }]])
  })

  it('the constructor leaves it to the core what a refresh token is, and passes only the beginning of a long text', () => {
    for (const refreshToken of ['x'.repeat(65536), 'é'.repeat(32769), 'x'.repeat(262_145), 'undefined', ' "x"\n']) {
      new RingTokenManager({ refreshToken })
      assert.deepEqual(fake.calls.pop(), ['open', { refreshToken }])
    }
    new RingTokenManager({ refreshToken: 'x'.repeat(300_000) })
    assert.deepEqual(fake.calls.pop(), ['open', { refreshToken: 'x'.repeat(262_145) }])
  })

  const throwing = {
    get refreshToken() {
      throw new Error(SECRET)
    },
  }
  for (const [options, pattern] of /** @type {[unknown, RegExp][]} */ ([
    [null, /^options must be an object, got null$/],
    [SECRET, /^options must be an object, got a string$/],
    [[SECRET], /^options must be an object, got an array$/],
    [throwing, /^options cannot be read/],
    [{ refreshtoken: SECRET }, /^options\.refreshtoken is not an option; did you mean refreshToken\?$/],
    [{ refershToken: SECRET }, /did you mean refreshToken\?/],
    [{ autoRefersh: true }, /^options\.autoRefersh is not an option; did you mean autoRefresh\?$/],
    [{ timeout: 5 }, /did you mean requestTimeoutMs\?/],
    [{ debug: true }, /^options\.debug is not an option; known are refreshToken, store, /],
    [{ email: SECRET }, /^options\.email is not an option/],
    [{ __proto__: null, constructor: 1 }, /^options\.constructor is not an option/],
    [{ ['x'.repeat(5000)]: 1 }, /^options\.x{40}… is not an option/],
    [{ refreshToken: null }, /^options\.refreshToken must be a string, got null$/],
    [{ refreshToken: Buffer.from(SECRET) }, /^options\.refreshToken must be a string, got an object$/],
    [{ systemId: 5 }, /^options\.systemId must be a string, got a number$/],
    [{ controlCenterDisplayName: '' }, /^options\.controlCenterDisplayName must not be empty$/],
    [{ userAgent: ' ' }, /^options\.userAgent must not be empty$/],
    [{ oauthUrl: new URL('https://oauth.ring.com') }, /^options\.oauthUrl must be a string, got an object$/],
    [{ apiUrl: false }, /^options\.apiUrl must be a string, got a boolean$/],
    [{ loginFlow: 'oauth' }, /^options\.loginFlow must be "auto", "pkce" or "password"$/],
    [{ loginFlow: 1 }, /^options\.loginFlow must be .*, got a number$/],
    [{ requestTimeoutMs: '20000' }, /^options\.requestTimeoutMs must be a number, got a string$/],
    [{ requestTimeoutMs: 20000n }, /^options\.requestTimeoutMs must be a number, got a bigint$/],
    [{ requestTimeoutMs: NaN }, /^options\.requestTimeoutMs must be from 1 to 2147483647 milliseconds$/],
    [{ requestTimeoutMs: Infinity }, /^options\.requestTimeoutMs must be from/],
    [{ requestTimeoutMs: 0 }, /^options\.requestTimeoutMs must be from/],
    [{ requestTimeoutMs: -1 }, /^options\.requestTimeoutMs must be from/],
    [{ requestTimeoutMs: 2 ** 31 }, /^options\.requestTimeoutMs must be from/],
    [{ autoRefresh: 'yes' }, /^options\.autoRefresh must be a boolean, got a string$/],
    [
      { logger: 'x' },
      /^options\.logger must be a function, or an object with the methods error, warn and info, got a string$/,
    ],
    [{ logger: null }, /^options\.logger must be a function, .*, got null$/],
    [
      { logger: {} },
      /^options\.logger must be a function, or an object with the methods error, warn and info; it has no method error$/,
    ],
    [{ logger: { error() {}, warn: 'x', info() {} } }, /^options\.logger must be .*; it has no method warn$/],
    [{ logger: { error() {}, warn() {}, debug() {} } }, /^options\.logger must be .*; it has no method info$/],
    [
      {
        logger: {
          get error() {
            throw new Error(SECRET)
          },
        },
      },
      /^options\.logger cannot be read: one of its properties threw an error$/,
    ],
    [{ store: null }, /^options\.store must be an object, got null$/],
    [{ store: '/data/ring.json' }, /^options\.store must be an object, got a string$/],
    [{ store: {} }, /^options\.store\.type must be "memory", "file", "homebridge" or "dotenv", or .*, got undefined$/],
    [{ store: { type: 5 } }, /^options\.store\.type must be "memory", .*, got a number$/],
    [
      { store: { type: SECRET } },
      /^options\.store\.type must be "memory", "file", "homebridge" or "dotenv", or the store an object with load and save, or load and commit$/,
    ],
    [
      { store: { type: 'homebrige', configPath: '/c' } },
      /^options\.store\.type must be "memory", "file", "homebridge" or "dotenv", or the store an object with load and save, or load and commit; did you mean "homebridge"\?$/,
    ],
    [{ store: { type: 'fiel', path: '/c' } }, /; did you mean "file"\?$/],
    [{ store: { type: 'Memory' } }, /; did you mean "memory"\?$/],
    [{ store: { type: 'file', apth: '/c' } }, /^options\.store\.apth is not an option; did you mean path\?$/],
    [{ store: { type: 'homebridge' } }, /^options\.store\.configPath must be a string, got undefined$/],
    [
      { store: { type: 'homebridge', configPath: '/c', path: '/c' } },
      /^options\.store\.path is not an option; did you mean/,
    ],
    [
      { store: { type: 'homebridge', configPath: '/c', addBlock: 'yes' } },
      /^options\.store\.addBlock must be a boolean, got a string$/,
    ],
    [{ store: { type: 'file', path: '/x', addBlock: true } }, /^options\.store\.addBlock is not an option/],
    [{ store: { type: 'homebridge', configPath: '/c', name: '' } }, /^options\.store\.name must not be empty$/],
    [
      { store: { type: 'homebridge', configPath: '/c', statePath: 5 } },
      /^options\.store\.statePath must be a string, got a number$/,
    ],
    [{ store: { type: 'dotenv', path: '' } }, /^options\.store\.path must not be empty$/],
    [{ store: { type: 'dotenv', path: '.env', name: 'A' } }, /^options\.store\.name is not an option/],
    [{ store: { load() {} } }, /^options\.store\.save must be a function, got undefined$/],
    [{ store: { load: SECRET, save() {} } }, /^options\.store\.load must be a function, got a string$/],
    [{ store: { load() {}, save() {}, statePath: '' } }, /^options\.store\.statePath must not be empty$/],
    [{ store: { type: 'memory', path: '/x' } }, /^options\.store\.path is not an option/],
    [{ store: { type: 'file', path: '/x', pth: 1 } }, /^options\.store\.pth is not an option/],
    [{ store: { type: 'file' } }, /^options\.store\.path must be a string, got undefined$/],
    [{ store: { type: 'file', path: '' } }, /^options\.store\.path must not be empty$/],
    [{ store: { type: 'file', path: '/x\0y' } }, /^options\.store\.path must not contain a null character$/],
  ])) {
    it(`the constructor refuses with ${pattern}`, () => {
      assert.throws(() => new RingTokenManager(options), refusal(pattern))
      assert.deepEqual(fake.calls, [], 'checks come before anything native')
    })
  }

  it('the constructor throws the error of the native part', () => {
    fake.openResult = {
      type: 'failed',
      error: { code: 'STORE', message: 'Cannot read', transient: false, cause: 'EACCES' },
    }
    assert.throws(
      () => new RingTokenManager(),
      (/** @type {any} */ error) =>
        error instanceof RingAuthError && error.code === 'STORE' && error.cause === 'EACCES',
    )
  })
})

describe('RingAuthError', () => {
  /** @param {unknown} error @returns {Promise<any>} */
  async function failure(error) {
    fake.answers.getAuth = async () => ({ type: 'failed', error })
    return new RingTokenManager().getAuth().then(assert.fail, (/** @type {unknown} */ caught) => caught)
  }

  it('a RingAuthError has every field that applies', async () => {
    const error = await failure({ ...FAILURE, cause: 'slow down' })
    assert.ok(error instanceof Error)
    assert.equal(error.name, 'RingAuthError')
    assert.equal(String(error), 'RingAuthError: Too many requests')
    const { code, message, transient, httpStatus, retryAfterMs, cause } =
      /** @type {import('../index.js').RingAuthError} */ (error)
    assert.deepEqual({ code, message, transient, httpStatus, retryAfterMs, cause }, { ...FAILURE, cause: 'slow down' })
  })

  it('a RingAuthError has no field that does not apply', async () => {
    for (const nothing of [undefined, null]) {
      const error = await failure({
        code: 'NETWORK',
        message: 'No answer',
        transient: true,
        httpStatus: nothing,
        retryAfterMs: nothing,
        cause: nothing,
      })
      assert.deepEqual(Object.keys(error), ['code', 'transient'])
      assert.equal('cause' in error, false)
    }
  })

  it('a RingAuthError is recognised across two copies of the package', async (t) => {
    // Another folder, as another plugin's node_modules would be.
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-copy-'))
    t.after(() => rmSync(folder, { recursive: true }))
    cpSync(join(root, 'lib'), join(folder, 'lib'), { recursive: true })
    const other = require(join(folder, 'lib', 'manager.js'))
    assert.notEqual(other.RingAuthError, RingAuthError)
    const error = await failure(FAILURE)
    assert.ok(error instanceof other.RingAuthError)
    for (const value of [new Error('x'), null, undefined, 'CLOSED', {}, { code: 'CLOSED' }]) {
      assert.ok(!(value instanceof RingAuthError))
    }
  })

  it('a RingAuthError leaves instanceof of a subclass as it is', async () => {
    const Mine = /** @type {any} */ (class extends RingAuthError {})
    assert.ok(!((await failure(FAILURE)) instanceof Mine))
    assert.ok(new Mine('CLOSED', 'closed') instanceof Mine)
    assert.ok(new Mine('CLOSED', 'closed') instanceof RingAuthError)
  })

  it('a RingAuthError has the caller in its stack', async () => {
    fake.answers.getAuth = async () => {
      await tick()
      return { type: 'failed', error: FAILURE }
    }
    const manager = new RingTokenManager()
    /** @param {unknown} options */
    async function theCaller(options) {
      return await manager.getAccessToken(options)
    }
    for (const options of [undefined, { signal: new AbortController().signal }]) {
      const error = await theCaller(options).then(assert.fail, (/** @type {any} */ caught) => caught)
      assert.match(error.stack, /theCaller/)
    }
  })

  it('a RingAuthError replaces the error of a native call that throws or rejects, without its words', async () => {
    const bad = () => {
      throw new Error(SECRET)
    }
    const manager = new RingTokenManager()
    fake.answers = { getAuth: async () => bad(), refresh: bad, invalidateAccessToken: bad, close: async () => bad() }
    /** @param {unknown} error */
    const check = (error) => {
      assert.ok(error instanceof RingAuthError)
      assert.ok(!inspect(error).includes(SECRET))
      return true
    }
    await assert.rejects(manager.getAuth(), check)
    await assert.rejects(manager.refresh(), check)
    assert.throws(() => manager.invalidateAccessToken('x'), check)
    await assert.rejects(manager.close(), check)
    fake.answers = { cachedAccessToken: bad, cachedAuth: bad, getAuth: async () => ({}), login: async () => ({}) }
    await assert.rejects(manager.getAccessToken(), check)
    await assert.rejects(manager.getAuth(), check)
    fake.answers = { getAuth: async () => ({}), login: async () => ({}) }
    await assert.rejects(manager.getAuth(), check)
    await assert.rejects(manager.login({ email: 'a', password: 'b' }), check)
  })
})

describe('access tokens', () => {
  it('access tokens come from the cache without an asynchronous call', async () => {
    fake.answers = { cachedAccessToken: 'cached', cachedAuth: AUTH }
    const manager = new RingTokenManager()
    assert.equal(await manager.getAccessToken(), 'cached')
    assert.equal(await manager.getAccessToken({}), 'cached')
    assert.equal(await manager.getAuth(), AUTH)
    assert.deepEqual(called(), ['open', 'cachedAccessToken', 'cachedAccessToken', 'cachedAuth'])
  })

  it('access tokens are requested if the cache has none', async () => {
    const manager = new RingTokenManager()
    assert.equal(await manager.getAccessToken(), AUTH.accessToken)
    assert.deepEqual(await manager.getAuth({ signal: undefined }), AUTH)
    assert.deepEqual(called(), ['open', 'cachedAccessToken', 'getAuth', 'cachedAuth', 'getAuth'])
  })

  it('refresh passes force on', async () => {
    const manager = new RingTokenManager()
    assert.deepEqual(await manager.refresh(), AUTH)
    await manager.refresh({ force: undefined })
    await manager.refresh({ force: true })
    assert.deepEqual(fake.calls.slice(1), [
      ['refresh', false],
      ['refresh', false],
      ['refresh', true],
    ])
  })

  it('invalidateAccessToken throws the error of the native part', () => {
    const manager = new RingTokenManager()
    assert.equal(manager.invalidateAccessToken('token'), undefined)
    fake.answers.invalidateAccessToken = { code: 'CLOSED', message: 'Closed', transient: false }
    assert.throws(() => manager.invalidateAccessToken('token'), { code: 'CLOSED' })
    for (const bad of [undefined, null, 5, '', ' ']) {
      assert.throws(() => manager.invalidateAccessToken(bad), refusal(/^accessToken must /))
    }
  })

  it('a call with invalid options rejects', async () => {
    const manager = new RingTokenManager()
    for (const [options, pattern] of /** @type {[unknown, RegExp][]} */ ([
      [null, /^options must be an object, got null$/],
      [true, /^options must be an object, got a boolean$/],
      [{ singal: 1 }, /^options\.singal is not an option; did you mean signal\?$/],
      [{ signal: null }, /^options\.signal must be an AbortSignal, got null$/],
      [{ signal: new AbortController() }, /^options\.signal must be an AbortSignal, got an object$/],
      [{ signal: Object.create(AbortSignal.prototype) }, /^options\.signal must be an AbortSignal/],
    ])) {
      for (const method of ['getAccessToken', 'getAuth', 'refresh']) {
        await assert.rejects(manager[method](options), refusal(pattern))
      }
    }
    await assert.rejects(manager.getAccessToken({ force: true }), refusal(/^options\.force is not an option/))
    await assert.rejects(manager.refresh({ force: 1 }), refusal(/^options\.force must be a boolean, got a number$/))
    assert.deepEqual(called(), ['open'])
  })
})

describe('signal', () => {
  it('a signal that was aborted before the call rejects it at once, without a native call', async () => {
    fake.answers.cachedAccessToken = 'cached'
    const manager = new RingTokenManager()
    const reason = new Error('enough')
    for (const method of ['getAccessToken', 'getAuth', 'refresh']) {
      const error = await manager[method]({ signal: AbortSignal.abort(reason) }).then(
        assert.fail,
        (/** @type {unknown} */ caught) => caught,
      )
      assert.ok(error instanceof RingAuthError)
      assert.equal(error.code, 'ABORTED')
      assert.equal(error.transient, false)
      assert.equal(error.cause, reason)
    }
    assert.deepEqual(called(), ['open'])
  })

  it('a signal that is aborted during the call rejects it, and the native call continues and its failure is dropped', async () => {
    let fail = (/** @type {Error} */ _error) => {}
    fake.answers.getAuth = () => new Promise((_, reject) => (fail = reject))
    const manager = new RingTokenManager()
    const controller = new AbortController()
    let own = 0
    controller.signal.onabort = () => own++
    const call = manager.getAccessToken({ signal: controller.signal })
    controller.abort()
    await assert.rejects(
      call,
      (/** @type {any} */ error) => error.code === 'ABORTED' && error.cause.name === 'AbortError',
    )
    assert.equal(own, 1)
    fail(new Error('late'))
    await tick()
  })

  it('a signal that is aborted during waitForLogin ends the native wait', async () => {
    fake.answers.waitForLogin = forever
    const manager = new RingTokenManager()
    const controller = new AbortController()
    const call = manager.waitForLogin({ signal: controller.signal })
    await tick()
    assert.deepEqual(called(), ['open', 'waitForLogin'])
    controller.abort()
    await assert.rejects(call, (/** @type {any} */ error) => error.code === 'ABORTED')
    assert.deepEqual(called(), ['open', 'waitForLogin', 'end'])
  })

  it('a signal aborts only one of many callers', async () => {
    let answer = (/** @type {unknown} */ _value) => {}
    const answered = new Promise((resolve) => (answer = resolve))
    fake.answers.getAuth = () => answered
    const manager = new RingTokenManager()
    const controller = new AbortController()
    const others = [manager.getAuth(), manager.getAuth({ signal: new AbortController().signal })]
    const one = manager.getAuth({ signal: controller.signal })
    controller.abort()
    await assert.rejects(one, { code: 'ABORTED' })
    answer({ type: 'auth', auth: AUTH })
    assert.deepEqual(await Promise.all(others), [AUTH, AUTH])
  })

  it('a signal that many calls share gets one listener, which is removed afterwards, and causes no warning', async (t) => {
    /** @type {Error[]} */
    const warnings = []
    /** @param {Error} warning */
    const onWarning = (warning) => warnings.push(warning)
    process.on('warning', onWarning)
    t.after(() => process.off('warning', onWarning))
    const { signal } = new AbortController()
    let listeners = 0
    let added = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = function (...args) {
      listeners++
      added++
      return addEventListener.apply(this, args)
    }
    signal.removeEventListener = function (...args) {
      listeners--
      return removeEventListener.apply(this, args)
    }
    const manager = new RingTokenManager()
    for (let round = 1; round <= 2; round++) {
      await Promise.all(Array.from({ length: 100 }, () => manager.getAuth({ signal })))
      assert.deepEqual({ listeners, added }, { listeners: 0, added: round })
    }
    fake.answers.getAuth = async () => ({ type: 'failed', error: FAILURE })
    await Promise.allSettled(Array.from({ length: 100 }, () => manager.getAuth({ signal })))
    assert.equal(listeners, 0)
    await tick()
    assert.deepEqual(warnings, [])
  })

  it('a signal that many calls share aborts them all', async () => {
    fake.answers.getAuth = forever
    const manager = new RingTokenManager()
    const controller = new AbortController()
    const calls = Array.from({ length: 20 }, () => manager.getAuth({ signal: controller.signal }))
    controller.abort('why')
    for (const { reason } of /** @type {PromiseRejectedResult[]} */ (await Promise.allSettled(calls))) {
      assert.equal(reason.code, 'ABORTED')
      assert.equal(reason.cause, 'why')
    }
  })

  it('a signal of another implementation works, and one without listeners is an error that leaves nothing unhandled', async () => {
    const manager = new RingTokenManager()
    const signal = {
      aborted: false,
      addEventListener() {
        throw new Error(SECRET)
      },
      removeEventListener() {},
    }
    fake.answers.getAuth = async () => {
      throw new Error('late')
    }
    await assert.rejects(manager.getAuth({ signal }), (/** @type {unknown} */ error) => error instanceof RingAuthError)
    await tick()
    const target = Object.assign(new EventTarget(), { aborted: false })
    fake.answers.getAuth = forever
    const call = manager.getAuth({ signal: target })
    target.dispatchEvent(new Event('abort'))
    await assert.rejects(call, (/** @type {any} */ error) => error.code === 'ABORTED' && !('cause' in error))
  })
})

describe('login', () => {
  it('login passes the password on unchanged', async () => {
    const manager = new RingTokenManager()
    assert.deepEqual(await manager.login({ email: 'a@example.com', password: '  p"+ä ' }), { authenticated: true })
    assert.deepEqual(fake.calls[1], ['login', 'a@example.com', '  p"+ä '])
    await manager.login({ email: 'a', password: '   ' })
  })

  it("login passes an authenticator's secret on unchanged", async () => {
    const manager = new RingTokenManager()
    await manager.login({ email: 'a', password: 'b', totpSecret: 'jbsw y3dp' })
    assert.deepEqual(fake.calls[1], ['login', 'a', 'b', 'jbsw y3dp'])
    await manager.login({ email: 'a', password: 'b', totpSecret: undefined })
    assert.deepEqual(fake.calls[2], ['login', 'a', 'b'])
  })

  it('login returns the step without empty fields', async () => {
    fake.answers.login = async () => ({
      type: 'step',
      step: {
        authenticated: false,
        twoFactor: { method: 'unknown', destination: null, resendInSeconds: undefined, prompt: 'Code' },
      },
    })
    const manager = new RingTokenManager()
    assert.deepEqual(await manager.login({ email: 'a', password: 'b' }), {
      authenticated: false,
      twoFactor: { method: 'unknown', prompt: 'Code' },
    })
    const twoFactor = { method: 'sms', destination: '+1xxxxxxxx89', resendInSeconds: 60, prompt: 'Code' }
    fake.answers.resendTwoFactorCode = async () => ({ type: 'step', step: { authenticated: false, twoFactor } })
    assert.deepEqual(await manager.resendTwoFactorCode(), { authenticated: false, twoFactor })
    assert.deepEqual(await manager.submitTwoFactorCode('012345'), { authenticated: true })
    assert.deepEqual(fake.calls.at(-1), ['submitTwoFactorCode', '012345'])
  })

  it('login rejects invalid arguments', async () => {
    const manager = new RingTokenManager()
    for (const [credentials, pattern] of /** @type {[unknown, RegExp][]} */ ([
      [undefined, /^credentials must be an object, got undefined$/],
      [{}, /^credentials\.email must be a string, got undefined$/],
      [{ email: '', password: SECRET }, /^credentials\.email must not be empty$/],
      [{ email: 'a' }, /^credentials\.password must be a string, got undefined$/],
      [{ email: 'a', password: 12345678 }, /^credentials\.password must be a string, got a number$/],
      [{ email: 'a', password: '' }, /^credentials\.password must not be empty$/],
      [{ email: 'a', password: 'b', totpSecret: null }, /^credentials\.totpSecret must be a string, got null$/],
      [{ email: 'a', password: 'b', totpSecret: ' ' }, /^credentials\.totpSecret must not be empty$/],
    ])) {
      await assert.rejects(manager.login(credentials), refusal(pattern))
    }
    await assert.rejects(manager.submitTwoFactorCode(123456), refusal(/^code must be a string, got a number: .* 0$/))
    await assert.rejects(manager.submitTwoFactorCode(' '), refusal(/^code must not be empty$/))
    await assert.rejects(manager.submitTwoFactorCode(), refusal(/^code must be a string, got undefined$/))
    assert.deepEqual(called(), ['open'])
  })
})

describe('setters', () => {
  it('setRefreshToken passes a token on, and rejects what is too long or no string', async () => {
    const manager = new RingTokenManager()
    assert.equal(await manager.setRefreshToken('token'), undefined)
    assert.deepEqual(fake.calls[1], ['setRefreshToken', 'token'])
    await assert.rejects(manager.setRefreshToken(''), refusal(/^refreshToken must not be empty$/))
    await assert.rejects(manager.setRefreshToken(null), refusal(/^refreshToken must be a string, got null$/))
    await manager.setRefreshToken('x'.repeat(131_072))
    // The wrapper of a token may be longer than a text from a person.
    await manager.setRefreshToken(Buffer.from(JSON.stringify({ rt: 'x'.repeat(131_072) })).toString('base64'))
    for (const text of [
      'x'.repeat(131_073),
      'é'.repeat(65_537),
      Buffer.from(JSON.stringify({ rt: 'x'.repeat(300_000) })).toString('base64'),
    ]) {
      await assert.rejects(manager.setRefreshToken(text), refusal(/^refreshToken is longer than 128 KiB/))
    }
    fake.answers.setRefreshToken = async () => ({ type: 'failed', error: FAILURE })
    await assert.rejects(manager.setRefreshToken('token'), { code: 'RATE_LIMITED' })
  })

  it('setPushCredentials passes an object on as JSON, and rejects everything else', async () => {
    const manager = new RingTokenManager()
    assert.equal(await manager.setPushCredentials({ a: [1], b: undefined }), undefined)
    await manager.setPushCredentials({})
    await manager.setPushCredentials(null)
    assert.deepEqual(
      fake.calls.slice(1).map(([, json]) => json),
      ['{"a":[1]}', '{}', null],
    )
    /** @type {Record<string, unknown>} */
    const cycle = {}
    cycle['cycle'] = cycle
    for (const [pnc, pattern] of /** @type {[unknown, RegExp][]} */ ([
      [undefined, /^pnc must be an object or null, got undefined$/],
      ['{}', /^pnc must be an object or null, got a string$/],
      [[], /^pnc must be an object or null, got an array$/],
      [() => {}, /^pnc must be an object or null, got a function$/],
      [cycle, /^pnc cannot be written as JSON/],
      [{ a: 1n }, /^pnc cannot be written as JSON/],
      [new Date(), /^pnc must be an object in JSON too$/],
      [{ toJSON() {} }, /^pnc must be an object in JSON too$/],
    ])) {
      await assert.rejects(manager.setPushCredentials(pnc), refusal(pattern))
    }
  })
})

describe('getters', () => {
  it('the getters read from the native part', () => {
    const manager = new RingTokenManager()
    assert.equal(manager.refreshToken, AUTH.refreshToken)
    assert.equal(manager.hardwareId, null)
    assert.deepEqual(manager.status, { state: 'ready', persisted: true })
    fake.answers.status = { state: 'waiting', code: 'BLOCKED', message: 'Blocked', retryAt: 5, persisted: false }
    assert.deepEqual(manager.status, fake.answers.status)
    fake.answers.status = { state: 'idle', code: null, message: null, retryAt: null, persisted: false }
    assert.deepEqual(Object.keys(manager.status), ['state', 'persisted'])
  })

  it('the getters cannot be assigned', () => {
    const manager = new RingTokenManager()
    for (const name of ['refreshToken', 'hardwareId', 'status', 'onStatus', 'onRefreshTokenUpdated']) {
      assert.throws(() => {
        manager[name] = 'x'
      }, TypeError)
    }
  })
})

describe('observables', () => {
  const first = { type: 'token', newRefreshToken: 'one' }
  const second = { type: 'token', oldRefreshToken: 'one', newRefreshToken: 'two' }

  it('onRefreshTokenUpdated calls functions and observers, in order, and replays the last one', () => {
    const manager = new RingTokenManager()
    /** @type {any[]} */
    const seen = []
    const observer = {
      /** @param {unknown} value */
      next(value) {
        assert.equal(this, observer)
        seen.push(['b', value])
      },
    }
    const a = manager.onRefreshTokenUpdated.subscribe((/** @type {any} */ value) => seen.push(['a', value]))
    manager.onRefreshTokenUpdated.subscribe(observer)
    manager.onRefreshTokenUpdated.subscribe({})
    assert.deepEqual(seen, [])
    fake.emit(first)
    assert.deepEqual(seen, [
      ['a', { newRefreshToken: 'one' }],
      ['b', { newRefreshToken: 'one' }],
    ])
    a.unsubscribe()
    a.unsubscribe()
    fake.emit(second)
    assert.deepEqual(seen.slice(2), [['b', { oldRefreshToken: 'one', newRefreshToken: 'two' }]])
    /** @type {string[]} */
    const late = []
    manager.onRefreshTokenUpdated.subscribe((/** @type {any} */ value) => late.push(value.newRefreshToken))
    assert.deepEqual(late, ['two'])
  })

  it('onRefreshTokenUpdated replays a token that came before the first subscriber', () => {
    const manager = new RingTokenManager()
    fake.emit(first)
    let seen
    manager.onRefreshTokenUpdated.subscribe({ next: (/** @type {unknown} */ value) => (seen = value) })
    assert.deepEqual(seen, { newRefreshToken: 'one' })
  })

  it('onStatus replays nothing', () => {
    const manager = new RingTokenManager()
    /** @type {any[]} */
    const seen = []
    /** @param {string} state */
    const emit = (state) => fake.emit({ type: 'status', status: { state, persisted: true, code: null } })
    emit('refreshing')
    manager.onStatus.subscribe((/** @type {any} */ value) => seen.push(value))
    emit('ready')
    assert.deepEqual(seen, [{ state: 'ready', persisted: true }])
  })

  it('the observables are the same objects each time, one of each for a manager', () => {
    const manager = new RingTokenManager()
    assert.equal(manager.onStatus, manager.onStatus)
    assert.equal(manager.onRefreshTokenUpdated, manager.onRefreshTokenUpdated)
    assert.notEqual(manager.onStatus, new RingTokenManager().onStatus)
  })

  it('the events of all managers come over one channel, and go to their own manager until its end', () => {
    const fake = fakeBinding()
    const { RingTokenManager } = createExports(fake.binding)
    /** @type {unknown[]} */
    const seen = []
    for (const name of ['a', 'b']) {
      new RingTokenManager().onRefreshTokenUpdated.subscribe((/** @type {any} */ update) =>
        seen.push([name, update.newRefreshToken]),
      )
    }
    assert.deepEqual([fake.listeners.length, fake.eventsMade], [2, 1])
    const [a, b] = fake.listeners
    b?.({ type: 'token', newRefreshToken: '1' })
    a?.({ type: 'token', newRefreshToken: '2' })
    a?.({ type: 'end' })
    a?.({ type: 'token', newRefreshToken: '3' })
    b?.({ type: 'token', newRefreshToken: '4' })
    assert.deepEqual(seen, [
      ['b', '1'],
      ['a', '2'],
      ['b', '4'],
    ])
  })

  it('the same listener can be subscribed twice', () => {
    const manager = new RingTokenManager()
    let count = 0
    const listener = () => count++
    const one = manager.onStatus.subscribe(listener)
    manager.onStatus.subscribe(listener)
    fake.emit({ type: 'status', status: { state: 'ready', persisted: true } })
    one.unsubscribe()
    fake.emit({ type: 'status', status: { state: 'ready', persisted: true } })
    assert.equal(count, 3)
  })

  it('a listener may unsubscribe another one meanwhile', () => {
    const manager = new RingTokenManager()
    /** @type {{ unsubscribe(): void }} */
    let other
    /** @type {any[]} */
    const seen = []
    manager.onStatus.subscribe(() => {
      seen.push('first')
      other.unsubscribe()
    })
    other = manager.onStatus.subscribe(() => seen.push('other'))
    fake.emit({ type: 'status', status: { state: 'ready', persisted: true } })
    assert.deepEqual(seen, ['first'])
  })

  it('the observables refuse a listener that cannot be called', () => {
    const manager = new RingTokenManager()
    assert.throws(() => manager.onStatus.subscribe(), refusal(/^the listener of onStatus must be .*, got undefined$/))
    assert.throws(() => manager.onStatus.subscribe(null), refusal(/got null$/))
    assert.throws(
      () => manager.onStatus.subscribe({ next: 5 }),
      refusal(/^next of the listener of onStatus must be a function/),
    )
  })

  it('a listener that fails is reported without its words, and does not stop the others', async () => {
    /** @type {import('../index.js').LogEntry[]} */
    const log = []
    const manager = new RingTokenManager({
      logger: (/** @type {import('../index.js').LogEntry} */ entry) => log.push(entry),
    })
    const failure = Object.assign(new TypeError(`cannot save ${SECRET}`), { code: 'ENOSPC' })
    /** @type {any[]} */
    const seen = []
    manager.onRefreshTokenUpdated.subscribe(() => {
      throw failure
    })
    manager.onRefreshTokenUpdated.subscribe(async () => {
      throw SECRET
    })
    manager.onRefreshTokenUpdated.subscribe(() => ({
      // biome-ignore lint/suspicious/noThenProperty: an object that looks like a promise is the case
      get then() {
        throw new Error(SECRET)
      },
    }))
    manager.onRefreshTokenUpdated.subscribe((/** @type {any} */ value) => seen.push(value))
    fake.emit(first)
    await tick()
    assert.equal(seen.length, 1)
    assert.equal(log.length, 3)
    assert.ok(log.every(({ level, message }) => level === 'error' && message.includes('onRefreshTokenUpdated')))
    assert.ok(!JSON.stringify(log).includes(SECRET))
    assert.match(String(log[0]?.message), /TypeError, ENOSPC/)
  })

  it('a listener that fails in the replay does not make subscribe throw', () => {
    const manager = new RingTokenManager({ logger() {} })
    fake.emit(first)
    manager.onRefreshTokenUpdated.subscribe(() => {
      throw new Error('x')
    })
  })

  it('a listener that fails without a logger is one warning of the process', async () => {
    const source = `
      const { createExports } = require(${JSON.stringify(managerPath)})
      let emit
      const { RingTokenManager } = createExports({
        BindingEvents: class {
          constructor(listener) { emit = (event) => { this.event = event; listener() } }
          next() { return this.event }
        },
        open: () => ({ manager: {} }), isBusy: () => false, untilIdle: async () => {},
      })
      const manager = new RingTokenManager()
      for (let i = 0; i < 3; i++) {
        manager.onStatus.subscribe(() => { throw new Error('${SECRET}') })
        manager.onStatus.subscribe(async () => { throw new Error('${SECRET}') })
      }
      emit({ manager: 0, type: 'status', status: { state: 'ready', persisted: true } })`
    const { status, stderr } = spawnSync(process.execPath, ['-e', source], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    assert.equal(stderr.match(/RingAuthWarning/g)?.length, 1, stderr)
    assert.ok(!stderr.includes(SECRET))
  })

  it('the observables follow the protocol of RxJS', () => {
    const manager = new RingTokenManager()
    assert.equal(manager.onStatus['@@observable'](), manager.onStatus)
    assert.equal(Symbol.observable, undefined)
    const symbols = /** @type {{ observable?: symbol }} */ (/** @type {unknown} */ (Symbol))
    try {
      symbols.observable = Symbol('observable')
      const { onStatus } = new RingTokenManager()
      assert.equal(onStatus[symbols.observable](), onStatus)
    } finally {
      delete symbols.observable
    }
    // As firstValueFrom() does it: the subscriber closes itself, and does not call unsubscribe().
    /** @type {any[]} */
    const seen = []
    const subscriber = {
      closed: false,
      /** @param {unknown} value */
      next(value) {
        seen.push(value)
        this.closed = true
      },
    }
    manager.onStatus.subscribe(subscriber)
    fake.emit({ type: 'status', status: { state: 'ready', persisted: true } })
    fake.emit({ type: 'status', status: { state: 'idle', persisted: true } })
    assert.equal(seen.length, 1)
  })

  it('unknown and broken events are ignored', () => {
    new RingTokenManager()
    for (const event of [
      { type: 'new' },
      { type: 'token' },
      { type: 'status' },
      { type: 'log' },
      {},
      null,
      undefined,
    ]) {
      fake.emit(event)
    }
  })
})

describe('logger', () => {
  it('the logger gets the messages', () => {
    /** @type {import('../index.js').LogEntry[]} */
    const log = []
    new RingTokenManager({ logger: (/** @type {import('../index.js').LogEntry} */ entry) => log.push(entry) })
    fake.emit({ type: 'log', level: 'warn', message: 'careful' })
    assert.deepEqual(log, [{ level: 'warn', message: 'careful' }])
  })

  it('the logger may throw and reject', async () => {
    new RingTokenManager({
      logger() {
        throw new Error('x')
      },
    })
    new RingTokenManager({
      async logger() {
        throw new Error('x')
      },
    })
    fake.emit({ type: 'log', level: 'warn', message: 'careful' })
    await tick()
  })

  const LEVELS = /** @type {const} */ (['error', 'warn', 'info', 'debug'])
  const emitAll = () => {
    for (const level of LEVELS) fake.emit({ type: 'log', level, message: `${level} 100%s` })
  }
  const ALL = LEVELS.map((level) => [level, `${level} 100%s`])

  it('the logger may be an object with a method for each level, which keep their this', () => {
    class Log {
      /** @type {unknown[][]} */
      #lines = []
      /** @param {unknown[]} given */
      error(...given) {
        this.#lines.push(['error', ...given])
      }
      /** @param {unknown[]} given */
      warn(...given) {
        this.#lines.push(['warn', ...given])
      }
      /** @param {unknown[]} given */
      info(...given) {
        this.#lines.push(['info', ...given])
      }
      /** @param {unknown[]} given */
      debug(...given) {
        this.#lines.push(['debug', ...given])
      }
      lines() {
        return this.#lines
      }
    }
    const log = new Log()
    new RingTokenManager({ logger: log })
    emitAll()
    assert.deepEqual(log.lines(), ALL)
  })

  it("the logger may be Homebridge's log, which can be called itself", () => {
    /** @type {unknown[][]} */
    const lines = []
    const log = Object.assign((/** @type {unknown} */ entry) => lines.push(['called', entry]), {
      prefix: 'Example',
      ...Object.fromEntries(
        ['success', 'log', ...LEVELS].map((name) => [
          name,
          (/** @type {unknown[]} */ ...given) => lines.push([name, ...given]),
        ]),
      ),
    })
    new RingTokenManager({ logger: log })
    emitAll()
    assert.deepEqual(lines, ALL)
  })

  it('the logger may be console', (t) => {
    for (const level of LEVELS) t.mock.method(console, level, () => {})
    new RingTokenManager({ logger: console })
    emitAll()
    const called = LEVELS.map((level) =>
      /** @type {any} */ (console[level]).mock.calls.map((/** @type {any} */ call) => call.arguments),
    )
    assert.deepEqual(
      called,
      ALL.map(([, message]) => [[message]]),
    )
  })

  it('the logger may replace its methods later, as pino does when its level changes', () => {
    /** @type {string[]} */
    const lines = []
    const silent = () => {}
    const log = {
      level: 'info',
      error: (/** @type {string} */ message) => lines.push(message),
      warn: (/** @type {string} */ message) => lines.push(message),
      info: (/** @type {string} */ message) => lines.push(message),
      debug: silent,
    }
    new RingTokenManager({ logger: log })
    emitAll()
    Object.assign(log, { info: silent, debug: log.error })
    emitAll()
    assert.deepEqual(
      lines,
      [...ALL.slice(0, 3), ...ALL.slice(0, 2), ...ALL.slice(3)].map(([, message]) => message),
    )
  })

  it('the logger may be an object without debug, or whose methods throw, reject or are gone by then', async () => {
    const reject = async () => {
      throw new Error('x')
    }
    const fail = () => {
      throw new Error('x')
    }
    const log = { error: fail, warn: reject, info() {} }
    const manager = new RingTokenManager({ logger: log })
    manager.onStatus.subscribe(fail)
    const failures = () => {
      emitAll()
      fake.emit({ type: 'status', status: { state: 'ready', persisted: true } })
    }
    failures()
    Object.assign(log, { error: undefined, warn: 7 })
    failures()
    await tick()
  })

  it('the logger has no method that only Object.prototype gives it', () => {
    const added = /** @type {any} */ (Object.prototype)
    /** @type {unknown[]} */
    const lines = []
    added.debug = (/** @type {unknown} */ message) => lines.push(message)
    try {
      new RingTokenManager({ logger: { error() {}, warn() {}, info() {} } })
      emitAll()
      added.error = added.warn = added.info = added.debug
      assert.throws(() => new RingTokenManager({ logger: {} }), refusal(/^options\.logger must be /))
    } finally {
      for (const level of LEVELS) delete added[level]
    }
    assert.deepEqual(lines, [])
  })
})

describe('close', () => {
  it('close is one promise, and leaves the getters', async () => {
    const manager = new RingTokenManager({ autoRefresh: true })
    const closing = manager.close()
    assert.equal(manager.close(), closing)
    assert.equal(manager[Symbol.asyncDispose](), closing)
    assert.equal(await closing, undefined)
    assert.deepEqual(called(), ['open', 'close'])
    assert.equal(manager.refreshToken, AUTH.refreshToken)
    assert.equal(manager.status.state, 'ready')
  })

  it('calls after close reject with the error of the native part', async () => {
    const manager = new RingTokenManager()
    await manager.close()
    const error = { code: 'CLOSED', message: 'Closed', transient: false }
    const closed = async () => ({ type: 'failed', error })
    fake.answers = { getAuth: closed, login: closed, refresh: closed }
    await assert.rejects(manager.getAccessToken(), { code: 'CLOSED' })
    await assert.rejects(manager.getAuth(), { code: 'CLOSED' })
    await assert.rejects(manager.refresh(), { code: 'CLOSED' })
    await assert.rejects(manager.login({ email: 'a', password: 'b' }), { code: 'CLOSED' })
  })
})

describe('parseRefreshToken', () => {
  it('parseRefreshToken returns the parts of a token', () => {
    assert.deepEqual(parseRefreshToken('token'), { raw: 'token', hasPushCredentials: false })
    fake.answers.parseRefreshToken = { type: 'token', raw: 'r', hardwareId: 'h', hasPushCredentials: true }
    assert.deepEqual(parseRefreshToken('token'), { raw: 'r', hardwareId: 'h', hasPushCredentials: true })
  })

  it('parseRefreshToken throws if the text is no token', () => {
    for (const bad of [undefined, null, 5, '', ' ', 'x'.repeat(140_000)]) {
      assert.throws(() => parseRefreshToken(bad), refusal(/^token /))
    }
    fake.answers.parseRefreshToken = {
      type: 'failed',
      error: { code: 'INVALID_ARGUMENT', message: 'Not a token', transient: false },
    }
    assert.throws(() => parseRefreshToken('token'), refusal(/^Not a token$/))
  })
})

describe('secrets', () => {
  it('secrets are in nothing that is printed', () => {
    const manager = new RingTokenManager({ refreshToken: `given-${SECRET}`, logger() {} })
    fake.emit({ type: 'token', newRefreshToken: SECRET })
    manager.onRefreshTokenUpdated.subscribe(() => {})
    for (const value of [manager, manager.onRefreshTokenUpdated, manager.onStatus, { deep: { manager } }]) {
      const printed = [
        inspect(value),
        inspect(value, { depth: null, showHidden: true }),
        inspect(value, { customInspect: false, depth: null }),
        JSON.stringify(value),
        String(value),
      ]
      for (const text of printed) assert.ok(!text?.includes(SECRET), text)
    }
    assert.equal(JSON.stringify(manager), '{"status":{"state":"ready","persisted":true}}')
    assert.equal(inspect(manager.onStatus), 'Observable { onStatus }')
    assert.match(inspect(manager), /^RingTokenManager \{ status: \{ state: 'ready', persisted: true \} \}$/)
  })
})

describe('the process', () => {
  /** Runs a script with a binding that is busy as often as `busy` says. @param {number} busy */
  function run(busy) {
    const source = `
      const { createExports } = require(${JSON.stringify(managerPath)})
      let busy = ${busy}
      let asked = 0
      const { RingTokenManager } = createExports({
        BindingEvents: class {},
        open: () => ({ manager: {} }),
        isBusy: () => busy > 0,
        untilIdle: () => new Promise((resolve) => setTimeout(() => { asked++; busy--; resolve() }, 50)),
      })
      if (process.listenerCount('beforeExit') !== 0) throw new Error('too early')
      for (let i = 0; i < 10000; i++) new RingTokenManager()
      if (process.listenerCount('beforeExit') !== 1) throw new Error('not one listener')
      process.on('exit', () => console.log(asked))`
    return spawnSync(process.execPath, ['-e', source], { encoding: 'utf8', timeout: 120_000 })
  }

  it('the process ends by itself with 10 000 managers open, without a warning', () => {
    const { status, stdout, stderr } = run(0)
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '0\n', stderr: '' })
  })

  it('the process waits for a rotation under way', () => {
    const { status, stdout } = run(1)
    assert.deepEqual({ status, stdout }, { status: 0, stdout: '1\n' })
  })

  it('the process does not wait for a rotation that never ends', () => {
    const { status, stdout } = run(Infinity)
    assert.deepEqual({ status, stdout }, { status: 0, stdout: '1\n' })
  })

  it('an idle manager without references can be collected, and one with autoRefresh after it is closed', () => {
    const source = `
      const { createExports } = require(${JSON.stringify(managerPath)})
      let listener
      const { RingTokenManager } = createExports({
        BindingEvents: class { constructor(dispatch) { listener = dispatch } next() {} },
        open: () => ({ manager: { close: async () => {} } }),
        isBusy: () => false, untilIdle: async () => {},
      })
      const weak = (autoRefresh) => new WeakRef(new RingTokenManager({ autoRefresh }))
      const idle = weak(false), open = weak(true), closed = weak(true)
      ;(async () => {
        await closed.deref().close()
        for (let i = 0; i < 500 && (idle.deref() || closed.deref()); i++) {
          await new Promise((resolve) => setTimeout(resolve, 10))
          gc()
        }
        console.log([idle, open, closed].map((ref) => ref.deref() !== undefined).join())
        void listener
      })()`
    const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '-e', source], { encoding: 'utf8' })
    assert.equal(stdout, 'false,true,false\n', stderr)
  })
})

describe('the entry point', () => {
  it('the entry point has its names in CommonJS and in ES modules', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-face-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const inside = join(folder, 'node_modules', 'ring-auth')
    for (const file of ['package.json', 'index.js', 'lib'])
      cpSync(join(root, file), join(inside, file), { recursive: true })
    writeFileSync(join(inside, 'lib', 'load.js'), 'exports.load = () => ({})')
    const names = ['RingAuthError', 'RingTokenManager', 'attachToRingApi', 'parseRefreshToken']
    writeFileSync(
      join(folder, 'main.mjs'),
      `import { RingTokenManager, RingAuthError, parseRefreshToken } from 'ring-auth'
       import { createRequire } from 'node:module'
       const cjs = createRequire(import.meta.url)('ring-auth')
       if (cjs.RingTokenManager !== RingTokenManager) throw new Error('two copies')
       console.log(Object.keys(cjs).sort().join(), [RingAuthError, parseRefreshToken].every(Boolean))`,
    )
    const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'main.mjs')], { encoding: 'utf8' })
    assert.equal(stdout, `${names.join()} true\n`, stderr)
  })
})
