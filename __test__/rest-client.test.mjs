// @ts-check
// Behaviour of the drop-in that ring-client-api does not promise or does not have. real/rest-client.test.mjs tests the common behaviour.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { RingRestClient, appApi, clientApi, commandsApi, deviceApi } from '../lib/ring-client-api/rest-client.js'
import { ReplaySubject } from '../lib/observable.js'
import {
  EMAIL,
  PASSWORD,
  RingAuthError,
  atEnd,
  failure,
  fileStore,
  rawOf,
  root,
  runScript,
  sleep,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

const CREDENTIALS = { email: EMAIL, password: PASSWORD }

/**
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {Record<string, unknown>} [options] as a program without types gives them
 */
function make(t, ring, options = { refreshToken: ring.mint() }) {
  /** @type {string[]} */
  const log = []
  const client = new RingRestClient(
    /** @type {any} */ ({
      oauthUrl: ring.oauthUrl,
      apiUrl: ring.apiUrl,
      systemId: 'test-system',
      logger: (/** @type {{ message: string }} */ { message }) => log.push(message),
      ...options,
    }),
  )
  atEnd(t, 'manager', () => client.close())
  return { client: /** @type {any} */ (client), log }
}

const isRequest = (/** @type {string} */ path) => (/** @type {{ path: string }} */ request) => request.path === path

describe('the constructor', () => {
  it('the constructor of RingRestClient makes no request, and ignores the options of RingApi', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring, {
      refreshToken: ring.mint(),
      locationIds: [],
      cameraStatusPollingSeconds: 20,
      locationModePollingSeconds: 20,
      debug: true,
      ffmpegPath: 'x',
      externalPorts: {},
      avoidSnapshotBatteryDrain: true,
      systemId: '',
      controlCenterDisplayName: undefined,
    })
    await client.getCurrentAuth()
    assert.equal(ring.requests.length, 1)
    assert.equal(client.baseSessionMetadata.device_model, 'ring-client-api')
  })

  it('the constructor of RingRestClient refuses invalid options', async (t) => {
    const ring = await startRing(t)
    for (const options of [
      undefined,
      null,
      7,
      'x',
      { refreshToken: 7 },
      { email: 7, password: 'x' },
      { email: 'x' },
      { email: 'x', password: 7 },
      { apiUrl: 'http://api.ring.com' },
      { store: { type: 'odd' } },
      { requestTimeoutMs: -1 },
    ]) {
      await failure(async () => new RingRestClient(/** @type {any} */ (options)), 'INVALID_ARGUMENT')
    }
    assert.equal(ring.requests.length, 0)
  })

  it('the constructor of RingRestClient shows neither password nor token when it is printed', async (t) => {
    const ring = await startRing(t, { canary: 'CANARY' })
    const token = ring.mint()
    const { client, log } = make(t, ring, { refreshToken: token, email: EMAIL, password: 'CANARY-password' })
    await client.getCurrentAuth()
    await client.request({ url: clientApi('x?CANARY') })
    ring.fault({
      kind: 'status',
      path: '/clients_api/x',
      status: 500,
      body: { secret: 'CANARY' },
      headers: { 'x-secret': 'CANARY' },
    })
    const error = await failure(client.request({ url: clientApi('x?CANARY') }), 'SERVER_ERROR')
    ring.fault({
      kind: 'status',
      path: '/clients_api/x',
      status: 404,
      body: { error: (await client.getCurrentAuth()).access_token },
    })
    const other = await failure(client.request({ url: clientApi('x?CANARY') }), 'PROTOCOL')
    for (const shown of [
      inspect(client, { depth: 10, showHidden: false }),
      inspect(error, { depth: 10 }),
      String(error.stack),
      JSON.stringify(error),
      inspect(other),
      ...log,
    ]) {
      assert.ok(!shown.includes('CANARY'), shown)
    }
    assert.equal(/** @type {any} */ (error).response.body.secret, 'CANARY')
  })

  it('the constructor of RingRestClient keeps its token in a store, and then needs none in its options', async (t) => {
    const ring = await startRing(t)
    const store = fileStore(join(tempDir(t), 'journal.json'))
    const first = make(t, ring, { refreshToken: ring.mint(), store })
    await first.client.getCurrentAuth()
    await first.client.close()
    const { client } = make(t, ring, { store })
    assert.ok((await client.request({ url: clientApi('x') })).path)
    assert.equal(client.manager.status.persisted, true)
    assert.equal(rawOf(client.refreshToken), ring.newest())
    assert.equal(ring.counts.tokenPosts, 1)
  })
})

describe('urls', () => {
  it('URLs of the drop-in are those of ring-client-api', () => {
    assert.equal(clientApi('a'), 'https://api.ring.com/clients_api/a')
    assert.equal(deviceApi('a'), 'https://api.ring.com/devices/v1/a')
    assert.equal(commandsApi('a'), 'https://api.ring.com/commands/v1/a')
    assert.equal(appApi('a'), 'https://prd-api-us.prd.rings.solutions/api/v1/a')
  })

  it('URLs of Ring lead to the configured server, and never to Ring with the tokens of another', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    for (const url of [
      clientApi('a?b=c'),
      deviceApi('a'),
      commandsApi('a'),
      appApi('a'),
      'https://app-snaps.ring.com/snapshots/next/1',
      `${ring.apiUrl}/clients_api/a`,
    ]) {
      await client.request({ url })
    }
    assert.equal(ring.requests.filter((request) => request.headers['authorization']).length, 6)
  })

  it('URLs of other hosts get no token and no request', async (t) => {
    const ring = await startRing(t)
    const stranger = await startRing(t)
    const { client } = make(t, ring)
    for (const url of [
      `${stranger.apiUrl}/clients_api/a`,
      'https://ring.com.evil.invalid/',
      'http://api.ring.com/',
      'https://evil.invalid@api.ring.com/',
      'not a url',
      '/clients_api/a',
      '',
    ]) {
      await failure(client.request({ url }), 'INVALID_ARGUMENT')
    }
    assert.equal(stranger.requests.length + ring.requests.length, 0)
  })

  it('URLs that redirect to other hosts are not followed', async (t) => {
    const ring = await startRing(t)
    const stranger = await startRing(t)
    const { client } = make(t, ring)
    const location = `${stranger.apiUrl}/clients_api/a?signed=CANARY`
    for (const status of [301, 302, 303, 307, 308]) {
      ring.fault({ kind: 'redirect', path: '/clients_api/go', status, location })
      const error = await failure(client.request({ url: clientApi('go') }), 'PROTOCOL')
      assert.equal(error.httpStatus, status)
      assert.equal(/** @type {any} */ (error).response.headers.get('location'), location)
      assert.ok(!inspect(error).includes('CANARY'))
    }
    assert.equal(stranger.requests.length, 0)
    ring.fault({ kind: 'redirect', path: '/clients_api/go', location: clientApi('there') })
    assert.equal((await client.request({ url: clientApi('go') })).path, '/clients_api/there')
    for (const redirect of ['manual', 'error']) {
      ring.fault({ kind: 'redirect', path: '/clients_api/go', location: clientApi('there') })
      await failure(client.request({ url: clientApi('go'), redirect }), 'PROTOCOL')
    }
    const session = ring.fault({
      kind: 'redirect',
      path: '/clients_api/session',
      location: `${stranger.apiUrl}/clients_api/session`,
    })
    await failure(client.getSession(), 'PROTOCOL')
    assert.equal(session.hits, 1)
    assert.equal(stranger.requests.length, 0)
  })
})

describe('a request', () => {
  it('a request of the drop-in takes every body that fetch takes, with its type', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    const sent = async (/** @type {unknown} */ body, /** @type {Record<string, string>} */ headers = {}) => {
      await client.request({ url: deviceApi('x'), method: 'post', body, headers }).catch(() => {})
      return [ring.requests.at(-1)?.body, ring.requests.at(-1)?.headers['content-type']]
    }
    assert.deepEqual(await sent('{"a":1}', { 'Content-Type': 'application/json' }), ['{"a":1}', 'application/json'])
    assert.deepEqual(await sent('text'), ['text', 'text/plain;charset=UTF-8'])
    assert.deepEqual(await sent(new URLSearchParams({ a: '+&' })), [
      'a=%2B%26',
      'application/x-www-form-urlencoded;charset=UTF-8',
    ])
    assert.deepEqual(await sent(Buffer.from('bytes')), ['bytes', undefined])
    assert.deepEqual(await sent(new Blob(['blob'], { type: 'x/y' })), ['blob', 'x/y'])
  })

  it('a request of the drop-in refuses a body that cannot be sent', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    const url = clientApi('x')
    /** @type {any} */
    const cycle = {}
    cycle.cycle = cycle
    for (const options of [
      undefined,
      null,
      7,
      {},
      { url: 7 },
      { url, method: 'TRACE' },
      { url, method: 'a b' },
      { url, headers: { 'a b': 'c' } },
      { url, headers: { a: 'b\nc' } },
      { url, json: { a: 1 } },
      { url, method: 'HEAD', body: 'x' },
      { url, method: 'PUT', json: cycle },
      { url, responseType: 'stream' },
      { url, method: { toString: cycle } },
      { url, method: 'POST', body: Symbol('x') },
      { url, method: 'POST', body: new ReadableStream({ start: (controller) => controller.error(new Error('mine')) }) },
      { url, timeout: -1 },
      { url, timeout: 2 ** 40 },
      { url, timeout: '5' },
      { url, signal: {} },
    ]) {
      await failure(client.request(options), 'INVALID_ARGUMENT')
    }
    assert.equal(ring.requests.length, 0)
  })

  it('a request of the drop-in ends by its signal: before, on the way, and while it waits', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    await client.getCurrentAuth()
    const early = await failure(client.request({ url: clientApi('x'), signal: AbortSignal.abort('why') }), 'ABORTED')
    assert.equal(early.cause, 'why')
    assert.equal(ring.requests.filter(isRequest('/clients_api/x')).length, 0)

    // Before its own body has arrived.
    const signal = AbortSignal.timeout(50)
    await failure(
      client.request({ url: clientApi('x'), method: 'POST', body: new ReadableStream(), signal }),
      'ABORTED',
    )

    for (const fault of /** @type {const} */ ([
      { kind: 'hang' },
      { kind: 'status', status: 504, times: 100 },
      { kind: 'status', status: 404, body: { errors: [7019] }, times: 100 },
    ])) {
      const controller = new AbortController()
      ring.fault({ ...fault, path: '/clients_api/x' })
      const before = ring.requests.length
      const request = failure(client.request({ url: clientApi('x'), signal: controller.signal }), 'ABORTED')
      await until(() => ring.requests.length > before, 'a request')
      controller.abort()
      await request
      const after = ring.requests.length
      ring.clearFaults()
      // No hidden request continues: the count is the same at the next one.
      await client.request({ url: deviceApi('y') })
      assert.equal(ring.requests.length, after + 1)
    }
  })

  it('a request of the drop-in has its own time limit', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    await client.getCurrentAuth()
    ring.fault({ kind: 'hang', path: '/clients_api/x', times: 2 })
    const error = await failure(client.request({ url: clientApi('x'), timeout: 100, allowNoResponse: true }), 'TIMEOUT')
    // The token is valid, and the message must not blame it.
    assert.doesNotMatch(error.message, /oauth token/)
  })

  it('a request of the drop-in keeps its connection, and a token request does not', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    for (let i = 0; i < 5; i++) await client.request({ url: clientApi('x') })
    await client.getAuth()
    const reused = ring.requests.filter((request) => request.hadReusedConnection)
    assert.ok(reused.length >= 1)
    assert.ok(reused.every(isRequest('/clients_api/x')))
  })

  it('a hundred requests with the same dead token cost one rotation, and fifty without a session one session', async (t) => {
    const ring = await startRing(t, { requireSession: true, latencyMs: 10 })
    const { client } = make(t, ring)
    await client.getCurrentAuth()
    ring.expireAccessTokens()
    await Promise.all(Array.from({ length: 100 }, () => client.request({ url: deviceApi('x') })))
    assert.equal(ring.counts.tokenPosts, 2)
    await Promise.all(Array.from({ length: 50 }, () => client.request({ url: clientApi('x') })))
    assert.equal(ring.requests.filter(isRequest('/clients_api/session')).length, 1)
    assert.equal(ring.counts.tokenPosts, 2)
  })

  it('a request of the drop-in waits as long as a 429 on the session says', async (t) => {
    const ring = await startRing(t, { requireSession: true })
    const { client, log } = make(t, ring)
    ring.fault({ kind: 'status', path: '/clients_api/session', status: 429, headers: { 'retry-after': '1' } })
    await client.request({ url: clientApi('x') })
    const [first, second] = ring.requests.filter(isRequest('/clients_api/session'))
    assert.ok(Number(second?.at) - Number(first?.at) >= 1900)
    assert.ok(log.some((text) => text.includes('1 seconds')))
  })

  it('a request of the drop-in takes 20 MiB, and reports an answer that is too large', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    ring.fault({ kind: 'status', path: '/clients_api/x', status: 200, body: Buffer.alloc(20 * 1024 * 1024, 7) })
    const data = await client.request({ url: clientApi('x'), responseType: 'buffer' })
    assert.equal(data.length, 20 * 1024 * 1024)
    ring.fault({ kind: 'status', path: '/clients_api/x', status: 200, body: Buffer.alloc(65 * 1024 * 1024) })
    const error = await failure(client.request({ url: clientApi('x'), responseType: 'buffer' }), 'PROTOCOL')
    assert.match(error.message, /larger than 64 MiB/)
  })
})

describe('a login', () => {
  it('a login of the drop-in is one, for any number of callers, and sends one code', async (t) => {
    for (const loginFlow of ['auto', 'password']) {
      const ring = await startRing(t)
      const { client } = make(t, ring, { ...CREDENTIALS, loginFlow })
      const calls = [
        client.getCurrentAuth(),
        client.getCurrentAuth(),
        client.request({ url: clientApi('x') }),
        client.getSession(),
      ]
      for (const call of calls) await failure(call, 'TWO_FACTOR_REQUIRED')
      await failure(client.request({ url: clientApi('x') }), 'TWO_FACTOR_REQUIRED')
      // A request for another code is allowed, but not so soon.
      await failure(client.getAuth(), 'TWO_FACTOR_REQUIRED')
      assert.equal(ring.codesSent, 1)
      await failure(client.getAuth('000000'), 'TWO_FACTOR_INVALID')
      await failure(client.getCurrentAuth(), 'TWO_FACTOR_REQUIRED')
      const auth = await client.getAuth(ring.codeFor())
      assert.ok(ring.isAccessLive(auth.access_token))
      assert.equal((await client.request({ url: clientApi('x') })).path, '/clients_api/x')
      assert.equal(ring.codesSent, 1)
    }
  })

  it('a login of the drop-in is no longer needed if a token came meanwhile', async (t) => {
    const ring = await startRing(t)
    for (const loginFlow of ['auto', 'password']) {
      const { client } = make(t, ring, { ...CREDENTIALS, loginFlow })
      await failure(client.getCurrentAuth(), 'TWO_FACTOR_REQUIRED')
      await client.manager.setRefreshToken(ring.mint())
      assert.equal((await client.request({ url: deviceApi('x') })).path, '/devices/v1/x')
      assert.ok(ring.isAccessLive((await client.getCurrentAuth()).access_token))
      assert.ok(ring.isAccessLive((await client.getAuth()).access_token))
      // The code is still valid.
      assert.ok(ring.isAccessLive((await client.getAuth(ring.codeFor())).access_token))
      ring.clearCounts()
    }
  })

  it('a login of the drop-in asks for another code as soon as Ring gives one', async (t) => {
    const ring = await startRing(t, { nextTimeInSecs: 1 })
    const { client } = make(t, ring, { ...CREDENTIALS, loginFlow: 'password' })
    await failure(client.getAuth(), 'TWO_FACTOR_REQUIRED')
    await until(() => ring.codesSent === 1, 'a code')
    await sleep(1100)
    await failure(client.getAuth(), 'TWO_FACTOR_REQUIRED')
    assert.equal(ring.codesSent, 2)
    assert.ok(await client.getAuth(ring.codeFor()))
  })

  it('a login of the drop-in that is asked for twice at once is made once: one code, and one other code', async (t) => {
    for (const loginFlow of ['auto', 'password']) {
      const ring = await startRing(t, { nextTimeInSecs: 0, latencyMs: 50 })
      const { client } = make(t, ring, { ...CREDENTIALS, loginFlow })
      const twice = () => [client.getAuth(), client.getAuth()].map((call) => failure(call, 'TWO_FACTOR_REQUIRED'))
      await Promise.all(twice())
      assert.equal(ring.codesSent, 1)
      await Promise.all(twice())
      assert.equal(ring.codesSent, 2)
      const code = ring.codeFor()
      const auths = await Promise.all([client.getAuth(code), client.getAuth(code)])
      for (const auth of auths) assert.ok(ring.isAccessLive(auth.access_token))
      assert.equal(ring.codesSent, 2)
    }
  })

  it('a login of the drop-in begins again if no other code can be sent, as with an authenticator app', async (t) => {
    for (const loginFlow of ['auto', 'password']) {
      const ring = await startRing(t, { accounts: [{ ...CREDENTIALS, twoFactor: 'totp' }] })
      const { client } = make(t, ring, { ...CREDENTIALS, loginFlow })
      await failure(client.getAuth(), 'TWO_FACTOR_REQUIRED')
      const { length } = ring.requests
      // The first code is valid as long as Ring remembers it, but that time is unknown.
      await failure(client.getAuth(), 'TWO_FACTOR_REQUIRED')
      assert.ok(ring.requests.length > length)
      await failure(client.getCurrentAuth(), 'TWO_FACTOR_REQUIRED')
      assert.ok(await client.getAuth(ring.codeFor()))
    }
  })

  it('a login of the drop-in does not send wrong credentials again unasked', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring, { email: EMAIL, password: 'wrong', loginFlow: 'password' })
    for (let i = 0; i < 3; i++) await failure(client.getCurrentAuth(), 'INVALID_CREDENTIALS')
    await failure(client.request({ url: clientApi('x') }), 'INVALID_CREDENTIALS')
    assert.equal(ring.counts.tokenPosts, 1)
    await failure(client.getAuth(), 'INVALID_CREDENTIALS')
    assert.equal(ring.counts.tokenPosts, 2)
  })

  it('an outage or a block does not lead to a login of the drop-in', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring, { ...CREDENTIALS, refreshToken: ring.mint() })
    for (const [status, code] of /** @type {const} */ ([
      [503, 'SERVER_ERROR'],
      [403, 'BLOCKED'],
      [429, 'RATE_LIMITED'],
    ])) {
      ring.fault({ kind: 'status', status, headers: { 'retry-after': '3600' } })
      const error = await failure(client.manager.refresh({ force: true }), code)
      assert.ok(error instanceof RingAuthError)
      const told = await failure(client.getAuth(), code)
      assert.match(told.message, /^Failed to fetch oauth token from Ring\. /)
      assert.ok(Number(told.retryAfterMs) > 0)
    }
    assert.equal(ring.codesSent, 0)
    assert.ok(client.refreshToken)
    assert.deepEqual([...new Set(ring.tokenRequests.map((request) => request.grant))], ['refresh_token'])
  })
})

describe('close', () => {
  it('close of the drop-in ends requests that wait, and the manager', async (t) => {
    const ring = await startRing(t)
    const { client } = make(t, ring)
    ring.fault({ kind: 'status', path: '/clients_api/x', status: 504, times: Infinity })
    const waiting = failure(client.request({ url: clientApi('x') }), 'CLOSED')
    await until(() => ring.requests.some(isRequest('/clients_api/x')), 'a request')
    await client.close()
    await waiting
    await failure(client.request({ url: clientApi('x') }), 'CLOSED')
    await failure(client.getSession(), 'CLOSED')
    await failure(client.getAuth(), 'CLOSED')
    await failure(client.getCurrentAuth(), 'CLOSED')
    assert.ok(client.refreshToken)
  })

  it('a script with the drop-in ends by itself without close, with and without a session to renew', async (t) => {
    const ring = await startRing(t)
    const source = `
      const { RingRestClient } = await import(${JSON.stringify(new URL('../lib/ring-client-api/rest-client.js', import.meta.url).href)})
      const client = new RingRestClient(config)
      client.onSession.subscribe(() => {})
      say((await client.getSession()).profile.email)
    `
    const config = { oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, refreshToken: ring.mint() }
    const { code, stdout, stderr } = await runScript(t, source, config).ended
    assert.deepEqual([stdout.trim(), code], [EMAIL, 0], stderr)
  })
})

describe('the observables', () => {
  it('the observables of the drop-in announce to all, replay the last value, and survive a listener that throws', () => {
    /** @type {unknown[]} */
    const reported = []
    const subject = new ReplaySubject((error) => reported.push(error))
    /** @type {unknown[]} */
    const heard = []
    subject.subscribe(() => {
      throw 'mine'
    })
    const subscription = subject.subscribe((/** @type {unknown} */ value) => heard.push(value))
    subject.subscribe({ next: (/** @type {unknown} */ value) => heard.push(`object ${value}`) })
    subject.subscribe({})
    subject.subscribe()
    subject.next(1)
    subscription.unsubscribe()
    subscription.unsubscribe()
    subject.next(2)
    subject.asObservable().subscribe((/** @type {unknown} */ value) => heard.push(`late ${value}`))
    assert.deepEqual(heard, [1, 'object 1', 'object 2', 'late 2'])
    assert.deepEqual(reported, ['mine', 'mine'])
    assert.equal(subject.pipe(), subject)
    assert.equal(subject.observed, true)
  })

  it('the observables of the drop-in keep no subscriber that has ended, in any way', () => {
    const subject = new ReplaySubject(() => {})
    let ended = 0
    const subscription = subject.subscribe(() => {})
    subscription.add(() => (ended += 1))
    subscription.add({ unsubscribe: () => (ended += 1) })
    subscription.complete()
    subscription.next(1)
    subscription.add(() => (ended += 1))
    assert.equal(ended, 3)
    assert.equal(subject.observed, false)
  })
})

describe('the package', () => {
  it('the package has the drop-in under its name, for require and import, and loads it only then', () => {
    const names = ['RingRestClient', 'appApi', 'clientApi', 'commandsApi', 'deviceApi']
    const run = (/** @type {string[]} */ args) =>
      execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim()
    assert.equal(run(['-p', `Object.keys(require('ring-auth/rest-client')).sort().join()`]), names.join())
    const source = `import { ${names.join(', ')} } from 'ring-auth/rest-client'; console.log([${names.join(', ')}].every(Boolean))`
    assert.equal(run(['--input-type=module', '-e', source]), 'true')
    const loaded = `require('ring-auth'); console.log(Object.keys(require.cache).filter((name) => /(rest-client|attach|api-client)\\.js$/.test(name)).length)`
    assert.equal(run(['-e', loaded]), '0')
  })
})
