// @ts-check
// How ring-auth/stores is loaded, and what it says of options and clients that cannot be meant. It needs no server.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { failure, runProcess } from '../support/index.mjs'
import { postgresStore, redisStore } from '../../lib/stores/index.js'

/** Clients that are recognised, and never called. */
const never = async () => assert.fail('the client was called')
const pool = { query: never }
const redis = { call: never }

/** @type {any} */
const [postgres, redisOf] = [postgresStore, redisStore]

/** @param {() => unknown} call @param {RegExp} message */
async function refuses(call, message) {
  const error = await failure(call, 'INVALID_ARGUMENT')
  assert.match(error.message, message)
}

describe('ring-auth/stores', () => {
  it('is loaded by itself alone, as CommonJS and as an ES module', async (t) => {
    const names = (/** @type {string} */ names) => `console.log(${names}.map((one) => typeof one).join())`
    const loaded = 'console.log(Object.keys(require.cache).filter((name) => /lib.stores/.test(name)).length)'
    for (const [kind, source, expected] of /** @type {const} */ ([
      ['commonjs', `require('ring-auth'); ${loaded}`, '0'],
      [
        'commonjs',
        `require('ring-auth/stores'); console.log(Object.keys(require.cache).filter((name) => /\\.node$/.test(name)).length)`,
        '0',
      ],
      [
        'commonjs',
        `const { postgresStore, redisStore } = require('ring-auth/stores'); ${names('[postgresStore, redisStore]')}`,
        'function,function',
      ],
      ['commonjs', `const { checkStore } = require('ring-auth/stores/check'); ${names('[checkStore]')}`, 'function'],
      [
        'module',
        `import { postgresStore, redisStore } from 'ring-auth/stores'; ${names('[postgresStore, redisStore]')}`,
        'function,function',
      ],
      ['module', `import { checkStore } from 'ring-auth/stores/check'; ${names('[checkStore]')}`, 'function'],
    ])) {
      const { stdout, stderr } = await runProcess(t, [`--input-type=${kind}`, '-e', source], {}).ended
      assert.equal(stdout.trim(), expected, `${source}: ${stderr}`)
    }
  })

  it('gives stores as the manager takes them', () => {
    const key = new Uint8Array(32)
    const one = postgresStore(pool, { account: 'home', statePath: '/state', key, table: 'a.b' })
    assert.deepEqual(Object.keys(one).toSorted(), ['account', 'commit', 'key', 'load', 'name', 'statePath', 'warnings'])
    assert.deepEqual(
      [one.name, one.account, one.statePath, one.key],
      ['PostgreSQL, table "a"."b"', 'home', '/state', key],
    )
    const other = redisStore(redis, { statePath: null })
    assert.deepEqual(Object.keys(other).toSorted(), ['account', 'commit', 'load', 'name', 'statePath', 'warnings'])
    assert.deepEqual([other.name, other.account, other.statePath], ['Redis, key ring-auth:default', 'default', null])
  })

  it('needs a statePath, or null in words', async () => {
    for (const make of [() => postgres(pool), () => postgres(pool, {}), () => redisOf(redis, { account: 'a' })]) {
      await refuses(
        make,
        /^options\.statePath is missing: give a folder on this host's own disk, or null if it has none$/,
      )
    }
    await refuses(() => postgres(pool, { statePath: '' }), /^options\.statePath must not be empty$/)
    await refuses(() => postgres(pool, { statePath: 7 }), /^options\.statePath must be a string, got a number$/)
    await refuses(() => postgres(pool, { statePath: 'a\0b' }), /^options\.statePath must not contain a null character$/)
  })

  it('names an option that it does not know, and the one that was probably meant', async () => {
    /** @type {[() => unknown, RegExp][]} */
    const cases = [
      [
        () => postgres(pool, { statePath: null, tabel: 'x' }),
        /^options\.tabel is not an option; did you mean table\?$/,
      ],
      [() => postgres(pool, { statePaht: null }), /^options\.statePaht is not an option; did you mean statePath\?$/],
      [
        () => postgres(pool, { statePath: null, prefix: 'x' }),
        /^options\.prefix is not an option; known are account, statePath, key, mirror, table$/,
      ],
      [
        () => redisOf(redis, { statePath: null, replica: 1 }),
        /^options\.replica is not an option; did you mean replicas\?$/,
      ],
      [
        () => redisOf(redis, { statePath: null, ttl: 1 }),
        /^options\.ttl is not an option; known are account, statePath, key, mirror, prefix, durable, replicas$/,
      ],
      [() => postgres(pool, null), /^options must be an object, got null$/],
      [() => redisOf(redis, []), /^options must be an object, got an array$/],
    ]
    for (const [make, message] of cases) await refuses(make, message)
  })

  it('takes no option from Object.prototype', async (t) => {
    Object.assign(Object.prototype, { statePath: '/elsewhere', table: 'other' })
    t.after(() => {
      for (const name of ['statePath', 'table']) delete (/** @type {any} */ (Object.prototype)[name])
    })
    await refuses(() => postgres(pool, {}), /^options\.statePath is missing/)
    assert.equal(postgres(pool, { statePath: null }).name, 'PostgreSQL, table "ring_auth"')
  })

  it('takes only names of accounts that stay different in the engine', async () => {
    for (const [account, message] of /** @type {const} */ ([
      ['', /^options\.account must not be empty$/],
      [7, /^options\.account must be a string, got a number$/],
      ['a\0', /^options\.account must not contain a null character$/],
      ['\ud83d', /^options\.account must be well-formed Unicode$/],
      ['ä'.repeat(257), /^options\.account is longer than 512 bytes$/],
    ])) {
      await refuses(() => postgres(pool, { statePath: null, account }), message)
      await refuses(() => redisOf(redis, { statePath: null, account }), message)
    }
    assert.ok(postgres(pool, { statePath: null, account: '🔑'.repeat(128) }))
  })

  it('takes only names of tables that PostgreSQL does not cut', async () => {
    for (const [table, message] of /** @type {const} */ ([
      ['a.b.c', /^options\.table must be "table" or "schema\.table", and has 3 parts$/],
      ['.a', /^options\.table must be "table" or "schema\.table", and one of them is empty$/],
      ['a.', /^options\.table must be "table" or "schema\.table", and one of them is empty$/],
      ['', /^options\.table must not be empty$/],
      ['a'.repeat(64), /^options\.table has a name of more than 63 bytes, which PostgreSQL would cut$/],
      [null, /^options\.table must be a string, got null$/],
    ])) {
      await refuses(() => postgres(pool, { statePath: null, table }), message)
    }
    assert.equal(
      postgres(pool, { statePath: null, table: `${'a'.repeat(63)}.b"` }).name,
      `PostgreSQL, table "${'a'.repeat(63)}"."b"""`,
    )
  })

  it('takes only ways to be durable that there are', async () => {
    for (const [options, message] of /** @type {const} */ ([
      [{ durable: 'fsync' }, /^options\.durable must be "waitaof", "always" or "server"$/],
      [{ durable: true }, /^options\.durable must be "waitaof", "always" or "server", got a boolean$/],
      [{ replicas: '1' }, /^options\.replicas must be a number, got a string$/],
      [{ replicas: -1 }, /^options\.replicas must be a whole number from 0 to 100$/],
      [{ replicas: 0.5 }, /^options\.replicas must be a whole number from 0 to 100$/],
      [{ replicas: NaN }, /^options\.replicas must be a whole number from 0 to 100$/],
      [
        { replicas: 1, durable: 'always' },
        /^options\.replicas needs durable: "waitaof": nothing asks the replicas with "always"$/,
      ],
      [{ prefix: '' }, /^options\.prefix must not be empty$/],
    ])) {
      await refuses(() => redisOf(redis, { statePath: null, ...options }), message)
    }
  })

  it('says which clients it knows', async () => {
    const sql = Object.assign(() => {}, { unsafe() {} })
    /** @type {[any, RegExp][]} */
    const clients = [
      [undefined, /^The client of PostgreSQL must have a method query\(text, values\), got undefined$/],
      ['postgres://localhost', /^The client of PostgreSQL must have a method query\(text, values\), got a string$/],
      [{ query: 1 }, /^The client of PostgreSQL must have a method query\(text, values\), got something without one$/],
      [
        sql,
        /; for the package postgres it is \{ query: async \(text, values\) => \(\{ rows: await sql\.unsafe\(text, values\) \}\) \}$/,
      ],
    ]
    for (const [client, message] of clients) await refuses(() => postgres(client, { statePath: null }), message)
    const known =
      'The client of Redis must be a client of ioredis, a client of the package redis, or a function \\(...args\\) => reply'
    await refuses(() => redisOf(null, { statePath: null }), new RegExp(`^${known}, got null$`))
    await refuses(() => redisOf('redis://', { statePath: null }), new RegExp(`^${known}, got a string$`))
    await refuses(
      () => redisOf({}, { statePath: null }),
      new RegExp(`^${known}, got an object without call or sendCommand$`),
    )
  })

  it('says what a client of Redis has answered that cannot be read', async () => {
    const store = (/** @type {unknown} */ reply) =>
      redisStore(async () => reply, { statePath: null, durable: 'server' })
    await assert.rejects(store('x').load(), { message: 'Redis answered with a string, not with a list' })
    await assert.rejects(store([{}, 'x']).load(), { message: 'Redis answered with an object, not with text' })
    await assert.rejects(store(['x', null]).load(), /is not a record of ring-auth$/)
    await assert.rejects(store([]).commit('x', null), { message: 'Redis answered with an array, not with text' })
    const always = redisStore(async () => 'x', { statePath: null, durable: 'always' })
    await assert.rejects(always.commit('x', null), {
      message: 'Redis answered with a string, not with names and values',
    })
  })
})
