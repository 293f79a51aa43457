// @ts-check
'use strict'

// Checks that a commit to Redis is durable, in the ways of the option `durable`.

const { listOf, mapOf, textOf } = require('./redis-client.js')

/** @typedef {import('./redis-client.js').Send} Send */

/**
 * The checks before and after a commit. Each rejects if the commit is not durable, or if that is not known.
 * @typedef {object} Durability
 * @property {() => Promise<() => Promise<void>>} begin The check before the commit. Resolves to the check after it.
 */

/** The time for which a commit waits for the disks, in milliseconds. The manager waits ten seconds for the whole call. */
const WAIT_MS = 5000

/**
 * @param {Send} send
 * @param {'waitaof' | 'always' | 'server'} durable
 * @param {number} replicas
 * @returns {Durability}
 */
function durability(send, durable, replicas) {
  if (durable === 'waitaof') return byWaitAof(send, replicas)
  if (durable === 'always') return byAlways(send)
  return { begin: async () => async () => {} }
}

/**
 * Checks with `WAITAOF`. This command confirms only the writes of its own connection, so the connection must be the same before and after.
 * @param {Send} send
 * @param {number} replicas
 * @returns {Durability}
 */
function byWaitAof(send, replicas) {
  return {
    async begin() {
      const [before] = await Promise.all([connection(send), demandWaitAof(send)])
      return async () => {
        const [local, remote] = listOf(await send(['waitaof', '1', String(replicas), String(WAIT_MS)])).map(count)
        const after = await connection(send)
        if (before !== after) {
          throw new Error(
            'The connection to Redis changed during the commit, so it is not known whether it is durable. A pool of connections needs durable: "always" or "server"',
          )
        }
        if (Number(local) < 1) throw new Error(`Redis did not sync the commit to its disk within ${WAIT_MS / 1000} s`)
        if (Number(remote) < replicas) {
          throw new Error(`${remote} of ${replicas} replicas of Redis synced the commit within ${WAIT_MS / 1000} s`)
        }
      }
    },
  }
}

/**
 * Identifies the connection, by its number and the run of the server. After a restart, the server uses the same numbers again.
 * @param {Send} send
 */
async function connection(send) {
  const [id, info] = await Promise.all([send(['client', 'id']), send(['info', 'server']).catch(() => '')])
  const [, run = ''] = /^run_id:(\S+)/m.exec(textOf(info) ?? '') ?? []
  return `${textOf(id)} ${run}`
}

/**
 * Calls `WAITAOF` before the commit. If the server does not support it, the commit must not be written.
 * @param {Send} send
 */
async function demandWaitAof(send) {
  try {
    // 1 ms, the shortest wait, because nothing has been written yet. A wait of 0 would have no end.
    await send(['waitaof', '1', '0', '1'])
  } catch (error) {
    const words = String(/** @type {any} */ (error)?.message)
    if (/unknown command/i.test(words)) {
      throw refused('has no WAITAOF, which Redis 7.2 and Valkey brought: use durable: "always"', error)
    }
    if (/appendonly/i.test(words))
      throw refused('runs without appendonly, so nothing is durable: set appendonly yes', error)
    throw error
  }
}

/**
 * @param {Send} send
 * @returns {Durability}
 */
function byAlways(send) {
  return {
    async begin() {
      const settings = mapOf(await send(['config', 'get', 'append*']))
      const [appendonly, appendfsync] = [settings.get('appendonly'), settings.get('appendfsync')]
      if (appendonly !== 'yes' || appendfsync !== 'always') {
        throw refused(
          `has appendonly ${appendonly} and appendfsync ${appendfsync}; durable: "always" needs appendonly yes and appendfsync always`,
        )
      }
      return async () => {}
    },
  }
}

/**
 * @param {string} why
 * @param {unknown} [cause]
 */
function refused(why, cause) {
  return new Error(`Nothing was written: this Redis server ${why}`, cause === undefined ? undefined : { cause })
}

/** @param {unknown} reply */
const count = (reply) => Number(textOf(reply))

module.exports = { durability }
