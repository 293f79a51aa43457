// Shared stores, with the shapes of the clients that they are made for.
import { postgresStore, redisStore, type PostgresClient, type RedisClient, type SharedStore } from 'ring-auth/stores'
import type { RingTokenManagerOptions, SharedStore as MainSharedStore } from 'ring-auth'
import { checkStore, type CheckedStore } from 'ring-auth/stores/check'

interface Row {
  readonly [column: string]: unknown
}

/** As `pg` declares it. */
declare const pool: {
  query<R = Row, I = unknown[]>(text: string, values?: I): Promise<{ rows: R[]; rowCount: number | null }>
}
/** As `postgres` declares it, and the adapter that it needs. */
declare const sql: { unsafe(text: string, values: (string | null)[]): Promise<Row[]> }
/** As `ioredis` and `redis` declare theirs. */
declare const ioredis: { call(command: string, ...args: (string | number)[]): Promise<unknown> }
declare const nodeRedis: { sendCommand<T = unknown>(args: readonly string[], options?: object): Promise<T> }

export const clients: { postgres: PostgresClient[]; redis: RedisClient[] } = {
  postgres: [pool, { query: async (text, values) => ({ rows: await sql.unsafe(text, values) }) }],
  redis: [ioredis, nodeRedis, async (...args: string[]) => args.length],
}

export const stores: SharedStore[] = [
  postgresStore(pool, { statePath: '/var/lib/me' }),
  postgresStore(pool, { statePath: null, account: 'home', table: 'schema.tokens', key: new Uint8Array(32) }),
  redisStore(ioredis, { statePath: null, prefix: 'me:', durable: 'waitaof', replicas: 1 }),
  redisStore(nodeRedis, { statePath: '/var/lib/me', durable: 'always', key: async () => 'aa' }),
]

/** With files that show the token. */
export const mirrored: SharedStore[] = [
  postgresStore(pool, { statePath: null, mirror: { type: 'homebridge', configPath: 'config.json', name: 'Ring' } }),
  { ...redisStore(ioredis, { statePath: null }), mirror: { type: 'dotenv', path: '.env', envKey: 'TOKEN' } },
]

const own = { load: async () => null, commit: async (value: string) => value, statePath: null }
export const options: RingTokenManagerOptions[] = [
  { store: own },
  {
    store: new (class {
      async load() {
        return null
      }
      async commit(value: string) {
        return value
      }
      statePath = null
    })(),
  },
  // @ts-expect-error: save is for one host, and commit for several
  { store: { ...own, save: async () => {} } },
  // @ts-expect-error: there is no such option
  { store: { ...own, load: own.load, table: 'ring_auth' } as const satisfies SharedStore },
  // @ts-expect-error: a shared store does not name a journal beside the file
  { store: { ...own, mirror: { type: 'homebridge', configPath: 'a', statePath: 'b' } } },
  // @ts-expect-error: null has to be said
  { store: { load: own.load, commit: own.commit } },
]

/** One interface, under both names. */
export const same: (store: SharedStore) => MainSharedStore = (store) => store

// @ts-expect-error: a host has to say whether it has a disk
postgresStore(pool, { account: 'home' })
// @ts-expect-error: there is no such way to be durable
redisStore(ioredis, { statePath: null, durable: 'fsync' })

/** One of our own. */
class Mine implements CheckedStore {
  readonly statePath = null
  async load() {
    return { value: 'text', version: '1' }
  }
  async commit(value: string, version: string | null) {
    return version === null ? value : null
  }
  async remove(version: string) {
    void version
  }
}

export const checked: Promise<void> = checkStore(() => new Mine())
