// @ts-check
// A project that uses the installed package, on any runtime: `guest.mjs SCENARIO`, with its settings in the
// environment. It uses only what every runtime has, and reports to the host of the test on standard output.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import * as esm from 'ring-auth'

const { RingAuthError, RingTokenManager, parseRefreshToken } = esm
/** @type {{ options: import('ring-auth').RingTokenManagerOptions, path: string, more: any }} */
const { options, path, more } = JSON.parse(String(process.env['RING_AUTH_GUEST']))
const store = { type: /** @type {const} */ ('file'), path }

/** @param {unknown} value */
const say = (value) => console.log(JSON.stringify(value))

/** @param {() => unknown} condition */
async function until(condition) {
  while (!condition()) await sleep(10)
}

/** @param {() => unknown} call @param {string} code @param {boolean} transient */
async function rejects(call, code, transient) {
  try {
    await call()
  } catch (error) {
    assert.ok(error instanceof RingAuthError && error instanceof Error, String(error))
    assert.deepEqual({ code: error.code, transient: error.transient }, { code, transient }, error.message)
    return error
  }
  return assert.fail(`expected ${code}`)
}

/** @type {Record<string, () => unknown>} */
const scenarios = {
  names() {
    const cjs = createRequire(import.meta.url)('ring-auth')
    for (const name of /** @type {const} */ (['RingAuthError', 'RingTokenManager', 'parseRefreshToken'])) {
      // biome-ignore lint/performance/noDynamicNamespaceImportAccess: every name is compared, nothing is bundled
      assert.equal(cjs[name], esm[name], name)
    }
    assert.equal(
      parseRefreshToken(btoa(JSON.stringify({ rt: 'an-inner-token-of-a-guest', hid: 'device' }))).raw,
      'an-inner-token-of-a-guest',
    )
  },

  async login() {
    const manager = new RingTokenManager({ ...options, store })
    const step = await manager.login(more.credentials)
    assert.deepEqual(
      { authenticated: step.authenticated, method: step.twoFactor?.method },
      { authenticated: false, method: 'sms' },
    )
    await rejects(() => manager.getAccessToken(), 'TWO_FACTOR_REQUIRED', false)
    await rejects(() => manager.submitTwoFactorCode('000000'), 'TWO_FACTOR_INVALID', false)
    say('code')
    await until(() => existsSync(more.codeFile) && readFileSync(more.codeFile, 'utf8').length > 0)
    assert.deepEqual(await manager.submitTwoFactorCode(readFileSync(more.codeFile, 'utf8')), { authenticated: true })
    say(await manager.getAuth())
    await manager.close()
  },

  async rotate() {
    const manager = new RingTokenManager({ ...options, store })
    /** @type {import('ring-auth').RefreshTokenUpdate[]} */
    const updates = []
    /** @type {string[]} */
    const states = []
    manager.onRefreshTokenUpdated.subscribe((update) => updates.push(update))
    manager.onStatus.subscribe(({ state }) => states.push(state))
    for (let i = 0; i < 5; i++) await manager.refresh()
    const { accessToken } = await manager.getAuth()
    manager.invalidateAccessToken(accessToken)
    const tokens = new Set(await Promise.all(Array.from({ length: 20 }, () => manager.getAccessToken())))
    assert.equal(tokens.size, 1)
    assert.ok(!tokens.has(accessToken))
    await until(() => updates.length === 6)
    for (const [i, update] of updates.entries())
      if (i > 0) assert.equal(update.oldRefreshToken, updates[i - 1]?.newRefreshToken)
    assert.equal(updates.at(-1)?.newRefreshToken, manager.refreshToken)
    manager.onRefreshTokenUpdated.subscribe((late) => assert.equal(late.newRefreshToken, manager.refreshToken))
    assert.ok(states.includes('refreshing') && states.includes('ready'), states.join())
    assert.deepEqual(
      { state: manager.status.state, persisted: manager.status.persisted },
      { state: 'ready', persisted: true },
    )
    await manager.close()
    // The file alone, with an access token that still works.
    const second = new RingTokenManager({ ...without(options, 'refreshToken'), store })
    assert.ok(tokens.has(await second.getAccessToken()))
    await second.close()
  },

  async errors() {
    await rejects(
      () => new RingTokenManager(/** @type {any} */ ({ ...options, unknown: 1 })),
      'INVALID_ARGUMENT',
      false,
    )
    const manager = new RingTokenManager(without(options, 'refreshToken'))
    await rejects(() => manager.getAccessToken(), 'NO_REFRESH_TOKEN', false)
    await rejects(() => manager.login({ ...more.credentials, password: 'wrong' }), 'INVALID_CREDENTIALS', false)
    const dead = new RingTokenManager({ ...options, refreshToken: 'a-token-that-ring-never-gave' })
    const rejected = await rejects(() => dead.getAccessToken(), 'REFRESH_TOKEN_REJECTED', false)
    assert.equal(rejected.httpStatus, 401)
    const nowhere = new RingTokenManager({ ...options, oauthUrl: more.nowhere })
    const unreachable = await rejects(() => nowhere.getAccessToken(), 'NETWORK', true)
    assert.ok(unreachable.cause, unreachable.message)
    await rejects(() => nowhere.refresh({ signal: AbortSignal.abort() }), 'ABORTED', false)
  },

  async close() {
    const manager = new RingTokenManager({ ...options, store })
    const refresh = manager.refresh()
    await Promise.all([manager.close(), manager.close()])
    await refresh
    await rejects(() => manager.getAccessToken(), 'CLOSED', false)
    await rejects(() => manager.refresh(), 'CLOSED', false)
    assert.equal(typeof manager[Symbol.asyncDispose], 'function')
  },

  /** A rotation that is not awaited, with a manager that is not closed: the process has to stay until the token is written, and then to end. */
  ends() {
    void new RingTokenManager({ ...options, store }).refresh()
  },

  async exits() {
    const manager = new RingTokenManager({ ...options, store })
    manager.onRefreshTokenUpdated.subscribe(() => process.exit(7))
    await manager.refresh()
    await sleep(60_000)
  },

  /** A process that is killed while it waits for the answer. */
  async hangs() {
    await new RingTokenManager({ ...options, store }).refresh()
  },

  async resumes() {
    const manager = new RingTokenManager({ ...options, store })
    say(await manager.getAuth())
    await manager.close()
  },

  async worker() {
    const run = (/** @type {string} */ scenario) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), { argv: [scenario] })
        worker.on('error', reject)
        worker.on('exit', (code) =>
          code === 0 ? resolve(undefined) : reject(new Error(`${scenario} in a worker: ${code}`)),
        )
      })
    await run('resumes')
    await Promise.all([run('resumes'), run('resumes')])
    await scenarios['resumes']?.()
  },

  /** Two plugins with one file, each with its own copy of the package. */
  async copies() {
    const other = createRequire(more.copy)('ring-auth')
    assert.notEqual(other.RingTokenManager, RingTokenManager)
    const managers = [new RingTokenManager({ ...options, store }), new other.RingTokenManager({ ...options, store })]
    for (let i = 0; i < 5; i++) await Promise.all(managers.map((manager) => manager.refresh()))
    const error = await rejects(() => new other.RingTokenManager({ unknown: 1 }), 'INVALID_ARGUMENT', false)
    assert.ok(error instanceof other.RingAuthError && error instanceof RingAuthError)
    await Promise.all(managers.map((manager) => manager.close()))
  },
}

/**
 * @template {object} T @template {keyof T} K
 * @param {T} object @param {K} key
 * @returns {Omit<T, K>}
 */
function without(object, key) {
  const { [key]: _, ...rest } = object
  return rest
}

const scenario = scenarios[process.argv[2] ?? ''] ?? assert.fail(`no scenario ${process.argv[2]}`)
await scenario()
