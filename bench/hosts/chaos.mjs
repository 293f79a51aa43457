// @ts-check
// The accidents of a run. Each accident ends: afterwards the network works again, and every host runs.
import { setTimeout as sleep } from 'node:timers/promises'

/** @typedef {import('./world.mjs').World} World */
/** @typedef {import('./world.mjs').Host} Host */

/** The steps of a host at which an accident can happen. */
export const STEPS = /** @type {const} */ (['loads', 'marks', 'sends', 'is answered', 'stores'])
/** @typedef {(typeof STEPS)[number]} Step */

/**
 * Waits until a host does a step, and calls `act` at that moment, before the network passes the bytes on.
 * @param {World} world
 * @param {Step} step
 * @param {(host: Host) => void} act
 * @returns {Promise<Host>}
 */
export function catchAt(world, step, act) {
  return new Promise((resolve) => {
    /** @param {Host} host */
    const caught = (host) => {
      for (const { toRing, toEngine } of world.hosts) for (const proxy of [toRing, toEngine]) proxy.watch(undefined)
      act(host)
      resolve(host)
    }
    for (const host of world.hosts) {
      // A commit before the request stores the mark, and a commit after it stores the answer.
      let hasSent = false
      host.toRing.watch((from) => {
        if (from === 'client') hasSent = true
        if (step === (from === 'client' ? 'sends' : 'is answered')) caught(host)
      })
      host.toEngine.watch((from, data) => {
        if (from !== 'client') return
        const isCommit = world.engine.commits.test(data.toString('latin1'))
        if (step === (isCommit ? (hasSent ? 'stores' : 'marks') : 'loads')) caught(host)
      })
    }
  })
}

/**
 * Waits for a number of further rotations.
 * @param {World} world
 * @param {number} more
 * @param {number} [ms] the longest wait
 */
export async function rotations(world, more, ms = 120_000) {
  const wanted = world.ring.counts.rotations + more
  const deadline = performance.now() + ms
  // If all hosts are locked out, there are no more rotations.
  while (world.ring.counts.rotations < wanted && performance.now() < deadline) await sleep(20)
}

/** Returns the lease of ring-auth, or the time to live of the lock, in milliseconds. @param {World} world */
const leaseMs = ({ plan }) => (plan.keeper === 'ours' ? plan.requestTimeoutMs + 5000 : plan.lockMs)

/** @param {Step} step @param {(lease: number) => number} ms */
const stopped = (step, ms) => async (/** @type {World} */ world) => {
  const host = await catchAt(world, step, (host) => host.stop())
  await sleep(ms(leaseMs(world)))
  host.goOn()
}

/** @param {Step} step */
const killed = (step) => async (/** @type {World} */ world) => {
  /** @type {Promise<void> | undefined} */
  let end
  const host = await catchAt(world, step, (host) => (end = host.kill()))
  await end
  await host.start()
}

/** @param {(lease: number) => number} ms */
function cutOff(ms) {
  return async (/** @type {World} */ world) => {
    const host = await catchAt(world, 'sends', ({ toEngine }) => {
      toEngine.fault.refuse = true
      toEngine.cut()
    })
    await sleep(ms(leaseMs(world)))
    host.toEngine.heal()
  }
}

/** Waits until all hosts have the access token of a rotation that Ring has just made. @param {World} world */
async function seen({ hosts }) {
  const before = new Set(hosts.flatMap(({ reports }) => reports.map(({ token }) => token)))
  const deadline = performance.now() + 60_000
  for (;;) {
    const tokens = hosts.map(({ reports }) => String(reports.at(-1)?.token))
    if (new Set(tokens).size === 1 && !before.has(String(tokens[0]))) return
    if (performance.now() > deadline) throw new Error('not all hosts have seen the last rotation')
    await sleep(20)
  }
}

/** Whether Ring may have rotated at this step while no other host has the answer. @param {Step} step */
const isSent = (step) => ['sends', 'is answered'].includes(step)

/**
 * The accidents by their names. `loses`: an answer of Ring may be lost, so without a grace period of Ring a person would have to log in.
 * @type {Record<string, { run: (world: World) => Promise<unknown>, loses?: boolean, needs?: 'replica' | 'clocks' }>}
 */
export const ACCIDENTS = {
  ...Object.fromEntries(
    STEPS.flatMap((step) => [
      [`a host that ${step} is stopped for less than the lease`, { run: stopped(step, (lease) => lease / 2) }],
      [
        `a host that ${step} is stopped for longer than the lease`,
        { run: stopped(step, (lease) => lease * 1.5), loses: isSent(step) },
      ],
      [`a host that ${step} is killed, and starts again`, { run: killed(step), loses: isSent(step) }],
    ]),
  ),
  'the connections of a host to the store are cut': {
    run: async (world) => {
      for (let i = 0; i < 10; i++) {
        for (const { toEngine } of world.hosts.slice(i % 2)) toEngine.cut()
        await sleep(200)
      }
    },
  },
  'the answers of the store to a host are swallowed': {
    run: async (world) => {
      const host = await catchAt(world, 'marks', ({ toEngine }) => (toEngine.fault.swallowAnswers = true))
      await sleep(leaseMs(world))
      host.toEngine.heal()
      host.toEngine.cut()
    },
  },
  'the store is slow for a host': {
    run: async (world) => {
      const [host] = world.hosts
      if (host) host.toEngine.fault.delayMs = 500
      await rotations(world, 3)
      host?.toEngine.heal()
    },
  },
  'the requests of a host to the store are swallowed': {
    run: async (world) => {
      const host = await catchAt(world, 'loads', ({ toEngine }) => (toEngine.fault.swallowRequests = true))
      await sleep(leaseMs(world))
      host.toEngine.heal()
      host.toEngine.cut()
    },
  },
  'a host is cut off from the store during its request, for less than the lease': {
    run: cutOff((lease) => lease / 2),
  },
  // Another host then sends the same token, which is the one before the current token.
  'a host is cut off from the store during its request, for longer than the lease': {
    loses: true,
    run: cutOff((lease) => lease * 1.5),
  },
  'the answer of Ring is lost': {
    loses: true,
    run: (world) => catchAt(world, 'is answered', ({ toRing }) => toRing.cut()),
  },
  'the store crashes': { run: ({ engine }) => engine.restart() },
  'a replica is promoted, with the last write': {
    needs: 'replica',
    run: async (world) => failOver(world),
  },
  // The first host that asks may be one that has not seen the last rotation. It sends the token before the current one.
  'a replica is promoted, without the last rotation': {
    needs: 'replica',
    loses: true,
    run: async (world) => {
      await world.engine.detach?.()
      await rotations(world, 1)
      await failOver(world)
    },
  },
  'a replica is promoted, without two rotations that all hosts have seen': {
    needs: 'replica',
    run: async (world) => {
      await world.engine.detach?.()
      await rotations(world, 2)
      // The last access token lives long enough for all hosts to see it.
      world.ring.settings.expiresIn = 20
      await rotations(world, 1)
      await seen(world)
      world.ring.settings.expiresIn = world.plan.lifetimeS
      await failOver(world)
    },
  },
  'the clocks of hosts are an hour apart': { needs: 'clocks', run: (world) => rotations(world, 5) },
}

/**
 * Chooses accidents that can happen one after the other in one world, by a seed.
 * @param {number} seed
 * @param {number} count
 */
export function storm(seed, count) {
  const all = Object.entries(ACCIDENTS).filter(([, { needs }]) => needs === undefined)
  let state = seed >>> 0
  // The linear congruential generator of Numerical Recipes.
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
  return Array.from({ length: count }, () => /** @type {(typeof all)[number]} */ (all[Math.floor(next() * all.length)]))
}

/** @param {World} world */
async function failOver({ engine, hosts }) {
  const port = await engine.promote?.()
  if (port !== undefined) for (const { toEngine } of hosts) toEngine.retarget(port)
}
