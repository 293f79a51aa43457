// @ts-check
'use strict'

// A shared store in Redis or Valkey: one hash for each account.

const { randomUUID } = require('node:crypto')
const { wrongType } = require('../checks.js')
const { invalid } = require('../errors.js')
const { assemble } = require('./assemble.js')
const { adapterOptions, name } = require('./options.js')
const { listOf, sender, textOf } = require('./redis-client.js')
const { durability } = require('./redis-durability.js')
const { COMMIT, LOAD, REMOVE } = require('./redis-scripts.js')

/** @typedef {import('./index.js').SharedStore} SharedStore */
/** @typedef {import('./index.js').RedisClient} RedisClient */
/** @typedef {'waitaof' | 'always' | 'server'} Durable */

const DEFAULT_PREFIX = 'ring-auth:'
/** @type {Durable[]} */
const DURABLE = ['waitaof', 'always', 'server']
const MOST_REPLICAS = 100

/**
 * @param {RedisClient} client
 * @param {import('./index.js').RedisStoreOptions} options
 * @returns {SharedStore}
 */
function redisStore(client, options) {
  const { account, common, given } = adapterOptions(options, ['prefix', 'durable', 'replicas'])
  const prefix = given.prefix === undefined ? DEFAULT_PREFIX : name('options.prefix', given.prefix)
  const durable = durableOption(given.durable)
  const replicas = replicasOption(given.replicas, durable)
  const key = `${prefix}${account}`
  const send = sender(client, key)
  const { begin } = durability(send, durable, replicas)
  /** @param {string} script @param {string[]} args */
  const run = async (script, ...args) => {
    try {
      return await send(['eval', script, '1', key, ...args])
    } catch (error) {
      throw isReplica(error)
        ? new Error('This client leads to a replica of Redis: connect to the primary', { cause: error })
        : error
    }
  }

  return assemble(
    {
      name: `Redis, key ${key}`,
      ...common,

      async load() {
        const [value, version] = listOf(await run(LOAD)).map(textOf)
        if (value == null && version == null) return null
        if (value == null || version == null) throw new Error(`The key ${key} in Redis is not a record of ring-auth`)
        return { value, version }
      },

      async commit(value, version) {
        const end = await begin()
        const next = randomUUID()
        const kept = textOf(await run(COMMIT, version ?? '', next, value))
        if (kept === null) return null
        await end()
        return kept
      },

      async warnings() {
        const memory = textOf(await send(['info', 'memory'])) ?? ''
        const setting = (/** @type {string} */ of) => new RegExp(`^${of}:(\\S+)`, 'm').exec(memory)?.[1] ?? ''
        const policy = setting('maxmemory_policy')
        // The other policies evict only keys with a time to live. The key of this store has none.
        return policy.startsWith('allkeys') && setting('maxmemory') !== '0'
          ? [
              `This Redis evicts keys (maxmemory-policy ${policy}): it can forget a token. Set maxmemory-policy noeviction`,
            ]
          : []
      },
    },
    async (version) => {
      await run(REMOVE, version)
    },
  )
}

/** @param {unknown} value */
function durableOption(value) {
  if (value === undefined) return 'waitaof'
  if (typeof value !== 'string') throw wrongType('options.durable', '"waitaof", "always" or "server"', value)
  const found = DURABLE.find((one) => one === value)
  if (found === undefined) throw invalid('options.durable must be "waitaof", "always" or "server"')
  return found
}

/**
 * @param {unknown} value
 * @param {Durable} durable
 */
function replicasOption(value, durable) {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw wrongType('options.replicas', 'a number', value)
  if (!Number.isInteger(value) || value < 0 || value > MOST_REPLICAS) {
    throw invalid(`options.replicas must be a whole number from 0 to ${MOST_REPLICAS}`)
  }
  if (value > 0 && durable !== 'waitaof') {
    throw invalid(`options.replicas needs durable: "waitaof": nothing asks the replicas with "${durable}"`)
  }
  return value
}

/** @param {any} error */
const isReplica = (error) => /READONLY/.test(String(error?.message))

module.exports = { redisStore }
