// @ts-check
// A store that several hosts share: the options, and what the hosts get. Managers with spools of their own stand for hosts; the steps
// and the accidents are in tests/simulation.
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  EMAIL,
  OUTAGE,
  PASSWORD,
  failure,
  open,
  rawOf,
  RingTokenManager,
  root,
  runProcess,
  sleep,
  startRing,
  tempDir,
  unwrap,
  until,
  writeJournal,
} from './support/index.mjs'

/** An engine with one place, in memory. */
class Engine {
  /** @type {{ value: string, version: string } | null} */
  kept = null
  down = false
  commits = 0

  async load() {
    this.#answers()
    return this.kept
  }

  /** @param {string} value @param {string | null} version */
  async commit(value, version) {
    this.#answers()
    if ((this.kept?.version ?? null) !== version) return null
    this.commits++
    this.kept = { value, version: randomUUID() }
    return this.kept.version
  }

  #answers() {
    if (this.down) throw new Error('connection refused')
  }

  /** The store of one host. @param {string | null} statePath @param {object} [more] */
  host(statePath, more = {}) {
    return {
      load: () => this.load(),
      commit: (/** @type {string} */ value, /** @type {string | null} */ version) => this.commit(value, version),
      statePath,
      ...more,
    }
  }
}

/** A record with other fields, as another host would write it. @param {import('node:test').TestContext} t @param {string} value @param {{ [key: string]: any }} change */
function edited(t, value, { mark, ...change }) {
  const record = JSON.parse(value)
  const path = join(tempDir(t), 'record')
  writeJournal(path, { ...record, ...change, mark: mark === undefined ? record.mark : { ...record.mark, ...mark } })
  return readFileSync(path, 'utf8')
}

/** The record of a host that is about to send its token. @param {import('node:test').TestContext} t @param {import('./support/index.mjs').FakeRing} ring */
async function marked(t, ring) {
  const engine = new Engine()
  const commit = engine.commit.bind(engine)
  /** @type {string[]} */
  const values = []
  engine.commit = async (value, version) => {
    values.push(value)
    return commit(value, version)
  }
  const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
  await manager.getAccessToken()
  const [value = ''] = values
  assert.ok(JSON.parse(value).mark.holder)
  return value
}

describe('a shared store', () => {
  it('gives every host the token that one of them got', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const refreshToken = ring.mint()
    const hosts = [tempDir(t), tempDir(t), tempDir(t)].map(
      (folder) => open(t, ring, { refreshToken, store: engine.host(folder) }).manager,
    )
    const tokens = await Promise.all(hosts.map((host) => host.getAccessToken()))
    assert.deepEqual(new Set(tokens).size, 1, 'one request for all of them')
    assert.equal(ring.tokenRequests.length, 1)
    for (const host of hosts) {
      assert.ok(host.status.persisted)
      assert.equal(host.refreshToken, hosts[0]?.refreshToken)
    }
    await hosts[1]?.refresh()
    assert.equal((await hosts[2]?.refresh())?.refreshToken, hosts[1]?.refreshToken, 'another host was faster')
    assert.equal(ring.tokenRequests.length, 2)
    await hosts[2]?.refresh()
    assert.equal(ring.tokenRequests.length, 3)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('is rotated by a refresh on a host that sees it for the first time', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const old = tempDir(t)
    const first = open(t, ring, { refreshToken: ring.mint(), store: engine.host(old) }).manager
    await first.getAccessToken()
    await first.close()
    const { manager: other } = open(t, ring, { store: engine.host(tempDir(t)) })
    await other.refresh()
    assert.equal(ring.tokenRequests.length, 2, 'a new host')
    // The spool of this one is behind.
    const { manager: again } = open(t, ring, { store: engine.host(old) })
    await again.refresh()
    assert.equal(ring.tokenRequests.length, 3, 'a host that was away')
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('has the push credentials that one host sets on every host, also if another host rotates meanwhile', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const refreshToken = ring.mint()
    const [one, other] = [tempDir(t), tempDir(t)].map(
      (folder) => open(t, ring, { refreshToken, store: engine.host(folder) }).manager,
    )
    assert.ok(one && other)
    await one.getAccessToken()
    await other.getAccessToken()
    const kept = () => unwrap(JSON.parse(String(engine.kept?.value)).current.token)
    const commit = engine.commit.bind(engine)
    /** @type {(string | null)[]} */
    const versions = []
    engine.commit = async (value, version) => {
      engine.commit = async (value, version) => {
        versions.push(await commit(value, version))
        return versions.at(-1) ?? null
      }
      // It has read, and is about to write what it has changed.
      await other.refresh()
      versions.length = 0
      return engine.commit(value, version)
    }
    const pnc = { fcm: { token: 'push' } }
    await one.setPushCredentials(pnc)
    assert.equal(versions.length, 2, 'once more, over what the other host wrote')
    assert.equal(versions[0], null)
    assert.equal(ring.tokenRequests.length, 2)
    assert.deepEqual([kept().rt, kept().pnc], [ring.newest(), pnc])
    assert.deepEqual(unwrap(one.refreshToken).pnc, pnc)
    const rotated = unwrap((await other.refresh()).refreshToken)
    assert.deepEqual([rotated.rt, rotated.pnc], [ring.newest(), pnc], 'a host that had only rotated')
    await other.setPushCredentials(null)
    assert.equal(kept().pnc, undefined)
    assert.equal(unwrap((await one.refresh()).refreshToken).pnc, undefined)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('says to a refresh during a recovery that another host had the token rejected', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const [left, right] = [tempDir(t), tempDir(t)]
    const { manager: host } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(right) })
    await host.getAccessToken()
    const { manager: stopped } = open(t, ring, { requestTimeoutMs: 50, store: engine.host(left) })
    await stopped.getAccessToken()
    ring.fault({ kind: 'hang', times: 9 })
    await failure(stopped.refresh(), 'TIMEOUT')
    await stopped.close()
    assert.ok(JSON.parse(engine.kept?.value ?? '').mark, 'the mark stays')
    ring.clearFaults()
    ring.revokeAll()
    await failure(host.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
    const { manager: restarted } = open(t, ring, { store: engine.host(left) })
    await failure(restarted.refresh(), 'REFRESH_TOKEN_REJECTED')
  })

  it('is not needed while an access token is valid, and nothing is sent without it', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
    engine.down = true
    const error = await failure(manager.getAccessToken(), 'STORE')
    assert.equal(error.transient, true)
    assert.match(error.message, /connection refused/)
    assert.equal(ring.tokenRequests.length, 0)
    engine.down = false
    const token = await manager.getAccessToken()
    engine.down = true
    assert.equal(await manager.getAccessToken(), token)
    await failure(manager.refresh(), 'STORE')
    assert.equal(ring.tokenRequests.length, 1)
  })

  it('gets an answer later that it did not take at once', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const folder = tempDir(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(folder) })
    await manager.getAccessToken()
    // The mark is taken, and what comes after it is not.
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      engine.commit = async () => {
        throw new Error('gone')
      }
      return commit(value, version)
    }
    const { refreshToken } = await manager.refresh()
    assert.equal(manager.status.persisted, false)
    assert.equal(manager.status.code, 'STORE')
    engine.commit = commit
    await until(() => manager.status.persisted, 'the answer is in the store')
    const { manager: other } = open(t, ring, { store: engine.host(tempDir(t)) })
    assert.equal((await other.getAuth()).refreshToken, refreshToken)
    assert.equal(ring.tokenRequests.length, 2)
  })

  it('says that its store is wrong if that refuses what it has kept', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      engine.commit = async () => null
      await commit(value, version)
      throw new Error('no answer')
    }
    const error = await failure(manager.getAccessToken(), 'STORE')
    assert.match(error.message, /^Again and again, the shared store says that another host was faster.*checkStore/)
    assert.equal(ring.tokenRequests.length, 0)
  })

  it('is waited for by close for ten seconds in all', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      engine.commit = async () => {
        throw new Error('gone')
      }
      return commit(value, version)
    }
    await manager.getAccessToken()
    assert.equal(manager.status.persisted, false)
    let calls = 0
    engine.commit = () => {
      calls++
      return new Promise(() => {})
    }
    await manager.close()
    assert.equal(calls, 1, 'a second call would have had ten seconds of its own')
  })

  it('leaves out the password of an address that a client quotes', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager, said } = open(t, ring, {
      refreshToken: ring.mint(),
      store: engine.host(tempDir(t), { name: 'two\nlines' }),
    })
    engine.load = async () => {
      throw new Error('cannot reach postgres://me:hunter2@db:5432/ring')
    }
    const error = await failure(manager.getAccessToken(), 'STORE')
    assert.match(error.message, /^A call of two lines failed \(cannot reach postgres:\/\/me:…@db:5432\/ring\)/)
    assert.ok(!said().includes('hunter2'))
  })

  it('keeps a spool for each account', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    for (const account of ['a/b', 'a-b', undefined]) {
      const { manager } = open(t, ring, {
        refreshToken: ring.mint(),
        store: new Engine().host(folder, { account }),
      })
      await manager.getAccessToken()
      await manager.close()
    }
    const spools = readdirSync(folder).filter((name) => name.endsWith('.json'))
    assert.equal(spools.length, 3, `${spools}`)
  })

  it('without a disk gives nobody what only the memory has', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(null) })
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      engine.commit = async () => {
        throw new Error('gone')
      }
      return commit(value, version)
    }
    await failure(manager.getAccessToken(), 'STORE')
    engine.commit = commit
    await until(() => manager.status.persisted && manager.status.state === 'ready', 'the answer is in the store')
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(ring.tokenRequests.length, 1)
  })

  it('is emptied by a login elsewhere, and a deleted value is put back', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const [one, other] = [tempDir(t), tempDir(t)].map((folder) => open(t, ring, { store: engine.host(folder) }).manager)
    assert.ok(one && other)
    await failure(one.getAccessToken(), 'NO_REFRESH_TOKEN')
    await other.setRefreshToken(ring.mint())
    await one.getAccessToken()
    const pasted = ring.mint()
    await other.setRefreshToken(pasted)
    assert.equal(rawOf((await one.refresh()).refreshToken) === rawOf(pasted), false)
    assert.equal(rawOf(ring.tokenRequests.at(-1)?.form.refresh_token), rawOf(pasted), 'the one that was set elsewhere')
    engine.kept = null
    await one.refresh()
    assert.ok(engine.kept)
    await other.refresh()
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('is asked once for what an administrator should know', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    let asked = 0
    const warnings = async () => {
      asked++
      return ['The engine evicts keys.']
    }
    /** @type {string[]} */
    const logged = []
    const logger = (/** @type {{ message: string }} */ { message }) => void logged.push(message)
    const { manager } = open(t, ring, {
      refreshToken: ring.mint(),
      logger,
      store: engine.host(tempDir(t), { warnings }),
    })
    await manager.getAccessToken()
    await manager.refresh()
    await until(() => logged.includes('The engine evicts keys.'), 'the warning is logged')
    assert.equal(asked, 1)
  })

  it('is sealed with a key, also the record', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const key = Buffer.alloc(32, 7)
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t), { key }) })
    const { refreshToken } = await manager.getAuth()
    assert.ok(!engine.kept?.value.includes(refreshToken))
    const { manager: other } = open(t, ring, { store: engine.host(tempDir(t), { key }) })
    assert.equal((await other.getAuth()).refreshToken, refreshToken)
    const { manager: without } = open(t, ring, { store: engine.host(tempDir(t), { name: 'PostgreSQL' }) })
    const { message } = await failure(without.getAccessToken(), 'STORE')
    assert.match(message, /^The record in PostgreSQL is sealed with the key \S+, and no key was given\./)
    const another = { name: 'PostgreSQL', key: Buffer.alloc(32, 8) }
    const { manager: wrong } = open(t, ring, { store: engine.host(tempDir(t), another) })
    assert.match((await failure(wrong.getAccessToken(), 'STORE')).message, /^The record in PostgreSQL is sealed/)
  })

  it('has one AsyncLocalStorage for all stores: before Node 24 each of them makes every promise larger', async (t) => {
    const script = `
      const hooks = require('node:async_hooks')
      let made = 0
      const value = class extends hooks.AsyncLocalStorage {
        constructor() {
          super()
          made++
        }
      }
      // From Node 22 on it is a getter, which an assignment leaves as it is.
      Object.defineProperty(hooks, 'AsyncLocalStorage', { value })
      const { RingTokenManager } = require(${JSON.stringify(join(root, 'index.js'))})
      const stores = [{ load: async () => null, save: async () => {} }, { load: async () => null, commit: async () => '1', statePath: null }]
      const all = Array.from({ length: 20 }, (_, i) => new RingTokenManager({ store: { ...stores[i % 2] } }))
      Promise.allSettled(all.map((one) => one.getAccessToken())).then((outcomes) => {
        console.log(made, ...new Set(outcomes.map(({ reason }) => reason.code)))
      })`
    const { code, stdout, stderr } = await runProcess(t, ['-e', script], {}).ended
    assert.equal(code, 0, stderr)
    assert.equal(stdout, '1 NO_REFRESH_TOKEN\n')
  })

  it('leaves a value alone that is not its own', async (t) => {
    const ring = await startRing(t)
    for (const value of ['hello', '{}', JSON.stringify({ version: 1 })]) {
      const engine = new Engine()
      engine.kept = { value, version: 'v' }
      const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
      await failure(manager.getAccessToken(), 'STORE')
      await failure(manager.setRefreshToken(ring.mint()), 'STORE')
      assert.deepEqual(engine.kept, { value, version: 'v' })
    }
    assert.equal(ring.tokenRequests.length, 0)
  })

  it('takes nothing for an answer that is none, and sends nothing then', async (t) => {
    const ring = await startRing(t)
    const answers = /** @type {[object, RegExp][]} */ ([
      [{ load: () => 'text' }, /load gave a string/],
      [{ load: () => ({ value: 1, version: 'v' }) }, /load gave an object/],
      [{ load: () => ({ value: 'x', version: '' }) }, /load gave an object/],
      [{ load: () => ({ value: 'x', version: 7 }) }, /load gave an object/],
      [{ commit: () => undefined }, /commit gave undefined/],
      [{ commit: () => '' }, /commit gave a string/],
      [{ commit: () => 8 }, /commit gave a number/],
    ])
    for (const [wrong, message] of answers) {
      const store = /** @type {any} */ ({ ...new Engine().host(tempDir(t)), ...wrong })
      const { manager } = open(t, ring, { refreshToken: ring.mint(), store })
      assert.match((await failure(manager.getAccessToken(), 'STORE')).message, message)
      await manager.close()
    }
    assert.equal(ring.tokenRequests.length, 0)
  })

  it('waits ten seconds for a commit that does not settle, and sends nothing', async (t) => {
    const ring = await startRing(t)
    const store = { ...new Engine().host(tempDir(t)), commit: () => new Promise(() => {}) }
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: /** @type {any} */ (store) })
    assert.match(
      (await failure(manager.getAccessToken(), 'STORE')).message,
      /^A call of the shared store took longer than 10 seconds/,
    )
    assert.equal(ring.tokenRequests.length, 0)
  })

  it('calls the methods of a class on its object', async (t) => {
    const ring = await startRing(t)
    class Mine {
      #engine = new Engine()
      statePath = tempDir(t)
      async load() {
        return this.#engine.load()
      }
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        return this.#engine.commit(value, version)
      }
    }
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: new Mine() })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  })

  it('keeps a spool for each account, whatever its name has in it', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const names = ['../a', '..', '.', '/', 'A', 'a', 'a\\b', 'CON', 'é', 'e\u0301', ' a', 'a ', 'x'.repeat(512)]
    for (const account of names) {
      const { manager } = open(t, ring, { refreshToken: ring.mint(), store: new Engine().host(folder, { account }) })
      await manager.getAccessToken()
      await manager.close()
    }
    const spools = readdirSync(folder).filter((name) => name.endsWith('.json'))
    assert.equal(new Set(spools.map((name) => name.toLowerCase())).size, names.length, `${spools}`)
  })

  it('shows what the spool has until the store has been asked', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const folder = tempDir(t)
    const first = open(t, ring, { refreshToken: ring.mint(), store: engine.host(folder) }).manager
    const { refreshToken, hardwareId } = await first.getAuth()
    await first.close()
    engine.down = true
    const { manager } = open(t, ring, { store: engine.host(folder), systemId: 'another' })
    assert.deepEqual([manager.refreshToken, manager.hardwareId], [refreshToken, hardwareId])
    assert.equal(manager.status.state, 'ready')
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(open(t, ring, { store: engine.host(tempDir(t)) }).manager.status.state, 'needs-login')
  })

  it('has the hardware id for all hosts, whatever their systemId is', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const [one, other] = ['one', 'other'].map(
      (systemId) => open(t, ring, { systemId, store: engine.host(tempDir(t)) }).manager,
    )
    assert.ok(one && other)
    await one.setRefreshToken(ring.mint())
    const { hardwareId } = await one.getAuth()
    assert.equal((await other.getAuth()).hardwareId, hardwareId)
    await other.refresh()
    await other.refresh()
    // A token without a hardware id of its own.
    await other.setRefreshToken(ring.mint())
    assert.equal((await other.refresh()).hardwareId, hardwareId)
    assert.deepEqual(new Set(ring.tokenRequests.map((request) => request.headers.hardware_id)), new Set([hardwareId]))
  })

  it('refuses the record of another issuer and of a later version, also for a login, and leaves it alone', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
    await manager.getAccessToken()
    const record = engine.kept?.value ?? ''
    const requests = ring.requests.length
    for (const [change, code] of /** @type {const} */ ([
      [{ issuer: 'https://other.example' }, 'INVALID_ARGUMENT'],
      [{ version: 999 }, 'STORE'],
    ])) {
      const kept = { value: edited(t, record, change), version: 'v' }
      engine.kept = kept
      for (const folder of [tempDir(t), null]) {
        const other = open(t, ring, { store: engine.host(folder) }).manager
        await failure(other.getAccessToken(), code)
        await failure(other.setRefreshToken(ring.mint()), code)
        await failure(other.login({ email: EMAIL, password: PASSWORD }), code)
        await other.close()
      }
      await failure(manager.refresh(), code)
      assert.deepEqual(engine.kept, kept)
    }
    assert.equal(ring.requests.length, requests, 'nothing was sent')
  })

  it('is asked again for a login only as long as somebody waits for one', async (t) => {
    const ring = await startRing(t)
    const hosts = ['nobody', 'waited', 'waits'].map(() => {
      const engine = new Engine()
      let loads = 0
      const load = () => {
        loads++
        return engine.load()
      }
      const store = { ...engine.host(tempDir(t)), load }
      const { manager } = open(t, ring, { store })
      return { manager, loads: () => loads }
    })
    const [nobody, waited, waits] = hosts
    assert.ok(nobody && waited && waits)
    for (const { manager } of hosts) await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    const controller = new AbortController()
    const given = assert.rejects(waited.manager.waitForLogin({ signal: controller.signal }))
    controller.abort()
    await given
    const end = new AbortController()
    const waiting = assert.rejects(waits.manager.waitForLogin({ signal: end.signal }))
    const [one, other] = [nobody.loads(), waited.loads()]
    const before = waits.loads()
    await until(() => waits.loads() >= before + 2, 'two looks')
    assert.equal(nobody.loads(), one, 'nobody waits')
    assert.equal(waited.loads(), other, 'nobody waits any more')
    end.abort()
    await waiting
  })

  it('sends nothing if the mark takes too long three times', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      // Longer than a lease is beyond a request.
      await sleep(5_100)
      return commit(value, version)
    }
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
    const error = await failure(manager.getAccessToken(), 'STORE')
    assert.match(error.message, /took too long .* three times/)
    assert.equal(error.transient, true)
    assert.equal(ring.tokenRequests.length, 0)
    // A mark that stayed would count as a request whose answer is not known.
    assert.equal(JSON.parse(engine.kept?.value ?? '').mark, null)
    engine.commit = commit
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  })

  it('holds a caller for two leases at most while other hosts have the token under way', async (t) => {
    const ring = await startRing(t)
    const engine = new Engine()
    const value = await marked(t, ring)
    let marks = 0
    // Always another host, before the time of the one before is over.
    const others = setInterval(() => {
      marks++
      engine.kept = {
        value: edited(t, value, { mark: { holder: randomBytes(16).toString('hex') } }),
        version: randomUUID(),
      }
    }, 3_000)
    t.after(() => clearInterval(others))
    await until(() => marks === 1, 'a mark of another host')
    const requests = ring.tokenRequests.length
    const { manager } = open(t, ring, { requestTimeoutMs: 1_000, store: engine.host(tempDir(t)) })
    const error = await failure(manager.getAccessToken(), 'STORE_LOCKED')
    assert.match(error.message, /Another host has been refreshing/)
    assert.ok(marks <= 6, `${marks}`)
    assert.equal(ring.tokenRequests.length, requests)
  })

  it('keeps a cool-down for all hosts, which is over by the time since the first look of short-lived processes as well', async (t) => {
    const ring = await startRing(t)
    // It was begun by a host whose clock is an hour ahead, or an hour behind.
    for (const [startedAt, isOver] of /** @type {const} */ ([
      [Date.now() + 3_600_000, false],
      [Date.now() - 3_600_000, true],
    ])) {
      const engine = new Engine()
      const seed = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) }).manager
      const outage = ring.fault(OUTAGE)
      await failure(seed.getAccessToken(), 'SERVER_ERROR')
      await seed.close()
      outage.remove()
      const record = engine.kept?.value ?? ''
      const cooling = { ...JSON.parse(record).coolDown, startedAt, lengthMs: 3_000 }
      engine.kept = { value: edited(t, record, { coolDown: cooling }), version: randomUUID() }
      const folder = tempDir(t)
      let tries = 0
      for (;;) {
        const { manager } = open(t, ring, { store: engine.host(folder) })
        const error = await manager.getAccessToken().then(
          () => undefined,
          (/** @type {any} */ error) => error,
        )
        await manager.close()
        if (error === undefined) break
        tries++
        assert.equal(error.code, 'SERVER_ERROR')
        assert.ok(error.retryAfterMs <= 3_000, `${error.retryAfterMs}`)
        await sleep(200)
      }
      assert.equal(tries === 0, isOver)
    }
    assert.equal(ring.tokenRequests.length, 4, 'of each account one that failed, and one after the cool-down')
  })

  it('has a login on the disk of its host if the store went away during the login', async (t) => {
    const ring = await startRing(t, { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'none' }] })
    const engine = new Engine()
    const folder = tempDir(t)
    const { manager } = open(t, ring, { loginFlow: 'password', store: engine.host(folder) })
    const commit = engine.commit.bind(engine)
    engine.commit = async (value, version) => {
      const written = await commit(value, version)
      engine.down = true
      return written
    }
    assert.deepEqual(await manager.login({ email: EMAIL, password: PASSWORD }), { authenticated: true })
    const { refreshToken, status } = manager
    assert.ok(refreshToken)
    assert.deepEqual([status.persisted, status.code], [false, 'STORE'])
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    // As after a crash: its own end brings the token nowhere.
    const next = open(t, ring, { store: engine.host(folder) }).manager
    assert.equal(next.refreshToken, refreshToken)
    engine.commit = commit
    engine.down = false
    await until(() => manager.status.persisted, 'the login is in the store')
    const other = open(t, ring, { store: engine.host(tempDir(t)) }).manager
    assert.equal((await other.getAuth()).refreshToken, refreshToken)
  })

  it('makes a write once more whose answer was lost, and takes one that a client has sent twice for its own', async (t) => {
    const ring = await startRing(t)
    for (const [isLost, commits] of /** @type {const} */ ([
      [true, 3],
      [false, 2],
    ])) {
      const engine = new Engine()
      const commit = engine.commit.bind(engine)
      engine.commit = async (value, version) => {
        engine.commit = commit
        await commit(value, version)
        if (isLost) throw new Error('connection reset')
        return commit(value, version)
      }
      const requests = ring.tokenRequests.length
      const { manager } = open(t, ring, { refreshToken: ring.mint(), store: engine.host(tempDir(t)) })
      assert.ok(ring.isAccessLive(await manager.getAccessToken()))
      assert.ok(manager.status.persisted)
      assert.equal(engine.commits, commits, 'what is visible need not be durable')
      assert.equal(ring.tokenRequests.length, requests + 1)
    }
  })

  it('refuses options that cannot be meant', (t) => {
    const engine = new Engine()
    const folder = tempDir(t)
    const wrong = /** @type {[object, RegExp][]} */ ([
      [engine.host(folder, { save: () => {} }), /save and commit/],
      [engine.host(folder, { table: 't' }), /table is not an option/],
      [engine.host(folder, { account: '' }), /account/],
      [engine.host(folder, { account: 'a\ud800' }), /account must be well-formed Unicode/],
      [engine.host(folder, { account: 'x'.repeat(513) }), /512 bytes/],
      [engine.host(folder, { warnings: 1 }), /warnings must be a function/],
      [engine.host(folder, { key: 'short' }), /key/],
      [{ ...engine.host(folder), statePath: undefined }, /statePath is missing/],
      [{ ...engine.host(folder), load: undefined }, /load must be a function/],
      [{ ...engine.host(folder), commit: 1 }, /commit must be a function/],
    ])
    for (const [store, message] of wrong) {
      assert.throws(
        () => new RingTokenManager({ store: /** @type {any} */ (store) }),
        (/** @type {any} */ error) => error.code === 'INVALID_ARGUMENT' && message.test(error.message),
        `${message}`,
      )
    }
    assert.deepEqual(readdirSync(join(folder)), [])
  })
})
