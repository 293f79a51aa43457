// @ts-check
// A program's own load and save that hang, end late, throw, reject or give odd values: other managers do not notice, no
// two of them run at once, no call is held for longer than ten seconds, and no token is lost.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileStore, open, rawOf, sleep, startRing, tempDir, until } from './support/index.mjs'

/** The longest delay of a call, with what a busy machine adds. */
const HELD_MS = 15_000

/** A program's own store, whose calls a test can delay and end. */
class Program {
  /** @type {string | null} what it keeps */
  token
  /** @type {string[]} the calls that began: 'load', or the token to save */
  began = []
  running = 0
  atOnce = 0
  /** @type {'load' | 'save' | undefined} what hangs until it is let go */
  holds
  /** @type {(() => void)[]} */
  #held = []

  /** @param {string | null} token @param {string} [statePath] */
  constructor(token, statePath) {
    this.token = token
    if (statePath !== undefined) this.statePath = statePath
  }

  load() {
    return this.#run('load', 'load', () => this.token)
  }

  /** @param {string} token */
  save(token) {
    return this.#run('save', token, () => void (this.token = token))
  }

  /** Ends all calls that hang, and delays no more. */
  letGo() {
    this.holds = undefined
    for (const go of this.#held.splice(0)) go()
  }

  get saves() {
    return this.began.filter((call) => call !== 'load')
  }

  /** @template T @param {'load' | 'save'} kind @param {string} what @param {() => T} work @returns {Promise<T>} */
  async #run(kind, what, work) {
    this.began.push(what)
    this.atOnce = Math.max(this.atOnce, ++this.running)
    try {
      if (this.holds === kind) await /** @type {Promise<void>} */ (new Promise((resolve) => this.#held.push(resolve)))
      return work()
    } finally {
      this.running--
    }
  }
}

/** @template T @param {Promise<T>} call @returns {Promise<number>} how long it took to end, in whichever way */
async function took(call) {
  const began = Date.now()
  await call.catch(() => {})
  return Date.now() - began
}

describe('custom stores that hang', { concurrency: true }, () => {
  it('custom stores that hang do not delay the journals of other managers', async (t) => {
    const ring = await startRing(t)
    const programs = Array.from({ length: 40 }, () => new Program(ring.mint()))
    let ended = 0
    for (const program of programs) {
      program.holds = 'load'
      const { manager } = open(t, ring, { store: program })
      manager.getAccessToken().then(
        () => ended++,
        () => ended++,
      )
    }
    await until(() => programs.every(({ running }) => running === 1), 'all hang')
    const { manager } = open(t, ring, { store: fileStore(join(tempDir(t), 'journal.json')), refreshToken: ring.mint() })
    const began = Date.now()
    for (let i = 0; i < 5; i++) await manager.refresh()
    t.diagnostic(`five rotations beside forty that hang: ${Date.now() - began} ms`)
    assert.equal(ended, 0, 'a journal waited for those that hang')
    for (const program of programs) program.letGo()
  })

  for (const journal of [false, true]) {
    const where = journal ? 'with a journal' : 'without a journal'

    it(`custom stores that hang are called once for any number of calls, ${where}`, async (t) => {
      const ring = await startRing(t)
      const program = new Program(ring.mint(), journal ? tempDir(t) : undefined)
      const { manager } = open(t, ring, { store: program })
      await manager.getAccessToken()
      await until(() => program.running === 0 && program.token === manager.refreshToken, 'saved')
      program.began.length = 0
      program.holds = 'save'
      const times = [await took(manager.refresh()), await took(manager.refresh())]
      times.push(await took(manager.close()))
      t.diagnostic(`two rotations and a close, ${where}: ${times.join(', ')} ms; saves begun: ${program.saves.length}`)
      assert.equal(program.saves.length, 1, 'what hangs is not started again')
      assert.equal(program.atOnce, 1)
      assert.ok(
        times.every((time) => time < HELD_MS),
        `held for ${times.join(', ')} ms`,
      )
      const newest = manager.refreshToken
      program.letGo()
      await until(() => program.token === newest, 'the newest token, although the manager is closed')
      assert.equal(program.atOnce, 1)
      assert.ok(ring.isLive(rawOf(program.token)))
    })

    it(`custom stores that end late get the newest token last, ${where}`, async (t) => {
      const ring = await startRing(t)
      const program = new Program(ring.mint(), journal ? tempDir(t) : undefined)
      const { manager } = open(t, ring, { store: program })
      await manager.getAccessToken()
      program.holds = 'save'
      await manager.refresh()
      const late = manager.refreshToken
      assert.equal(manager.status.code, 'STORE')
      await manager.refresh()
      assert.notEqual(manager.refreshToken, late)
      program.letGo()
      await until(() => program.token === manager.refreshToken, 'the newest token')
      await until(() => manager.status.code === undefined, 'all is well')
      assert.equal(manager.status.persisted, true)
      assert.equal(program.atOnce, 1, 'never two at once')
      assert.equal(ring.counts.stalePresentations, 0)
      await sleep(50)
      assert.equal(program.token, manager.refreshToken)
    })

    it(`custom stores that never load delay a call and close for a limited time, ${where}`, async (t) => {
      const ring = await startRing(t)
      const program = new Program(ring.mint(), journal ? tempDir(t) : undefined)
      program.holds = 'load'
      const { manager } = open(t, ring, { store: program, refreshToken: ring.mint() })
      const times = [await took(manager.getAccessToken()), await took(manager.refresh()), await took(manager.close())]
      t.diagnostic(`two calls and a close, ${where}: ${times.join(', ')} ms; loads begun: ${program.began.length}`)
      assert.ok(
        times.every((time) => time < HELD_MS),
        `held for ${times.join(', ')} ms`,
      )
      assert.equal(program.began.length, 1, 'what hangs is not started again')
      program.letGo()
    })
  }

  it('custom stores are not called for two managers at once: the call of a closed manager ends first', async (t) => {
    const ring = await startRing(t)
    const program = new Program(ring.mint())
    const first = open(t, ring, { store: program }).manager
    await first.getAccessToken()
    await until(() => program.running === 0 && program.token === first.refreshToken, 'saved')
    program.holds = 'save'
    program.began.length = 0
    const rotation = first.refresh()
    await until(() => program.running === 1 && program.saves.length === 1, 'it hangs')
    const closing = first.close()
    const { manager } = open(t, ring, { store: program })
    const asked = manager.getAccessToken()
    // Long enough for a load that does not wait for its turn.
    await sleep(300)
    program.letGo()
    await Promise.all([rotation, closing, asked])
    await until(() => program.token === manager.refreshToken, 'the newest token')
    assert.equal(program.atOnce, 1)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.rotations, 3)
  })

  it('custom stores that hang do not lose a token that is pasted while another one could not be saved', async (t) => {
    const ring = await startRing(t)
    const program = new Program(ring.mint())
    const { manager } = open(t, ring, { store: program })
    await manager.getAccessToken()
    const { save } = program
    program.save = () => Promise.reject(new Error('no'))
    await manager.refresh()
    assert.equal(manager.status.persisted, false)
    const pasted = ring.mint()
    program.token = pasted
    program.save = save
    await manager.refresh()
    assert.equal(rawOf(ring.tokenRequests.at(-1)?.form.refresh_token), pasted)
    assert.equal(program.token, manager.refreshToken)
    assert.equal(ring.counts.stalePresentations, 0)
  })
})
