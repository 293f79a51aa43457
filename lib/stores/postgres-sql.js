// @ts-check
'use strict'

// The SQL statements of the adapter for PostgreSQL, and the quoting of the table's name.

const { invalid } = require('../errors.js')
const { name } = require('./options.js')

/** The longest name of a table or schema, in bytes. PostgreSQL truncates a longer name without an error, so that two names could be one table. */
const MOST_IDENTIFIER_BYTES = 63

/**
 * Returns `table` or `schema.table` with each part quoted.
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
 * A condition that is always true, and turns `synchronous_commit` on for the transaction of this statement if the role has it off.
 * Otherwise PostgreSQL would answer before the row is on the disk.
 */
const DURABLY = `(CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) ELSE '' END) IS NOT NULL`

/** @param {string} table The quoted name. */
function statements(table) {
  return {
    create: `CREATE TABLE IF NOT EXISTS ${table} (account text PRIMARY KEY, version bigint NOT NULL, value text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now())`,
    // Returns one row in any case, so that a replica is recognised even if there is no value.
    load: `SELECT pg_is_in_recovery() AS replica, kept.version::text AS version, kept.value AS value FROM (SELECT 1) AS one LEFT JOIN ${table} AS kept ON kept.account = $1::text`,
    role: 'SELECT pg_is_in_recovery() AS replica',
    insert: `INSERT INTO ${table} (account, value, version) SELECT $1::text, $2::text, $3::bigint WHERE ${DURABLY} ON CONFLICT DO NOTHING RETURNING version::text AS version`,
    // If a client sends the statement twice, the second one finds the new version.
    update: `UPDATE ${table} SET version = $4::bigint, value = $2::text, changed_at = now() WHERE account = $1::text AND version IN ($3::bigint, $4::bigint) AND ${DURABLY} RETURNING version::text AS version`,
    remove: `DELETE FROM ${table} WHERE account = $1::text AND version = $2::bigint`,
    fsync: `SELECT current_setting('fsync') AS fsync`,
  }
}

module.exports = { statements, tableName }
