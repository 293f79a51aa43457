// @ts-check
'use strict'

// The store under test, as two hosts see it, and the rules for each single call.

const { randomUUID } = require('node:crypto')
const { kindOf } = require('../../checks.js')
const { RingAuthError, invalid } = require('../../errors.js')

/** @typedef {import('../index.js').SharedStore} SharedStore */
/** @typedef {{ value: string, version: string }} Kept */

/** The beginning of every text that a check writes. */
const SIGNATURE = 'ring-auth checkStore'
/** The time for which the manager waits for a call, in milliseconds. */
const CALL_MS = 10_000

class Subject {
  #makeStore
  /** @type {Set<string>} The versions that all commits have returned. */
  #versions = new Set()
  /** @type {string} A name for this check, in case two checks run on one account. */
  #run = randomUUID()
  #texts = 0

  /**
   * @param {() => SharedStore | Promise<SharedStore>} makeStore
   * @param {SharedStore} first
   * @param {SharedStore} second
   */
  constructor(makeStore, first, second) {
    this.#makeStore = makeStore
    /** The store of one host. */
    this.first = first
    /** The store of another host with the same account. */
    this.second = second
  }

  /** @param {() => SharedStore | Promise<SharedStore>} makeStore */
  static async open(makeStore) {
    const [first, second] = [checkShape(await makeStore()), checkShape(await makeStore())]
    if (first === second) throw invalid('makeStore must make a new store at each call: each stands for another host')
    const subject = new Subject(makeStore, first, second)
    const found = await subject.load(first)
    if (found !== null) {
      const whose = found.value.startsWith(SIGNATURE) ? 'what an earlier check could not remove' : 'a value'
      throw invalid(`The store holds ${whose}, and was left as it is: checkStore needs an account of its own`)
    }
    return subject
  }

  /** Makes the store of one more host. */
  async another() {
    return checkShape(await this.#makeStore())
  }

  /**
   * Makes a text that was never written before.
   * @param {string} [more]
   */
  text(more = '') {
    return `${SIGNATURE} ${this.#run} ${String(++this.#texts).padStart(6, '0')}${more}`
  }

  /**
   * @param {SharedStore} store
   * @returns {Promise<Kept | null>}
   */
  async load(store) {
    const found = /** @type {any} */ (
      await settled('load', () => store.load()).catch((error) => {
        throw broken(`load rejected: ${wordsOf(error)}`, error)
      })
    )
    if (found === null) return null
    if (typeof found?.value !== 'string' || typeof found.version !== 'string' || found.version === '') {
      throw broken(
        `load must resolve to null or to { value, version } with two strings, and resolved to ${
          found === undefined || typeof found !== 'object'
            ? kindOf(found)
            : `a value that is ${kindOf(found.value)} and a version that is ${kindOf(found.version)}`
        }`,
      )
    }
    return found
  }

  /**
   * Commits, and returns the outcome, which the caller judges. If there is a version, it must be new.
   * @param {SharedStore} store
   * @param {string} value
   * @param {string | null} version
   * @returns {Promise<string | null>}
   */
  async attempt(store, value, version) {
    const next = /** @type {any} */ (await settled('commit', () => store.commit(value, version)))
    if (next === null) return null
    if (typeof next !== 'string' || next === '') {
      throw broken(
        `commit must resolve to the new version, a string that is not empty, or to null, and resolved to ${next === '' ? 'an empty string' : kindOf(next)}`,
      )
    }
    if (this.#versions.has(next)) {
      throw broken(
        'commit gave a version that was used before: a host could then replace a value that it has never seen',
      )
    }
    this.#versions.add(next)
    return next
  }

  /**
   * Commits, and checks that the commit wins, because no other host commits.
   * @param {SharedStore} store
   * @param {string} value
   * @param {string | null} version
   * @returns {Promise<Kept>}
   */
  async win(store, value, version) {
    const next = await this.attempt(store, value, version).catch((error) => {
      throw error instanceof RingAuthError ? error : broken(`commit rejected: ${wordsOf(error)}`, error)
    })
    if (next !== null) return { value, version: next }
    const found = await this.load(store)
    throw found?.value === value
      ? broken('commit resolved to null, but it had kept the value: it must reject if it does not know the outcome')
      : broken('commit with the current version resolved to null, although no other host had committed')
  }

  /** Removes the value of this check, if the store has a method `remove`. */
  async cleanUp() {
    const { first } = this
    if (!('remove' in first) || typeof first.remove !== 'function') return
    try {
      const found = await first.load()
      if (found?.value.startsWith(`${SIGNATURE} ${this.#run}`)) await first.remove(found.version)
    } catch {
      // The result of the check matters more than this error.
    }
  }
}

/**
 * @param {any} store
 * @returns {SharedStore}
 */
function checkShape(store) {
  if (typeof store !== 'object' || store === null)
    throw invalid(`makeStore must make a store, and gave ${kindOf(store)}`)
  for (const method of ['load', 'commit']) {
    if (typeof store[method] !== 'function') throw invalid(`The store must have a function ${method}`)
  }
  if ('save' in store) throw invalid('The store has commit and save: a shared store has no save')
  const { statePath, name, account, warnings } = store
  if (statePath === undefined) {
    throw invalid("The store has no statePath: give a folder on this host's own disk, or null if it has none")
  }
  if (statePath !== null && (typeof statePath !== 'string' || statePath.trim() === '')) {
    throw invalid('The statePath of the store must be the path of a folder, or null')
  }
  for (const [key, value] of Object.entries({ name, account })) {
    if (value !== undefined && (typeof value !== 'string' || value.trim() === '')) {
      throw invalid(`The ${key} of the store must be a string that is not empty`)
    }
  }
  if (warnings !== undefined && typeof warnings !== 'function')
    throw invalid('The warnings of the store must be a function')
  return store
}

/**
 * Calls a function of the store, and rejects if it takes longer than the manager would wait.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} call
 * @returns {Promise<T>}
 */
async function settled(name, call) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(broken(`${name} did not settle within ${CALL_MS / 1000} s`)), CALL_MS)
  })
  try {
    return /** @type {T} */ (await Promise.race([(async () => call())(), late]))
  } finally {
    clearTimeout(timer)
  }
}

/**
 * @param {string} sentence
 * @param {unknown} [cause]
 */
function broken(sentence, cause) {
  return new RingAuthError('STORE', sentence, { cause })
}

/** @param {any} error */
const wordsOf = (error) => (error instanceof Error && error.message !== '' ? error.message : kindOf(error))

module.exports = { Subject, broken, wordsOf }
