// @ts-check
// `node bench/hosts/run.mjs` runs several hosts on one account, with ring-auth or with lock-and-write, as real processes on a real engine.
//   --keeper ours,lock,alone      default: ours,lock; alone is ring-client-api on one host, which shares nothing
//   --engine postgres,redis,…     of postgres, pgbouncer, redis, valkey, etcd; default: all
//   --client NAME                 a client of the engine; default: the first one
//   --hosts N --accounts N        default: 8 and 1
//   --lifetimes N                 the length of a run without accidents, in lifetimes of access tokens; default: 200
//   --lifetime SECONDS            the lifetime of an access token; default: 2
//   --poll MS                     how often a host needs each of its access tokens; default: 100
//   --timeout MS                  the time-out of a request; default: 2000
//   --storm N --seed S            N accidents one after the other in one world; the seed chooses them
//   --chaos [--only WORDS]        each accident in a world of its own; with --only those with these words in their name
//   --json                        print the rows as JSON on standard output
import { parseArgs } from 'node:util'
import { ACCIDENTS, rotations, storm } from './chaos.mjs'
import { CLIENTS, ENGINES } from './engines.mjs'
import { adoptions, quantile } from './judge.mjs'
import { makeWorld } from './world.mjs'

/** @typedef {import('./world.mjs').Plan} Plan */
/** @typedef {import('./engines.mjs').EngineName} EngineName */

const { values: options } = parseArgs({
  options: {
    keeper: { type: 'string', default: 'ours,lock' },
    engine: { type: 'string', default: ENGINES.join() },
    client: { type: 'string' },
    hosts: { type: 'string', default: '8' },
    accounts: { type: 'string', default: '1' },
    lifetimes: { type: 'string', default: '200' },
    lifetime: { type: 'string', default: '2' },
    timeout: { type: 'string', default: '2000' },
    poll: { type: 'string', default: '100' },
    storm: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    chaos: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
})

/** The time within which a host must recover by itself: waits, cool-downs and one or two leases. */
const RECOVERY_MS = 60_000
const rows = []

for (const engine of ENGINES.filter((name) => options.engine.split(',').includes(name))) {
  for (const keeper of /** @type {const} */ (['ours', 'lock', 'alone'])) {
    if (!options.keeper.split(',').includes(keeper) || (engine === 'etcd' && keeper === 'lock')) continue
    if (Number(options.storm) > 0) {
      rows.push(await stormy(planOf(engine, keeper), Number(options.storm), Number(options.seed)))
      continue
    }
    if (!options.chaos) {
      rows.push(await calm(planOf(engine, keeper)))
      continue
    }
    for (const [name, accident] of Object.entries(ACCIDENTS)) {
      if (!name.includes(options.only)) continue
      // There is no failover for pgbouncer and etcd here.
      if (accident.needs === 'replica' && !['postgres', 'redis', 'valkey'].includes(engine)) continue
      rows.push(await chaos(planOf(engine, keeper), name))
    }
  }
}
if (options.json) console.log(JSON.stringify(rows, null, 2))

/** @param {EngineName} engine @param {Plan['keeper']} keeper @returns {Plan} */
function planOf(engine, keeper) {
  return {
    ...{ engine, keeper, client: options.client ?? String(CLIENTS[engine][0]) },
    ...{
      hosts: keeper === 'alone' ? 1 : Number(options.hosts),
      accounts: Number(options.accounts),
      lifetimeS: Number(options.lifetime),
    },
    ...{ latencyMs: 100, graceMs: 0, requestTimeoutMs: Number(options.timeout), lockMs: 5000, hasReplica: false },
    pollMs: Number(options.poll),
    clockOffsetS: () => 0,
  }
}

/** A run without accidents. @param {Plan} plan */
async function calm(plan) {
  const world = await makeWorld(plan)
  try {
    const start = performance.now()
    await world.start()
    await world.alive(2 * RECOVERY_MS)
    const coldS = (performance.now() - start) / 1000
    const wanted = Number(options.lifetimes) * plan.accounts
    const limit = start + Number(options.lifetimes) * plan.lifetimeS * 5000 + RECOVERY_MS
    let last = { rotations: 0, at: start }
    while (world.ring.counts.rotations < wanted && performance.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      const { rotations } = world.ring.counts
      if (rotations > last.rotations) last = { rotations, at: performance.now() }
      // No host rotates any more: all are locked out.
      if (performance.now() - last.at > RECOVERY_MS) break
    }
    const seconds = (performance.now() - start) / 1000
    const taken = await Promise.all(world.hosts.map((host) => host.taken()))
    const adopted = adoptions(world.hosts.flatMap((host) => host.reports))
    return await report(world, 'nothing goes wrong', {
      ...{ seconds: Math.round(seconds), coldS: round(coldS) },
      kibEach: round(Math.max(...taken.map(({ bytes }) => bytes)) / 1024 / plan.accounts),
      cpuS: round(taken.reduce((sum, { cpuS }) => sum + cpuS, 0)),
      adoptionMs: { median: quantile(adopted, 0.5), p99: quantile(adopted, 0.99) },
    })
  } finally {
    await world.end()
  }
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10
}

/** A run with many accidents in one world. @param {Plan} plan @param {number} count @param {number} seed */
async function stormy(plan, count, seed) {
  const world = await makeWorld({ ...plan, graceMs: 600_000 })
  try {
    await world.start()
    await world.alive(RECOVERY_MS)
    for (const [name, { run }] of storm(seed, count)) {
      process.stderr.write(`  ${name}\n`)
      await run(world)
    }
    await rotations(world, 2, RECOVERY_MS / 2)
    return await report(world, `${count} accidents, seed ${seed}`, {})
  } finally {
    await world.end()
  }
}

/** @param {Plan} plan @param {string} name */
async function chaos(plan, name) {
  const accident = ACCIDENTS[name]
  if (accident === undefined) throw new Error(`there is no accident ${name}`)
  const world = await makeWorld({
    ...plan,
    graceMs: accident.loses ? 600_000 : 0,
    hasReplica: accident.needs === 'replica',
    clockOffsetS: accident.needs === 'clocks' ? (host) => (host % 3) * 3600 - 3600 : () => 0,
  })
  try {
    await world.start()
    await world.alive(RECOVERY_MS)
    await accident.run(world)
    // Damage that the accident has caused shows at the next rotations.
    await rotations(world, 2, RECOVERY_MS / 2)
    return await report(world, name, {})
  } finally {
    await world.end()
  }
}

/**
 * @param {import('./world.mjs').World} world
 * @param {string} what
 * @param {object} more
 */
async function report(world, what, more) {
  const alive = await world.alive(RECOVERY_MS)
  const { engine, keeper, client, hosts, accounts, lifetimeS } = world.plan
  const row = { engine, keeper, client, what, hosts, accounts, lifetimeS, alive, ...world.verdict(), ...more }
  const failure = world.hosts.map((host) => host.failure()).find(Boolean)
  process.stderr.write(`${JSON.stringify(row)}${failure ? ` ${failure}` : ''}\n`)
  return row
}
