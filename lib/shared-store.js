// @ts-check
'use strict'

// The `store` option for a shared store, an object with load and commit: its checks, and the functions that the native part calls.

const { invalid } = require('./errors.js')
const { callInside, isInside } = require('./inside.js')
const { kindOf, nonEmpty, properties, refuseUnknown, wrongType } = require('./checks.js')

/** @typedef {import('../binding/binding.js').BindingAnswer} BindingAnswer */
/** @typedef {import('../binding/binding.js').BindingStore} BindingStore */
/** @typedef {{ mirrorOption(value: unknown): BindingStore | undefined, path(name: string, value: unknown): string, words(error: unknown): string, keyText(key: unknown): string | undefined }} Shared */

const FIELDS = ['load', 'commit', 'statePath', 'account', 'name', 'warnings', 'key', 'mirror']
const MAX_ACCOUNT_BYTES = 512

/**
 * Reads the options of a shared store.
 * @param {any} store Never copied: load and commit may be methods of a class, and are called on this object.
 * @param {Shared} shared
 * @returns {{ store: BindingStore, mirror: BindingStore | undefined, key: unknown, custom: SharedFunctions }}
 */
function sharedStore(store, shared) {
  const given = properties('options.store', store, [...FIELDS, 'save'])
  if (given.save !== undefined) {
    throw invalid('options.store has save and commit: save is for one host, and commit for a store that hosts share')
  }
  // An object of a class may have fields of its own.
  const prototype = Object.getPrototypeOf(store)
  if (prototype === null || Object.getPrototypeOf(prototype) === null) refuseUnknown('options.store', given, FIELDS)
  for (const name of ['load', 'commit']) {
    if (typeof given[name] !== 'function') throw wrongType(`options.store.${name}`, 'a function', given[name])
  }
  const { statePath, account = 'default', name, warnings, key, mirror } = given
  if (warnings !== undefined && typeof warnings !== 'function') {
    throw wrongType('options.store.warnings', 'a function', warnings)
  }
  if (statePath === undefined) {
    throw invalid("options.store.statePath is missing: give a folder on this host's own disk, or null if it has none")
  }
  const checked = nonEmpty('options.store.account', account)
  // The native part gets half a surrogate pair as U+FFFD: two accounts would have one spool.
  if (/\p{Surrogate}/u.test(checked)) throw invalid('options.store.account must be well-formed Unicode')
  if (Buffer.byteLength(checked) > MAX_ACCOUNT_BYTES) {
    throw invalid(`options.store.account must have at most ${MAX_ACCOUNT_BYTES} bytes`)
  }
  // Without a prototype: the native part would read absent fields from it.
  const native = Object.assign(Object.create(null), {
    type: 'shared',
    account: checked,
    ...(statePath === null ? {} : { statePath: shared.path('options.store.statePath', statePath) }),
    ...(name === undefined ? {} : { name: oneLine(nonEmpty('options.store.name', name)) }),
  })
  const shown = mirror === undefined ? undefined : shared.mirrorOption(mirror)
  return { store: native, mirror: shown, key, custom: new SharedFunctions(store, shared) }
}

/** Calls the functions of a shared store, also while an earlier call has not ended, and recognises calls of the manager from inside them. */
class SharedFunctions {
  #store
  #shared

  /**
   * @param {any} store
   * @param {Shared} shared
   */
  constructor(store, shared) {
    this.#store = store
    this.#shared = shared
    if (typeof store.key !== 'function') this.key = undefined
    if (typeof store.warnings !== 'function') this.warnings = undefined
  }

  // Fields are defined. An assignment in the constructor would call a setter on Object.prototype.

  /** @type {() => Promise<BindingAnswer>} */
  load = () =>
    this.#run(
      () => this.#store.load(),
      (kept) => {
        if (kept === null || kept === undefined) return done()
        const { value, version } = kept
        if (typeof value === 'string' && isVersion(version)) return done({ token: value, version })
        return failed(`load gave ${kindOf(kept)}, not null or { value, version } with two strings`)
      },
    )

  // The native part calls `save` for both kinds of stores.
  /** @type {(change: import('../binding/binding.js').BindingChange) => Promise<BindingAnswer>} */
  save = (change) =>
    this.#run(
      () => this.#store.commit(change.new, change.old ?? null),
      (version) => {
        if (version === null) return done()
        if (isVersion(version)) return done({ version })
        return failed(`commit gave ${kindOf(version)}, not the new version as a string or null`)
      },
    )

  /** @type {(() => Promise<BindingAnswer>) | undefined} */
  warnings = () =>
    this.#run(
      () => this.#store.warnings(),
      (warnings) => done({ token: Array.isArray(warnings) ? warnings.filter(isVersion).map(oneLine).join('\n') : '' }),
    )

  /** @type {(() => Promise<BindingAnswer>) | undefined} */
  key = () =>
    this.#run(
      () => this.#store.key(),
      // The core refuses a text that is not a key, with INVALID_ARGUMENT.
      (key) => done({ token: this.#shared.keyText(key) ?? '' }),
      // The error's own message could contain the key.
      () => 'it threw',
    )

  /** Throws if the manager is called from inside load, commit or key: the manager waits for that function, so the call would wait for itself. */
  refuseInside() {
    if (isInside(this)) {
      throw invalid('The manager cannot be called from inside its own load, commit or key, which it is waiting for')
    }
  }

  /**
   * @param {() => any} call
   * @param {(value: any) => BindingAnswer} read
   * @param {(error: unknown) => string} [words]
   * @returns {Promise<BindingAnswer>}
   */
  async #run(call, read, words = this.#shared.words) {
    try {
      return read(await callInside(this, call))
    } catch (error) {
      return failed(words(error))
    }
  }
}

/**
 * @param {unknown} value
 * @returns {value is string}
 */
function isVersion(value) {
  return typeof value === 'string' && value !== ''
}

/** @param {string} text */
function oneLine(text) {
  return text.replaceAll(/\s+/g, ' ')
}

/**
 * @param {{ token?: string, version?: string }} [fields]
 * @returns {BindingAnswer}
 */
function done(fields) {
  return Object.assign(Object.create(null), { type: 'done' }, fields)
}

/**
 * @param {string} message
 * @returns {BindingAnswer}
 */
function failed(message) {
  return Object.assign(Object.create(null), { type: 'failed', message })
}

module.exports = { SharedFunctions, sharedStore }
