// @ts-check
// A RingApi that is attached while a refresh of its own is on the wire: its own code reads back what it has written, and the
// token that it gets is the one that all continue with. Ring gives no grace here, and revokes a family on reuse.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { attachToRingApi } from '../../index.js'
import { atEnd, RingTokenManager, rawOf, unwrap, until, wrap } from '../support/index.mjs'
import { startNamedRing, theirs } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

after(() => theirs.util.clearTimeouts())

const SYSTEM = 'test-system'
const PROFILE = theirs.clientApi('profile')

/**
 * A rest client of ring-client-api with a refresh of its own, whose answer Ring holds back.
 * @param {TestContext} t
 * @param {(client: any) => Promise<any>} begin how the refresh is begun
 * @param {{ sameTick?: boolean }} [how] attach before the request has left
 */
async function attachInFlight(t, begin, { sameTick = false } = {}) {
  const ring = await startNamedRing(t)
  const given = wrap({ rt: ring.mint(), hid: 'b2c1f1de-6b0c-4d5e-9d56-1f5c8d1f8a11', pnc: { fcm: 'before' } })
  const ringApi = new theirs.RingApi({ refreshToken: given, systemId: SYSTEM })
  const client = ringApi.restClient
  t.after(() => client.clearTimeouts())
  /** @type {{ oldRefreshToken?: string, newRefreshToken: string }[]} */
  const updates = []
  client.onRefreshTokenUpdated.subscribe((/** @type {any} */ update) => updates.push(update))
  const manager = new RingTokenManager({ refreshToken: given, systemId: SYSTEM })
  atEnd(t, 'manager', () => manager.close())
  let release = () => {}
  /** @type {Promise<void>} */
  const released = new Promise((resolve) => {
    release = resolve
  })
  const held = ring.fault({ kind: 'slow', path: '/oauth/token', until: released })
  const own = begin(client)
  own.catch(() => {})
  if (!sameTick) await until(() => held.hits > 0, 'its own request')
  const attachment = attachToRingApi(ringApi, manager)
  await until(() => held.hits > 0, 'its own request')
  const first = ring.newest()
  return { ring, given, client, updates, manager, release, own, attachment, first: String(first) }
}

/** @typedef {Awaited<ReturnType<typeof attachInFlight>>} Flight */

/** Checks that both sides have the newest token, that each token was announced once, and that none was sent twice. @param {Flight} flight */
async function isAdopted({ ring, given, client, updates, manager, first }) {
  await client.request({ url: PROFILE })
  assert.equal(rawOf(manager.refreshToken), ring.newest())
  assert.equal(client.refreshToken, manager.refreshToken)
  assert.equal(client.authConfig.rt, ring.newest())
  assert.equal(updates[0]?.oldRefreshToken, given)
  assert.equal(rawOf(updates[0]?.newRefreshToken), first, 'its own rotation is announced as what it is')
  for (const [i, { oldRefreshToken, newRefreshToken }] of updates.entries()) {
    assert.notEqual(newRefreshToken, oldRefreshToken)
    if (i > 0) assert.equal(oldRefreshToken, updates[i - 1]?.newRefreshToken)
  }
  assert.equal(rawOf(updates.at(-1)?.newRefreshToken), ring.newest())
  assert.deepEqual([ring.counts.stalePresentations, ring.counts.invalidGrants], [0, 0])
}

/** The ways in which a RingApi begins a refresh of its own. @type {Record<string, (client: any) => Promise<any>>} */
const BEGUN = {
  'getCurrentAuth()': (client) => client.getCurrentAuth(),
  'refreshAuth()': (client) => client.refreshAuth(),
  'a request': (client) => client.request({ url: PROFILE }),
  'a session': (client) => client.getSession(),
}

/**
 * The use of each field that attaching replaces, while the answer is held back. Returns a promise to wait for afterwards.
 * @type {Record<string, (flight: Flight) => unknown>}
 */
const MEANWHILE = {
  refreshToken: ({ client, given }) => assert.equal(client.refreshToken, given),
  authConfig: ({ client, given }) => assert.deepEqual(client.authConfig, unwrap(given)),
  getAuth: ({ client }) => client.getAuth(),
  getCurrentAuth: ({ client }) => client.getCurrentAuth(),
  getSession: ({ client }) => client.getSession(),
  request: ({ client }) => client.request({ url: PROFILE }),
  _authPromise: ({ client }) => client._authPromise,
  refreshAuth: ({ client }) => client.refreshAuth(),
  refreshSession: async ({ client }) => {
    client.refreshSession()
    await client.sessionPromise
    client.clearTimeouts()
  },
  clearTimeouts: ({ client }) => client.clearTimeouts(),
}

describe('attachToRingApi while a refresh of the RingApi is on the wire', () => {
  for (const [begun, begin] of Object.entries(BEGUN)) {
    it(`attachToRingApi during a refresh takes over the token of ${begun}`, async (t) => {
      const flight = await attachInFlight(t, begin)
      assert.equal(flight.client.refreshToken, flight.given)
      flight.release()
      await flight.own
      await isAdopted(flight)
    })
  }

  it('attachToRingApi during a refresh takes over the token of getCurrentAuth() that was called in the same tick', async (t) => {
    const flight = await attachInFlight(t, (client) => client.getCurrentAuth(), { sameTick: true })
    flight.release()
    const auth = await flight.own
    assert.equal(rawOf(auth.refresh_token), flight.first)
    await isAdopted(flight)
  })

  for (const [field, use] of Object.entries(MEANWHILE)) {
    it(`attachToRingApi during a refresh loses no token if ${field} is used meanwhile`, async (t) => {
      const flight = await attachInFlight(t, (client) => client.getCurrentAuth())
      const meanwhile = Promise.resolve(use(flight))
      meanwhile.catch(() => {})
      flight.release()
      const auth = await flight.own
      assert.equal(rawOf(auth.refresh_token), flight.first)
      await meanwhile
      await isAdopted(flight)
    })
  }

  it('push credentials that are set during a refresh of the RingApi are in the token that comes', async (t) => {
    const flight = await attachInFlight(t, (client) => client.getCurrentAuth())
    const { client, manager } = flight
    assert.deepEqual(client._internalOnly_pushNotificationCredentials, { fcm: 'before' })
    client._internalOnly_pushNotificationCredentials = { fcm: 'meanwhile' }
    assert.deepEqual(client._internalOnly_pushNotificationCredentials, { fcm: 'meanwhile' })
    flight.release()
    await flight.own
    await until(() => unwrap(manager.refreshToken).pnc?.fcm === 'meanwhile', 'the credentials in the token')
    await isAdopted(flight)
    assert.deepEqual(unwrap(client.refreshToken).pnc, { fcm: 'meanwhile' })
  })

  it('a RingApi that is detached during its refresh continues with the token that comes, and the manager does not have it', async (t) => {
    const { client, given, manager, release, own, attachment, first, ring } = await attachInFlight(t, (client) =>
      client.getCurrentAuth(),
    )
    client._internalOnly_pushNotificationCredentials = { fcm: 'meanwhile' }
    attachment.detach()
    assert.equal(rawOf(client.refreshToken), rawOf(given))
    release()
    await own
    assert.equal(rawOf(client.refreshToken), first)
    assert.equal(client.authConfig.rt, first)
    assert.equal(rawOf(manager.refreshToken), rawOf(given))
    await until(() => client.authConfig.pnc?.fcm === 'meanwhile', 'the credentials in its own token')
    await client.request({ url: PROFILE })
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a RingApi that is detached during its refresh gives waiting getAuth() calls the token that comes, and sends none twice', async (t) => {
    const { client, release, own, attachment, first, ring } = await attachInFlight(t, (client) =>
      client.getCurrentAuth(),
    )
    const waiting = [client.getAuth(), client.getAuth(), client.getAuth()]
    attachment.detach()
    release()
    await own
    for (const auth of await Promise.all(waiting)) assert.equal(rawOf(auth.refresh_token), first)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.refreshes, 1)
  })

  it('a RingApi that is detached right after the manager was asked for a rotation waits for that one', async (t) => {
    const flight = await attachInFlight(t, (client) => client.getCurrentAuth())
    const { client, manager, release, own, attachment, ring } = flight
    release()
    await own
    await client.getCurrentAuth()
    // Slow enough for both requests to be under way at the same time.
    ring.settings.latencyMs = 100
    const asked = manager.refresh()
    attachment.detach()
    const [auth] = await Promise.all([client.getCurrentAuth(), asked])
    assert.equal(rawOf(auth.refresh_token), ring.newest())
    assert.deepEqual([ring.counts.maxConcurrentRefreshes, ring.counts.stalePresentations], [1, 0])
  })

  it('a token of the RingApi that comes after another one was adopted is adopted as well', async (t) => {
    // getAuth() of its own, which attaching cannot see.
    const flight = await attachInFlight(t, (client) => client.getAuth())
    flight.release()
    const auth = await flight.own
    assert.equal(rawOf(auth.refresh_token), flight.first)
    await until(() => rawOf(flight.manager.refreshToken) === flight.first, 'the token in the manager')
    await isAdopted(flight)
  })

  it('the token that a late failure of the RingApi empties is that of the manager again', async (t) => {
    const flight = await attachInFlight(t, (client) => client.getAuth())
    const { client, manager, given } = flight
    // As the RingApi's getAuth() does after an answer that it does not understand, before and after the adoption.
    for (let i = 0; i < 2; i++) {
      client.refreshToken = undefined
      client.authConfig = undefined
      await until(() => client.refreshToken === manager.refreshToken, 'the token of the manager')
      assert.equal(client.authConfig.rt, rawOf(given))
    }
    // A part of the fields that it writes for a new token, by other code.
    client.authConfig = { rt: 'a token that nobody has' }
    await until(() => client.authConfig.rt === rawOf(given), 'the token of the manager')
    flight.release()
    await flight.own
    await isAdopted(flight)
  })
})
