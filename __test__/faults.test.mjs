// @ts-check
// Everything that can arrive instead of an answer. After each of these the token is kept, the error has the right code, and the next try succeeds.
// The cases run at the same time, each with a Ring of its own, because a failing call takes its ten seconds.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { failure, open, rawOf, startRing, until } from './support/index.mjs'

/** @typedef {import('../index.js').ErrorCode} ErrorCode */
/** @typedef {import('./fake-ring/faults.mjs').FaultSpec} FaultSpec */
/** @typedef {import('node:test').TestContext} TestContext */

const MAX_POSTS = 4
const HTML = '<!doctype html><html><head><title>Attention</title></head><body>x</body></html>'

/** @type {Record<string, { body: string, type: string }>} */
const BODIES = {
  'a JSON object': { body: '{"message":"no","status_code":0}', type: 'application/json' },
  'a JSON string': { body: '"Unauthorized"', type: 'application/json' },
  text: { body: 'Unauthorized', type: 'text/plain' },
  HTML: { body: HTML, type: 'text/html' },
  nothing: { body: '', type: 'text/plain' },
}

const NOT_TRANSIENT = new Set(['CLIENT_REJECTED', 'REFRESH_TOKEN_REJECTED'])

/**
 * The code for a status.
 * @param {number} status
 * @param {string} kind
 * @returns {ErrorCode}
 */
function expected(status, kind) {
  if (status === 200 || (status >= 300 && status < 400)) return 'PROTOCOL'
  if (status === 403 || status === 406) return 'BLOCKED'
  if (status === 429) return 'RATE_LIMITED'
  if (status === 401 || status === 408 || status >= 500) return 'SERVER_ERROR'
  // A 412 is Ring's own, with any body.
  return (kind === 'text' || kind === 'HTML') && status !== 412 ? 'BLOCKED' : 'PROTOCOL'
}

/** A short time limit only if the test is about the time-out. @param {ErrorCode} code @param {number} little */
const patience = (code, little) => (code === 'TIMEOUT' ? little : 10_000)

/**
 * An outage of that kind until a call has failed. Then Ring works again, and the manager must recover.
 * @param {TestContext} t
 * @param {Omit<FaultSpec, 'times'>} spec
 * @param {ErrorCode} code
 * @param {{ graceMs?: number, requestTimeoutMs?: number }} [how]
 */
async function outage(t, spec, code, { graceMs = 0, requestTimeoutMs = 10_000 } = {}) {
  const ring = await startRing(t, { graceMs })
  const given = ring.mint()
  const { manager, updates } = open(t, ring, { refreshToken: given, requestTimeoutMs })
  const fault = ring.fault({ ...spec, times: Infinity })
  const error = await failure(manager.refresh(), code)
  assert.equal(error.transient, !NOT_TRANSIENT.has(code))
  assert.equal(rawOf(manager.refreshToken), given, 'the token is kept')
  assert.equal(manager.status.state, 'waiting')
  assert.equal(manager.status.code, code)
  const posts = ring.counts.tokenPosts
  assert.ok(posts >= 1 && posts <= MAX_POSTS, `${posts} requests`)
  assert.ok(
    ring.tokenRequests.every((request) => request.form['refresh_token'] === given),
    'always the same token',
  )
  // A call during the cool-down makes no request.
  await failure(manager.getAccessToken(), code)
  assert.equal(ring.counts.tokenPosts, posts)
  assert.deepEqual(updates, [])

  fault.remove()
  const auth = await manager.refresh({ force: true })
  assert.ok(ring.isAccessLive(auth.accessToken))
  assert.equal(rawOf(auth.refreshToken), ring.newest())
  assert.equal(manager.status.state, 'ready')
  assert.equal(ring.counts.stalePresentations, 0)
  assert.equal(ring.counts.tokenPosts, posts + 1)
  return { error, ring, posts }
}

/**
 * One bad answer, then good ones. The call recovers by itself or names the failure, and the next one succeeds.
 * @param {TestContext} t
 * @param {Omit<FaultSpec, 'times'>} spec
 * @param {ErrorCode} code
 * @param {{ graceMs?: number, requestTimeoutMs?: number, recovers?: boolean }} [how]
 */
async function once(t, spec, code, { graceMs = 0, requestTimeoutMs = 10_000, recovers } = {}) {
  const ring = await startRing(t, { graceMs })
  const given = ring.mint()
  const { manager } = open(t, ring, { refreshToken: given, requestTimeoutMs })
  const fault = ring.fault({ ...spec, times: 1 })
  const outcome = await manager.refresh().then(
    () => undefined,
    (error) => error,
  )
  if (outcome !== undefined) assert.equal(outcome.code, code)
  if (recovers !== undefined) assert.equal(outcome === undefined, recovers, `${outcome}`)
  assert.equal(fault.hits, 1)
  const auth = await manager.refresh({ force: true })
  assert.ok(ring.isAccessLive(auth.accessToken))
  assert.equal(rawOf(auth.refreshToken), ring.newest())
  assert.ok(ring.counts.tokenPosts <= 3, `${ring.counts.tokenPosts} requests`)
  assert.equal(ring.counts.stalePresentations, 0)
  assert.equal(ring.counts.invalidGrants, 0)
  return { ring, given }
}

describe('an answer', { concurrency: true }, () => {
  const STATUSES = [301, 307, 400, 401, 403, 404, 406, 408, 412, 418, 429, 500, 502, 503, 504, 520, 524]
  for (const status of STATUSES) {
    for (const [kind, { body, type }] of Object.entries(BODIES)) {
      const code = expected(status, kind)
      /** @type {Omit<FaultSpec, 'times'>} */
      const spec = { kind: 'status', status, body, headers: { 'content-type': type } }
      it(`an answer of ${status} with ${kind} is ${code}: the token is kept, and the next try succeeds`, async (t) => {
        const { error } = await outage(t, spec, code)
        assert.equal(error.httpStatus, status)
      })
      it(`an answer of ${status} with ${kind}, once, costs at most one call`, async (t) => {
        // The manager hides a failure that is over in a moment, and does not repeat a request that needs a longer wait.
        await once(t, spec, code, { recovers: !['BLOCKED', 'RATE_LIMITED'].includes(code) })
      })
    }
  }

  /** @type {[string, Omit<FaultSpec, 'times'>][]} */
  const nonsense = [
    ['HTML', { kind: 'status', status: 200, body: HTML, headers: { 'content-type': 'text/html' } }],
    ['{}', { kind: 'status', status: 200, body: {} }],
    ['[]', { kind: 'status', status: 200, body: [] }],
    ['null', { kind: 'status', status: 200, body: 'null', headers: { 'content-type': 'application/json' } }],
    ['""', { kind: 'status', status: 200, body: '""', headers: { 'content-type': 'application/json' } }],
    ['nothing', { kind: 'status', status: 200, body: '' }],
    [
      'half a JSON',
      {
        kind: 'status',
        status: 200,
        body: '{"access_token":"x","refresh_tok',
        headers: { 'content-type': 'application/json' },
      },
    ],
    ['JSON nested too deep', { kind: 'status', status: 200, body: `${'['.repeat(3000)}${']'.repeat(3000)}` }],
    ['more than a MiB', { kind: 'status', status: 200, body: `{"x":"${'y'.repeat(1_100_000)}"}` }],
    ['no refresh token', { kind: 'status', status: 200, body: { access_token: 'abc', expires_in: 3600 } }],
    ['no access token', { kind: 'status', status: 200, body: { refresh_token: 'abc', expires_in: 3600 } }],
    ['an empty refresh token', { kind: 'status', status: 200, body: { access_token: 'abc', refresh_token: '' } }],
    [
      'a refresh token that is null',
      { kind: 'status', status: 200, body: { access_token: 'abc', refresh_token: null } },
    ],
    ['tokens that are objects', { kind: 'status', status: 200, body: { access_token: {}, refresh_token: {} } }],
    [
      'tokens with line breaks',
      { kind: 'status', status: 200, body: { access_token: 'a\r\nb', refresh_token: 'c\nd' } },
    ],
  ]
  for (const [what, spec] of nonsense) {
    it(`an answer of 200 with ${what} is PROTOCOL, and nothing of it is stored`, async (t) => {
      await outage(t, spec, 'PROTOCOL')
    })
    it(`an answer of 200 with ${what}, once, costs at most one call`, async (t) => {
      await once(t, spec, 'PROTOCOL', { recovers: true })
    })
  }

  /** @type {[string, unknown, number, ErrorCode][]} */
  const refusals = [
    ['access_denied', { error: 'access_denied', error_description: 'invalid user credentials' }, 401, 'SERVER_ERROR'],
    ['"Unauthorized"', { error: 'Unauthorized', status_code: 401 }, 401, 'SERVER_ERROR'],
    ['invalid_grant in its description only', { error: 'x', error_description: 'invalid_grant' }, 401, 'SERVER_ERROR'],
    ['an error that is an object', { error: { code: 'invalid_grant' } }, 401, 'SERVER_ERROR'],
    ['unauthorized_client', { error: 'unauthorized_client' }, 401, 'CLIENT_REJECTED'],
    ['invalid_client', { error: 'invalid_client' }, 400, 'CLIENT_REJECTED'],
    ['invalid_request', { error: 'invalid_request' }, 400, 'PROTOCOL'],
    ['invalid_grant under another status', { error: 'invalid_grant' }, 403, 'BLOCKED'],
    ['invalid_grant from an outage', { error: 'invalid_grant' }, 503, 'SERVER_ERROR'],
    [
      'too many requests',
      { error: 'x', error_description: 'Too many requests from dependency service' },
      400,
      'RATE_LIMITED',
    ],
  ]
  for (const [what, body, status, code] of refusals) {
    it(`an answer of ${status} with ${what} is ${code}, and no dead token`, async (t) => {
      await outage(t, { kind: 'status', status, body }, code)
    })
    it(`an answer of ${status} with ${what}, once, costs at most one call`, async (t) => {
      await once(t, { kind: 'status', status, body }, code, {
        recovers: code === 'SERVER_ERROR' || code === 'PROTOCOL',
      })
    })
  }

  for (const status of [400, 401]) {
    it(`an answer of ${status} with invalid_grant, and nothing else, is a dead token, which is sent once and kept`, async (t) => {
      const ring = await startRing(t)
      const given = ring.mint()
      const { manager } = open(t, ring, { refreshToken: given })
      ring.fault({ kind: 'status', status, body: { error: 'invalid_grant' }, times: Infinity })
      const error = await failure(manager.getAccessToken(), 'REFRESH_TOKEN_REJECTED')
      assert.equal(error.httpStatus, status)
      assert.equal(error.transient, false)
      for (let i = 0; i < 5; i++) await failure(manager.getAccessToken(), 'REFRESH_TOKEN_REJECTED')
      assert.equal(ring.counts.tokenPosts, 1)
      assert.equal(rawOf(manager.refreshToken), given)
      assert.equal(manager.status.state, 'needs-login')
    })
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`an answer of ${status} to another host is not followed: that host gets nothing`, async (t) => {
      const other = await startRing(t)
      const location = `${other.oauthUrl}/oauth/token`
      await outage(t, { kind: 'redirect', status, location }, 'PROTOCOL')
      assert.equal(other.requests.length, 0)
    })
  }

  it('an answer of 307 to the same host is not followed either', async (t) => {
    const { ring } = await outage(t, { kind: 'redirect', status: 307, location: '/elsewhere' }, 'PROTOCOL')
    assert.ok(ring.requests.every((request) => request.path === '/oauth/token'))
  })

  for (const [status, code] of /** @type {[number, ErrorCode][]} */ ([
    [429, 'RATE_LIMITED'],
    [503, 'SERVER_ERROR'],
  ])) {
    it(`an answer of ${status} with a long Retry-After is not repeated, and waits so long`, async (t) => {
      const { error, posts } = await outage(t, { kind: 'status', status, headers: { 'retry-after': 600 } }, code)
      assert.equal(posts, 1)
      assert.equal(error.retryAfterMs, 600_000)
    })

    it(`an answer of ${status} with a Retry-After that is a date is understood`, async (t) => {
      const date = new Date(Date.now() + 600_000).toUTCString()
      const { error, posts } = await outage(t, { kind: 'status', status, headers: { 'retry-after': date } }, code)
      assert.equal(posts, 1)
      assert.ok(Number(error.retryAfterMs) > 500_000 && Number(error.retryAfterMs) <= 600_000)
    })

    it(`an answer of ${status} with a short Retry-After is repeated after that time`, async (t) => {
      const { ring } = await once(t, { kind: 'status', status, headers: { 'retry-after': 1 } }, code, {
        recovers: true,
      })
      const [first, second] = ring.tokenRequests
      assert.ok(Number(second?.at) - Number(first?.at) >= 1000)
    })

    it(`an answer of ${status} with a Retry-After that is nonsense counts as one without`, async (t) => {
      await outage(t, { kind: 'status', status, headers: { 'retry-after': 'soon' } }, code)
    })
  }
})

describe('a connection', { concurrency: true }, () => {
  /** @type {[string, Omit<FaultSpec, 'times'>, ErrorCode][]} */
  const before = [
    ['reset before anything was processed', { kind: 'reset-before' }, 'NETWORK'],
    ['closed before anything was processed', { kind: 'fin-before' }, 'NETWORK'],
    ['that hangs', { kind: 'hang' }, 'TIMEOUT'],
  ]
  for (const [what, spec, code] of before) {
    it(`a connection ${what} is ${code}: the same token is sent again, and the next try succeeds`, async (t) => {
      await outage(t, spec, code, { requestTimeoutMs: patience(code, 4000) })
    })
    it(`a connection ${what}, once, is no failure for callers: the same token is sent again at once`, async (t) => {
      const { ring, given } = await once(t, spec, code, { requestTimeoutMs: patience(code, 6000), recovers: true })
      assert.deepEqual(
        ring.tokenRequests.slice(0, 2).map((request) => request.form['refresh_token']),
        [given, given],
      )
    })
  }

  /** @type {[string, Omit<FaultSpec, 'times'>, ErrorCode][]} */
  const after = [
    ['reset after Ring rotated', { kind: 'reset-after' }, 'NETWORK'],
    ['closed after Ring rotated', { kind: 'fin-after' }, 'NETWORK'],
    ['that hangs after Ring rotated', { kind: 'hang-after' }, 'TIMEOUT'],
    ...['status-line', 'headers', 'between', 'body', 0, 1, 5].flatMap((at) =>
      [false, true].map(
        (reset) =>
          /** @type {[string, Omit<FaultSpec, 'times'>, ErrorCode]} */ ([
            `${reset ? 'reset' : 'closed'} in the answer (${at})`,
            { kind: 'truncate', at: /** @type {FaultSpec['at']} */ (at), reset },
            'NETWORK',
          ]),
      ),
    ),
    ['with an answer that comes by the byte, too slow', { kind: 'dribble', bytesPerTick: 1, tickMs: 50 }, 'TIMEOUT'],
    ['with an answer that comes too late', { kind: 'slow', delayMs: 60_000 }, 'TIMEOUT'],
    ...[502, 504, 520, 524, 408].map(
      (status) =>
        /** @type {[string, Omit<FaultSpec, 'times'>, ErrorCode]} */ ([
          `on which the edge says ${status} after Ring rotated`,
          { kind: 'answer-after', status, body: HTML, headers: { 'content-type': 'text/html' } },
          'SERVER_ERROR',
        ]),
    ),
    [
      'on which a portal says 200 after Ring rotated',
      { kind: 'answer-after', status: 200, body: HTML, headers: { 'content-type': 'text/html' } },
      'PROTOCOL',
    ],
  ]
  for (const [what, spec, code] of after) {
    it(`a connection ${what} sends the same token again at once, within Ring's grace: the account lives`, async (t) => {
      const { ring, given } = await once(t, spec, code, {
        graceMs: 60_000,
        requestTimeoutMs: patience(code, 6000),
        recovers: true,
      })
      const [first, second, third] = ring.tokenRequests
      assert.equal(first?.form['refresh_token'], given)
      assert.equal(second?.form['refresh_token'], given, 'the same one again')
      assert.notEqual(third?.form['refresh_token'], given)
      assert.equal(ring.counts.graceUses, 1)
      assert.ok(ring.inspect(given).spent)
    })
    it(`a connection ${what}, every time, is ${code}, and the token is kept`, async (t) => {
      await outage(t, spec, code, { graceMs: Infinity, requestTimeoutMs: patience(code, 4000) })
    })
  }

  it('a lost answer without a grace of Ring’s loses the token family only by invalid_grant, and reports that a login is needed', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    ring.fault({ kind: 'reset-after' })
    await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
    assert.equal(ring.counts.tokenPosts, 2)
    assert.equal(manager.status.state, 'needs-login')
  })

  it('a connection with an answer that comes byte by byte, but in time, is a good one', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    ring.fault({ kind: 'dribble', bytesPerTick: 40, tickMs: 5 })
    assert.ok(ring.isAccessLive((await manager.refresh()).accessToken))
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('a connection that no server accepts is NETWORK', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await ring.close()
    const error = await failure(manager.refresh(), 'NETWORK')
    assert.equal(error.transient, true)
    assert.equal(error.httpStatus, undefined)
  })

  it('a connection for a token request is never one that carried a request before', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    for (let i = 0; i < 5; i++) await manager.refresh()
    assert.ok(ring.tokenRequests.every((request) => !request.hadReusedConnection))
  })

  it('a connection that is cut in an outage of many managers leaves none of them without a token', async (t) => {
    const ring = await startRing(t, { graceMs: 60_000 })
    const kinds = /** @type {const} */ (['reset-before', 'reset-after', 'fin-before', 'fin-after'])
    const managers = Array.from({ length: 20 }, () => open(t, ring, { refreshToken: ring.mint() }).manager)
    for (let i = 0; i < 20; i++) ring.fault({ kind: /** @type {any} */ (kinds[i % 4]) })
    await Promise.allSettled(managers.map((manager) => manager.refresh()))
    ring.clearFaults()
    const tokens = await Promise.all(managers.map((manager) => manager.refresh({ force: true })))
    assert.ok(tokens.every(({ accessToken }) => ring.isAccessLive(accessToken)))
    assert.equal(ring.counts.stalePresentations, 0)
    await until(() => managers.every((manager) => manager.status.state === 'ready'), 'all are well')
  })
})
