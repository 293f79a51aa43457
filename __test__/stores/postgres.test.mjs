// @ts-check
// postgresStore on PostgreSQL itself: with each client, directly and behind a pooler.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { atEnd } from '../support/index.mjs'
import { checkStore } from '../../lib/stores/check/index.js'
import { postgresStore } from '../../lib/stores/index.js'
import { POSTGRES } from './clients.mjs'
import { startPgbouncer, startPostgres } from './servers/postgres.mjs'
import { startProxy } from './servers/proxy.mjs'
import { eventually, newAccount, newValue, pgbouncer, postgres, win } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../../lib/stores/index.js').PostgresStoreOptions} Options */

/** @type {import('./servers/postgres.mjs').Postgres} */
let server
before(async () => {
  if (!postgres) server = await startPostgres()
})
after(() => server?.end())

const PG = /** @type {string} */ (Object.keys(POSTGRES)[0])

/**
 * A store with a client that is closed with the test.
 * @param {TestContext} t
 * @param {{ port?: number, user?: string, kind?: string } & Partial<Options>} [how]
 */
async function open(t, { port = server.port, user, kind = PG, ...options } = {}) {
  const make = POSTGRES[kind]
  assert.ok(make, kind)
  const { client, end } = await make(port, user)
  atEnd(t, 'manager', end)
  return postgresStore(client, { account: newAccount(), statePath: null, ...options })
}

/** A proxy before the server. @param {TestContext} t */
async function proxied(t) {
  const proxy = await startProxy(server.port)
  atEnd(t, 'server', () => proxy.end())
  return proxy
}

for (const pooled of [false, true]) {
  const how = pooled ? 'behind pgbouncer in transaction mode' : 'directly'
  describe(`postgresStore, ${how}`, { skip: pooled ? pgbouncer : postgres }, () => {
    /** @type {Awaited<ReturnType<typeof startPgbouncer>> | undefined} */
    let pooler
    before(async () => {
      if (pooled) pooler = await startPgbouncer(server.port)
    })
    after(() => pooler?.end())
    const port = () => pooler?.port ?? server.port

    for (const kind of Object.keys(POSTGRES)) {
      it(`keeps the rules of shared stores ${how}, with ${kind}`, async (t) => {
        const account = newAccount()
        await checkStore(() => open(t, { port: port(), kind, account }))
        const rows = await server.run(`SELECT 1 FROM ring_auth WHERE account = '${account}'`)
        assert.equal(rows.length, 0, 'the check has cleaned up')
      })
    }
  })
}

describe('postgresStore', { skip: postgres }, () => {
  for (const kind of Object.keys(POSTGRES)) {
    it(`keeps the first value, the next, and not that of a host that was slower, with ${kind}`, async (t) => {
      const account = newAccount()
      const [one, other] = [await open(t, { kind, account }), await open(t, { kind, account })]
      assert.equal(await one.load(), null)
      const first = newValue(' 🔑')
      const version = await win(one, first, null)
      assert.deepEqual(await other.load(), { value: first, version })
      assert.equal(await other.commit(newValue(), null), null)
      const second = newValue()
      const next = await win(other, second, version)
      assert.equal(await one.commit(newValue(), version), null)
      assert.deepEqual(await one.load(), { value: second, version: next })
      assert.match(next, /^\d{1,19}$/)
      assert.notEqual(BigInt(next) - BigInt(version), 1n, 'it does not count')
    })

    it(`rejects if the answer is lost, with ${kind}`, async (t) => {
      const proxy = await proxied(t)
      const account = newAccount()
      const direct = await open(t, { account })
      const store = await open(t, { port: proxy.port, kind, account })
      const version = await win(store, newValue(), null)
      const value = newValue()
      proxy.fault.cutAfter = (data) => data.includes(value.slice(0, 40))
      await assert.rejects(store.commit(value, version))
      assert.equal(proxy.counts.cut, 1)
      const found = await direct.load()
      assert.equal(found?.value, value, 'it was kept')
      // A client of one connection is lost with it.
      if (kind === 'pg, a client') return
      const again = await eventually(() => store.load())
      assert.deepEqual(again, found)
      assert.ok(await store.commit(newValue(), String(found?.version)))
    })

    it(`rejects while the server is away, and goes on after its restart, with ${kind}`, async (t) => {
      const own = await startPostgres()
      atEnd(t, 'server', () => own.end())
      const store = await open(t, { port: own.port, kind })
      const value = newValue()
      const version = await win(store, value, null)
      await own.kill()
      await assert.rejects(store.load())
      await assert.rejects(store.commit(newValue(), version))
      await own.again()
      if (kind === 'pg, a client') return
      assert.deepEqual(await eventually(() => store.load()), { value, version })
    })
  }

  it('loses nothing that it has acknowledged when the server is killed', async (t) => {
    const own = await startPostgres()
    atEnd(t, 'server', () => own.end())
    await own.run('CREATE TABLE lost (n int)')
    await own.run('CREATE ROLE hasty LOGIN SUPERUSER')
    await own.run("ALTER ROLE hasty SET synchronous_commit = 'off'")
    // With that setting, this process writes a commit, and nobody waits for it.
    const [writer] = await own.run("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    process.kill(writer?.pid, 'SIGSTOP')
    const account = newAccount()
    const store = await open(t, { port: own.port, user: 'hasty', account })
    let [value, version] = [newValue(), /** @type {string | null} */ (null)]
    for (let i = 0; i < 5; i++) {
      value = newValue()
      version = await win(store, value, version)
    }
    const { client, end } = await /** @type {any} */ (POSTGRES[PG])(own.port, 'hasty')
    atEnd(t, 'manager', end)
    await client.query('INSERT INTO lost VALUES (1)')
    await own.kill()
    await own.again()
    const after = await open(t, { port: own.port, account })
    assert.deepEqual(await after.load(), { value, version })
    assert.deepEqual(await own.run('SELECT * FROM lost'), [], 'another statement of this role is lost')
  })

  it('recognises its own version if a client sends a commit again', async (t) => {
    const { client, end } = await /** @type {any} */ (POSTGRES[PG])(server.port)
    atEnd(t, 'manager', end)
    const again = {
      query: async (/** @type {string} */ text, /** @type {string[]} */ values) => {
        if (text.startsWith('UPDATE')) await client.query(text, values)
        return client.query(text, values)
      },
    }
    const store = postgresStore(again, { account: newAccount(), statePath: null })
    const value = newValue()
    const version = await win(store, value, await win(store, newValue(), null))
    assert.deepEqual(await store.load(), { value, version })
  })

  it('leaves the setting of the role alone, and one that waits for replicas', async (t) => {
    const { client, end } = await /** @type {any} */ (POSTGRES['pg, a client'])(server.port)
    atEnd(t, 'manager', end)
    const store = postgresStore(client, { account: newAccount(), statePath: null })
    for (const setting of ['off', 'local', 'remote_write']) {
      await client.query(`SET synchronous_commit = '${setting}'`)
      assert.ok(await store.commit(newValue(), null).then((version) => store.commit(newValue(), version)))
      const { rows } = await client.query('SHOW synchronous_commit')
      assert.equal(rows[0].synchronous_commit, setting)
      await client.query('DELETE FROM ring_auth')
    }
  })

  it('has one table, whoever of several hosts makes it', async (t) => {
    const own = await startPostgres()
    atEnd(t, 'server', () => own.end())
    const stores = await Promise.all(Array.from({ length: 8 }, () => open(t, { port: own.port })))
    for (const store of stores) assert.equal(await store.load(), null)
    assert.deepEqual(await own.run("SELECT to_regclass('ring_auth') AS table"), [{ table: null }], 'a load makes none')
    const versions = await Promise.all(stores.map((store) => store.commit(newValue(), null)))
    assert.equal(new Set(versions).size, 8)
    assert.ok(!versions.includes(null))
  })

  for (const [code, words] of /** @type {const} */ ([
    ['23505', 'duplicate key value violates unique constraint "pg_type_typname_nsp_index"'],
    ['42P07', 'relation "ring_auth" already exists'],
    ['42710', 'type "ring_auth" already exists'],
  ])) {
    it(`takes ${code} while it makes the table for the work of another host`, async () => {
      const { client, said } = scripted([{ code: '42P01' }, { code, message: words }, [{ version: '5' }]])
      const store = postgresStore(client, { statePath: null })
      assert.equal(await store.commit('value', null), '5')
      assert.match(said[1] ?? '', /^CREATE TABLE IF NOT EXISTS "ring_auth"/)
    })
  }

  it('takes 40001 for a lost race', async () => {
    for (const answers of [[{ code: '40001' }], [{ code: '42P01' }, [], { code: '40001' }]]) {
      const { client } = scripted(answers)
      assert.equal(await postgresStore(client, { statePath: null }).commit('value', null), null)
    }
  })

  it('takes a serialization failure of the server for a lost race', async (t) => {
    await server.run('CREATE ROLE strict LOGIN SUPERUSER').catch(() => {})
    await server.run("ALTER ROLE strict SET default_transaction_isolation = 'serializable'")
    const account = newAccount()
    const stores = await Promise.all(Array.from({ length: 4 }, () => open(t, { user: 'strict', account })))
    let version = await win(/** @type {any} */ (stores[0]), newValue(), null)
    for (let round = 0; round < 20; round++) {
      const outcomes = await Promise.all(stores.map((store) => store.commit(newValue(), version)))
      const [winner, ...more] = outcomes.filter((next) => next !== null)
      assert.ok(winner)
      assert.deepEqual(more, [])
      version = winner
    }
  })

  it('finds no value and makes no table for a version that it was given, if there is none', async () => {
    const { client, said } = scripted([{ code: '42P01' }])
    assert.equal(await postgresStore(client, { statePath: null }).commit('value', '5'), null)
    assert.equal(said.length, 1)
  })

  it('passes on every other failure', async () => {
    const store = (/** @type {any[]} */ ...answers) => postgresStore(scripted(answers).client, { statePath: null })
    const failure = { code: '57P01', message: 'terminating connection due to administrator command' }
    await assert.rejects(store(failure).load(), failure)
    await assert.rejects(store(failure).commit('value', null), failure)
    await assert.rejects(store({ code: '42P01' }, failure).commit('value', null), failure)
    await assert.rejects(store({ code: '42P01' }, [], failure).commit('value', null), failure)
    await assert.rejects(
      store([{ version: 5, value: 'x' }]).load(),
      /PostgreSQL gave a number as the version, not text/,
    )
    await assert.rejects(store([]).load(), /answered a query for one row with none/)
    await assert.rejects(store(undefined).load(), /gave no rows/)
  })

  it('says what a role needs that may not create the table, and needs no more than three rights', async (t) => {
    const name = 'modest'
    await server.run(`CREATE ROLE ${name} LOGIN`)
    // The statement that turns it on needs no right of its own.
    await server.run(`ALTER ROLE ${name} SET synchronous_commit = 'off'`)
    await server.run('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
    const table = `t_${Date.now()}`
    const store = await open(t, { user: name, table })
    assert.equal(await store.load(), null)
    const words = await store.commit(newValue(), null).catch((error) => error.message)
    const [, sql] = /The table "t_\d+" does not exist, and this role may not create it\. Run: (.*)$/.exec(words) ?? []
    assert.ok(sql, words)
    await server.run(sql)
    await assert.rejects(store.load(), { code: '42501' })
    await server.run(`GRANT SELECT, INSERT, UPDATE ON ${table} TO ${name}`)
    const version = await win(store, newValue(), null)
    const value = newValue()
    const next = await win(store, value, version)
    assert.deepEqual(await store.load(), { value, version: next })
    assert.deepEqual(await store.warnings?.(), [])
  })

  it('quotes each name of a table, and knows a schema', async (t) => {
    await server.run('CREATE SCHEMA "Odd schema"')
    for (const table of ['Ring-Auth "2"', 'Odd schema.order', 'select', 'ä漢', "x'; DROP TABLE ring_auth; --"]) {
      const store = await open(t, { table })
      const version = await win(store, newValue(), null)
      assert.equal((await store.load())?.version, version, table)
    }
    const names = await server.run(
      "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(Ring|order|select|ä|x)'",
    )
    assert.deepEqual(
      names.map(({ relname }) => relname).toSorted(),
      ['Ring-Auth "2"', 'order', 'select', "x'; DROP TABLE ring_auth; --", 'ä漢'].toSorted(),
    )
  })

  it('keeps accounts apart', async (t) => {
    const [one, other] = [await open(t, { account: 'a' }), await open(t, { account: 'a ' })]
    const version = await win(one, newValue(), null)
    assert.equal(await other.load(), null)
    assert.equal(await other.commit(newValue(), version), null)
  })

  it('refuses a replica, goes on when that is promoted, and may find the last commits forgotten', async (t) => {
    const primary = await startPostgres()
    atEnd(t, 'server', () => primary.end())
    const account = newAccount()
    const first = await win(await open(t, { port: primary.port, account }), newValue('first'), null)
    await primary.stop()
    const standby = await startPostgres({ standbyOf: primary })
    atEnd(t, 'server', () => standby.end())
    await primary.again()
    const store = await open(t, { port: standby.port, account })
    for (const kind of Object.keys(POSTGRES)) {
      await assert.rejects(
        (await open(t, { port: standby.port, kind, account })).load(),
        /leads to a replica of PostgreSQL/,
      )
    }
    await assert.rejects(
      (await open(t, { port: standby.port, table: 'none' })).load(),
      /leads to a replica of PostgreSQL/,
    )
    await assert.rejects(store.commit(newValue(), first), { code: '25006' })
    await eventually(async () => {
      const [row] = await standby.run(`SELECT version::text FROM ring_auth WHERE account = '${account}'`)
      assert.equal(row?.version, first)
    })
    // The last commit of the primary does not reach the standby.
    await standby.run('SELECT pg_wal_replay_pause()')
    const direct = await open(t, { port: primary.port, account })
    await standby.kill()
    const last = await win(direct, newValue('last'), first)
    await primary.kill()
    await standby.again()
    await standby.promote()
    const found = await eventually(async () => store.load())
    assert.equal(found?.version, first)
    assert.equal(
      await store.commit(newValue(), last),
      null,
      'the version that was forgotten is not taken for another one',
    )
    assert.ok(await store.commit(newValue(), first))
  })

  it('warns of a server that does not sync', async (t) => {
    const own = await startPostgres({ settings: { fsync: 'off' } })
    atEnd(t, 'server', () => own.end())
    assert.match(String(await (await open(t, { port: own.port })).warnings?.()), /fsync = off/)
    assert.deepEqual(await (await open(t)).warnings?.(), [])
  })
})

/**
 * A client that answers with these, one for each statement: rows, or an error.
 * @param {any[]} answers
 */
function scripted(answers) {
  /** @type {string[]} */
  const said = []
  const query = async (/** @type {string} */ text) => {
    const answer = answers[said.length]
    said.push(text)
    if (answer !== undefined && !Array.isArray(answer)) throw Object.assign(new Error(answer.message ?? ''), answer)
    return { rows: answer }
  }
  return { client: { query }, said }
}
