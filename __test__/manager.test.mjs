// @ts-check
// A manager in one process, with the memory store if the store does not matter: logins, calls, events, close.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  EMAIL,
  OUTAGE,
  PASSWORD,
  failure,
  fileStore,
  open,
  rawOf,
  readJournal,
  startRing,
  tempDir,
  unwrap,
  until,
  wrap,
} from './support/index.mjs'

const CREDENTIALS = { email: EMAIL, password: PASSWORD }

/** @typedef {import('./fake-ring/settings.mjs').TwoFactor} TwoFactor */
/** @type {{ loginFlow: 'auto' | 'pkce' | 'password' }[]} */
const FLOWS = [{ loginFlow: 'auto' }, { loginFlow: 'pkce' }, { loginFlow: 'password' }]

/** @param {TwoFactor} twoFactor */
const accounts = (twoFactor) => [{ email: EMAIL, password: PASSWORD, twoFactor, phone: '+1xxxxxxxx89' }]

describe('a login', { concurrency: true }, () => {
  for (const { loginFlow } of FLOWS) {
    /** @type {[TwoFactor, string, string | undefined][]} */
    const methods = [
      ['sms', 'sms', '+1xxxxxxxx89'],
      ['email', 'email', 'p****@example.com'],
      ['totp', 'totp', undefined],
      ['unknown', 'unknown', undefined],
      ['no-state', 'unknown', '+1xxxxxxxx89'],
    ]
    for (const [twoFactor, method, destination] of methods) {
      it(`a login by ${loginFlow} asks for the code of the method ${twoFactor}, and ends with a token that works`, async (t) => {
        const ring = await startRing(t, { accounts: accounts(twoFactor) })
        const { manager, updates } = open(t, ring, { loginFlow })
        const step = await manager.login(CREDENTIALS)
        assert.equal(step.authenticated, false)
        assert.equal(step.twoFactor?.method, method)
        assert.equal(step.twoFactor?.destination, destination)
        assert.match(String(step.twoFactor?.prompt), /^Please enter the code/)
        assert.equal(manager.refreshToken, null)
        assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
        assert.equal(ring.codesSent, twoFactor === 'totp' ? 0 : 1)
        assert.ok(ring.isAccessLive(await manager.getAccessToken()))
        assert.equal(rawOf(manager.refreshToken), ring.newest())
        assert.equal(unwrap(manager.refreshToken).hid, manager.hardwareId)
        assert.equal(
          new Set(ring.requests.map((request) => request.headers['hardware_id'])).size,
          1,
          'one device for Ring',
        )
        await until(() => updates.length > 0, 'the new token is announced')
        assert.equal(updates[0]?.oldRefreshToken, undefined)
        assert.equal(updates.at(-1)?.newRefreshToken, manager.refreshToken)
        assert.equal(ring.counts.stalePresentations, 0)
      })
    }

    it(`a login by ${loginFlow} of an account without a second factor is complete at once`, async (t) => {
      const ring = await startRing(t, { accounts: accounts('none') })
      const { manager } = open(t, ring, { loginFlow })
      assert.deepEqual(await manager.login(CREDENTIALS), { authenticated: true })
      assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    })

    it(`a login by ${loginFlow} sends an odd password unchanged`, async (t) => {
      const password = ` +&=%"'\\ üñ🔑 `
      const ring = await startRing(t, { accounts: [{ email: 'a+b@example.com', password, twoFactor: 'none' }] })
      const { manager } = open(t, ring, { loginFlow })
      assert.deepEqual(await manager.login({ email: 'a+b@example.com', password }), { authenticated: true })
    })

    it(`a login by ${loginFlow} still waits after a wrong code, and has no other one sent by itself`, async (t) => {
      const ring = await startRing(t)
      const { manager } = open(t, ring, { loginFlow })
      await manager.login(CREDENTIALS)
      const wrong = ring.codeFor() === '000000' ? '111111' : '000000'
      const error = await failure(manager.submitTwoFactorCode(wrong), 'TWO_FACTOR_INVALID')
      assert.equal(error.transient, false)
      await failure(manager.getAccessToken(), 'TWO_FACTOR_REQUIRED')
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
      assert.equal(ring.codesSent, 1)
    })

    it(`a login by ${loginFlow} that is asked for twice at once is one: one code, and the same step for both`, async (t) => {
      const ring = await startRing(t, { accounts: accounts('sms'), latencyMs: 50 })
      const { manager } = open(t, ring, { loginFlow })
      const steps = await Promise.all([1, 2, 3].map(() => manager.login(CREDENTIALS)))
      assert.equal(ring.codesSent, 1)
      assert.deepEqual(steps[1], steps[0])
      assert.deepEqual(steps[2], steps[0])
      // A code that is submitted twice, by a double click, is sent once.
      const code = String(ring.codeFor(EMAIL))
      const done = await Promise.all([1, 2].map(() => manager.submitTwoFactorCode(code)))
      assert.deepEqual(done, [{ authenticated: true }, { authenticated: true }])
      // A login that was answered is over: this is another one.
      assert.ok((await manager.login(CREDENTIALS)).twoFactor)
      assert.equal(ring.codesSent, 2)
    })

    it(`a login by ${loginFlow} with other credentials is another login, and the last one counts`, async (t) => {
      const others = { email: 'other@example.com', password: 'other password' }
      const both = [...accounts('sms'), { ...others, twoFactor: /** @type {TwoFactor} */ ('email') }]
      const ring = await startRing(t, { accounts: both, latencyMs: 50 })
      const { manager } = open(t, ring, { loginFlow })
      const [wrong, first, second] = await Promise.all([
        failure(manager.login({ ...CREDENTIALS, password: 'wrong' }), 'INVALID_CREDENTIALS'),
        manager.login(CREDENTIALS),
        manager.login(others),
      ])
      assert.ok(wrong)
      assert.deepEqual([first.twoFactor?.method, second.twoFactor?.method], ['sms', 'email'])
      assert.deepEqual([ring.codesSentTo(EMAIL), ring.codesSentTo(others.email)], [1, 1])
      await manager.submitTwoFactorCode(String(ring.codeFor(others.email)))
      assert.equal(ring.inspect(rawOf(manager.refreshToken)).email, others.email)
    })

    it(`a login by ${loginFlow} calls an expired code invalid`, async (t) => {
      const ring = await startRing(t, { codeTtlMs: 0 })
      const { manager } = open(t, ring, { loginFlow })
      await manager.login(CREDENTIALS)
      await failure(manager.submitTwoFactorCode(String(ring.codeFor())), 'TWO_FACTOR_INVALID')
    })

    it(`a login by ${loginFlow} reports that too many codes were requested`, async (t) => {
      const ring = await startRing(t, { maxCodesPerWindow: 0 })
      const error = await failure(open(t, ring, { loginFlow }).manager.login(CREDENTIALS), 'TWO_FACTOR_RATE_LIMITED')
      assert.equal(error.transient, true)
    })

    it(`a login by ${loginFlow} reports a wrong password, after one attempt`, async (t) => {
      const ring = await startRing(t)
      const { manager } = open(t, ring, { loginFlow })
      const error = await failure(manager.login({ email: EMAIL, password: 'wrong' }), 'INVALID_CREDENTIALS')
      assert.equal(error.transient, false)
      assert.equal(error.httpStatus, 401)
      assert.equal(ring.requests.filter((request) => request.body.includes('wrong')).length, 1)
      await failure(manager.submitTwoFactorCode('123456'), 'INVALID_ARGUMENT')
      await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    })

    it(`a login by ${loginFlow} reports a refusal of the edge as such, and does not blame the password`, async (t) => {
      const ring = await startRing(t, { userAgent: /^nobody$/ })
      const error = await failure(open(t, ring, { loginFlow }).manager.login(CREDENTIALS), 'BLOCKED')
      assert.equal(error.transient, true)
      assert.ok(error.httpStatus === 403 || error.httpStatus === 406)
      assert.match(error.message, /password and token are not at fault.*User-Agent.*device id/, 'it says what to try')
    })

    it(`a login by ${loginFlow} reports that Ring cannot be reached`, async (t) => {
      const ring = await startRing(t)
      await ring.close()
      const error = await failure(open(t, ring, { loginFlow }).manager.login(CREDENTIALS), 'NETWORK')
      assert.equal(error.transient, true)
    })

    it(`a login by ${loginFlow} ends with TIMEOUT when Ring does not answer`, async (t) => {
      const ring = await startRing(t)
      ring.fault({ kind: 'hang', path: /^\/oauth/, times: Infinity })
      const { manager } = open(t, ring, { loginFlow, requestTimeoutMs: 200 })
      assert.equal((await failure(manager.login(CREDENTIALS), 'TIMEOUT')).transient, true)
    })

    it(`a login by ${loginFlow} survives a network failure at the code: the code can be given again`, async (t) => {
      const ring = await startRing(t)
      const { manager } = open(t, ring, { loginFlow })
      await manager.login(CREDENTIALS)
      ring.fault({ kind: 'reset-before', path: /\/(token|verify)$/ })
      await failure(manager.submitTwoFactorCode(String(ring.codeFor())), 'NETWORK')
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
      assert.equal(ring.codesSent, 1)
    })

    it(`a login by ${loginFlow} asks for another code only when Ring's own waiting time is over`, async (t) => {
      const ring = await startRing(t, { nextTimeInSecs: 60 })
      const { manager } = open(t, ring, { loginFlow })
      const step = await manager.login(CREDENTIALS)
      assert.equal(step.twoFactor?.resendInSeconds, 60)
      const before = ring.requests.length
      const error = await failure(manager.resendTwoFactorCode(), 'TWO_FACTOR_RATE_LIMITED')
      assert.ok(Number(error.retryAfterMs) > 0 && Number(error.retryAfterMs) <= 60_000)
      assert.equal(ring.requests.length, before, 'nothing was sent')
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
    })

    it(`a login by ${loginFlow} can have another code sent, which is the one that counts`, async (t) => {
      const ring = await startRing(t, { nextTimeInSecs: 0 })
      const { manager } = open(t, ring, { loginFlow })
      await manager.login(CREDENTIALS)
      const first = String(ring.codeFor())
      assert.equal((await manager.resendTwoFactorCode()).authenticated, false)
      assert.equal(ring.codesSent, 2)
      await failure(manager.submitTwoFactorCode(first), 'TWO_FACTOR_INVALID')
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
    })

    it(`a login by ${loginFlow} does not ask an authenticator app for another code`, async (t) => {
      const ring = await startRing(t, { accounts: accounts('totp'), nextTimeInSecs: 0 })
      const { manager } = open(t, ring, { loginFlow })
      await manager.login(CREDENTIALS)
      const before = ring.requests.length
      await failure(manager.resendTwoFactorCode(), 'INVALID_ARGUMENT')
      assert.equal(ring.requests.length, before)
    })
  }

  it('a login by auto uses the other flow if one is not available, and causes one code', async (t) => {
    for (const settings of [{ web: false }, { legacy: false }, { legacy: /** @type {const} */ ('blocked') }]) {
      const ring = await startRing(t, settings)
      const { manager } = open(t, ring)
      await manager.login(CREDENTIALS)
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
      assert.equal(ring.codesSent, 1)
    }
  })

  it('a login is in the journal before it resolves', async (t) => {
    const ring = await startRing(t, { accounts: accounts('none') })
    const path = join(tempDir(t), 'journal.json')
    const { manager } = open(t, ring, { store: fileStore(path) })
    await manager.login(CREDENTIALS)
    assert.equal(readJournal(path).current.token, manager.refreshToken)
    assert.equal(manager.status.persisted, true)
  })

  it('a login that waits for its code leaves the existing token in use', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await manager.login(CREDENTIALS)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  })

  it('a code is refused if no login waits for one', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring)
    await failure(manager.submitTwoFactorCode('123456'), 'INVALID_ARGUMENT')
    await failure(manager.resendTwoFactorCode(), 'INVALID_ARGUMENT')
    assert.equal(ring.requests.length, 0)
  })

  it('a login takes a code with spaces and dashes in it', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring)
    await manager.login(CREDENTIALS)
    const code = String(ring.codeFor())
    assert.deepEqual(await manager.submitTwoFactorCode(` ${code.slice(0, 3)}-${code.slice(3)} `), {
      authenticated: true,
    })
  })
})

describe('an access token', { concurrency: true }, () => {
  it('an access token costs no request until a caller asks for it', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    assert.equal(manager.status.state, 'idle')
    assert.equal(ring.requests.length, 0)
  })

  it('an access token of 1000 cold callers is one and the same, and costs one POST', async (t) => {
    const ring = await startRing(t, { latencyMs: 50 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const tokens = await Promise.all(Array.from({ length: 1000 }, () => manager.getAccessToken()))
    assert.equal(new Set(tokens).size, 1)
    assert.equal(ring.counts.tokenPosts, 1)
    await manager.getAccessToken()
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('an access token that 100 callers report as refused is replaced once', async (t) => {
    const ring = await startRing(t, { latencyMs: 50 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const refused = await manager.getAccessToken()
    ring.revokeAccessToken(refused)
    const tokens = await Promise.all(
      Array.from({ length: 100 }, async () => {
        manager.invalidateAccessToken(refused)
        return manager.getAccessToken()
      }),
    )
    assert.equal(new Set(tokens).size, 1)
    assert.notEqual(tokens[0], refused)
    assert.ok(ring.isAccessLive(String(tokens[0])))
    // Late callers report a token that was already replaced.
    manager.invalidateAccessToken(refused)
    assert.equal(await manager.getAccessToken(), tokens[0])
    assert.equal(ring.counts.tokenPosts, 2)
  })

  it('an access token that is refused again and again costs five rotations, not one each time', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    for (let i = 0; i < 40; i++) manager.invalidateAccessToken(await manager.getAccessToken())
    assert.ok(await manager.getAccessToken())
    assert.equal(ring.counts.rotations, 6)
  })

  it('an access token that a rotation gives again counts as new: each report costs one rotation', async (t) => {
    const ring = await startRing(t, { expiresIn: 3600 })
    const { refreshToken, accessToken } = ring.mintPair()
    ring.fault({ kind: 'mutate', times: Number.POSITIVE_INFINITY, set: { access_token: accessToken } })
    const { manager } = open(t, ring, { refreshToken })
    assert.equal(await manager.getAccessToken(), accessToken)
    for (const rotations of [2, 3]) {
      manager.invalidateAccessToken(accessToken)
      for (let i = 0; i < 30; i++) assert.equal(await manager.getAccessToken(), accessToken)
      assert.deepEqual([ring.counts.rotations, manager.status.state], [rotations, 'ready'])
    }
    const before = (await manager.getAuth()).expiresAt
    const then = Date.now()
    await until(() => Date.now() > then, 'the clock to go on')
    assert.ok((await manager.refresh()).expiresAt > before)
    assert.equal(manager.status.state, 'ready')
  })

  it('an access token comes with its type, scope and expiry, the refresh token and the hardware id', async (t) => {
    const ring = await startRing(t, { expiresIn: 3600 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const before = Date.now()
    const auth = await manager.getAuth()
    assert.equal(auth.tokenType, 'Bearer')
    assert.equal(auth.scope, 'client')
    assert.ok(auth.expiresAt >= before + 3_600_000 && auth.expiresAt <= Date.now() + 3_600_000)
    assert.equal(auth.refreshToken, manager.refreshToken)
    assert.equal(auth.hardwareId, manager.hardwareId)
    assert.equal(auth.accessToken, await manager.getAccessToken())
    assert.deepEqual(await manager.getAuth(), auth)
  })

  it('an access token is refused without a refresh token, and no request is made', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring)
    assert.equal(manager.status.state, 'needs-login')
    const error = await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    assert.equal(error.transient, false)
    await failure(manager.refresh({ force: true }), 'NO_REFRESH_TOKEN')
    assert.equal(ring.requests.length, 0)
  })
})

describe('refresh', { concurrency: true }, () => {
  it('refresh rotates also before the expiry, once for all callers at the same time', async (t) => {
    const ring = await startRing(t, { latencyMs: 50 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const first = await manager.refresh()
    const second = await manager.refresh()
    assert.notEqual(first.refreshToken, second.refreshToken)
    const many = await Promise.all(Array.from({ length: 20 }, () => manager.refresh()))
    assert.equal(new Set(many.map((auth) => auth.refreshToken)).size, 1)
    assert.equal(ring.counts.rotations, 3)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('refresh during a cool-down makes no request, and with force makes one', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const outage = ring.fault(OUTAGE)
    const error = await failure(manager.refresh(), 'SERVER_ERROR')
    assert.equal(error.httpStatus, 503)
    for (let i = 0; i < 20; i++) {
      const again = await failure(i % 2 ? manager.refresh() : manager.getAccessToken(), 'SERVER_ERROR')
      assert.ok(Number(again.retryAfterMs) > 3_500_000 && Number(again.retryAfterMs) <= 3_600_000)
    }
    assert.equal(ring.counts.tokenPosts, 1)
    outage.remove()
    assert.ok(ring.isAccessLive((await manager.refresh({ force: true })).accessToken))
    assert.equal(ring.counts.tokenPosts, 2)
    assert.equal(manager.status.state, 'ready')
  })

  it('refresh sends a rejected token once, and once more when forced, not twice', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await manager.refresh()
    ring.revokeAll()
    ring.clearCounts()
    const error = await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
    assert.equal(error.transient, false)
    // Two: the token was never accepted, so the answer that brought it may have been wrong, and the manager tries the one before.
    assert.equal(manager.status.state, 'needs-login')
    assert.equal(manager.status.code, 'REFRESH_TOKEN_REJECTED')
    for (let i = 0; i < 10; i++) await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
    assert.equal(ring.counts.tokenPosts, 2)
    await failure(manager.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
    const forced = ring.tokenRequests.slice(-1)[0]?.form['refresh_token']
    assert.equal(forced, rawOf(manager.refreshToken))
    assert.equal(ring.counts.tokenPosts, 3)
    await failure(manager.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
    assert.equal(ring.counts.tokenPosts, 3)
  })

  it('refresh continues without the caller that began it, for those that joined', async (t) => {
    const ring = await startRing(t, { latencyMs: 300 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const giveUp = new AbortController()
    const first = failure(manager.getAccessToken({ signal: giveUp.signal }), 'ABORTED')
    const others = Array.from({ length: 10 }, () => manager.getAccessToken())
    await until(() => ring.counts.refreshes === 1, 'the request arrives')
    const reason = new Error('too slow for me')
    giveUp.abort(reason)
    assert.equal((await first).cause, reason)
    assert.equal(new Set(await Promise.all(others)).size, 1)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('refresh continues when its only caller gives up: the rotation arrives and is stored', async (t) => {
    const ring = await startRing(t, { latencyMs: 300 })
    const path = join(tempDir(t), 'journal.json')
    const { manager, updates } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    const giveUp = new AbortController()
    const call = failure(manager.refresh({ signal: giveUp.signal }), 'ABORTED')
    await until(() => ring.counts.refreshes === 1, 'the request arrives')
    giveUp.abort()
    await call
    await until(() => updates.length === 1, 'the rotation arrives')
    assert.equal(rawOf(manager.refreshToken), ring.newest())
    assert.equal(readJournal(path).current.token, manager.refreshToken)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('refresh with a signal that was aborted before does nothing', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const signal = AbortSignal.abort('no')
    for (const name of /** @type {const} */ (['getAccessToken', 'getAuth', 'refresh'])) {
      const error = await failure(() => manager[name]({ signal }), 'ABORTED')
      assert.equal(error.cause, 'no')
      assert.equal(error.transient, false)
    }
    assert.equal(ring.requests.length, 0)
  })
})

describe('the events', { concurrency: true }, () => {
  it('the events come in order, each with the token before it, and the newest is replayed to late subscribers', async (t) => {
    const ring = await startRing(t)
    const given = wrap({ rt: ring.mint(), hid: '11111111-2222-4333-8444-555555555555' })
    const { manager, updates } = open(t, ring, { refreshToken: given })
    const tokens = [given]
    for (let i = 0; i < 5; i++) tokens.push((await manager.refresh()).refreshToken)
    await until(() => updates.length === 5, 'five events')
    assert.deepEqual(
      updates,
      tokens.slice(1).map((newRefreshToken, i) => ({ oldRefreshToken: tokens[i], newRefreshToken })),
    )
    /** @type {unknown[]} */
    const late = []
    manager.onRefreshTokenUpdated.subscribe({ next: (update) => late.push(update) })
    assert.deepEqual(late, [updates[4]])
  })

  it('the events begin with the string that was given, letter by letter', async (t) => {
    const ring = await startRing(t)
    const raw = ring.mint()
    for (const given of [
      raw,
      ` ${ring.mint()}\n`,
      wrap({ later: 1, hid: '11111111-2222-4333-8444-555555555555', rt: ring.mint() }),
    ]) {
      const { manager, updates } = open(t, ring, { refreshToken: given })
      await manager.getAccessToken()
      await until(() => updates.length === 1, 'an event')
      assert.equal(updates[0]?.oldRefreshToken, given)
      assert.equal(updates[0]?.newRefreshToken, manager.refreshToken)
    }
  })

  it('the events show a raw token wrapped, with the hardware id', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await manager.getAccessToken()
    assert.deepEqual(unwrap(manager.refreshToken), { rt: ring.newest(), hid: manager.hardwareId })
  })

  it('the events keep unknown keys and push credentials through rotations', async (t) => {
    const ring = await startRing(t)
    const rest = {
      hid: '11111111-2222-4333-8444-555555555555',
      pnc: { fcm: { token: 'x', n: 1.5 } },
      later: ['ä', null, { deep: true }],
    }
    const { manager } = open(t, ring, { refreshToken: wrap({ rt: ring.mint(), ...rest }) })
    await manager.refresh()
    await manager.refresh()
    assert.equal(manager.refreshToken, wrap({ rt: ring.newest(), ...rest }))
    assert.equal(manager.hardwareId, rest.hid)
    assert.ok(ring.tokenRequests.every((request) => request.headers['hardware_id'] === rest.hid))
  })

  it('the events reach all other listeners if one throws', async (t) => {
    const ring = await startRing(t)
    const { manager, updates, said } = open(t, ring, { refreshToken: ring.mint() })
    manager.onRefreshTokenUpdated.subscribe(() => {
      throw new TypeError('mine')
    })
    manager.onRefreshTokenUpdated.subscribe(async () => {
      throw new TypeError('mine')
    })
    /** @type {unknown[]} */
    const last = []
    manager.onRefreshTokenUpdated.subscribe((update) => last.push(update))
    await manager.refresh()
    await until(() => last.length === 1 && updates.length === 1, 'the others hear of it')
    await until(() => said().split('TypeError').length === 3, 'both are reported')
  })

  it('the status events report each step, and that the memory store persists nothing', async (t) => {
    const ring = await startRing(t)
    const { manager, statuses } = open(t, ring, { refreshToken: ring.mint() })
    assert.deepEqual(manager.status, { state: 'idle', persisted: false })
    await manager.getAccessToken()
    await until(() => statuses.at(-1)?.state === 'ready', 'ready')
    assert.deepEqual(
      statuses.map(({ state }) => state),
      ['refreshing', 'ready'],
    )
    assert.ok(statuses.every(({ persisted }) => persisted === false))

    const outage = ring.fault(OUTAGE)
    await failure(manager.refresh(), 'SERVER_ERROR')
    await until(() => statuses.length >= 4, 'the outage')
    const waiting = manager.status
    assert.equal(waiting.state, 'waiting')
    assert.equal(waiting.code, 'SERVER_ERROR')
    assert.ok(Number(waiting.retryAt) > Date.now() + 3_500_000)
    assert.ok(String(waiting.message).length > 10)
    assert.deepEqual(statuses.at(-1)?.state, 'waiting')

    outage.remove()
    await manager.refresh({ force: true })
    ring.revokeAll()
    await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
    await until(() => statuses.at(-1)?.state === 'needs-login', 'needs-login')
    assert.deepEqual(
      statuses.map(({ state }) => state),
      ['refreshing', 'ready', 'refreshing', 'waiting', 'refreshing', 'ready', 'refreshing', 'needs-login'],
    )
  })

  it('the status events report that the file store has persisted the token', async (t) => {
    const ring = await startRing(t)
    const store = fileStore(join(tempDir(t), 'journal.json'))
    const { manager, statuses } = open(t, ring, { refreshToken: ring.mint(), store })
    await manager.getAccessToken()
    await until(() => statuses.at(-1)?.state === 'ready', 'ready')
    assert.equal(statuses.at(-1)?.persisted, true)
  })
})

describe('a login to another account', () => {
  const OTHER = { email: 'other@example.com', password: 'other password' }

  for (const { loginFlow } of FLOWS) {
    it(`a login to another account by ${loginFlow} that Ring rejects afterwards does not bring the former account back`, async (t) => {
      const both = [...accounts('none'), { ...OTHER, twoFactor: /** @type {TwoFactor} */ ('none') }]
      const ring = await startRing(t, { accounts: both })
      const store = fileStore(join(tempDir(t), 'journal.json'))
      const { manager } = open(t, ring, { loginFlow, store })
      await manager.login(CREDENTIALS)
      await manager.refresh()
      await manager.login(OTHER)
      const theirs = manager.refreshToken
      assert.equal(ring.inspect(rawOf(theirs)).email, OTHER.email)
      ring.revokeAll(OTHER.email)
      ring.clearRequests()
      await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
      await failure(manager.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
      assert.deepEqual([manager.refreshToken, manager.status.state], [theirs, 'needs-login'])
      await manager.close()
      const { manager: next } = open(t, ring, { loginFlow, store })
      assert.deepEqual([next.refreshToken, next.status.state], [theirs, 'needs-login'])
      await failure(next.refresh(), 'REFRESH_TOKEN_REJECTED')
      for (const { form } of ring.tokenRequests) assert.equal(ring.inspect(form['refresh_token']).email, OTHER.email)
    })
  }
})

describe('another token', { concurrency: true }, () => {
  it('another token that is set while the manager runs is used from then on, without a request', async (t) => {
    const ring = await startRing(t)
    const { manager, updates } = open(t, ring, { refreshToken: ring.mint() })
    const former = (await manager.getAuth()).refreshToken
    const posts = ring.counts.tokenPosts
    const linked = ring.mint()
    await manager.setRefreshToken(linked)
    assert.equal(ring.counts.tokenPosts, posts)
    assert.equal(rawOf(manager.refreshToken), linked)
    await manager.getAccessToken()
    assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], linked)
    await until(() => updates.length === 3, 'both are announced')
    assert.equal(updates[1]?.oldRefreshToken, former)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a token that is set and is an old copy is not used', async (t) => {
    const ring = await startRing(t)
    const first = ring.mint()
    const { manager } = open(t, ring, { refreshToken: first })
    await manager.refresh()
    const newest = manager.refreshToken
    await manager.setRefreshToken(first)
    assert.equal(manager.refreshToken, newest)
    await manager.refresh()
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('calls have their effect in the order in which they are made, although nobody waits between them', async (t) => {
    const ring = await startRing(t)
    for (let round = 0; round < 20; round++) {
      const path = join(tempDir(t), 'journal.json')
      const { manager } = open(t, ring, { store: fileStore(path) })
      const tokens = Array.from({ length: 4 }, () => ring.mint())
      const set = tokens.map((token) => manager.setRefreshToken(token))
      const pnc = [1, 2, 3].map((number) => manager.setPushCredentials({ number }))
      const refresh = manager.refresh()
      const last = ring.mint()
      const calls = [...set, ...pnc, refresh, manager.setRefreshToken(last)]
      await Promise.all([manager.close(), ...calls])
      assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], tokens.at(-1))
      assert.deepEqual(unwrap(String((await refresh).refreshToken)).pnc, { number: 3 })
      assert.equal(rawOf(readJournal(path).current.token), last, 'and the manager closes after all of them')
      assert.equal(ring.counts.tokenPosts, round + 1)
    }
  })

  it('another token that is set replaces a rejected one', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    ring.revokeAll()
    await failure(manager.getAccessToken(), 'REFRESH_TOKEN_REJECTED')
    await manager.setRefreshToken(ring.mint())
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(manager.status.state, 'ready')
  })

  it('the wrapper of another token keeps its push credentials', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'journal.json')
    const { manager, updates } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    await manager.getAccessToken()
    const before = manager.refreshToken
    const pnc = { fcm: { token: 'push', list: [1, 2] } }
    await manager.setPushCredentials(pnc)
    assert.equal(ring.counts.tokenPosts, 1)
    await until(() => updates.length === 2, 'it is announced')
    assert.deepEqual(updates[1], { oldRefreshToken: before, newRefreshToken: manager.refreshToken })
    assert.equal(readJournal(path).current.token, manager.refreshToken)
    await manager.refresh()
    assert.deepEqual(unwrap(manager.refreshToken).pnc, pnc)
    await manager.setPushCredentials(null)
    assert.equal('pnc' in unwrap(manager.refreshToken), false)
    await manager.setPushCredentials(null)
    await until(() => updates.length === 4, 'and so is the end of them')
  })

  it('push credentials that could not be read again are refused, and the token stays as it was', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'journal.json')
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    await manager.refresh()
    /** @param {number} depth */
    const nested = (depth) => ({ a: JSON.parse('['.repeat(depth - 1) + ']'.repeat(depth - 1)) })
    let deepest = 0
    for (let depth = 120; depth <= 130; depth++) {
      const before = manager.refreshToken
      const taken = await manager.setPushCredentials(nested(depth)).then(
        () => true,
        (error) => {
          assert.equal(error.code, 'INVALID_ARGUMENT')
          assert.match(error.message, /pnc/)
          return false
        },
      )
      if (taken) deepest = depth
      else assert.equal(manager.refreshToken, before)
    }
    assert.ok(deepest >= 120 && deepest < 130)
    await failure(manager.setPushCredentials({ a: 'x'.repeat(60_000) }), 'INVALID_ARGUMENT')
    await failure(manager.setPushCredentials({ a: '\ud800' }), 'INVALID_ARGUMENT')
    await manager.close()
    const { manager: next } = open(t, ring, { store: fileStore(path) })
    assert.deepEqual(unwrap(next.refreshToken).pnc, nested(deepest))
    assert.ok(ring.isAccessLive((await next.refresh()).accessToken))
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('push credentials need a token', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring)
    await failure(manager.setPushCredentials({}), 'NO_REFRESH_TOKEN')
    await failure(manager.setPushCredentials(/** @type {any} */ ('text')), 'INVALID_ARGUMENT')
    await failure(manager.setPushCredentials([]), 'INVALID_ARGUMENT')
  })
})

describe('close', { concurrency: true }, () => {
  it('close waits for the rotation under way and its write; everything after it is CLOSED', async (t) => {
    const ring = await startRing(t, { latencyMs: 300 })
    const path = join(tempDir(t), 'journal.json')
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    const call = manager.refresh()
    await until(() => ring.counts.refreshes === 1, 'the request arrives')
    const closing = manager.close()
    assert.equal(manager.close(), closing)
    await closing
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
    assert.equal((await call).refreshToken, manager.refreshToken)

    const { accessToken } = readJournal(path).access
    for (const late of [
      () => manager.getAccessToken(),
      () => manager.getAuth(),
      () => manager.refresh(),
      () => manager.refresh({ force: true }),
      () => manager.login(CREDENTIALS),
      () => manager.submitTwoFactorCode('123456'),
      () => manager.resendTwoFactorCode(),
      () => manager.setRefreshToken('another-token-of-this-test'),
      () => manager.setPushCredentials({}),
      () => manager.invalidateAccessToken(accessToken ?? 'x'),
    ]) {
      const error = await failure(late, 'CLOSED')
      assert.equal(error.transient, false)
    }
    assert.equal(rawOf(manager.refreshToken), ring.newest())
    assert.equal(manager.status.persisted, true)
    assert.ok(manager.hardwareId)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  for (const { loginFlow } of FLOWS) {
    it(`close waits for the step of a login under way (${loginFlow}): the token that it brings is stored`, async (t) => {
      const ring = await startRing(t, { latencyMs: 200 })
      const store = fileStore(join(tempDir(t), 'journal.json'))
      const { manager } = open(t, ring, { loginFlow, store })
      await manager.login(CREDENTIALS)
      const before = ring.requests.length
      const step = manager.submitTwoFactorCode(String(ring.codeFor()))
      await until(() => ring.requests.length > before, 'the code arrives')
      await manager.close()
      assert.deepEqual(await step, { authenticated: true })
      assert.equal(manager.status.persisted, true)
      const { manager: next } = open(t, ring, { store })
      assert.equal(next.refreshToken, manager.refreshToken)
      assert.ok(ring.isAccessLive((await next.refresh()).accessToken))
      assert.equal(ring.codesSent, 1)
    })
  }

  it('disposal closes the manager', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const dispose = manager[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]
    await dispose.call(manager)
    await failure(manager.getAccessToken(), 'CLOSED')
  })

  it('close does not wait for the pauses between tries', async (t) => {
    const ring = await startRing(t)
    ring.fault({ kind: 'status', status: 500, times: Infinity })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const call = failure(manager.refresh(), 'SERVER_ERROR')
    await until(() => ring.counts.tokenPosts === 1, 'the first try')
    await manager.close()
    await call
    assert.ok(ring.counts.tokenPosts <= 2, `${ring.counts.tokenPosts} requests`)
  })
})
