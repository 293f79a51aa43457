// @ts-check
// The tracing channel and the counters of a manager.
import assert from 'node:assert/strict'
import diagnostics, { tracingChannel } from 'node:diagnostics_channel'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { CANARY } from './support/cli.mjs'
import {
  OUTAGE,
  RingTokenManager,
  failure,
  fileStore,
  open,
  optionsFor,
  runScript,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const CHANNEL = 'ring-auth:refresh'

/** Everything that is published, in its order. @param {TestContext} t */
function listen(t) {
  /** @type {[string, any][]} */
  const heard = []
  const channel = /** @type {any} */ (tracingChannel(CHANNEL))
  const subscribers = Object.fromEntries(
    ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((name) => [
      name,
      (/** @type {any} */ message) => heard.push([name, { ...message }]),
    ]),
  )
  channel.subscribe(subscribers)
  const leave = () => channel.unsubscribe(subscribers)
  t.after(leave)
  const names = () => heard.map(([name]) => name)
  return { heard, names, ends: () => heard.filter(([name]) => name === 'asyncEnd'), leave }
}

describe('the tracing channel', () => {
  it('the tracing channel reports a refresh as tracePromise does, with each reason', async (t) => {
    const ring = await startRing(t, { canary: CANARY })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const { heard, names, ends } = listen(t)
    await manager.getAccessToken()
    assert.deepEqual(names(), ['start', 'end', 'asyncStart', 'asyncEnd'], 'before the call is done')
    assert.deepEqual(heard[0], ['start', { reason: 'needed' }])
    const [, end] = heard[3] ?? []
    assert.deepEqual(Object.keys(end), ['reason', 'requests', 'adopted', 'durationMs'])
    assert.deepEqual([end.reason, end.requests, end.adopted], ['needed', 1, false])
    assert.ok(end.durationMs >= 0)
    await manager.getAccessToken()
    assert.equal(heard.length, 4, 'a token at hand is no refresh')
    await manager.refresh()
    await manager.refresh({ force: true })
    assert.deepEqual(
      ends().map(([, { reason }]) => reason),
      ['needed', 'asked', 'forced'],
    )
    assert.ok(!inspect(heard, { depth: 9 }).includes(CANARY))
  })

  it('the tracing channel reports a failure with its code, and each request', async (t) => {
    const ring = await startRing(t, { canary: CANARY })
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    const { heard, names } = listen(t)
    ring.fault(OUTAGE)
    const error = await failure(manager.refresh(), 'SERVER_ERROR')
    assert.deepEqual(names(), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    const [, end] = heard[4] ?? []
    assert.deepEqual([end.reason, end.requests, end.adopted, end.code], ['asked', 1, false, 'SERVER_ERROR'])
    assert.equal(end.error.message, error.message)
    await failure(manager.refresh(), 'SERVER_ERROR')
    assert.equal(heard.at(-1)?.[1].requests, 0, 'in the cool-down nothing is sent')
    assert.ok(!inspect(heard, { depth: 9 }).includes(CANARY))
  })

  it("the tracing channel reports another manager's rotation as adopted, without a request", async (t) => {
    const ring = await startRing(t)
    const store = fileStore(`${tempDir(t)}/journal.json`)
    const first = open(t, ring, { store, refreshToken: ring.mint() })
    const second = open(t, ring, { store })
    await first.manager.getAccessToken()
    const { ends } = listen(t)
    await second.manager.getAccessToken()
    assert.deepEqual([ends()[0]?.[1].requests, ends()[0]?.[1].adopted], [0, true])
    assert.equal(ring.counts.refreshes, 1)
    assert.deepEqual(second.manager.stats, {
      rotations: 0,
      adopted: 1,
      takeovers: 0,
      failures: {},
      lastSuccessAt: first.manager.stats.lastSuccessAt,
    })
  })

  it('the tracing channel reports an unasked refresh, also to a late subscriber', async (t) => {
    const ring = await startRing(t, { expiresIn: 1 })
    const { manager } = open(t, ring, { refreshToken: ring.mint(), autoRefresh: true })
    // It has ended, or it would be the one that is heard.
    await until(
      () => manager.stats.rotations > 0 && manager.status.state !== 'refreshing',
      'a rotation before the first subscriber',
    )
    const { ends, names } = listen(t)
    const before = ring.counts.rotations
    await until(() => ends().length >= 1, 'the end of a rotation')
    assert.equal(ends()[0]?.[1].reason, 'unasked')
    assert.deepEqual(names().slice(0, 2), ['start', 'end'], 'whole, although it had begun')
    assert.ok(ring.counts.rotations > before)
    await manager.close()
  })

  it('the tracing channel reports a whole refresh to a subscriber that came after another one had left', async (t) => {
    const ring = await startRing(t)
    const earlier = listen(t)
    const other = open(t, ring, { refreshToken: ring.mint() }).manager
    await other.refresh()
    earlier.leave()
    // The native part learns only at its next event that there is no subscriber: it still reports the beginning of this refresh.
    /** @type {(value?: undefined) => void} */
    let answer = () => {}
    const held = new Promise((resolve) => (answer = resolve))
    ring.fault({ kind: 'delay-before', until: held })
    const before = ring.counts.refreshes
    open(t, ring, { refreshToken: ring.mint(), autoRefresh: true })
    await until(() => ring.counts.refreshes > before, 'an unasked request')
    const { ends, names } = listen(t)
    await other.setPushCredentials(null) // At a call the native part learns of the new subscriber.
    answer()
    await until(() => ends().length >= 1, 'the end of that refresh')
    assert.deepEqual(names(), ['start', 'end', 'asyncStart', 'asyncEnd'])
  })

  it('a subscriber of the tracing channel that throws does not disturb the manager', async (t) => {
    const ring = await startRing(t)
    const source = `
      import { tracingChannel } from 'node:diagnostics_channel'
      let thrown = 0
      process.on('uncaughtException', () => thrown++)
      tracingChannel('ring-auth:refresh').subscribe({ asyncEnd() { throw new Error('of a subscriber') } })
      const manager = new RingTokenManager(config)
      await manager.refresh()
      await manager.refresh()
      await manager.close()
      say(manager.stats.rotations + ' ' + thrown)
    `
    const { code, stdout, stderr } = await runScript(t, source, optionsFor(ring, { refreshToken: ring.mint() })).ended
    assert.equal(code, 0, stderr)
    assert.equal(stdout, '2 2\n')
  })
})

describe('without a subscriber', () => {
  it('without a subscriber no channel is made, nothing is published, and no event of a refresh crosses from the native part', async (t) => {
    const ring = await startRing(t)
    // In a process of its own, because other tests have subscribed in this one.
    const source = `
      import { createRequire } from 'node:module'
      import diagnostics from 'node:diagnostics_channel'
      const made = []
      for (const name of ['channel', 'tracingChannel']) {
        const original = diagnostics[name]
        diagnostics[name] = (...given) => {
          if (String(given[0]).includes('ring-auth')) made.push(given[0])
          return original(...given)
        }
      }
      const require = createRequire(config.index)
      const kinds = new Set()
      const { load } = require('./lib/load.js')
      const addon = load()
      const { next } = addon.BindingEvents.prototype
      addon.BindingEvents.prototype.next = function () {
        const event = next.call(this)
        if (event) kinds.add(event.type)
        return event
      }
      const { createExports } = require('./lib/manager.js')
      const run = async () => {
        kinds.clear()
        const manager = new (createExports(addon).RingTokenManager)({ ...config.options, refreshToken: config.tokens.pop() })
        await manager.getAccessToken()
        await manager.refresh()
        await manager.close()
        return [...kinds].sort().join(' ')
      }
      const read = () => Object.keys(require.cache).filter((path) => path.endsWith('tracing.js')).length
      const quiet = [await run(), made.length, read()]
      diagnostics.subscribe('tracing:ring-auth:refresh:asyncEnd', () => {})
      made.length = 0
      say(JSON.stringify({ quiet, traced: [await run(), made.length, read()] }))
    `
    const config = {
      index: new URL('../index.js', import.meta.url).href,
      options: optionsFor(ring),
      tokens: [ring.mint(), ring.mint()],
    }
    const { code, stdout, stderr } = await runScript(t, source, config).ended
    assert.equal(code, 0, stderr)
    const { quiet, traced } = JSON.parse(stdout)
    assert.deepEqual(quiet, ['log status token', 0, 0])
    assert.deepEqual(traced, ['begun ended log status token', 1, 1], 'the same checks see it with a subscriber')
  })
})

describe('stats', () => {
  it('stats count rotations, failed requests by their code, and know the last success', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    assert.deepEqual(manager.stats, { rotations: 0, adopted: 0, takeovers: 0, failures: {}, lastSuccessAt: null })
    await manager.refresh()
    const { lastSuccessAt } = manager.stats
    assert.ok(Math.abs(Date.now() - Number(lastSuccessAt)) < 600_000)
    ring.fault({ kind: 'status', status: 503, times: 2 })
    await manager.refresh()
    ring.fault({ ...OUTAGE, times: 1 })
    await failure(manager.refresh(), 'SERVER_ERROR')
    await failure(manager.refresh(), 'SERVER_ERROR')
    ring.revokeAll()
    await failure(manager.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
    const stats = /** @type {import('../index.js').Stats} */ (manager.stats)
    assert.equal(stats.rotations, 2)
    assert.deepEqual(stats.failures['SERVER_ERROR'], 3, 'what was not sent is not counted')
    assert.ok(Number(stats.failures['REFRESH_TOKEN_REJECTED']) >= 1)
    assert.ok(Object.isFrozen(stats) && Object.isFrozen(stats.failures))
    assert.ok(Number(stats.lastSuccessAt) >= Number(lastSuccessAt))
    await manager.close()
    assert.equal(manager.stats.rotations, 2)
  })

  it('stats count a refresh that a killed process had begun as a takeover', async (t) => {
    const ring = await startRing(t, { graceMs: 600_000 })
    const path = `${tempDir(t)}/journal.json`
    const options = optionsFor(ring, { store: fileStore(path), refreshToken: ring.mint() })
    ring.settings.latencyMs = 600_000
    const child = runScript(
      t,
      'new RingTokenManager(config).refresh().catch(() => {}); await new Promise(() => setInterval(() => {}, 1e6))',
      options,
    )
    await until(() => ring.counts.tokenPosts === 1, 'its request')
    child.process.kill('SIGKILL')
    await child.ended
    ring.settings.latencyMs = 0
    const { ends } = listen(t)
    const manager = new RingTokenManager(/** @type {any} */ (optionsFor(ring, { store: fileStore(path) })))
    t.after(() => manager.close())
    await manager.getAccessToken()
    assert.deepEqual([manager.stats.takeovers, manager.stats.rotations], [1, 1])
    assert.equal(ring.counts.stalePresentations, 0)
    // It is one refresh, whether the start or the call came first.
    assert.ok(ends().length <= 1)
    assert.ok(diagnostics.hasSubscribers(`tracing:${CHANNEL}:asyncEnd`))
  })
})
