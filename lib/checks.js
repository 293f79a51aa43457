// @ts-check
'use strict'

// Checks of arguments. A message names the argument and its type. It never shows the value, which may be a secret.

const { invalid } = require('./errors.js')

const MAX_TEXT_BYTES = 128 * 1024
const MAX_WRAPPER_BYTES = 256 * 1024

/**
 * The type of a value, for a message that must not show the value itself.
 * @param {unknown} value
 */
function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/**
 * @param {string} name
 * @param {string} expected
 * @param {unknown} value
 */
function wrongType(name, expected, value) {
  return invalid(`${name} must be ${expected}, got ${kindOf(value)}`)
}

/**
 * Whether an object has a property itself or from its class. A property of `Object.prototype` does not count: any package of the
 * program can put one there.
 * @param {object} value
 * @param {string} key
 */
function isGiven(value, key) {
  for (let at = value; at !== null; at = Object.getPrototypeOf(at)) {
    const parent = Object.getPrototypeOf(at)
    // Object.prototype, also that of another realm. A null prototype alone does not prove it: a program can make such an object.
    if (parent === null && Object.hasOwn(at, 'isPrototypeOf') && Object.hasOwn(at, 'hasOwnProperty')) return false
    if (Object.hasOwn(at, key)) return true
  }
  return false
}

/**
 * The properties with these names that an object has itself or from its class, each read once.
 * @param {object} value
 * @param {readonly string[]} names
 * @returns {Record<string, any>} An object without a prototype, so that a property that was not given is undefined.
 */
function pick(value, names) {
  const found = Object.create(null)
  for (const name of names) if (isGiven(value, name)) found[name] = /** @type {any} */ (value)[name]
  return found
}

/**
 * The properties of an argument, each read once: all that it has itself, and the known ones of its class.
 * @param {string} name
 * @param {unknown} value
 * @param {readonly string[]} known
 * @returns {Record<string, unknown>} An object without a prototype, so that a property that was not given is undefined.
 */
function properties(name, value, known) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(name, 'an object', value)
  try {
    const own = Object.assign(Object.create(null), value)
    return Object.assign(
      own,
      pick(
        value,
        known.filter((key) => !(key in own)),
      ),
    )
  } catch {
    throw invalid(`${name} cannot be read: one of its properties threw an error`)
  }
}

/**
 * @param {string} name
 * @param {Record<string, unknown>} given
 * @param {string[]} known
 */
function refuseUnknown(name, given, known) {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    const shown = key.length > 40 ? `${key.slice(0, 40)}…` : key
    const hint = near === undefined ? `; known are ${known.join(', ')}` : `; did you mean ${near}?`
    throw invalid(`${name}.${shown} is not an option${hint}`)
  }
}

/**
 * The known name that was probably meant: one with at most two typing errors, or one that contains the given name. The command
 * line has the same rule in src/cli/suggest.rs.
 * @param {string} given
 * @param {string[]} known
 */
function nearest(given, known) {
  const lower = given.toLowerCase()
  if (lower.length > 40) return undefined
  const scored = known
    .map((name) => ({ name, distance: editDistance(lower, name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const best = scored[0]
  if (best !== undefined && best.distance <= Math.min(2, Math.floor(best.name.length / 3))) return best.name
  return lower.length < 4 ? undefined : known.find((name) => name.toLowerCase().includes(lower))
}

/**
 * @param {string} a
 * @param {string} b
 */
function editDistance(a, b) {
  /** @type {number[]} */
  let before = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = Number(row[j - 1]) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swaps = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = swaps ? Number(before[j - 2]) + 1 : Number.POSITIVE_INFINITY
      next.push(Math.min(replaced, swapped, Number(row[j]) + 1, Number(next[j - 1]) + 1))
    }
    before = row
    row = next
  }
  return Number(row[b.length])
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function nonEmpty(name, value) {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  if (value.trim() === '') throw invalid(`${name} must not be empty`)
  return value
}

/**
 * A text that may be a refresh token. The core decides whether it is one.
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function tokenText(name, value) {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  const length = Buffer.byteLength(value)
  // The wrapper of a token from Ring may be longer than a text from a person. The core checks its content.
  if (length > MAX_WRAPPER_BYTES || (length > MAX_TEXT_BYTES && !isWrapper(value)))
    throw invalid(`${name} is longer than 128 KiB: this is not a refresh token`)
  return value
}

/**
 * A text in an option that may be a refresh token. The core ignores it if the store holds a token. A text that is too long is cut
 * to a length at which the core still sees that it is too long.
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function optionalTokenText(name, value) {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  return value.slice(0, MAX_WRAPPER_BYTES + 1)
}

/** @param {string} text */
function isWrapper(text) {
  try {
    return typeof JSON.parse(Buffer.from(text, 'base64').toString()).rt === 'string'
  } catch {
    return false
  }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function jsonObject(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType(name, 'an object or null', value)
  }
  let json
  try {
    json = JSON.stringify(value)
  } catch {
    throw invalid(`${name} cannot be written as JSON: it has a cycle, a BigInt or a toJSON that fails`)
  }
  // A toJSON may convert an object to another type: a Date becomes a string.
  if (typeof json !== 'string' || !json.startsWith('{')) throw invalid(`${name} must be an object in JSON too`)
  return json
}

/**
 * The type of a thrown value, for a message that must not show the value itself.
 * @param {any} error
 */
function describeThrown(error) {
  try {
    if (!(error instanceof Error)) return `${kindOf(error)} was thrown`
    const { name, code } = /** @type {any} */ (error)
    const known = /^[A-Za-z]{1,40}$/.test(name) ? name : 'Error'
    return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? `${known}, ${code}` : known
  } catch {
    return 'an error'
  }
}

module.exports = {
  isGiven,
  pick,
  describeThrown,
  jsonObject,
  kindOf,
  nearest,
  nonEmpty,
  optionalTokenText,
  properties,
  refuseUnknown,
  tokenText,
  wrongType,
}
