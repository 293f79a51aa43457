// @ts-check
'use strict'

// A shared store in a table of PostgreSQL. Each call is one statement and uses no session state, so that the store works behind every
// pooler.

const { randomBytes } = require('node:crypto')
const { invalid } = require('../errors.js')
const { kindOf } = require('../checks.js')
const { assemble } = require('./assemble.js')
const { adapterOptions } = require('./options.js')
const { statements, tableName } = require('./postgres-sql.js')

/** @typedef {import('./index.js').SharedStore} SharedStore */
/** @typedef {import('./index.js').PostgresClient} PostgresClient */
/** @typedef {Record<string, unknown>} Row */

const DEFAULT_TABLE = 'ring_auth'

// Error codes of PostgreSQL, with the names from its documentation.
const UNDEFINED_TABLE = '42P01'
const DUPLICATE_TABLE = '42P07'
const DUPLICATE_OBJECT = '42710'
const UNIQUE_VIOLATION = '23505'
const SERIALIZATION_FAILURE = '40001'
const INSUFFICIENT_PRIVILEGE = '42501'
/**
 * The codes with which `CREATE TABLE IF NOT EXISTS` fails if another host creates the table at the same time. The code depends on the
 * catalogue in which the conflict occurs: that of relations or that of types.
 */
const CREATED_MEANWHILE = [DUPLICATE_TABLE, DUPLICATE_OBJECT, UNIQUE_VIOLATION]

/**
 * @param {PostgresClient} client
 * @param {import('./index.js').PostgresStoreOptions} options
 * @returns {SharedStore}
 */
function postgresStore(client, options) {
  const query = queryOf(client)
  const { account, common, given } = adapterOptions(options, ['table'])
  const table = tableName('options.table', given.table === undefined ? DEFAULT_TABLE : given.table)
  const sql = statements(table)

  /** Creates the table, unless another process has just done so. */
  const create = async () => {
    try {
      await query(sql.create, [])
    } catch (error) {
      const code = codeOf(error)
      if (CREATED_MEANWHILE.includes(code)) return
      if (code !== INSUFFICIENT_PRIVILEGE) throw error
      throw new Error(`The table ${table} does not exist, and this role may not create it. Run: ${sql.create}`, {
        cause: error,
      })
    }
  }

  /**
   * @param {string} value
   * @param {string | null} version
   * @param {string} next
   * @returns {Promise<string | null>}
   */
  const write = async (value, version, next) => {
    const [row] =
      version === null
        ? await query(sql.insert, [account, value, next])
        : await query(sql.update, [account, value, version, next])
    return row === undefined ? null : text(row, 'version')
  }

  return assemble(
    {
      name: `PostgreSQL, table ${table}`,
      ...common,

      async load() {
        const [row] = await query(sql.load, [account]).catch((error) => {
          // The first commit creates it.
          if (codeOf(error) === UNDEFINED_TABLE) return query(sql.role, [])
          throw error
        })
        if (row === undefined) throw new Error('PostgreSQL answered a query for one row with none')
        if (row['replica'] === true) {
          throw new Error(
            'This connection leads to a replica of PostgreSQL, which can be behind: connect to the primary',
          )
        }
        if (row['version'] === null || row['version'] === undefined) return null
        return { value: text(row, 'value'), version: text(row, 'version') }
      },

      async commit(value, version) {
        const next = newVersion()
        try {
          return await write(value, version, next)
        } catch (error) {
          if (codeOf(error) === SERIALIZATION_FAILURE) return null
          if (codeOf(error) !== UNDEFINED_TABLE) throw error
          if (version !== null) return null
        }
        await create()
        try {
          return await write(value, version, next)
        } catch (error) {
          if (codeOf(error) === SERIALIZATION_FAILURE) return null
          throw error
        }
      },

      async warnings() {
        const [row] = await query(sql.fsync, [])
        return row?.['fsync'] === 'off'
          ? ['This PostgreSQL runs with fsync = off: a crash of its machine can lose a token that was stored']
          : []
      },
    },
    async (version) => {
      await query(sql.remove, [account, version])
    },
  )
}

/**
 * Returns a function that runs a statement with the client, and resolves to the rows.
 * @param {any} client
 * @returns {(text: string, values: string[]) => Promise<Row[]>}
 */
function queryOf(client) {
  const isObject = (typeof client === 'object' && client !== null) || typeof client === 'function'
  if (!isObject || typeof client.query !== 'function') {
    const hint =
      typeof client?.unsafe === 'function'
        ? '; for the package postgres it is { query: async (text, values) => ({ rows: await sql.unsafe(text, values) }) }'
        : ''
    throw invalid(
      `The client of PostgreSQL must have a method query(text, values), got ${isObject ? 'something without one' : kindOf(client)}${hint}`,
    )
  }
  return async (text, values) => {
    const result = await client.query(text, values)
    const rows = Array.isArray(result) ? result : result?.rows
    if (!Array.isArray(rows)) throw new Error('query(text, values) gave no rows: it must resolve to { rows }')
    return rows
  }
}

/** Returns 63 random bits as the new version. A counter would repeat versions after a failover that forgets commits. */
function newVersion() {
  return (randomBytes(8).readBigUInt64BE() >> 1n).toString()
}

/**
 * @param {Row} row
 * @param {string} column
 */
function text(row, column) {
  const value = row[column]
  if (typeof value !== 'string') throw new Error(`PostgreSQL gave ${kindOf(value)} as the ${column}, not text`)
  return value
}

/** @param {any} error */
const codeOf = (error) => error?.code

module.exports = { postgresStore }
