// @ts-check
'use strict'

// The statements of PostgreSQL, and how the name of a table is written in them.

const { invalid } = require('../errors.js')
const { name } = require('./options.js')

/** PostgreSQL cuts a longer name without an error, and then two names are one table. */
const MOST_IDENTIFIER_BYTES = 63

/**
 * `table` or `schema.table`, quoted.
 * @param {string} option
 * @param {unknown} value
 */
function tableName(option, value) {
  const parts = name(option, value).split('.')
  if (parts.length > 2) throw invalid(`${option} must be "table" or "schema.table", and has ${parts.length} parts`)
  return parts.map((part) => identifier(option, part)).join('.')
}

/**
 * @param {string} option
 * @param {string} part
 */
function identifier(option, part) {
  if (part === '') throw invalid(`${option} must be "table" or "schema.table", and one of them is empty`)
  if (Buffer.byteLength(part) > MOST_IDENTIFIER_BYTES) {
    throw invalid(`${option} has a name of more than ${MOST_IDENTIFIER_BYTES} bytes, which PostgreSQL would cut`)
  }
  return `"${part.replaceAll('"', '""')}"`
}

/**
 * Turns `synchronous_commit` on for the transaction of this statement if the role has it off, and is always true. PostgreSQL would
 * otherwise answer before the row is on the disk.
 */
const DURABLY = `(CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) ELSE '' END) IS NOT NULL`

/** @param {string} table A name that is quoted already. */
function statements(table) {
  return {
    create: `CREATE TABLE IF NOT EXISTS ${table} (account text PRIMARY KEY, version bigint NOT NULL, value text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now())`,
    // One row in any case, so that a replica is recognised even if it has no value.
    load: `SELECT pg_is_in_recovery() AS replica, kept.version::text AS version, kept.value AS value FROM (SELECT 1) AS one LEFT JOIN ${table} AS kept ON kept.account = $1::text`,
    role: 'SELECT pg_is_in_recovery() AS replica',
    insert: `INSERT INTO ${table} (account, value, version) SELECT $1::text, $2::text, $3::bigint WHERE ${DURABLY} ON CONFLICT DO NOTHING RETURNING version::text AS version`,
    // A client that sends the statement again finds its own version there.
    update: `UPDATE ${table} SET version = $4::bigint, value = $2::text, changed_at = now() WHERE account = $1::text AND version IN ($3::bigint, $4::bigint) AND ${DURABLY} RETURNING version::text AS version`,
    remove: `DELETE FROM ${table} WHERE account = $1::text AND version = $2::bigint`,
    fsync: `SELECT current_setting('fsync') AS fsync`,
  }
}

module.exports = { statements, tableName }
