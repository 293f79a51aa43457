// @ts-check
// A real RingApi with cameras, locations and a session, in all the events of a real installation: alone, and attached to a manager. The
// tests count the token requests of each, and print them as a table at the end.
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { attachToRingApi } from '../../index.js'
import {
  EMAIL,
  PATIENCE_MS,
  RingTokenManager,
  atEnd,
  failure,
  fileStore,
  rawOf,
  runScript,
  tempDir,
  unwrap,
  until,
} from '../support/index.mjs'
import { Engine, memoryStore } from '../stores/memory-store.mjs'
import { hurry, rxjs, startNamedRing, theirs } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {'ring-client-api' | 'ring-auth'} Side */

const { clientApi, deviceApi } = theirs
const SYSTEM = 'test-system'

/** Token requests by scenario. @type {Map<string, Partial<Record<Side, string>>>} */
const table = new Map()

after(() => theirs.util.clearTimeouts())

/**
 * A RingApi for this fake Ring, without its push receiver, which would send requests to Google.
 * @param {TestContext} t
 * @param {string} refreshToken
 * @param {Record<string, unknown>} [options]
 */
function makeApi(t, refreshToken, options = {}) {
  const ringApi = new theirs.RingApi({ refreshToken, systemId: SYSTEM, ...options })
  ringApi.registerPushReceiver = async () => {}
  /** @type {{ oldRefreshToken?: string, newRefreshToken: string }[]} */
  const updates = []
  ringApi.onRefreshTokenUpdated.subscribe((/** @type {any} */ update) => updates.push(update))
  t.after(() => {
    ringApi.disconnect()
    // The RingApi leaves these timers if it has no locations yet, and they would keep this process alive for hours.
    ringApi.restClient.clearTimeouts()
  })
  return { ringApi, updates }
}

/**
 * A RingApi that is attached to a manager with a store.
 * @param {TestContext} t
 * @param {string} refreshToken
 * @param {{ path?: string, apiOptions?: Record<string, unknown> }} [how]
 */
function makeAttached(t, refreshToken, { path = join(tempDir(t), 'journal.json'), apiOptions = {} } = {}) {
  /** @type {string[]} */
  const said = []
  const manager = new RingTokenManager({
    refreshToken,
    systemId: SYSTEM,
    store: fileStore(path),
    logger: ({ message }) => said.push(message),
  })
  atEnd(t, 'manager', () => manager.close())
  const { ringApi, updates } = makeApi(t, refreshToken, apiOptions)
  const attachment = attachToRingApi(ringApi, manager)
  return { ringApi, updates, manager, attachment, path, said }
}

/** @param {TestContext} t @param {Side} side @param {string} refreshToken */
function make(t, side, refreshToken) {
  return side === 'ring-auth' ? makeAttached(t, refreshToken) : { ...makeApi(t, refreshToken), said: [] }
}

/** The number of rejected calls. @param {Promise<unknown>[]} calls */
async function failures(calls) {
  return (await Promise.allSettled(calls)).filter((outcome) => outcome.status === 'rejected').length
}

/**
 * @param {string} name
 * @param {Side} side
 * @param {FakeRing} ring
 * @param {string} outcome
 */
function count(name, side, ring, outcome) {
  const row = table.get(name) ?? {}
  row[side] = `${ring.counts.tokenPosts} (${outcome})`
  table.set(name, row)
}

/**
 * A scenario for each side, from a RingApi that has started and made a session.
 * @param {string} name
 * @param {import('../fake-ring/index.mjs').FakeRingOptions} options
 * @param {(side: Side, ring: FakeRing, ringApi: any, t: TestContext) => Promise<string>} scenario tells how it ended
 */
function scenario(name, options, scenario) {
  for (const side of /** @type {Side[]} */ (['ring-client-api', 'ring-auth'])) {
    it(`${name}: ${side}`, { timeout: 4 * PATIENCE_MS }, async (t) => {
      const ring = await startNamedRing(t, { requireSession: true, ...options })
      if (side === 'ring-client-api') hurry(t)
      const { ringApi } = make(t, side, ring.mint())
      await ringApi.getLocations()
      await until(() => ring.sessions.size === 1, 'a session')
      ring.clearCounts()
      count(name, side, ring, await scenario(side, ring, ringApi, t))
      if (side === 'ring-auth') assert.equal(ring.counts.stalePresentations, 0)
    })
  }
}

describe('a RingApi whose refreshToken cannot be a token', () => {
  for (const text of ['undefined', '123456', '$RING_REFRESH_TOKEN', 'YOUR_REFRESH_TOKEN']) {
    it(`a RingApi with ${text} for a token, attached to a manager with one, uses that one, and a message says so`, async (t) => {
      const ring = await startNamedRing(t)
      /** @type {string[]} */
      const said = []
      const logger = (/** @type {{ message: string }} */ { message }) => said.push(message)
      const manager = new RingTokenManager({ refreshToken: ring.mint(), systemId: SYSTEM, logger })
      atEnd(t, 'manager', () => manager.close())
      const { ringApi } = makeApi(t, text)
      attachToRingApi(ringApi, manager)
      await ringApi.restClient.getCurrentAuth()
      assert.equal(ringApi.restClient.refreshToken, manager.refreshToken)
      assert.equal(ring.counts.invalidGrants, 0)
      assert.equal(said.filter((line) => line.startsWith('The refreshToken of the RingApi is ignored')).length, 1)
    })

    it(`a RingApi with ${text} for a token is refused by a manager without one, and nothing is sent`, async (t) => {
      const ring = await startNamedRing(t)
      const manager = new RingTokenManager({ systemId: SYSTEM })
      atEnd(t, 'manager', () => manager.close())
      const { ringApi } = makeApi(t, text)
      attachToRingApi(ringApi, manager)
      for (let i = 0; i < 2; i++) await failure(ringApi.restClient.getCurrentAuth(), 'INVALID_ARGUMENT')
      assert.equal(ring.requests.length, 0)
      // A token that comes later ends that.
      await manager.setRefreshToken(ring.mint())
      await ringApi.restClient.getCurrentAuth()
      assert.equal(ring.counts.invalidGrants, 0)
    })
  }
})

describe('a RingApi, alone and attached', () => {
  for (const side of /** @type {Side[]} */ (['ring-client-api', 'ring-auth'])) {
    it(`a RingApi starts, with cameras, locations and a session: ${side}`, async (t) => {
      const ring = await startNamedRing(t, { requireSession: true })
      const { ringApi } = make(t, side, ring.mint())
      const sessions = /** @type {any[]} */ ([])
      ringApi.restClient.onSession.subscribe((/** @type {any} */ session) => sessions.push(session))
      const locations = await ringApi.getLocations()
      assert.deepEqual(
        locations.map((/** @type {any} */ location) => location.name),
        ['Home', 'Hut'],
      )
      const cameras = await ringApi.getCameras()
      assert.deepEqual(
        cameras.map((/** @type {any} */ camera) => camera.name),
        ['Front Door', 'Yard'],
      )
      assert.equal(cameras[0].batteryLevel, 87)
      assert.equal((await cameras[0].getHealth()).wifi_name, 'home')
      const picture = await cameras[0].getNextSnapshot({ force: true })
      assert.ok(Buffer.isBuffer(picture) && picture.length === 29)
      assert.equal(await cameras[1].setLight(true), true)
      await locations[0].setLocationMode('away')
      assert.equal((await locations[0].getLocationMode()).mode, 'away')
      assert.equal((await ringApi.getProfile()).profile.first_name, 'Person')
      await until(
        () => ring.requests.filter((request) => request.path.endsWith('subscribe')).length >= 4,
        'cameras subscribed',
      )
      assert.equal(sessions.length, 1)
      assert.equal(sessions[0].profile.email, EMAIL)
      assert.deepEqual(
        [...ring.sessions.values()].map((session) => session.deviceModel),
        ['ring-client-api'],
      )
      assert.equal(ring.counts.tokenPosts, 1)
      count('start: devices, locations, a session, 14 requests', side, ring, 'fine')
    })
  }

  scenario('100 requests at once, cold', {}, async (side, ring, _ringApi, t) => {
    const { ringApi } = make(t, side, ring.mint())
    assert.equal(await failures(Array.from({ length: 100 }, () => ringApi.getProfile())), 0)
    assert.equal(ring.counts.tokenPosts, 1)
    return 'fine'
  })

  scenario('the access token dies, 10 requests one by one', {}, async (_side, ring, ringApi) => {
    for (let i = 0; i < 10; i++) {
      if (i % 5 === 2) ring.expireAccessTokens()
      await ringApi.getProfile()
    }
    assert.equal(ring.counts.tokenPosts, 2)
    return 'fine'
  })

  scenario('access tokens that live 30 s, 20 requests one by one', { expiresIn: 30 }, async (side, ring, ringApi) => {
    for (let i = 0; i < 20; i++) {
      await ringApi.getProfile()
      // Its timer is due at once.
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    if (side === 'ring-auth') assert.equal(ring.counts.tokenPosts, 0)
    else assert.ok(ring.counts.tokenPosts > 1)
    return 'fine'
  })

  scenario('the access token dies under 100 requests at once', { latencyMs: 20 }, async (side, ring, ringApi) => {
    ring.expireAccessTokens()
    const failed = await failures(Array.from({ length: 100 }, () => ringApi.getProfile()))
    const after = await failures([ringApi.getProfile()])
    if (side === 'ring-auth') {
      assert.deepEqual([failed, after, ring.counts.tokenPosts], [0, 0, 1])
    }
    return `${failed} of 100 failed, ${after === 0 ? 'fine' : 'locked out'} afterwards`
  })

  scenario('401 to 60 requests in a row, whatever the token', {}, async (side, ring, ringApi) => {
    ring.fault({
      kind: 'status',
      path: '/clients_api/profile',
      status: 401,
      times: 60,
      body: { error: 'Unauthorized' },
    })
    let failed = 0
    for (let i = 0; i < 5; i++) failed += await failures([ringApi.getProfile()])
    if (side === 'ring-auth') assert.deepEqual([failed, ring.counts.tokenPosts <= 6], [5, true])
    ring.clearFaults()
    assert.equal(await failures([ringApi.getProfile()]), 0)
    return side === 'ring-auth' ? 'given up on, fine afterwards' : 'fine after 60 rotations'
  })

  scenario('the token endpoint answers 503 four times, 10 requests meanwhile', {}, async (side, ring, ringApi) => {
    ring.expireAccessTokens()
    ring.fault({ kind: 'status', grant: 'refresh_token', status: 503, times: 4 })
    const failed = await failures(Array.from({ length: 10 }, () => ringApi.getProfile()))
    ring.clearFaults()
    const after = await failures([ringApi.getProfile()])
    if (side === 'ring-auth') assert.deepEqual([failed, after], [0, 0])
    else assert.ok(failed > 0 && after === 1)
    return `${failed} of 10 failed, ${after === 0 ? 'fine' : 'locked out'} afterwards`
  })

  scenario(
    'the answer to a rotation is lost, and Ring forgives it',
    { graceMs: 60_000 },
    async (side, ring, ringApi) => {
      ring.expireAccessTokens()
      ring.fault({ kind: 'reset-after', grant: 'refresh_token' })
      assert.equal(await failures([ringApi.getProfile()]), 0)
      return side === 'ring-auth' ? 'fine, at once' : 'fine, after 5 s'
    },
  )

  scenario('a restart with the token of the first day', {}, async (side, ring, _ringApi, t) => {
    // No program has saved the later tokens: config.json was read-only, or the process was killed too early.
    const given = ring.mint()
    const path = join(tempDir(t), 'journal.json')
    let failed = 0
    for (let i = 0; i < 3; i++) {
      const attached = side === 'ring-auth' ? makeAttached(t, given, { path }) : undefined
      const { ringApi } = attached ?? makeApi(t, given)
      failed += await failures([ringApi.getLocations()])
      ringApi.disconnect()
      attached?.attachment.detach()
      await attached?.manager.close()
    }
    if (side === 'ring-auth') assert.deepEqual([failed, ring.counts.tokenPosts], [0, 1])
    else assert.ok(failed > 0 && ring.counts.stalePresentations > 0)
    return failed === 0 ? 'fine' : `${failed} of 3 starts failed: locked out`
  })

  scenario('a restart with the newest token', {}, async (side, ring, _ringApi, t) => {
    let token = ring.mint()
    const path = join(tempDir(t), 'journal.json')
    for (let i = 0; i < 3; i++) {
      const attached = side === 'ring-auth' ? makeAttached(t, token, { path }) : undefined
      const { ringApi, updates } = attached ?? makeApi(t, token)
      await ringApi.getLocations()
      await until(() => (side === 'ring-auth' ? ringApi.restClient.refreshToken : updates.length > 0), 'a token')
      token = ringApi.restClient.refreshToken
      ringApi.disconnect()
      await attached?.manager.close()
    }
    assert.equal(rawOf(token), ring.newest())
    return 'fine'
  })

  it('the comparison prints how many token requests each side makes', (t) => {
    assert.ok(table.size >= 10)
    const rows = [...table].map(([name, row]) => `${name} | ${row['ring-client-api']} | ${row['ring-auth']}`)
    for (const row of ['token requests | ring-client-api 14.3.0 alone | attached to ring-auth', ...rows])
      t.diagnostic(row)
    for (const row of table.values()) assert.ok(row['ring-auth'] && row['ring-client-api'])
  })
})

describe('attachToRingApi', () => {
  it('attachToRingApi leaves the RingApi no token request of its own', async (t) => {
    const ring = await startNamedRing(t, { requireSession: true })
    const { ringApi, manager } = makeAttached(t, ring.mint())
    const auth = await ringApi.restClient.getCurrentAuth()
    assert.equal(auth.access_token, (await manager.getAuth()).accessToken)
    assert.deepEqual(Object.keys(auth).sort(), ['access_token', 'expires_in', 'refresh_token', 'scope', 'token_type'])
    await ringApi.restClient.getAuth()
    await ringApi.restClient.getSession()
    await ringApi.restClient.refreshAuth()
    await ringApi.restClient.refreshSession()
    await ringApi.getLocations()
    // Our requests are forms, those of ring-client-api are JSON.
    for (const request of ring.tokenRequests)
      assert.equal(request.headers['content-type'], 'application/x-www-form-urlencoded')
    assert.equal(ring.counts.tokenPosts, 2)
  })

  it('attachToRingApi gives the RingApis of two hosts one token through a shared store', async (t) => {
    const ring = await startNamedRing(t, { requireSession: true, revokeFamilyOnReuse: true, graceMs: 0 })
    const engine = new Engine()
    const given = ring.mint()
    const hosts = [0, 1].map(() => {
      const { ringApi, updates } = makeApi(t, given)
      const store = { ...memoryStore(engine, { removes: false }), statePath: tempDir(t) }
      const manager = new RingTokenManager({ store, refreshToken: given, systemId: SYSTEM, requestTimeoutMs: 10_000 })
      atEnd(t, 'manager', () => manager.close())
      attachToRingApi(ringApi, manager)
      return { ringApi, updates, manager }
    })
    for (let round = 1; round <= 3; round++) {
      for (const { ringApi, manager } of hosts) {
        const [location] = await ringApi.getLocations()
        assert.ok(location)
        const { access_token: token } = await ringApi.restClient.getCurrentAuth()
        assert.ok(ring.isAccessLive(token))
        // What one host gets, the other one takes at its own call.
        await manager.refresh()
      }
    }
    for (const { updates } of hosts) assert.ok(updates.length >= 2)
    assert.equal(ring.counts.refreshes, ring.counts.rotations)
    assert.deepEqual([ring.counts.stalePresentations, ring.counts.invalidGrants], [0, 0])
    assert.equal(ring.counts.rotations, 5, 'the first host takes twice what the second one got')
  })

  it('attachToRingApi announces each rotation to the listeners of the RingApi, in the chain that they know', async (t) => {
    const ring = await startNamedRing(t)
    const given = ring.mint()
    const { ringApi, manager, updates } = makeAttached(t, given)
    assert.equal(rawOf(ringApi.restClient.refreshToken), given)
    await ringApi.getProfile()
    assert.equal(updates.length, 1, 'announced before what came with it is used')
    await manager.refresh()
    await until(() => updates.length === 2, 'a rotation that the manager was asked for')
    await ringApi.restClient.getAuth()
    assert.equal(updates.length, 3)
    assert.equal(updates[0]?.oldRefreshToken, given)
    assert.equal(updates[1]?.oldRefreshToken, updates[0]?.newRefreshToken)
    assert.equal(updates[2]?.oldRefreshToken, updates[1]?.newRefreshToken)
    assert.equal(rawOf(updates[2]?.newRefreshToken), ring.newest())
    assert.equal(ringApi.restClient.refreshToken, manager.refreshToken)
    // A late subscriber of RxJS, too.
    assert.deepEqual(await rxjs.firstValueFrom(ringApi.onRefreshTokenUpdated), updates[2])
  })

  it('attachToRingApi announces the newest token to the listeners if the RingApi was given an old one', async (t) => {
    const ring = await startNamedRing(t)
    const given = ring.mint()
    const path = join(tempDir(t), 'journal.json')
    const first = makeAttached(t, given, { path })
    await first.manager.refresh()
    await first.manager.close()
    const { updates, manager } = makeAttached(t, given, { path })
    await until(() => updates.length > 0, 'the newest token announced')
    assert.deepEqual(updates[0], { oldRefreshToken: given, newRefreshToken: manager.refreshToken })
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('attachToRingApi carries push credentials both ways, through restarts of either', async (t) => {
    const ring = await startNamedRing(t)
    const path = join(tempDir(t), 'journal.json')
    const { ringApi, manager, updates, attachment } = makeAttached(t, ring.mint(), { path })
    await ringApi.getProfile()
    const pnc = { fcm: { token: 'one' }, config: { x: 1 } }
    ringApi.restClient._internalOnly_pushNotificationCredentials = pnc
    assert.deepEqual(ringApi.restClient._internalOnly_pushNotificationCredentials, pnc)
    await until(() => unwrap(manager.refreshToken).pnc, 'credentials in the token')
    assert.deepEqual(unwrap(manager.refreshToken).pnc, pnc)
    await until(() => unwrap(updates.at(-1)?.newRefreshToken).pnc, 'and announced')
    const other = { fcm: { token: 'two' } }
    await manager.setPushCredentials(other)
    assert.deepEqual(ringApi.restClient._internalOnly_pushNotificationCredentials, other)
    const token = ringApi.restClient.refreshToken
    attachment.detach()
    await manager.close()
    // Alone, with the token that our manager wrote.
    const alone = makeApi(t, token)
    assert.deepEqual(alone.ringApi.restClient._internalOnly_pushNotificationCredentials, other)
    await alone.ringApi.getProfile()
    alone.ringApi.restClient._internalOnly_pushNotificationCredentials = pnc
    // And attached again, with the token that the RingApi wrote.
    const again = makeAttached(t, alone.ringApi.restClient.refreshToken, { path })
    assert.deepEqual(again.ringApi.restClient._internalOnly_pushNotificationCredentials, pnc)
    await again.ringApi.getProfile()
    assert.deepEqual(unwrap(again.manager.refreshToken).pnc, pnc)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('attachToRingApi takes over a rotation that the RingApi has made or is making', async (t) => {
    const ring = await startNamedRing(t, { latencyMs: 20 })
    for (const early of [false, true]) {
      const given = ring.mint()
      const manager = new RingTokenManager({ refreshToken: given, systemId: SYSTEM })
      atEnd(t, 'manager', () => manager.close())
      const { ringApi, updates } = makeApi(t, given)
      const profile = ringApi.getProfile()
      if (!early) await profile
      const before = ring.counts.rotations
      attachToRingApi(ringApi, manager)
      await Promise.all([profile, ringApi.getProfile()])
      await manager.refresh()
      assert.equal(rawOf(manager.refreshToken), ring.newest())
      await until(() => updates.at(-1)?.newRefreshToken === manager.refreshToken, 'announced')
      assert.ok(ring.counts.rotations > before)
    }
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('attachToRingApi continues if the rotation that the RingApi had begun fails', async (t) => {
    const ring = await startNamedRing(t, { latencyMs: 20 })
    const given = ring.mint()
    const manager = new RingTokenManager({ refreshToken: given, systemId: SYSTEM })
    atEnd(t, 'manager', () => manager.close())
    ring.fault({ kind: 'status', status: 503 })
    const { ringApi } = makeApi(t, given)
    const profile = ringApi.getProfile()
    attachToRingApi(ringApi, manager)
    const [first, second] = await Promise.all([profile, ringApi.getProfile()])
    assert.equal(first.profile.first_name, second.profile.first_name)
    assert.equal(rawOf(ringApi.restClient.refreshToken), ring.newest())
    assert.deepEqual([ring.counts.rotations, ring.counts.stalePresentations], [1, 0])
  })

  it('attachToRingApi gives the token to a manager that has none', async (t) => {
    const ring = await startNamedRing(t)
    const manager = new RingTokenManager({ systemId: SYSTEM })
    atEnd(t, 'manager', () => manager.close())
    const { ringApi } = makeApi(t, ring.mint())
    attachToRingApi(ringApi, manager)
    assert.equal((await ringApi.getProfile()).profile.first_name, 'Person')
    assert.equal(rawOf(manager.refreshToken), ring.newest())
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('attachToRingApi can be detached, and the RingApi continues by itself with the newest token', async (t) => {
    const ring = await startNamedRing(t, { requireSession: true })
    const { ringApi, manager, attachment, updates } = makeAttached(t, ring.mint())
    await ringApi.getLocations()
    const newest = manager.refreshToken
    attachment.detach()
    attachment.detach()
    await manager.close()
    assert.equal(ringApi.restClient.refreshToken, newest)
    assert.equal(Object.getOwnPropertyDescriptor(ringApi.restClient, 'request'), undefined)
    ring.clearRequests()
    ring.sessions.clear()
    assert.equal((await ringApi.getProfile()).profile.first_name, 'Person')
    assert.equal(ring.tokenRequests[0]?.headers['content-type'], 'application/json')
    assert.equal(rawOf(ringApi.restClient.refreshToken), ring.newest())
    assert.equal(updates.at(-1)?.oldRefreshToken, newest)
    // And back again.
    const again = new RingTokenManager({ systemId: SYSTEM })
    atEnd(t, 'manager', () => again.close())
    attachToRingApi(ringApi, again)
    await ringApi.getProfile()
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(rawOf(again.refreshToken), ring.newest())
  })

  it('attachToRingApi takes over a rotation of the RingApi, although its access token is gone', async (t) => {
    // Its timer is due at once.
    const ring = await startNamedRing(t, { expiresIn: 30 })
    const given = ring.mint()
    const { ringApi } = makeApi(t, given)
    await ringApi.getProfile()
    await until(() => ringApi.restClient._authPromise === undefined, 'its access token forgotten')
    const manager = new RingTokenManager({ refreshToken: given, systemId: SYSTEM })
    atEnd(t, 'manager', () => manager.close())
    attachToRingApi(ringApi, manager)
    await ringApi.getProfile()
    assert.equal(rawOf(manager.refreshToken), ring.newest())
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('attachToRingApi tries again to take the token over if the store has refused it', async (t) => {
    const ring = await startNamedRing(t)
    const path = join(tempDir(t), 'journal.json')
    const manager = new RingTokenManager({ systemId: SYSTEM, store: fileStore(path) })
    atEnd(t, 'manager', () => manager.close())
    const { ringApi } = makeApi(t, ring.mint())
    // Of a later release, which is not touched.
    writeFileSync(path, '{\n  "ring-auth-journal": "journal.json",\n  "version": 9999\n}', { mode: 0o600 })
    attachToRingApi(ringApi, manager)
    await failure(ringApi.getProfile(), 'STORE')
    rmSync(path)
    assert.equal((await ringApi.getProfile()).profile.first_name, 'Person')
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('attachToRingApi ends a request by its signal although the RingApi still rotates', async (t) => {
    const ring = await startNamedRing(t)
    const given = ring.mint()
    const outage = ring.fault({ kind: 'reset-before', path: '/oauth/token', times: Infinity })
    const manager = new RingTokenManager({ refreshToken: given, systemId: SYSTEM })
    atEnd(t, 'manager', () => manager.close())
    const { ringApi } = makeApi(t, given)
    const profile = ringApi.getProfile()
    await until(() => outage.hits > 0, 'a rotation of its own')
    attachToRingApi(ringApi, manager)
    const { restClient } = ringApi
    await failure(restClient.request({ url: clientApi('x'), signal: AbortSignal.abort() }), 'ABORTED')
    await failure(restClient.request({ url: clientApi('x'), signal: AbortSignal.timeout(50) }), 'ABORTED')
    outage.remove()
    assert.equal((await profile).profile.first_name, 'Person')
  })

  it('attachToRingApi can be detached in the middle of a rotation of either side, and no token is sent twice', async (t) => {
    for (const closed of [true, false]) {
      const ring = await startNamedRing(t, { latencyMs: 50 })
      const { ringApi, manager, attachment, updates } = makeAttached(t, ring.mint())
      await ringApi.getProfile()
      const before = ring.counts.tokenPosts
      const rotation = manager.refresh()
      if (!closed) await until(() => manager.status.state === 'refreshing', 'a rotation')
      attachment.detach()
      // It need not wait for the manager.
      if (closed) await manager.close()
      await ringApi.getProfile()
      await rotation
      assert.equal(ring.counts.tokenPosts, before + 1)
      ring.expireAccessTokens()
      await ringApi.getProfile()
      assert.equal(rawOf(ringApi.restClient.refreshToken), ring.newest())
      assert.equal(ring.counts.stalePresentations, 0)
      // A subscriber that overwrites each token with the next one has the newest.
      for (const [i, update] of updates.slice(1).entries()) {
        assert.equal(update.oldRefreshToken, updates[i]?.newRefreshToken)
      }
    }

    const ring = await startNamedRing(t, { latencyMs: 50 })
    const { ringApi } = makeApi(t, ring.mint())
    const profile = ringApi.getProfile()
    const manager = new RingTokenManager({ refreshToken: ring.mint(), systemId: SYSTEM })
    atEnd(t, 'manager', () => manager.close())
    const { refreshToken } = manager
    const attachment = attachToRingApi(ringApi, manager)
    const waiting = ringApi.getProfile()
    attachment.detach()
    await Promise.all([profile, waiting, ringApi.getProfile()])
    assert.equal(manager.refreshToken, refreshToken, 'the one that is spent now is not taken over')
    assert.deepEqual([ring.counts.tokenPosts, ring.counts.stalePresentations], [1, 0])
    assert.equal(rawOf(ringApi.restClient.refreshToken), ring.newest())
  })

  it('attachToRingApi refuses a RingApi that it does not know', async (t) => {
    const ring = await startNamedRing(t)
    const { ringApi, manager } = makeAttached(t, ring.mint())
    await failure(async () => attachToRingApi(ringApi, manager), 'INVALID_ARGUMENT')
    /** @param {(restClient: any) => void} change */
    const odd = (change) => {
      const { ringApi } = makeApi(t, ring.mint())
      change(ringApi.restClient)
      return ringApi
    }
    for (const value of [
      undefined,
      null,
      7,
      'x',
      {},
      { restClient: {} },
      { restClient: null },
      odd((client) => (client.refreshSession = undefined)),
      odd((client) => delete client.authConfig),
      odd((client) => (client.onSession = {})),
      odd((client) => (client.baseSessionMetadata.api_version = 12)),
      odd((client) => (client.baseSessionMetadata = undefined)),
    ]) {
      const error = await failure(async () => attachToRingApi(/** @type {any} */ (value), manager), 'INVALID_ARGUMENT')
      if (typeof value === 'object' && value !== null) assert.match(error.message, /ring-client-api 14/)
    }
    for (const value of [undefined, null, {}, ringApi]) {
      await failure(
        async () => attachToRingApi(makeApi(t, ring.mint()).ringApi, /** @type {any} */ (value)),
        'INVALID_ARGUMENT',
      )
    }
    // A RingApi that was refused is unchanged.
    assert.equal((await ringApi.getProfile()).profile.first_name, 'Person')
  })

  it('attachToRingApi ends waits when the RingApi disconnects', async (t) => {
    const ring = await startNamedRing(t)
    const { ringApi } = makeAttached(t, ring.mint())
    await ringApi.getLocations()
    ring.fault({ kind: 'status', path: '/clients_api/x', status: 504, times: Infinity })
    const waiting = failure(ringApi.restClient.request({ url: clientApi('x') }), 'ABORTED')
    await until(
      () => ring.requests.some((request) => request.path === '/clients_api/x' && request.status === 504),
      'a 504',
    )
    // The test cannot see whether the wait has begun, so it ends the wait repeatedly until it is over.
    const timer = setInterval(() => ringApi.disconnect(), 50)
    t.after(() => clearInterval(timer))
    await waiting
    assert.equal((await ringApi.restClient.request({ url: deviceApi('locations') })).user_locations.length, 2)
  })

  it('attachToRingApi waits for the end of an outage at the start, and reports that', {
    timeout: 4 * PATIENCE_MS,
  }, async (t) => {
    const ring = await startNamedRing(t)
    const outage = ring.fault({ kind: 'reset-before', path: /./, times: Infinity })
    const { ringApi, said } = makeAttached(t, ring.mint())
    const locations = ringApi.getLocations()
    await until(() => outage.hits >= 2, 'some tries')
    outage.remove()
    assert.equal((await locations).length, 2)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.ok(said.length > 0)
  })
})

it('a script with an attached RingApi ends by itself', async (t) => {
  const ring = await startNamedRing(t, { requireSession: true })
  const source = `
    import { createRequire } from 'node:module'
    const require = createRequire(config.here)
    const { attachToRingApi } = require('../../index.js')
    const manager = new RingTokenManager(config.options)
    const { RingRestClient } = await import(config.restClient)
    const client = new RingRestClient({ refreshToken: config.options.refreshToken, systemId: 'x' })
    const attachment = attachToRingApi({ restClient: client }, manager)
    const { profile } = await client.getSession()
    say(profile.email)
  `
  const config = {
    here: import.meta.url,
    restClient: new URL('./node_modules/ring-client-api/lib/rest-client.js', import.meta.url).href,
    options: { refreshToken: ring.mint(), systemId: 'x' },
  }
  const { code, stdout, stderr } = await runScript(t, source, config).ended
  assert.equal(stdout.trim(), EMAIL, stderr)
  assert.equal(code, 0, stderr)
})
