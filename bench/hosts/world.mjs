// @ts-check
// The world of a run: Ring, an engine, and hosts. Each host is a process with a network of its own to both.
import { fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FakeRing } from '../../__test__/fake-ring/index.mjs'
import { startProxy } from '../../__test__/stores/servers/proxy.mjs'
import { startEngine } from './engines.mjs'
import { startFront, userAgentOf } from './front.mjs'
import { atOnce, oldest, shortest } from './judge.mjs'

/** @typedef {import('./host.mjs').Setup} Setup */
/** @typedef {import('./host.mjs').Word} Word */
/** @typedef {import('./engines.mjs').EngineName} EngineName */

/**
 * @typedef {object} Plan
 * @property {'ours' | 'lock' | 'alone'} keeper
 * @property {EngineName} engine
 * @property {string} client
 * @property {number} hosts
 * @property {number} accounts
 * @property {number} lifetimeS the lifetime of an access token, in seconds
 * @property {number} latencyMs the time for which Ring works on a request
 * @property {number} graceMs the time for which Ring accepts a spent token
 * @property {number} requestTimeoutMs
 * @property {number} lockMs the time to live of the lock, for lock-and-write
 * @property {number} pollMs how often a host needs its access token
 * @property {boolean} hasReplica
 * @property {(host: number) => number} clockOffsetS
 */

const HOST = join(dirname(fileURLToPath(import.meta.url)), 'host.mjs')
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'

/** The processes that run. This process kills them at its end, because a stopped one would not notice that end. @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** One host: its process, which can be stopped, killed and started again, and its two networks. */
export class Host {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process
  /** @type {Setup} */
  #setup
  #clockOffsetS
  /** The last message of the process for each account. @type {Map<string, Word>} */
  #last = new Map()
  /** @type {{ host: number, token: string, at: number }[]} */
  reports = []
  errors = 0
  /** @type {((taken: import('./host.mjs').Taken) => void) | undefined} */
  #heardTaken

  /**
   * @param {number} number
   * @param {Setup} setup
   * @param {import('../../__test__/stores/servers/proxy.mjs').Proxy} toRing
   * @param {import('../../__test__/stores/servers/proxy.mjs').Proxy} toEngine
   * @param {number} clockOffsetS
   */
  constructor(number, setup, toRing, toEngine, clockOffsetS) {
    this.number = number
    this.#setup = setup
    this.toRing = toRing
    this.toEngine = toEngine
    this.#clockOffsetS = clockOffsetS
  }

  async start() {
    const clock = this.#clockOffsetS && {
      LD_PRELOAD: FAKETIME,
      FAKETIME: `${this.#clockOffsetS > 0 ? '+' : ''}${this.#clockOffsetS}s`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    // The setup is in a file, because an argument is too short for a thousand accounts.
    const setup = join(this.#setup.folder, 'setup.json')
    writeFileSync(setup, JSON.stringify(this.#setup))
    const child = fork(HOST, [setup], {
      env: { ...process.env, ...clock },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#process = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    await new Promise((resolve, reject) => {
      child.once('exit', () => reject(new Error('a host ended before it was ready')))
      child.on('message', (/** @type {Word} */ word) => {
        if (word.type === 'ready') resolve(undefined)
        else this.#hear(word)
      })
    })
  }

  /** @param {Exclude<Word, { type: 'ready' }>} word */
  #hear(word) {
    if (word.type === 'taken') {
      this.#heardTaken?.(word.taken)
      return
    }
    this.#last.set(word.account, word)
    if (word.type === 'token') this.reports.push({ host: this.number, token: word.token, at: performance.now() })
    else this.errors++
  }

  stop() {
    this.#process?.kill('SIGSTOP')
  }

  goOn() {
    this.#process?.kill('SIGCONT')
  }

  async kill() {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /**
   * Returns whether the host gets a token for each account by itself, counted from now.
   * @param {(token: string) => boolean} isLive
   * @param {number} withinMs
   */
  async isAlive(isLive, withinMs) {
    this.#last.clear()
    const deadline = performance.now() + withinMs
    for (;;) {
      const words = this.#setup.accounts.map(({ name }) => this.#last.get(name))
      if (words.every((word) => word?.type === 'token' && isLive(word.token))) return true
      if (performance.now() > deadline) return false
      await sleep(20)
    }
  }

  /** Asks the process for the resources that it has used until now. @returns {Promise<import('./host.mjs').Taken>} */
  taken() {
    return new Promise((resolve) => {
      this.#heardTaken = resolve
      this.#process?.send('taken')
    })
  }

  /** The last failure that the process has reported. */
  failure() {
    return [...this.#last.values()].map((word) => (word.type === 'error' ? word.message : '')).find(Boolean)
  }
}

/** @typedef {Awaited<ReturnType<typeof makeWorld>>} World */

/** @param {Plan} plan */
export async function makeWorld(plan) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-hosts-'))
  const ring = await FakeRing.start({
    expiresIn: plan.lifetimeS,
    graceMs: plan.graceMs,
    revokeFamilyOnReuse: true,
    latencyMs: plan.latencyMs,
    maxRecorded: 1_000_000,
  })
  const engine = await startEngine(plan.engine, { hasReplica: plan.hasReplica })
  const accounts = Array.from({ length: plan.accounts }, (_, i) => {
    const hardwareId = `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`
    const { refreshToken } = ring.mintPair(undefined, { hardwareId })
    return { name: `account-${i}`, hardwareId, refreshToken }
  })
  if (plan.keeper === 'lock') {
    for (const { name, refreshToken } of accounts) {
      await engine.seed(name, { refresh: refreshToken, access: '', expiresAt: 0 })
    }
  }
  /** @type {Host[]} */
  const hosts = []
  const front = await startFront((host) => hosts[host]?.toRing.port)
  for (let number = 0; number < plan.hosts; number++) {
    const toRing = await startProxy(Number(new URL(ring.oauthUrl).port))
    const toEngine = await startProxy(engine.port)
    const own = join(folder, `host-${number}`)
    mkdirSync(own)
    const { keeper, client, requestTimeoutMs, lockMs, pollMs } = plan
    const { url } = front
    const userAgent = userAgentOf(number)
    const setup = {
      ...{ keeper, engine: plan.engine, client, port: toEngine.port, url, folder: own, accounts },
      ...{ requestTimeoutMs, lockMs, pollMs, userAgent },
    }
    hosts.push(new Host(number, setup, toRing, toEngine, plan.clockOffsetS(number)))
  }
  return {
    plan,
    ring,
    engine,
    hosts,
    start: () => Promise.all(hosts.map((host) => host.start())),
    /** Returns the number of hosts that get a token for each account by themselves, counted from now. */
    alive: async (/** @type {number} */ withinMs) => {
      const isLive = (/** @type {string} */ token) => ring.isAccessLive(token)
      const answers = await Promise.all(hosts.map((host) => host.isAlive(isLive, withinMs)))
      return answers.filter(Boolean).length
    },
    verdict: () => {
      const { refreshes, rotations, invalidGrants, maxConcurrentRefreshes } = ring.counts
      const seen = ring.tokenRequests
        .filter(({ grant }) => grant === 'refresh_token')
        .map(({ form, status, at }) => {
          const { hardwareId, number } = ring.inspect(String(form['refresh_token']))
          return { family: String(hardwareId), number, status, at }
        })
      return {
        ...{ requests: refreshes, rotations, rejected: invalidGrants },
        // With several accounts, the counter of Ring mixes them.
        atOnce: plan.accounts === 1 ? maxConcurrentRefreshes : atOnce(seen, plan.latencyMs),
        ...{ oldest: oldest(seen), shortestS: shortest(seen) },
      }
    },
    async end() {
      for (const host of hosts) await host.kill()
      for (const { toRing, toEngine } of hosts) {
        await toRing.end()
        await toEngine.end()
      }
      await front.end()
      await ring.close()
      await engine.end()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
