// @ts-check
// The engines of the shared stores: how a run starts, restarts and fails them over, and the clients of the hosts.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { POSTGRES, REDIS } from '../../__test__/stores/clients.mjs'
import { startEtcd } from '../../__test__/stores/servers/etcd.mjs'
import { startPgbouncer, startPostgres } from '../../__test__/stores/servers/postgres.mjs'
import { startRedis } from '../../__test__/stores/servers/redis.mjs'
import { eventually } from '../../__test__/stores/support.mjs'
import { fenced } from '../../__test__/support/pages.mjs'
import { postgresStore, redisStore } from '../../lib/stores/index.js'
import { advisoryLock, redisLock } from './keepers.mjs'

/** @typedef {import('./keepers.mjs').LockedDatabase} LockedDatabase */
/** @typedef {'postgres' | 'pgbouncer' | 'redis' | 'valkey' | 'etcd'} EngineName */

/** @type {EngineName[]} */
export const ENGINES = ['postgres', 'pgbouncer', 'redis', 'valkey', 'etcd']
/** The clients of each engine. The first one is the default. @type {Record<EngineName, string[]>} */
export const CLIENTS = {
  postgres: Object.keys(POSTGRES),
  pgbouncer: Object.keys(POSTGRES),
  redis: Object.keys(REDIS),
  valkey: Object.keys(REDIS),
  etcd: ['fetch'],
}
const TOKENS = 'CREATE TABLE locked (account text PRIMARY KEY, tokens text)'

/**
 * An engine that runs.
 * @typedef {object} Engine
 * @property {number} port
 * @property {RegExp} commits matches the bytes of a commit on the wire, and not those of a load
 * @property {() => Promise<void>} restart kills the server and starts it again
 * @property {(() => Promise<void>) | undefined} detach makes the replica miss all further writes
 * @property {(() => Promise<number>) | undefined} promote ends the primary, promotes the replica, and returns its port
 * @property {(account: string, tokens: import('./keepers.mjs').Tokens) => Promise<unknown>} seed stores the first tokens, for lock-and-write
 * @property {() => Promise<void>} end
 */

/**
 * @param {EngineName} name
 * @param {{ hasReplica?: boolean }} [how]
 * @returns {Promise<Engine>}
 */
export async function startEngine(name, { hasReplica = false } = {}) {
  if (name === 'postgres' || name === 'pgbouncer') return postgres(name, hasReplica)
  if (name === 'etcd') return etcd()
  return redis(name, hasReplica)
}

/** @param {EngineName} name @param {boolean} hasReplica @returns {Promise<Engine>} */
async function postgres(name, hasReplica) {
  const primary = await startPostgres()
  await primary.run(TOKENS)
  /** @type {import('../../__test__/stores/servers/postgres.mjs').Postgres | undefined} */
  let standby
  if (hasReplica) {
    await primary.stop()
    standby = await startPostgres({ standbyOf: primary })
    await primary.again()
  }
  const pooler = name === 'pgbouncer' ? await startPgbouncer(primary.port) : undefined
  let isDetached = false
  return {
    port: pooler?.port ?? primary.port,
    commits: /UPDATE|INSERT/,
    restart: async () => {
      await primary.kill()
      await primary.again()
    },
    detach: standby && (async () => void (await standby.kill(), (isDetached = true))),
    promote:
      standby &&
      (async () => {
        if (!isDetached) await caughtUp(primary, standby)
        await primary.kill()
        if (isDetached) await standby.again()
        await standby.promote()
        await eventually(async () => {
          const [row] = await standby.run('SELECT pg_is_in_recovery() AS waits')
          if (row?.waits !== false) throw new Error('not yet')
        })
        return standby.port
      }),
    seed: (account, tokens) => primary.run(`INSERT INTO locked VALUES ('${account}', '${JSON.stringify(tokens)}')`),
    end: async () => {
      await pooler?.end()
      await standby?.end()
      await primary.end()
    },
  }
}

/**
 * @param {import('../../__test__/stores/servers/postgres.mjs').Postgres} primary
 * @param {import('../../__test__/stores/servers/postgres.mjs').Postgres} standby
 */
async function caughtUp(primary, standby) {
  const [row] = await primary.run('SELECT pg_current_wal_lsn() AS at')
  await eventually(async () => {
    const [found] = await standby.run(`SELECT pg_last_wal_replay_lsn() >= '${row?.at}' AS there`)
    if (found?.there !== true) throw new Error('not yet')
  })
}

/** @param {'redis' | 'valkey'} name @param {boolean} hasReplica @returns {Promise<Engine>} */
async function redis(name, hasReplica) {
  const settings = { appendonly: 'yes', appendfsync: name === 'redis' ? 'always' : 'everysec' }
  const primary = await startRedis(name, settings)
  const replica = hasReplica ? await startRedis(name, settings) : undefined
  await replica?.run('replicaof', '127.0.0.1', String(primary.port))
  const offset = async (/** @type {typeof primary} */ of, /** @type {string} */ which) =>
    Number(new RegExp(`^${which}:(\\d+)`, 'm').exec(String(await of.run('info', 'replication')))?.[1])
  let isDetached = false
  return {
    port: primary.port,
    commits: /HSET|set\r/,
    restart: async () => {
      await primary.kill()
      await primary.again()
    },
    detach: replica && (async () => void (await replica.run('replicaof', 'no', 'one'), (isDetached = true))),
    promote:
      replica &&
      (async () => {
        const there = await offset(primary, 'master_repl_offset')
        if (!isDetached) {
          await eventually(async () => {
            if ((await offset(replica, 'slave_repl_offset')) < there) throw new Error('not yet')
          })
        }
        await primary.kill()
        await replica.run('replicaof', 'no', 'one')
        return replica.port
      }),
    seed: (account, tokens) => primary.run('set', `tokens:${account}`, JSON.stringify(tokens)),
    end: async () => {
      await replica?.end()
      await primary.end()
    },
  }
}

/** @returns {Promise<Engine>} */
async function etcd() {
  const server = await startEtcd()
  return {
    port: Number(new URL(server.url).port),
    commits: /requestPut/,
    restart: async () => {
      await server.kill()
      await server.again()
    },
    detach: undefined,
    promote: undefined,
    seed: () => Promise.reject(new Error('lock-and-write is for PostgreSQL and Redis')),
    end: () => server.end(),
  }
}

/**
 * Connects a client for a host.
 * @param {EngineName} name
 * @param {string} kind one of `CLIENTS`
 * @param {number} port
 * @param {string} folder the folder of the host
 * @returns {Promise<{ store: (account: string) => any, locked: (account: string, lockMs: number) => LockedDatabase, end: () => unknown }>}
 */
export async function connect(name, kind, port, folder) {
  const options = (/** @type {string} */ account) => ({ account, statePath: join(folder, 'state') })
  if (name === 'etcd') {
    const [recipe] = fenced('docs/hosts.md').filter(({ text }) => text.includes('etcdStore'))
    const path = join(folder, 'etcd-store.mjs')
    writeFileSync(path, String(recipe?.text))
    const { etcdStore } = await import(pathToFileURL(path).href)
    return {
      store: (account) => etcdStore({ url: `http://127.0.0.1:${port}`, ...options(account) }),
      locked: () => {
        throw new Error('lock-and-write is for PostgreSQL and Redis')
      },
      end: () => {},
    }
  }
  if (name === 'postgres' || name === 'pgbouncer') {
    const { client, end } = await required(POSTGRES[kind], kind)(port)
    return {
      store: (account) => postgresStore(client, options(account)),
      locked: (account) => advisoryLock(client, account),
      end,
    }
  }
  const { client, end } = await required(REDIS[kind], kind)(port)
  const send = (/** @type {string[]} */ ...args) => (client.call ? client.call(...args) : client.sendCommand(args))
  return {
    store: (account) => redisStore(client, { ...options(account), durable: name === 'redis' ? 'always' : 'waitaof' }),
    locked: (account, lockMs) => redisLock(send, account, lockMs),
    end,
  }
}

/**
 * @template T
 * @param {T | undefined} value
 * @param {string} kind
 */
function required(value, kind) {
  if (value === undefined) throw new Error(`there is no client ${kind}`)
  return value
}
