// @ts-check
// redisStore on Redis 7.0 and on Valkey, with each client and each way to be durable.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { Cluster } from 'ioredis'
import { createClientPool, createCluster } from 'redis'
import { atEnd, freePort, until } from '../support/index.mjs'
import { checkStore } from '../../lib/stores/check/index.js'
import { redisStore } from '../../lib/stores/index.js'
import { REDIS } from './clients.mjs'
import { startProxy } from './servers/proxy.mjs'
import { startRedis } from './servers/redis.mjs'
import { eventually, newAccount, newValue, redis, valkey, win } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../../lib/stores/index.js').RedisStoreOptions} Options */
/** @typedef {import('./servers/redis.mjs').Redis} Server */

const IOREDIS = /** @type {string} */ (Object.keys(REDIS)[0])
const ALWAYS = { appendonly: 'yes', appendfsync: 'always' }
const EVERY_SECOND = { appendonly: 'yes', appendfsync: 'everysec' }

/** The servers that most tests share, each with the way to be durable that it is for. */
const ENGINES = [
  {
    what: 'Redis 7.0',
    kind: /** @type {const} */ ('redis'),
    skip: redis,
    settings: ALWAYS,
    durable: /** @type {const} */ ('always'),
  },
  {
    what: 'Valkey',
    kind: /** @type {const} */ ('valkey'),
    skip: valkey,
    settings: EVERY_SECOND,
    durable: /** @type {const} */ ('waitaof'),
  },
]

/**
 * A store with a client that is closed with the test.
 * @param {TestContext} t
 * @param {{ port: number, kind?: string } & Partial<Options>} how
 */
async function open(t, { port, kind = IOREDIS, ...options }) {
  const make = REDIS[kind]
  assert.ok(make, kind)
  const { client, end } = await make(port)
  atEnd(t, 'manager', end)
  return redisStore(client, { account: newAccount(), statePath: null, ...options })
}

/** @param {TestContext} t @param {'redis' | 'valkey'} kind @param {Record<string, string>} [settings] */
async function started(t, kind, settings) {
  const server = await startRedis(kind, settings)
  atEnd(t, 'server', () => server.end())
  return server
}

/** @param {TestContext} t @param {number} port */
async function proxied(t, port) {
  const proxy = await startProxy(port)
  atEnd(t, 'server', () => proxy.end())
  return proxy
}

for (const { what, kind: engine, skip, settings, durable } of ENGINES) {
  describe(`redisStore on ${what}`, { skip }, () => {
    /** @type {Server} */
    let server
    before(async () => void (server = await startRedis(engine, settings)))
    after(() => server?.end())

    for (const kind of Object.keys(REDIS)) {
      it(`keeps the rules of shared stores on ${what}, with ${kind}`, async (t) => {
        const account = newAccount()
        // The clients of the hosts share a process, and each WAITAOF may take a second.
        const { client, end } = await /** @type {any} */ (REDIS[kind])(server.port)
        atEnd(t, 'manager', end)
        await checkStore(() => redisStore(client, { account, statePath: null, durable: 'server' }))
        assert.equal(await server.run('exists', `ring-auth:${account}`), 0, 'the check has cleaned up')
      })

      it(`keeps the first value, the next, and not that of a host that was slower, on ${what} with ${kind}`, async (t) => {
        const account = newAccount()
        const one = await open(t, { port: server.port, kind, account, durable })
        const other = await open(t, { port: server.port, kind, account, durable })
        assert.equal(await one.load(), null)
        const first = newValue(' 🔑')
        const version = await win(one, first, null)
        assert.deepEqual(await other.load(), { value: first, version })
        assert.equal(await other.commit(newValue(), null), null)
        const second = newValue()
        const next = await win(other, second, version)
        assert.equal(await one.commit(newValue(), version), null)
        assert.deepEqual(await one.load(), { value: second, version: next })
        assert.equal(await server.run('ttl', `ring-auth:${account}`), -1)
        for (const random of [version, next]) assert.match(random, /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/)
      })

      it(`recognises its own version if the client sends the commit again, on ${what} with ${kind}`, async (t) => {
        const proxy = await proxied(t, server.port)
        const account = newAccount()
        const direct = await open(t, { port: server.port, account, durable: 'server' })
        const store = await open(t, { port: proxy.port, kind, account, durable })
        const version = await win(store, newValue(), null)
        const value = newValue()
        proxy.fault.cutAfter = (data) => data.includes(value.slice(0, 40))
        // ioredis sends an unanswered command again, redis rejects it. With WAITAOF a new connection knows nothing of the old one's writes.
        /** @type {any} */
        const outcome = await store.commit(value, version).catch((error) => error)
        assert.equal(proxy.counts.cut, 1)
        const found = await direct.load()
        assert.equal(found?.value, value, 'it was kept')
        const again = !kind.startsWith('redis')
        if (again && durable === 'always') assert.equal(outcome, found?.version)
        else assert.match(String(outcome), /Error/)
        if (again && durable === 'waitaof')
          assert.match(outcome.message, /^The connection to Redis changed during the commit/)
        assert.ok(await eventually(() => store.commit(newValue(), String(found?.version))))
      })

      it(`rejects while the answers do not arrive, and goes on later, on ${what} with ${kind}`, async (t) => {
        const proxy = await proxied(t, server.port)
        const account = newAccount()
        const direct = await open(t, { port: server.port, account, durable: 'server' })
        const store = await open(t, { port: proxy.port, kind, account, durable: 'server' })
        const version = await win(store, newValue(), null)
        const value = newValue()
        proxy.fault.swallowAnswers = true
        const outcome = store.commit(value, version).catch((error) => error)
        await eventually(async () => assert.equal((await direct.load())?.value, value))
        proxy.heal()
        proxy.cut()
        const found = await direct.load()
        const next = await outcome
        if (kind.startsWith('redis')) assert.ok(next instanceof Error)
        else assert.equal(next, found?.version)
        assert.deepEqual(await eventually(() => store.load()), found)
      })
    }

    it(`keeps on ${what} what it has acknowledged when the server is killed`, async (t) => {
      const own = await started(t, engine, settings)
      const account = newAccount()
      const store = await open(t, { port: own.port, account, durable })
      let [value, version] = [newValue(), /** @type {string | null} */ (null)]
      for (let i = 0; i < 3; i++) {
        value = newValue()
        version = await win(store, value, version)
      }
      await own.kill()
      await own.again()
      assert.deepEqual(await eventually(() => store.load()), { value, version })
    })

    it(`refuses on ${what} a replica, and goes on when that is promoted`, async (t) => {
      const [primary, replica] = [await started(t, engine, settings), await started(t, engine, settings)]
      await replica.run('replicaof', '127.0.0.1', String(primary.port))
      const account = newAccount()
      const direct = await open(t, { port: primary.port, account, durable })
      const value = newValue()
      const version = await win(direct, value, null)
      await eventually(async () => assert.equal(await replica.run('exists', `ring-auth:${account}`), 1))
      for (const kind of Object.keys(REDIS)) {
        for (const writable of ['no', 'yes']) {
          await replica.run('config', 'set', 'replica-read-only', writable)
          const store = await open(t, { port: replica.port, kind, account, durable: 'server' })
          const refused = /^This client leads to a replica of Redis: connect to the primary$/
          await assert.rejects(store.load(), { message: refused })
          await assert.rejects(store.commit(newValue(), version), { message: refused })
        }
      }
      // The replica is cut off before the last commit: a failover forgets that one.
      await replica.run('config', 'set', 'repl-timeout', '1')
      await replica.run('replicaof', 'no', 'one')
      const last = await win(direct, newValue('last'), version)
      await primary.kill()
      const store = await open(t, { port: replica.port, account, durable })
      assert.deepEqual(await store.load(), { value, version })
      assert.equal(
        await store.commit(newValue(), last),
        null,
        'the version that was forgotten is not taken for another one',
      )
      assert.ok(await store.commit(newValue(), version))
    })

    it(`refuses on ${what} a replica by a write, if the user may not ask for its role`, async (t) => {
      const [primary, replica] = [await started(t, engine, settings), await started(t, engine, settings)]
      for (const one of [primary, replica]) await one.run('acl', 'setuser', 'default', '-info')
      await replica.run('replicaof', '127.0.0.1', String(primary.port))
      await eventually(async () => assert.equal(/** @type {any} */ (await replica.run('role'))[3], 'connected'))
      const store = await open(t, { port: replica.port, durable: 'server' })
      await assert.rejects(store.load(), /leads to a replica of Redis/)
      const direct = await open(t, { port: primary.port, durable })
      assert.ok(await direct.commit(newValue(), null), 'the primary works without that right')
      assert.ok(await direct.load())
    })

    it(`keeps accounts and prefixes on ${what} apart`, async (t) => {
      const { port } = server
      const stores = [
        await open(t, { port, account: 'a', durable: 'server' }),
        await open(t, { port, account: '{a}', durable: 'server' }),
        await open(t, { port, account: 'a', prefix: 'other:', durable: 'server' }),
      ]
      for (const store of stores) {
        assert.equal(await store.load(), null)
        await win(store, newValue(), null)
      }
      const names = /** @type {string[]} */ (await server.run('keys', '*')).filter((key) => /:{?a}?$/.test(key))
      assert.deepEqual(names.toSorted(), ['other:a', 'ring-auth:a', 'ring-auth:{a}'])
    })

    it(`leaves a key of another program on ${what} as it is`, async (t) => {
      const { port } = server
      await server.run('set', 'ring-auth:text', 'x')
      await server.run('hset', 'ring-auth:hash', 'field', 'x')
      const text = await open(t, { port, account: 'text', durable: 'server' })
      await assert.rejects(text.load(), /WRONGTYPE/)
      await assert.rejects(text.commit(newValue(), null), /WRONGTYPE/)
      const hash = await open(t, { port, account: 'hash', durable: 'server' })
      assert.equal(await hash.load(), null)
      assert.equal(await hash.commit(newValue(), null), null)
      assert.deepEqual(await server.run('hvals', 'ring-auth:hash'), ['x'])
      await server.run('hset', 'ring-auth:hash', 'value', 'x')
      await assert.rejects(hash.load(), /The key ring-auth:hash in Redis is not a record of ring-auth/)
    })

    it(`warns on ${what} of a server that evicts keys`, async (t) => {
      const own = await started(t, engine, settings)
      const store = await open(t, { port: own.port, durable: 'server' })
      const set = (/** @type {string} */ policy, /** @type {string} */ memory) =>
        own.run('config', 'set', 'maxmemory-policy', policy, 'maxmemory', memory)
      for (const [policy, memory, isEvicting] of /** @type {const} */ ([
        ['noeviction', '100mb', false],
        ['volatile-lru', '100mb', false],
        ['allkeys-lru', '0', false],
        ['allkeys-lru', '100mb', true],
        ['allkeys-random', '100mb', true],
      ])) {
        await set(policy, memory)
        const warnings = /** @type {string[]} */ (await store.warnings?.())
        assert.equal(warnings.length, isEvicting ? 1 : 0, `${policy} ${memory}`)
        if (isEvicting) assert.match(String(warnings), new RegExp(`evicts keys \\(maxmemory-policy ${policy}\\)`))
      }
    })
  })
}

describe('redisStore with durable: "always"', { skip: redis }, () => {
  for (const settings of [
    { appendonly: 'no' },
    EVERY_SECOND,
    { appendonly: 'yes', appendfsync: 'no' },
    { appendonly: 'no', appendfsync: 'always' },
  ]) {
    it(`refuses a server with ${JSON.stringify(settings)}, before anything was written`, async (t) => {
      const server = await started(t, 'redis', settings)
      for (const kind of Object.keys(REDIS)) {
        const store = await open(t, { port: server.port, kind, durable: 'always' })
        await assert.rejects(store.commit(newValue(), null), (/** @type {Error} */ error) => {
          assert.match(
            error.message,
            /^Nothing was written: this Redis server has appendonly (yes|no) and appendfsync \w+; durable: "always" needs/,
          )
          return true
        })
        assert.equal(await store.load(), null)
      }
      const trusting = await open(t, { port: server.port, durable: 'server' })
      assert.ok(await trusting.commit(newValue(), null))
    })
  }
})

describe('redisStore with durable: "waitaof"', { skip: redis || valkey }, () => {
  it('refuses a server that has no WAITAOF, before anything was written', async (t) => {
    const server = await started(t, 'redis', ALWAYS)
    for (const kind of Object.keys(REDIS)) {
      const store = await open(t, { port: server.port, kind })
      await assert.rejects(store.commit(newValue(), null), {
        message:
          'Nothing was written: this Redis server has no WAITAOF, which Redis 7.2 and Valkey brought: use durable: "always"',
      })
      assert.equal(await store.load(), null)
    }
  })

  it('refuses a server without appendonly, before anything was written', async (t) => {
    const server = await started(t, 'valkey')
    const store = await open(t, { port: server.port })
    await assert.rejects(
      store.commit(newValue(), null),
      /^Error: Nothing was written: this Redis server runs without appendonly/,
    )
    assert.equal(await store.load(), null)
  })

  it('resolves when the disk has it, and rejects if it has not in time', async (t) => {
    const server = await started(t, 'valkey', EVERY_SECOND)
    const store = await open(t, { port: server.port })
    const version = await win(store, newValue(), null)
    // The server goes on, and its disk does not: the appendfsync that it has now never syncs by itself.
    await server.run('config', 'set', 'appendfsync', 'no')
    const value = newValue()
    await assert.rejects(store.commit(value, version), {
      message: 'Redis did not sync the commit to its disk within 5 s',
    })
    assert.equal((await store.load())?.value, value, 'it may be there, and the caller has to look')
  })

  it('waits for as many replicas as it is told', async (t) => {
    const [primary, replica] = [await started(t, 'valkey', EVERY_SECOND), await started(t, 'valkey', EVERY_SECOND)]
    await replica.run('replicaof', '127.0.0.1', String(primary.port))
    await eventually(async () => assert.equal(/** @type {any} */ (await replica.run('role'))[3], 'connected'))
    const [one, two] = [
      await open(t, { port: primary.port, replicas: 1 }),
      await open(t, { port: primary.port, replicas: 2 }),
    ]
    const value = newValue()
    const version = await win(one, value, null)
    // What the replica has on its disk, it has after a crash.
    await replica.kill()
    await primary.kill()
    await replica.again()
    await replica.run('replicaof', 'no', 'one')
    const keys = /** @type {string[]} */ (await replica.run('keys', '*'))
    assert.equal(await replica.run('hget', String(keys[0]), 'version'), version)
    await primary.again()
    await replica.run('replicaof', '127.0.0.1', String(primary.port))
    await eventually(async () => assert.equal(/** @type {any} */ (await replica.run('role'))[3], 'connected'))
    await eventually(() => two.load())
    await assert.rejects(
      two.commit(newValue(), null),
      /^Error: [01] of 2 replicas of Redis synced the commit within 5 s$/,
    )
  })

  it('rejects if the connection changes during a commit, and by a restart with the same number', async (t) => {
    const server = await started(t, 'valkey', { ...EVERY_SECOND, appendfsync: 'always' })
    const { client, end } = await /** @type {any} */ (REDIS[IOREDIS])(server.port)
    atEnd(t, 'manager', end)
    let isRestarted = false
    const store = redisStore(
      async (...args) => {
        const reply = await client.call(...args)
        // Right after the script: its connection ends, and the next one has the same number on a new run of the server.
        if (args[0] === 'eval' && args.length > 6 && !isRestarted) {
          isRestarted = true
          await server.kill()
          await server.again()
        }
        // The numbers of the connections of this test differ from run to run.
        return args.join(' ') === 'client id' ? 7 : reply
      },
      { account: newAccount(), statePath: null },
    )
    await assert.rejects(store.commit(newValue(), null), /^Error: The connection to Redis changed during the commit/)
    assert.ok(isRestarted)
  })

  it('rejects with a function over a pool of connections', async (t) => {
    const server = await started(t, 'valkey', EVERY_SECOND)
    const clients = await Promise.all([1, 2, 3].map(() => /** @type {any} */ (REDIS[IOREDIS])(server.port)))
    for (const { end } of clients) atEnd(t, 'manager', end)
    let turn = 0
    const pooled = (/** @type {string[]} */ ...args) => clients[turn++ % clients.length].client.call(...args)
    const [lossy, trusting] = /** @type {const} */ (['waitaof', 'server']).map((durable) =>
      redisStore(pooled, { account: newAccount(), statePath: null, durable }),
    )
    await assert.rejects(
      /** @type {any} */ (lossy).commit(newValue(), null),
      /A pool of connections needs durable: "always" or "server"$/,
    )
    assert.ok(await trusting?.commit(newValue(), null))
  })

  it('rejects with the pool of the package redis, or keeps the value durably', async (t) => {
    const server = await started(t, 'valkey', EVERY_SECOND)
    const pool = createClientPool({ socket: { port: server.port, host: '127.0.0.1' } }, { minimum: 3, maximum: 3 })
    pool.on('error', () => {})
    await pool.connect()
    atEnd(t, 'manager', () => pool.destroy())
    const store = redisStore(pool, { account: newAccount(), statePath: null })
    const outcome = await store.commit(newValue(), null).catch((error) => error)
    if (outcome instanceof Error) assert.match(outcome.message, /^The connection to Redis changed during the commit/)
    else assert.equal((await store.load())?.version, outcome)
  })

  for (const library of ['ioredis', 'redis']) {
    it(`works on a cluster, with ${library}`, async (t) => {
      const nodes = []
      for (let i = 0; i < 2; i++) {
        const bus = String(await freePort())
        nodes.push(await started(t, 'valkey', { ...EVERY_SECOND, 'cluster-enabled': 'yes', 'cluster-port': bus }))
      }
      const [first, second] = /** @type {[Server, Server]} */ (nodes)
      await first.run('cluster', 'addslotsrange', '0', '8191')
      await second.run('cluster', 'addslotsrange', '8192', '16383')
      await first.run('cluster', 'meet', '127.0.0.1', String(second.port), String(second.settings['cluster-port']))
      for (const node of nodes) {
        await eventually(async () =>
          assert.match(String(await node.run('cluster', 'info')), /cluster_state:ok[^]*cluster_known_nodes:2/),
        )
      }
      /** @type {any} */
      let client
      if (library === 'ioredis') {
        client = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
        client.on('error', () => {})
        atEnd(t, 'manager', () => client.disconnect())
      } else {
        client = createCluster({ rootNodes: nodes.map(({ port }) => ({ socket: { host: '127.0.0.1', port } })) })
        client.on('error', () => {})
        await client.connect()
        atEnd(t, 'manager', () => client.destroy())
      }
      // Four accounts are on both nodes: their slots are known.
      const slots = []
      for (const account of ['one', 'two', 'three', 'four']) {
        const store = redisStore(client, { account, statePath: null })
        const value = newValue()
        const version = await win(store, value, null)
        assert.deepEqual(await store.load(), { value, version })
        slots.push(Number(await first.run('cluster', 'keyslot', `ring-auth:${account}`)))
      }
      assert.deepEqual(new Set(slots.map((slot) => slot < 8192)), new Set([true, false]))
    })
  }
})

describe('the servers of these tests', { skip: redis }, () => {
  it('end with the process that has started them, however it ends', async (t) => {
    const script = `
      import { startRedis } from ${JSON.stringify(new URL('./servers/redis.mjs', import.meta.url).href)}
      const server = await startRedis('redis')
      console.log(server.pid(), server.folder)
      setInterval(() => {}, 1000)
      process.on('message', () => { throw new Error('a test fails') })
    `
    for (const how of ['SIGINT', 'SIGTERM', 'SIGKILL', 'failure']) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
      })
      atEnd(t, 'server', () => child.kill('SIGKILL'))
      let said = ''
      child.stdout?.setEncoding('utf8').on('data', (data) => (said += data))
      const [, id, folder = ''] = await until(() => /^(\d+) (\S+)\n/.exec(said), 'the server')
      const pid = Number(id)
      if (how === 'failure') child.send('fail')
      else child.kill(/** @type {NodeJS.Signals} */ (how))
      await until(() => !isRunning(pid), `the end of the server after ${how}`)
      if (how === 'SIGKILL') rmSync(folder, { recursive: true, force: true })
      else await until(() => !existsSync(folder), `the end of its folder after ${how}`)
    }
  })
})

/** @param {number} pid */
function isRunning(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
