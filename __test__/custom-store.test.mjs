// @ts-check
// A program that keeps the token itself: the manager awaits its load and save, and loses nothing that it can save if they
// fail.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, it } from 'node:test'
import {
  failure,
  open,
  optionsFor,
  rawOf,
  readJournal,
  runScript,
  sleep,
  startRing,
  tempDir,
  until,
  wrap,
} from './support/index.mjs'
import { assertMode } from './support/systems.mjs'

/** A program's own store, with a record of its calls. */
class Keeper {
  /** @type {string[]} */
  calls = []
  /** @type {(string | undefined)[][]} */
  saves = []
  running = 0
  atOnce = 0
  /** @type {(() => unknown) | undefined} what load does instead */
  onLoad
  /** @type {((newToken: string) => unknown) | undefined} what save does before it keeps the token */
  onSave

  /** @param {string | null} token */
  constructor(token) {
    this.token = token
  }

  async load() {
    this.calls.push('load')
    return this.#alone(async () => (this.onLoad ? this.onLoad() : this.token))
  }

  /** @param {string} newToken @param {string} [oldToken] */
  async save(newToken, oldToken) {
    this.calls.push('save')
    return this.#alone(async () => {
      await this.onSave?.(newToken)
      this.saves.push([newToken, oldToken])
      this.token = newToken
    })
  }

  /** @param {() => Promise<any>} work */
  async #alone(work) {
    this.atOnce = Math.max(this.atOnce, ++this.running)
    try {
      await sleep(1)
      return await work()
    } finally {
      this.running--
    }
  }
}

describe('a custom store alone', { concurrency: true }, () => {
  it('a custom store alone is asked before each request, and has each new token before a caller has its access token', async (t) => {
    const ring = await startRing(t)
    const first = wrap({ rt: ring.mint(), hid: '11111111-2222-4333-8444-555555555555' })
    const store = new Keeper(first)
    const { manager, updates } = open(t, ring, { store })
    assert.equal(manager.refreshToken, null, 'load may take its time')
    assert.deepEqual(manager.status, { state: 'idle', persisted: true })
    const token = await manager.getAccessToken()
    assert.ok(ring.isAccessLive(token))
    assert.deepEqual(store.saves, [[manager.refreshToken, first]])
    store.calls.length = 0
    const { refreshToken } = await manager.refresh()
    assert.equal(store.token, refreshToken)
    assert.equal(store.calls[0], 'load')
    assert.equal(store.atOnce, 1, 'one at a time')
    assert.deepEqual(
      updates.map(({ oldRefreshToken, newRefreshToken }) => [newRefreshToken, oldRefreshToken]),
      store.saves,
    )
  })

  it('a custom store alone delays the result of a rotation until a slow save has ended', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager } = open(t, ring, { store })
    await manager.getAccessToken()
    let saved = false
    store.onSave = async () => {
      await sleep(300)
      saved = true
    }
    await manager.refresh()
    assert.ok(saved)
  })

  it('a custom store alone may be a class, synchronous, and empty', async (t) => {
    const ring = await startRing(t)
    for (const nothing of [null, undefined, '']) {
      /** @type {string | null | undefined} */
      let kept = nothing
      const store = { load: () => kept, save: (/** @type {string} */ token) => void (kept = token) }
      const { manager } = open(t, ring, { store })
      await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
      assert.equal(manager.status.state, 'needs-login')
      await manager.setRefreshToken(ring.mint())
      await manager.getAccessToken()
      assert.equal(kept, manager.refreshToken)
      await manager.close()
    }
  })

  it('a custom store alone gets the token of the options', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(null)
    const { manager } = open(t, ring, { store, refreshToken: ring.mint() })
    await manager.getAccessToken()
    assert.equal(store.token, manager.refreshToken)
  })

  it('a custom store alone brings a token that another program put there, and gets back a token that it has forgotten', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    const older = store.token
    await manager.refresh()
    store.token = older
    await manager.refresh()
    assert.equal(store.token, manager.refreshToken, 'an old copy')
    const pasted = ring.mint()
    store.token = pasted
    await manager.refresh()
    assert.equal(rawOf(ring.tokenRequests.at(-1)?.form.refresh_token), pasted)
    assert.equal(store.token, manager.refreshToken)
    store.token = null
    await manager.refresh()
    assert.equal(store.token, manager.refreshToken, 'nothing')
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a custom store alone that fails to save is reported and tried again, and callers get the access token', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager, said, log } = open(t, ring, { store })
    await manager.refresh()
    store.onSave = (token) => {
      throw new Error(`cannot write ${token}`)
    }
    const auth = await manager.refresh()
    assert.ok(ring.isAccessLive(auth.accessToken))
    assert.equal(manager.status.persisted, false)
    assert.equal(manager.status.code, 'STORE')
    assert.notEqual(store.token, auth.refreshToken)
    assert.ok(
      !said().includes(auth.refreshToken) && !inspect(manager).includes(auth.refreshToken),
      'no token in the messages',
    )
    assert.ok(log.some(({ level }) => level === 'error'))
    store.onSave = undefined
    await until(() => store.token === auth.refreshToken, 'saved by itself')
    await until(() => manager.status.persisted, 'said to be')
    assert.equal(manager.status.code, undefined)
  })

  it('a custom store alone that fails to save until the end is tried once more by close', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    store.onSave = () => Promise.reject(new Error('no'))
    const { refreshToken } = await manager.refresh()
    store.onSave = undefined
    await manager.close()
    assert.equal(store.token, refreshToken)
  })

  it('a custom store alone that fails to load: the known token is used, and without one the failure is reported and no login is asked for', async (t) => {
    const ring = await startRing(t)
    for (const onLoad of [
      () => {
        throw new Error('down')
      },
      () => 5,
      () => ({}),
    ]) {
      const store = new Keeper(ring.mint())
      store.onLoad = onLoad
      const { manager } = open(t, ring, { store })
      const error = await failure(manager.getAccessToken(), 'STORE')
      assert.match(error.message, /load/)
      assert.equal(manager.status.state, 'idle')
      store.onLoad = undefined
      await manager.getAccessToken()
      store.onLoad = onLoad
      await manager.refresh()
      assert.equal(store.token, manager.refreshToken)
      await manager.close()
    }
  })

  for (const where of ['alone', 'before a new journal']) {
    it(`a custom store that fails to load at the start, ${where}: the token in the options may be spent, and is not sent`, async (t) => {
      const ring = await startRing(t)
      const refreshToken = ring.mint()
      const store = new Keeper(refreshToken)
      const earlier = open(t, ring, { refreshToken, store })
      await earlier.manager.refresh()
      await earlier.manager.close()
      const newest = store.token
      store.onLoad = () => {
        throw new Error('down')
      }
      if (where !== 'alone') Object.assign(store, { statePath: tempDir(t) })
      const { manager } = open(t, ring, { refreshToken, store })
      const error = await failure(manager.getAccessToken(), 'STORE')
      assert.match(error.message, /load/)
      assert.equal(manager.status.persisted, false)
      assert.equal(store.token, newest, 'not overwritten')
      store.onLoad = undefined
      await manager.getAccessToken()
      assert.equal(ring.counts.stalePresentations, 0)
      assert.equal(store.token, manager.refreshToken)
      // A token that the user has just given is used although `load` fails.
      store.onLoad = () => {
        throw new Error('down')
      }
      const other = open(t, ring, { refreshToken, store })
      await other.manager.setRefreshToken(ring.mint())
      await other.manager.getAccessToken()
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('a custom store that fails to load at the start: with autoRefresh the token in the options is used as soon as load answers', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(null)
    store.onLoad = () => {
      throw new Error('down')
    }
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store, autoRefresh: true })
    await failure(manager.getAccessToken(), 'STORE')
    store.onLoad = undefined
    await until(() => store.token !== null && ring.counts.rotations === 1, 'a rotation')
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a custom store alone that gives something that cannot be a token: nothing is sent', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper('two words\nand lines')
    const { manager } = open(t, ring, { store })
    await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    assert.equal(ring.requests.length, 0)
  })

  it('a custom store cannot call its manager from inside, and can right after', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager } = open(t, ring, { store })
    /** @type {unknown[]} */
    const codes = []
    const calls = () => [
      manager.getAccessToken(),
      manager.getAuth(),
      manager.refresh(),
      manager.setRefreshToken('another-token-of-this-test'),
      manager.setPushCredentials(null),
      manager.login({ email: 'a@b', password: 'c' }),
      manager.close(),
    ]
    /** @type {Promise<string> | undefined} */
    let later
    store.onSave = async () => {
      await sleep(1)
      for (const result of await Promise.allSettled(calls())) {
        codes.push(result.status === 'rejected' ? result.reason.code : 'fulfilled')
      }
      later ??= sleep(50).then(() => manager.getAccessToken())
    }
    await manager.getAccessToken()
    assert.ok(codes.length >= 7)
    assert.ok(
      codes.every((code) => code === 'INVALID_ARGUMENT'),
      String(codes),
    )
    await later
    await manager.refresh()
    // Calls of another manager are allowed.
    const other = open(t, ring, { refreshToken: ring.mint() })
    store.onSave = async () => void (await other.manager.getAccessToken())
    await manager.refresh()
    assert.equal(manager.status.persisted, true)
  })

  it('a custom store alone that hangs: after ten seconds the call counts as failed', async (t) => {
    const ring = await startRing(t)
    const store = new Keeper(ring.mint())
    const { manager } = open(t, ring, { store })
    await manager.getAccessToken()
    /** @type {() => void} */
    let release = () => {}
    store.onSave = () => new Promise((resolve) => (release = () => resolve(undefined)))
    const { refreshToken } = await manager.refresh()
    assert.equal(manager.status.persisted, false)
    store.onSave = undefined
    release()
    await until(() => manager.status.persisted, 'saved again')
    assert.equal(store.token, refreshToken)
  })

  it('a custom store alone keeps the process alive until a token is saved, and no longer', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'token')
    writeFileSync(path, ring.mint())
    const child = runScript(
      t,
      `import { readFileSync, writeFileSync } from 'node:fs'
       const store = {
         load: () => readFileSync(config.path, 'utf8'),
         save: (token) => new Promise((resolve) => setTimeout(() => resolve(writeFileSync(config.path, token)), 100).unref()),
       }
       const manager = new RingTokenManager({ ...config.options, store })
       manager.refresh().then(() => say('done'))`,
      { path, options: optionsFor(ring) },
    )
    const { code, stdout } = await child.ended
    assert.deepEqual([code, stdout], [0, 'done\n'])
    assert.ok(ring.isLive(rawOf(readFileSync(path, 'utf8'))))
  })

  it('a custom store alone does not delay process.exit()', async (t) => {
    const ring = await startRing(t)
    const exit = async () => {
      const child = runScript(
        t,
        `const manager = new RingTokenManager({ ...config, store: { load: () => null, save: () => new Promise(() => {}) } })
         manager.setRefreshToken('another-token-of-this-test')
         setTimeout(() => { console.log(Date.now()); process.exit(0) }, 200)`,
        optionsFor(ring),
      )
      const { code, stdout } = await child.ended
      assert.equal(code, 0)
      return Date.now() - Number(stdout)
    }
    // With a journal, process.exit() waits five seconds each time. A busy machine is not so slow five times in a row.
    /** @type {number[]} */
    const took = []
    while (!took.some((ms) => ms < 4000) && took.length < 5) took.push(await exit())
    assert.ok(
      took.some((ms) => ms < 4000),
      took.join(),
    )
  })
})

describe('a custom store before a journal', { concurrency: true }, () => {
  it('a custom store before a journal follows the journal, which is in its folder', async (t) => {
    const ring = await startRing(t)
    const statePath = join(tempDir(t), 'state')
    const keeper = new Keeper(ring.mint())
    const store = {
      load: () => keeper.load(),
      save: (/** @type {string} */ a, /** @type {string | undefined} */ b) => keeper.save(a, b),
      statePath,
    }
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    assert.equal(keeper.token, manager.refreshToken)
    const [journal] = readdirSync(statePath).filter((name) => name.endsWith('.json'))
    assertMode(join(statePath, String(journal)), 0o600)
    assert.equal(readJournal(join(statePath, String(journal))).current.token, manager.refreshToken)
  })

  it('a custom store before a journal that fails is reported, loses nothing, and gets the newest token at the next start', async (t) => {
    const ring = await startRing(t)
    const statePath = tempDir(t)
    const first = ring.mint()
    const keeper = Object.assign(new Keeper(first), { statePath })
    const { manager } = open(t, ring, { store: keeper })
    await manager.refresh()
    const old = keeper.token
    keeper.onSave = () => Promise.reject(new Error('disk on fire'))
    await manager.refresh()
    const { refreshToken } = await manager.refresh()
    assert.deepEqual(
      { ...manager.status, message: '' },
      { state: 'ready', code: 'STORE', message: '', persisted: true },
    )
    assert.equal(keeper.token, old)
    await manager.close()
    keeper.onSave = undefined
    const next = open(t, ring, { store: keeper })
    assert.equal(next.manager.refreshToken, refreshToken, 'the journal is read in the constructor')
    await until(() => keeper.token === refreshToken, 'given to the program')
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a custom store before a journal brings a token that another program put there', async (t) => {
    const ring = await startRing(t)
    const keeper = Object.assign(new Keeper(ring.mint()), { statePath: tempDir(t) })
    const { manager } = open(t, ring, { store: keeper })
    await manager.refresh()
    const pasted = ring.mint()
    keeper.token = pasted
    await manager.refresh()
    assert.equal(rawOf(ring.tokenRequests.at(-1)?.form.refresh_token), pasted)
    assert.equal(keeper.token, manager.refreshToken)
  })
})
