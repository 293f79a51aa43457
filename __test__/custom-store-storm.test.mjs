// @ts-check
// Programs whose own load and save do everything that a program can do wrong, in any order, with a Ring that gives no grace and
// revokes a family when a spent token comes. In all cases no two calls of them run at once, no call of the manager waits for long, no
// spent token is sent, and in the end the program has the newest token, which works.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { chance } from './support/chance.mjs'
import {
  RingAuthError,
  open,
  optionsFor,
  rawOf,
  runScript,
  sleep,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'

/** @typedef {import('./support/chance.mjs').Chance} Chance */
/** @typedef {import('../index.js').RingTokenManager} RingTokenManager */

/** The longest delay of a call, with what a busy machine adds. */
const HELD_MS = 15_000

/** Values that no program should throw. */
const THROWN = [
  () => new Error('the database is away'),
  () => new TypeError('x is not a function', { cause: new Error('connect ECONNREFUSED') }),
  () => 'only a string',
  () => undefined,
  () => null,
  () => 42,
  () => Symbol('odd'),
  () => Object.freeze({ message: 'no error' }),
  () => new Proxy({}, { get: () => assert.fail('it has been looked into') }),
  () => Object.defineProperty(new Error('x'), 'message', { get: () => assert.fail('its message has been read') }),
  () => new AggregateError([new Error('one'), new Error('two')]),
]

/** Values that no load should return. @type {(() => unknown)[]} */
const GIVEN = [
  () => 5,
  () => ({}),
  () => [],
  () => true,
  () => 12n,
  () => Symbol('odd'),
  () => () => 'x',
  () => Buffer.from('x'),
]

/** Values that a save may return, which the manager ignores. @type {(() => unknown)[]} */
const IGNORED = [...GIVEN, () => 'text', () => null, () => ({ token: 'x', failed: 'y' })]

/** A program's own store, which misbehaves at random. */
class Storm {
  calm = false
  running = 0
  atOnce = 0
  /** @type {RingTokenManager | undefined} */
  manager
  /** @type {unknown[]} what calls from inside came to */
  inside = []

  /** @param {Chance} random @param {string | null} token @param {string} [statePath] */
  constructor(random, token, statePath) {
    this.random = random
    this.token = token
    if (statePath !== undefined) this.statePath = statePath
  }

  load() {
    const { random } = this
    return this.#alone(
      () => this.token,
      () => random.pick(GIVEN)(),
    )
  }

  /** @param {string} token */
  save(token) {
    const { random } = this
    return this.#alone(
      () => void (this.token = token),
      () => {
        this.token = token
        return random.pick(IGNORED)()
      },
    )
  }

  /** @param {() => unknown} work @param {() => unknown} oddly @returns {any} */
  #alone(work, oddly) {
    const { random } = this
    this.atOnce = Math.max(this.atOnce, ++this.running)
    const end = () => void this.running--
    const thrown = random.pick(THROWN)
    const ways = [
      () => work(),
      () => Promise.resolve(work()),
      () => sleep(random.below(30)).then(work),
      () => oddly(),
      () => sleep(random.below(10)).then(oddly),
      () => {
        throw thrown()
      },
      () => sleep(random.below(10)).then(() => Promise.reject(thrown())),
      // The token is saved, and the function reports a failure.
      () => {
        work()
        throw thrown()
      },
      // A promise of another library, which settles more than once.
      () => ({
        /** @param {(value: unknown) => void} resolve @param {(error: unknown) => void} reject */
        // biome-ignore lint/suspicious/noThenProperty: it is what a program may give
        then(resolve, reject) {
          resolve(work())
          resolve('again')
          reject(new Error('and once more'))
          throw new Error('what a thenable throws after it has settled')
        },
      }),
      () => this.#callsItsManager().then(work),
    ]
    const way = this.calm ? ways[2] : random.pick(ways)
    let given
    try {
      given = way?.()
    } catch (error) {
      end()
      throw error
    }
    if (typeof (/** @type {any} */ (given)?.then) !== 'function') {
      end()
      return given
    }
    return Promise.resolve(given).finally(end)
  }

  async #callsItsManager() {
    const { manager } = this
    if (manager === undefined) return
    const calls = [
      manager.getAccessToken(),
      manager.refresh(),
      manager.setRefreshToken('another-token-of-this-test'),
      manager.close(),
    ]
    for (const result of await Promise.allSettled(calls)) {
      this.inside.push(result.status === 'rejected' ? result.reason.code : 'fulfilled')
    }
  }
}

/** The codes that a misbehaving store may cost a caller. */
const MAY_BE = new Set(['STORE', 'ABORTED', 'NO_REFRESH_TOKEN'])

/** @param {Promise<unknown>} call */
async function attempt(call) {
  const began = Date.now()
  try {
    await call
  } catch (error) {
    assert.ok(error instanceof RingAuthError && MAY_BE.has(error.code), `${error}`)
  }
  assert.ok(Date.now() - began < HELD_MS, `held for ${Date.now() - began} ms`)
}

describe('custom stores in a storm', { concurrency: 4 }, () => {
  for (const journal of [true, false]) {
    for (const seed of [1, 2, 3, 4]) {
      it(`custom stores in a storm cost no token, ${journal ? 'with' : 'without'} a journal (${seed})`, async (t) => {
        const random = chance(seed * 7919 + (journal ? 1 : 0))
        const ring = await startRing(t)
        const storm = new Storm(random, ring.mint(), journal ? tempDir(t) : undefined)
        const start = () => {
          const { manager } = open(t, ring, { store: storm })
          storm.manager = manager
          return manager
        }
        let manager = start()
        const steps = {
          refresh: () => attempt(manager.refresh()),
          ask: () => attempt(Promise.all([manager.getAccessToken(), manager.getAuth()])),
          giveUp: () => attempt(manager.refresh({ signal: AbortSignal.timeout(random.below(20)) })),
          invalidate: async () => {
            const auth = await manager.getAuth().catch(() => undefined)
            if (auth) manager.invalidateAccessToken(auth.accessToken)
            await attempt(manager.getAccessToken())
          },
          set: () => attempt(manager.setRefreshToken(ring.mint())),
          together: () => Promise.all([steps.refresh(), steps.set(), steps.ask(), steps.refresh()]).then(() => {}),
          paste: async () => {
            if (storm.running === 0) storm.token = ring.mint()
          },
          startAnew: async () => {
            const closing = manager.close()
            await attempt(closing)
            if (!journal && storm.token !== manager.refreshToken) {
              // A token that is only in memory has to be saved before the manager ends.
              storm.calm = true
              manager = start()
              await attempt(manager.setRefreshToken(ring.mint()))
              storm.calm = false
            } else manager = start()
          },
        }
        for (let i = 0; i < 40; i++) {
          const step = random.pick(/** @type {(keyof typeof steps)[]} */ (Object.keys(steps)))
          await steps[step]()
        }
        storm.calm = true
        await manager.refresh()
        await until(() => storm.token === manager.refreshToken, 'the program has the newest token')
        await until(
          () => manager.status.code === undefined,
          () => `all is well: ${JSON.stringify(manager.status)}`,
        )
        assert.equal(manager.status.persisted, true)
        assert.equal(storm.atOnce, 1, 'two of its functions ran at once')
        assert.ok(
          storm.inside.every((code) => code === 'INVALID_ARGUMENT'),
          String(storm.inside),
        )
        assert.equal(ring.counts.stalePresentations, 0)
        assert.ok(ring.isLive(rawOf(storm.token)))
        await manager.close()
        // And the next start needs only the program.
        await start().refresh()
        assert.equal(ring.counts.stalePresentations, 0)
      })
    }
  }
})

/** The save of the program in a child process, from its second call on. @type {Record<string, string>} */
const SAVES = {
  hangs: 'await new Promise(() => {})',
  'ends late': 'await new Promise((resolve) => setTimeout(resolve, 11_000)); keep(token)',
  throws: 'throw new Error("no")',
  'keeps it, and rejects': 'keep(token); await Promise.reject("no")',
  'ends its process': 'process.exit(0)',
}

describe('processes with a custom store', { concurrency: 6 }, () => {
  for (const [what, save] of Object.entries(SAVES)) {
    it(`a process with a journal and a custom store whose save ${what} can be killed at any time: the next start continues`, async (t) => {
      const ring = await startRing(t)
      const folder = tempDir(t)
      const path = join(folder, 'token')
      writeFileSync(path, ring.mint())
      for (let generation = 0; generation < 3; generation++) {
        const child = runScript(
          t,
          `import { readFileSync, writeFileSync } from 'node:fs'
           const keep = (token) => writeFileSync(config.path, token)
           let saves = 0
           const store = {
             load: () => readFileSync(config.path, 'utf8'),
             save: async (token) => {
               if (saves++ === 0) return keep(token)
               ${save}
             },
             statePath: config.statePath,
           }
           const manager = new RingTokenManager({ ...config.options, store })
           await manager.refresh()
           say('one')
           await manager.refresh()
           say('two')
           setInterval(() => {}, 1000)`,
          { path, statePath: join(folder, 'state'), options: optionsFor(ring) },
        )
        let over = false
        const ended = child.ended.then(() => void (over = true))
        await until(
          () => over || child.stdout().includes('two'),
          () => `two rotations: ${child.stderr()}`,
        )
        assert.ok(child.stdout().includes('one'), child.stderr())
        child.process.kill('SIGKILL')
        await ended
        assert.equal(ring.counts.stalePresentations, 0, `generation ${generation}`)
      }
      const store = {
        load: () => readFileSync(path, 'utf8'),
        save: (/** @type {string} */ token) => writeFileSync(path, token),
        statePath: join(folder, 'state'),
      }
      const { manager } = open(t, ring, { store })
      await manager.refresh()
      await until(() => readFileSync(path, 'utf8') === manager.refreshToken, 'shown')
      assert.equal(ring.counts.stalePresentations, 0)
      assert.ok(ring.isLive(rawOf(manager.refreshToken)))
    })
  }

  it('a process waits for a custom save that has not ended, also after a garbage collection', async (t) => {
    const ring = await startRing(t)
    const child = runScript(
      t,
      `process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc')
       const gc = process.getBuiltinModule('node:vm').runInNewContext('gc')
       let begun = () => {}
       const began = new Promise((resolve) => { begun = resolve })
       const store = { load: () => config.token, save: () => (begun(), new Promise(() => {})) }
       const manager = new RingTokenManager({ ...config.options, store, logger: ({ message }) => console.error(message) })
       manager.refresh().catch(() => {})
       await began
       for (let i = 0; i < 20; i++) {
         await new Promise((resolve) => setTimeout(resolve, 20))
         gc()
       }
       await manager.close()`,
      { token: ring.mint(), options: optionsFor(ring) },
    )
    const { code, stderr } = await child.ended
    assert.equal(code, 0, stderr)
    assert.match(stderr, /save did not end in time/)
    assert.doesNotMatch(stderr, /the program is ending/)
  })

  it('a process with a custom store alone ends although its save never ends, after a close of at most ten seconds', async (t) => {
    const ring = await startRing(t)
    const child = runScript(
      t,
      `const store = { load: () => config.token, save: () => new Promise(() => {}) }
       const manager = new RingTokenManager({ ...config.options, store })
       manager.refresh()
       await new Promise((resolve) => setTimeout(resolve, 500))
       const keeps = setInterval(() => {}, 1000)
       const began = Date.now()
       await manager.close()
       say(Date.now() - began)
       clearInterval(keeps)`,
      { token: ring.mint(), options: optionsFor(ring) },
    )
    const { code, stdout, stderr } = await child.ended
    assert.equal(code, 0, stderr)
    assert.ok(Number(stdout) < HELD_MS, `closing took ${stdout} ms`)
  })
})
