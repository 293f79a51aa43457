// Shared stores, with the shapes of the clients that they are made for.
import { postgresStore, redisStore, type PostgresClient, type RedisClient, type SharedStore } from 'ring-auth/stores'
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
