// @ts-check
// The times at which a refresh is made. The tests make a journal older, so that they need not wait.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  OUTAGE,
  age,
  editJournal,
  failure,
  fileStore,
  open,
  rawOf,
  readJournal,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const HOUR = 3_600_000
const DAY = 24 * HOUR

/**
 * A fake Ring, and a journal whose access token of an hour has this age.
 * @param {TestContext} t
 * @param {number} ms
 */
async function agedJournal(t, ms) {
  const ring = await startRing(t, { expiresIn: 3600 })
  const path = join(tempDir(t), 'journal.json')
  const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
  const accessToken = await manager.getAccessToken()
  await manager.close()
  age(path, ms)
  ring.clearCounts()
  ring.clearRequests()
  return { ring, path, accessToken, store: fileStore(path) }
}

describe('expires_in', { concurrency: true }, () => {
  /** @type {[unknown, number][]} */
  const cases = [
    [0, 60_000],
    [undefined, 60_000],
    [null, 60_000],
    [-1, 60_000],
    [-1e308, 60_000],
    ['3600', 60_000],
    ['', 60_000],
    [[3600], 60_000],
    [{}, 60_000],
    [true, 60_000],
    [5, 5000],
    [1.5, 1500],
    [14_400, 14_400_000],
    [86_401, DAY],
    [4_294_967_296, DAY],
    // biome-ignore lint/correctness/noPrecisionLoss: beyond what a number holds exactly, on purpose
    [9_007_199_254_740_993, DAY],
    [1e300, DAY],
  ]
  for (const [expiresIn, lifetime] of cases) {
    it(`expires_in of ${expiresIn === undefined ? 'nothing' : JSON.stringify(expiresIn)} counts as ${lifetime / 1000} s, and costs one request`, async (t) => {
      const ring = await startRing(t, { expiresIn })
      const { manager } = open(t, ring, { refreshToken: ring.mint() })
      const before = Date.now()
      const { expiresAt } = await manager.getAuth()
      assert.ok(expiresAt >= before + lifetime && expiresAt <= Date.now() + lifetime, `${expiresAt - before}`)
      if (lifetime < 60_000) return
      for (let i = 0; i < 200; i++) await manager.getAccessToken()
      assert.equal(ring.counts.tokenPosts, 1)
    })
  }

  for (const expiresIn of ['1e400', '1'.repeat(400), '0.000000001', '-0']) {
    it(`expires_in written as ${expiresIn.length > 20 ? `${expiresIn.length} digits` : expiresIn} breaks nothing`, async (t) => {
      const ring = await startRing(t)
      ring.fault({
        kind: 'mutate',
        times: Infinity,
        fn: (json) => JSON.stringify({ ...json, expires_in: 'HERE' }).replace('"HERE"', expiresIn),
      })
      const { manager } = open(t, ring, { refreshToken: ring.mint() })
      const { accessToken, expiresAt } = await manager.getAuth()
      assert.ok(ring.isAccessLive(accessToken))
      assert.ok(Number.isSafeInteger(expiresAt) && expiresAt <= Date.now() + DAY)
      assert.equal(ring.counts.tokenPosts, 1)
    })
  }

  for (const expiresIn of [0, 1e-9, 0.001, 1, undefined, -5, 'x']) {
    it(`expires_in of ${expiresIn} makes no busy loop of autoRefresh`, async (t) => {
      const ring = await startRing(t, { expiresIn })
      const { manager, updates } = open(t, ring, { refreshToken: ring.mint(), autoRefresh: true })
      await until(() => updates.length > 0, 'the first refresh, which is unasked')
      // Long enough to see a busy loop.
      await new Promise((resolve) => setTimeout(resolve, 1500))
      assert.equal(ring.counts.tokenPosts, 1)
      await manager.close()
    })
  }

  it('expires_in of a second is believed: the next caller after it waits for a new token', async (t) => {
    const ring = await startRing(t, { expiresIn: 1 })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const { accessToken, expiresAt } = await manager.getAuth()
    await until(() => Date.now() > expiresAt, 'it expires')
    assert.notEqual(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.stalePresentations, 0)
  })
})

describe('an access token', { concurrency: true }, () => {
  it('an access token is not refreshed before the last tenth of its life', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, 0.85 * HOUR)
    const { manager } = open(t, ring, { store })
    for (let i = 0; i < 50; i++) assert.equal(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.tokenPosts, 0)
  })

  it('an access token near its end is returned at once, and one refresh starts in the background', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, 0.95 * HOUR)
    const hanging = ring.fault({ kind: 'hang', times: Infinity })
    const { manager } = open(t, ring, { store, requestTimeoutMs: 2000 })
    // Ring does not answer, and the call does not wait.
    for (let i = 0; i < 200; i++) assert.equal(await manager.getAccessToken(), accessToken)
    await until(() => ring.counts.tokenPosts === 1, 'the refresh beside it')
    hanging.remove()
    await until(() => rawOf(manager.refreshToken) === ring.newest() && manager.status.state === 'ready', 'its rotation')
    assert.notEqual(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.rotations, 1)
  })

  it('an access token that has expired is never returned: all callers wait for one refresh', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, HOUR)
    ring.settings.latencyMs = 50
    const { manager } = open(t, ring, { store })
    assert.equal(manager.status.state, 'idle')
    const tokens = await Promise.all(Array.from({ length: 100 }, () => manager.getAccessToken()))
    assert.deepEqual(new Set(tokens).size, 1)
    assert.notEqual(tokens[0], accessToken)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('an access token that is valid hides an outage from all callers', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, 0.95 * HOUR)
    ring.fault(OUTAGE)
    const { manager } = open(t, ring, { store })
    await manager.getAccessToken()
    await until(() => ring.counts.tokenPosts === 1 && manager.status.state === 'waiting', 'the cool-down')
    for (let i = 0; i < 500; i++) assert.equal(await manager.getAccessToken(), accessToken)
    assert.equal((await manager.getAuth()).accessToken, accessToken)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('an access token from the future is refreshed, once', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, -HOUR)
    const { manager } = open(t, ring, { store })
    assert.notEqual(await manager.getAccessToken(), accessToken)
    for (let i = 0; i < 20; i++) await manager.getAccessToken()
    assert.equal(ring.counts.tokenPosts, 1)
  })
})

describe('a cool-down', { concurrency: true }, () => {
  it('a cool-down that begins in the future, because a clock was wrong, is over', async (t) => {
    const { ring, path, store } = await agedJournal(t, HOUR)
    editJournal(path, (journal) => {
      journal.coolDown = {
        startedAt: Date.now() + 10 * 365 * DAY,
        lengthMs: DAY,
        failures: 3,
        code: 'SERVER_ERROR',
        message: 'Ring is in trouble.',
        httpStatus: 503,
      }
    })
    const { manager } = open(t, ring, { store })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('a cool-down is a day at most, even if Retry-After is longer', async (t) => {
    const ring = await startRing(t)
    ring.fault({ kind: 'status', status: 429, headers: { 'retry-after': '31536000' } })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const error = await failure(manager.getAccessToken(), 'RATE_LIMITED')
    assert.equal(error.httpStatus, 429)
    assert.ok(Number(manager.status.retryAt) <= Date.now() + DAY)
    assert.ok(Number(manager.status.retryAt) > Date.now() + DAY - 60_000)
  })

  it('a cool-down is a quarter of an hour at once for a block, after one request', async (t) => {
    const ring = await startRing(t)
    ring.fault({
      kind: 'status',
      status: 403,
      times: Infinity,
      body: '<html>',
      headers: { 'content-type': 'text/html' },
    })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await failure(manager.getAccessToken(), 'BLOCKED')
    const wait = Number(manager.status.retryAt) - Date.now()
    assert.ok(wait > 0.79 * 900_000 && wait < 1.21 * 900_000, `${wait}`)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('a cool-down is followed by one request of the first call, not by four', async (t) => {
    const { ring, path, store } = await agedJournal(t, HOUR)
    ring.fault({ kind: 'status', status: 500, times: Infinity })
    editJournal(path, (journal) => {
      journal.coolDown = {
        startedAt: Date.now() - 60_000,
        lengthMs: 30_000,
        failures: 3,
        code: 'SERVER_ERROR',
        message: 'Ring is in trouble.',
        httpStatus: 503,
      }
    })
    const { manager } = open(t, ring, { store })
    await failure(manager.getAccessToken(), 'SERVER_ERROR')
    await failure(manager.getAccessToken(), 'SERVER_ERROR')
    assert.equal(ring.counts.tokenPosts, 1)
    const { coolDown } = readJournal(path)
    assert.equal(coolDown.failures, 4)
    assert.ok(coolDown.lengthMs >= 32_000 && coolDown.lengthMs <= 48_000, `${coolDown.lengthMs}`)
  })
})

describe('autoRefresh', { concurrency: true }, () => {
  it('autoRefresh refreshes ahead of expiry without being asked, once', async (t) => {
    const { ring, accessToken, store } = await agedJournal(t, 0.95 * HOUR)
    const { manager } = open(t, ring, { store, autoRefresh: true })
    await until(() => ring.counts.rotations === 1 && manager.status.state === 'ready', 'an unasked rotation')
    assert.notEqual(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('autoRefresh makes no request while the access token is young', async (t) => {
    const { ring, store } = await agedJournal(t, 0)
    const { manager } = open(t, ring, { store, autoRefresh: true })
    await manager.getAccessToken()
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(ring.counts.tokenPosts, 0)
  })

  it('autoRefresh tries again by itself when a cool-down is over', async (t) => {
    const { ring, path, store } = await agedJournal(t, HOUR)
    editJournal(path, (journal) => {
      journal.coolDown = {
        startedAt: Date.now(),
        lengthMs: 1500,
        failures: 1,
        code: 'SERVER_ERROR',
        message: 'Ring is in trouble.',
        httpStatus: 503,
      }
    })
    const { manager } = open(t, ring, { store, autoRefresh: true })
    const { state, retryAt } = manager.status
    if (state === 'waiting') assert.ok(Number(retryAt) <= Date.now() + 1500)
    await until(() => ring.counts.rotations === 1, 'it refreshes by itself')
    assert.ok(Number(ring.tokenRequests[0]?.at) >= Number(retryAt ?? 0))
  })

  it('autoRefresh leaves a rejected token alone', async (t) => {
    const { ring, store } = await agedJournal(t, HOUR)
    ring.revokeAll()
    const { manager } = open(t, ring, { store, autoRefresh: true })
    await until(() => manager.status.state === 'needs-login', 'the rejection')
    const posts = ring.counts.tokenPosts
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.equal(ring.counts.tokenPosts, posts)
  })

  it('autoRefresh begins with the first token if there was none', async (t) => {
    const ring = await startRing(t)
    const { manager, updates } = open(t, ring, { autoRefresh: true })
    await manager.setRefreshToken(ring.mint())
    await until(() => updates.length === 2, 'it is announced, and refreshed unasked')
    assert.equal(ring.counts.rotations, 1)
  })
})
