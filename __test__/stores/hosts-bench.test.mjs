// @ts-check
// That the runs of bench/hosts can be believed: they keep an account while nothing goes wrong, and see it when lock-and-write loses one.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { atEnd } from '../support/index.mjs'
import { ACCIDENTS, STEPS, catchAt, storm } from '../../bench/hosts/chaos.mjs'
import { adoptions, atOnce, oldest, quantile, shortest } from '../../bench/hosts/judge.mjs'
import { makeWorld } from '../../bench/hosts/world.mjs'
import { eventually, redis } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../../bench/hosts/world.mjs').Plan} Plan */

/** Two hosts with lock-and-write. @param {TestContext} t @param {Partial<Plan>} plan */
async function world(t, plan) {
  const made = await makeWorld({
    ...{ engine: 'redis', keeper: 'lock', client: 'ioredis', hosts: 2, accounts: 1, lifetimeS: 2, latencyMs: 100 },
    ...{ graceMs: 0, requestTimeoutMs: 60_000, lockMs: 120_000, pollMs: 50, hasReplica: false },
    clockOffsetS: () => 0,
    ...plan,
  })
  atEnd(t, 'server', () => made.end())
  await made.start()
  assert.equal(await made.alive(120_000), 2)
  return made
}

describe('the judge of bench/hosts', () => {
  it('counts how far behind the oldest token was that Ring saw', () => {
    const seen = (/** @type {[number, number?][]} */ ...all) =>
      all.map(([number, status = 200]) => ({ family: 'a', number, status }))
    assert.equal(oldest([]), 0)
    assert.equal(oldest(seen([0], [1], [2])), 0)
    assert.equal(oldest(seen([0], [0, 401])), 1)
    assert.equal(oldest(seen([0], [1], [0, 401])), 2)
    assert.equal(oldest(seen([0, 0], [0, 401])), 1, 'Ring had rotated when the answer was cut off')
    assert.equal(oldest(seen([0, 503], [0])), 0, 'it had not when it refused')
    assert.equal(oldest(seen([0], [0], [0], [3])), 1, 'each answer to one token comes right after it')
    assert.equal(oldest(seen([0], [0], [2], [0, 401])), 2)
    assert.equal(oldest([...seen([7]), { family: 'b', number: 0, status: 200 }]), 0)
  })

  it('counts the requests at once and the time between rotations of each account by itself', () => {
    const seen = (/** @type {[string, number, number?][]} */ ...all) =>
      all.map(([family, at, status = 200]) => ({ family, at, status }))
    assert.equal(atOnce([], 100), 0)
    assert.equal(atOnce(seen(['a', 0], ['b', 10], ['a', 100]), 100), 1)
    assert.equal(atOnce(seen(['a', 0], ['b', 10], ['a', 99], ['b', 105], ['b', 109]), 100), 3)
    assert.equal(shortest(seen(['a', 0], ['b', 900])), undefined)
    assert.equal(shortest(seen(['a', 0], ['b', 900], ['a', 1000], ['a', 1001, 401], ['b', 1500])), 0.6)
  })

  it('takes the time from the first host that has a token to each other one', () => {
    const reports = [
      { host: 0, token: 'a', at: 10 },
      { host: 1, token: 'a', at: 15 },
      { host: 0, token: 'a', at: 20 },
      { host: 1, token: 'b', at: 30 },
      { host: 0, token: 'b', at: 31 },
      { host: 2, token: 'b', at: 50 },
    ]
    assert.deepEqual(adoptions(reports), [5, 1, 20])
    assert.equal(quantile([3, 1, 2], 0.5), 2)
    assert.equal(quantile([3, 1, 2], 0.99), 3)
  })
})

describe('the world of bench/hosts', { skip: redis }, () => {
  it('has one rotation for each lifetime while nothing goes wrong', async (t) => {
    const made = await world(t, {})
    await eventually(async () => assert.ok(made.ring.counts.rotations >= 4))
    assert.equal(await made.alive(120_000), 2)
    const { requests, rotations, shortestS, ...rest } = made.verdict()
    assert.equal(requests, rotations)
    assert.ok(Number(shortestS) >= 1.8, 'a tenth before the end of a lifetime of 2 s')
    assert.deepEqual(rest, { rejected: 0, atOnce: 1, oldest: 0 })
  })

  it('sees that lock-and-write loses the account if the holder of the lock is stopped for longer than its time', async (t) => {
    const made = await world(t, { lockMs: 1000, latencyMs: 50 })
    const host = await catchAt(made, 'sends', (host) => host.stop())
    await eventually(async () => assert.ok(made.verdict().rejected > 0))
    host.goOn()
    assert.equal(made.verdict().oldest, 1)
    assert.equal(await made.alive(3000), 0, 'a person has to log in')
  })

  it('sees that ring-auth keeps the account if the host that was to send is stopped for longer than its lease', async (t) => {
    // Long enough for a request on a machine with other work. The other host goes on after 15 s.
    const made = await world(t, { keeper: 'ours', requestTimeoutMs: 10_000 })
    const host = await catchAt(made, 'marks', (host) => host.stop())
    const { rotations } = made.ring.counts
    await eventually(async () => assert.ok(made.ring.counts.rotations > rotations))
    host.goOn()
    assert.equal(await made.alive(120_000), 2)
    const { rejected, atOnce, oldest } = made.verdict()
    assert.deepEqual({ rejected, atOnce, oldest }, { rejected: 0, atOnce: 1, oldest: 0 })
  })

  it('sees that ring-auth keeps the account if a host that has sent is stopped for longer than its lease', async (t) => {
    // The other host's request lasts so long that the host wakes while it is under way.
    const made = await world(t, { keeper: 'ours', requestTimeoutMs: 10_000, graceMs: 600_000, latencyMs: 1000 })
    const host = await catchAt(made, 'sends', (host) => host.stop())
    const { rotations } = made.ring.counts
    // Its own request is the first one, and that of the other host the second one.
    await eventually(async () => assert.ok(made.ring.counts.rotations > rotations + 1))
    host.goOn()
    assert.equal(await made.alive(120_000), 2)
    const { rejected, atOnce, oldest } = made.verdict()
    assert.deepEqual({ rejected, atOnce, oldest }, { rejected: 0, atOnce: 1, oldest: 1 })
  })

  it('chooses the accidents of a run by its seed', () => {
    const names = (/** @type {number} */ seed) => storm(seed, 20).map(([name]) => name)
    assert.deepEqual(names(1), names(1))
    assert.notDeepEqual(names(1), names(2))
    assert.ok(new Set(names(1)).size > 8)
  })

  it('catches a host at each of its steps', async (t) => {
    const made = await world(t, {})
    // Lock-and-write has no mark: what it commits before its request is the lock.
    for (const step of STEPS) {
      await ACCIDENTS[`a host that ${step} is stopped for less than the lease`]?.run({
        ...made,
        plan: { ...made.plan, lockMs: 100 },
      })
    }
    assert.equal(await made.alive(120_000), 2)
  })
})
