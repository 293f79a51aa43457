// @ts-check
// The clients that programs have, each as its documentation shows it.
import pg from 'pg'
import postgres from 'postgres'
import { Redis } from 'ioredis'
import { createClient } from 'redis'

/**
 * @typedef {object} Opened
 * @property {any} client as an adapter takes it
 * @property {() => Promise<unknown>} end
 */

/** @type {Record<string, (port: number, user?: string) => Promise<Opened>>} */
export const POSTGRES = {
  'pg, a pool': async (port, user = 'postgres') => {
    const pool = new pg.Pool({ host: '127.0.0.1', port, user, database: 'postgres', max: 4 })
    pool.on('error', () => {})
    return { client: pool, end: () => pool.end() }
  },
  'pg, a client': async (port, user = 'postgres') => {
    const client = new pg.Client({ host: '127.0.0.1', port, user, database: 'postgres' })
    client.on('error', () => {})
    await client.connect()
    return { client, end: () => client.end() }
  },
  postgres: async (port, user = 'postgres') => {
    const sql = postgres({ host: '127.0.0.1', port, user, database: 'postgres', max: 4, onnotice: () => {} })
    return {
      client: {
        query: async (/** @type {string} */ text, /** @type {string[]} */ values) => ({
          rows: await sql.unsafe(text, values),
        }),
      },
      end: () => sql.end({ timeout: 1 }),
    }
  },
  'rows alone, as Neon over HTTP': async (port, user = 'postgres') => {
    const pool = new pg.Pool({ host: '127.0.0.1', port, user, database: 'postgres', max: 4 })
    pool.on('error', () => {})
    const sql = () => {
      throw new Error('a tagged template')
    }
    const query = async (/** @type {string} */ text, /** @type {string[]} */ values) =>
      (await pool.query(text, values)).rows
    return { client: Object.assign(sql, { query }), end: () => pool.end() }
  },
}

/** @type {Record<string, (port: number) => Promise<Opened>>} */
export const REDIS = {
  ioredis: async (port) => {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20 })
    client.on('error', () => {})
    return { client, end: async () => client.disconnect() }
  },
  'ioredis, version 3 of the protocol': async (port) => {
    const client = new Redis({
      port,
      host: '127.0.0.1',
      protocol: 3,
      replyMapping: 'resp3',
      retryStrategy: () => 20,
    })
    client.on('error', () => {})
    return { client, end: async () => client.disconnect() }
  },
  redis: async (port) => {
    const client = createClient({ socket: { port, host: '127.0.0.1', reconnectStrategy: () => 20 } })
    client.on('error', () => {})
    await client.connect()
    return { client, end: async () => client.destroy() }
  },
  'redis, version 3 of the protocol': async (port) => {
    const client = createClient({ RESP: 3, socket: { port, host: '127.0.0.1', reconnectStrategy: () => 20 } })
    client.on('error', () => {})
    await client.connect()
    return { client, end: async () => client.destroy() }
  },
  'a function': async (port) => {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20 })
    client.on('error', () => {})
    const send = (/** @type {string} */ command, /** @type {string[]} */ ...args) => client.callBuffer(command, ...args)
    return { client: send, end: async () => client.disconnect() }
  },
}
