// `ring-auth/stores`: shared stores in PostgreSQL and Redis, for one account on several hosts.

import type { SharedStore, SharedStoreMirror, StoreKey } from '../../index.js'

export type { SharedStore } from '../../index.js'

/** The options of both {@link postgresStore} and {@link redisStore}. */
export interface SharedStoreOptions {
  /** The name of the account in the database, the same on all hosts. At most 512 bytes. Default: `default`. */
  account?: string | undefined
  /** The folder of this host's spool, on a disk that only this host uses. `null` if this host has no disk. */
  statePath: string | null
  /** The key that seals the record and the spool. All hosts need the same key. Default: both are plain text. */
  key?: StoreKey | undefined
  /** A file of this host that always shows the newest token, such as Homebridge's `config.json`. Default: none. */
  mirror?: SharedStoreMirror | undefined
}

/**
 * A client of PostgreSQL: a pool or a client of the package `pg`, a client of Neon, or any other object with `query`. For the package
 * `postgres`: `{ query: async (text, values) => ({ rows: await sql.unsafe(text, values) }) }`.
 */
export interface PostgresClient {
  // biome-ignore lint/suspicious/noExplicitAny: the clients declare their rows and values differently
  query(text: string, values: any[]): Promise<{ rows: any[] } | any[]>
}

/** Options of {@link postgresStore}. */
export interface PostgresStoreOptions extends SharedStoreOptions {
  /** The table, as `table` or `schema.table`. All characters but the dot are part of a name. Default: `ring_auth`. */
  table?: string | undefined
}

/**
 * Returns a shared store in a table of PostgreSQL. The first commit creates the table if there is none. The store works behind a
 * pooler such as pgbouncer, also in transaction mode.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: an option is unknown or invalid, or the client has no `query`.
 *
 * @example
 * const pool = new Pool({ connectionString: process.env.DATABASE_URL })
 * const store = postgresStore(pool, { account: 'home', statePath: '/var/lib/my-program' })
 * const manager = new RingTokenManager({ store })
 */
export function postgresStore(client: PostgresClient, options: PostgresStoreOptions): SharedStore

/** A client of Redis or Valkey: one of the packages `ioredis` or `redis`, or a function that sends one command. */
export type RedisClient =
  | ((...args: string[]) => unknown)
  | { call(command: string, ...args: string[]): Promise<unknown> }
  // biome-ignore lint/suspicious/noExplicitAny: a client, a cluster and a sentinel of the package redis differ in their arguments
  | { sendCommand(...args: any[]): Promise<unknown> }

/** Options of {@link redisStore}. */
export interface RedisStoreOptions extends SharedStoreOptions {
  /** The prefix of the key in Redis. The account follows it. Default: `ring-auth:`. */
  prefix?: string | undefined
  /**
   * When a commit counts as durable.
   * - `waitaof`: when `WAITAOF` has confirmed it (Redis 7.2 or later, Valkey). The server needs `appendonly yes`.
   * - `always`: when the server has answered. The server needs `appendonly yes` and `appendfsync always`. For older servers.
   * - `server`: when the server has answered, whatever its settings are. For a managed server that makes writes durable by itself.
   *
   * Default: `waitaof`.
   */
  durable?: 'waitaof' | 'always' | 'server' | undefined
  /** With `waitaof`: the number of replicas that must have the commit on their disks, at most 100. Default: 0. */
  replicas?: number | undefined
}

/**
 * Returns a shared store in a hash of Redis or Valkey.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: an option is unknown or invalid, or the client is of no known kind.
 *
 * @example
 * const redis = new Redis(process.env.REDIS_URL)
 * const store = redisStore(redis, { account: 'home', statePath: '/var/lib/my-program' })
 * const manager = new RingTokenManager({ store })
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions): SharedStore
