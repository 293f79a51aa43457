// @ts-check
'use strict'

// The options that both adapters have in common.

const { nonEmpty, properties, refuseUnknown } = require('../checks.js')
const { invalid } = require('../errors.js')

/** @typedef {import('./index.js').SharedStore} SharedStore */
/** @typedef {Pick<SharedStore, 'account' | 'statePath' | 'key' | 'mirror'>} CommonOptions */

const COMMON = ['account', 'statePath', 'key', 'mirror']
/** The longest name, in bytes. PostgreSQL cannot index a text of more than about 2,700 bytes. */
const MOST_NAME_BYTES = 512
const DEFAULT_ACCOUNT = 'default'

/**
 * Checks the names of all options, and the values of the common ones.
 * @param {unknown} options
 * @param {string[]} own The names of the options that only this adapter has.
 * @returns {{ account: string, common: CommonOptions, given: Record<string, unknown> }}
 */
function adapterOptions(options, own) {
  const known = [...COMMON, ...own]
  const given = properties('options', options === undefined ? {} : options, known)
  refuseUnknown('options', given, known)
  const account = given.account === undefined ? DEFAULT_ACCOUNT : name('options.account', given.account)
  /** @type {CommonOptions} */
  const common = { account, statePath: statePath(given.statePath) }
  // The manager checks the key and the mirror, as for every store.
  if (given.key !== undefined) common.key = /** @type {any} */ (given.key)
  if (given.mirror !== undefined) common.mirror = /** @type {any} */ (given.mirror)
  return { account, common, given }
}

/** @param {unknown} value */
function statePath(value) {
  if (value === null) return null
  if (value === undefined) {
    throw invalid("options.statePath is missing: give a folder on this host's own disk, or null if it has none")
  }
  return withoutNull('options.statePath', nonEmpty('options.statePath', value))
}

/**
 * Checks a name that an engine uses as a key. Two different names must be different for the engine too.
 * @param {string} option
 * @param {unknown} value
 */
function name(option, value) {
  const text = withoutNull(option, nonEmpty(option, value))
  // The engine gets half a surrogate pair as U+FFFD: two names would be one.
  if (/\p{Surrogate}/u.test(text)) throw invalid(`${option} must be well-formed Unicode`)
  if (Buffer.byteLength(text) > MOST_NAME_BYTES) throw invalid(`${option} is longer than ${MOST_NAME_BYTES} bytes`)
  return text
}

/**
 * @param {string} option
 * @param {string} text
 */
function withoutNull(option, text) {
  if (text.includes('\0')) throw invalid(`${option} must not contain a null character`)
  return text
}

module.exports = { adapterOptions, name, withoutNull }
