// @ts-check
'use strict'

// The `store` option: the place where the token is kept, and the functions of a program that keeps the token or its key itself.

const { isUint8Array } = require('node:util/types')
const { invalid } = require('./errors.js')
const { callInside, isInside } = require('./inside.js')
const {
  describeThrown,
  isGiven,
  kindOf,
  nearest,
  nonEmpty,
  pick,
  properties,
  refuseUnknown,
  wrongType,
} = require('./checks.js')

/** @typedef {import('../binding/binding.js').BindingAnswer} BindingAnswer */
/** @typedef {import('../binding/binding.js').BindingStore} BindingStore */

const TYPES =
  '"memory", "file", "homebridge" or "dotenv", or the store an object with load and save, or load and commit'

const FIELDS = ['type', 'path', 'configPath', 'platform', 'name', 'key', 'envKey', 'statePath', 'addBlock']
const KEY = '32 bytes as a Uint8Array, as base64 or as hexadecimal digits, or a function that returns them'
const NONE = { store: undefined, mirror: undefined, sealKey: undefined, custom: undefined }

/**
 * The store as the native part takes it, the key of its journal, and the functions that the native part calls. Each field is
 * always there, so that none is read from a prototype.
 * @typedef {{ store: BindingStore | undefined, mirror: BindingStore | undefined, sealKey: string | undefined, custom: Functions | undefined }} StoreOption
 * @typedef {CustomStore | InstanceType<typeof import('./shared-store.js').SharedFunctions>} Functions
 */

/**
 * @param {unknown} value
 * @returns {StoreOption}
 */
function storeOption(value) {
  if (value === undefined) return NONE
  if (isShared(value)) {
    const tools = { path, words, keyText, mirrorOption }
    const { store, mirror, key, custom } = require('./shared-store.js').sharedStore(value, tools)
    return withKey({ store, mirror, sealKey: undefined, custom }, key)
  }
  if (isCustom(value)) return customStore(value)
  const given = properties('options.store', value, FIELDS)
  const { type } = given
  if (typeof type !== 'string') throw wrongType('options.store.type', TYPES, type)
  switch (type) {
    case 'memory':
      if (given.key !== undefined) throw invalid('options.store.key seals a journal, and the store "memory" has none')
      refuseUnknown('options.store', given, ['type'])
      return NONE
    case 'file':
      return withKey(builtIn(type, texts(given, ['path'], [], ['key'])), given.key)
    case 'homebridge': {
      const { addBlock = false } = given
      if (typeof addBlock !== 'boolean') throw wrongType('options.store.addBlock', 'a boolean', addBlock)
      const { configPath: path, ...rest } = texts(
        given,
        ['configPath'],
        ['platform', 'name', 'statePath'],
        ['addBlock', 'key'],
      )
      return withKey(builtIn(type, { path, ...rest, addBlock }), given.key)
    }
    case 'dotenv': {
      const { key } = given
      const { envKey, ...rest } = texts(given, ['path'], ['envKey', 'statePath'], ['key'])
      if (envKey !== undefined) return withKey(builtIn(type, { ...rest, key: envKey }), key)
      // A text is the name of the variable or a key: the core tells them apart.
      if (typeof key === 'string') return builtIn(type, { ...rest, key: path('options.store.key', key) })
      return withKey(builtIn(type, rest), key)
    }
    default: {
      const near = nearest(type, ['memory', 'file', 'homebridge', 'dotenv'])
      throw invalid(`options.store.type must be ${TYPES}${near === undefined ? '' : `; did you mean "${near}"?`}`)
    }
  }
}

/**
 * The file that shows the token of a shared store. The store has the key and the folder.
 * @param {unknown} value
 */
function mirrorOption(value) {
  const name = 'options.store.mirror'
  const { type } = properties(name, value, FIELDS)
  if (type !== 'homebridge' && type !== 'dotenv') throw invalid(`${name}.type must be "homebridge" or "dotenv"`)
  const known = type === 'dotenv' ? ['path', 'envKey'] : ['configPath', 'platform', 'name', 'addBlock']
  refuseUnknown(name, properties(name, value, FIELDS), ['type', ...known])
  try {
    return storeOption(value).store
  } catch (error) {
    throw invalid(/** @type {Error} */ (error).message.replace('options.store', name))
  }
}

/**
 * A store without functions, as the native part takes it: without a prototype, from which an absent field would be read.
 * @param {BindingStore['type']} type
 * @param {Record<string, string | boolean | undefined>} fields
 * @returns {StoreOption}
 */
function builtIn(type, fields) {
  /** @type {BindingStore} */
  const store = Object.assign(Object.create(null), { type }, fields)
  return { ...NONE, store }
}

/**
 * Adds the key of the journal to a store.
 * @param {StoreOption} option
 * @param {unknown} key Undefined if there is none.
 * @returns {StoreOption}
 */
function withKey(option, key) {
  if (key === undefined) return option
  if (typeof key === 'function') {
    return { ...option, custom: option.custom ?? new CustomStore({ key: /** @type {any} */ (key) }) }
  }
  const sealKey = keyText(key)
  if (sealKey === undefined) throw wrongType('options.store.key', KEY, key)
  // The core decides whether the text is a key.
  return { ...option, sealKey }
}

/**
 * A key as text; undefined if the value cannot be a key.
 * @param {unknown} key
 */
function keyText(key) {
  if (typeof key === 'string') return key
  if (!isUint8Array(key)) return undefined
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex')
}

/** @param {any} value */
function isShared(value) {
  return typeof value === 'object' && value !== null && isGiven(value, 'commit')
}

/** @param {any} value */
function isCustom(value) {
  if (typeof value !== 'object' || value === null) return false
  const { type } = pick(value, ['type'])
  return type === undefined && (isGiven(value, 'load') || isGiven(value, 'save'))
}

/**
 * The texts among the options of a store.
 * @param {Record<string, unknown>} given
 * @param {string[]} needed
 * @param {string[]} optional
 * @param {string[]} [others] The known options that are no text.
 */
function texts(given, needed, optional, others = []) {
  refuseUnknown('options.store', given, ['type', ...needed, ...optional, ...others])
  /** @type {Record<string, string>} */
  const found = Object.create(null)
  for (const key of [...needed, ...optional]) {
    if (given[key] === undefined && optional.includes(key)) continue
    found[key] = path(`options.store.${key}`, given[key])
  }
  return found
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function path(name, value) {
  const text = nonEmpty(name, value)
  if (text.includes('\0')) throw invalid(`${name} must not contain a null character`)
  return text
}

/**
 * @param {any} store Read as it is: load and save may be methods of a class, and are called on it.
 * @returns {StoreOption}
 */
function customStore(store) {
  const given = pick(store, ['load', 'save', 'statePath', 'key'])
  for (const name of ['load', 'save']) {
    if (typeof given[name] !== 'function') throw wrongType(`options.store.${name}`, 'a function', given[name])
  }
  const { statePath, key } = given
  if (key !== undefined && statePath === undefined) {
    throw invalid('options.store.key seals a journal: give options.store.statePath too, the folder for it')
  }
  const fields = statePath === undefined ? {} : { statePath: path('options.store.statePath', statePath) }
  let custom = customStores.get(store)
  if (custom === undefined) {
    custom = new CustomStore(store)
    customStores.set(store, custom)
  }
  return withKey({ ...builtIn('custom', fields), custom }, key)
}

/** The longest error message of a program that is passed on, in characters. */
const LONGEST_WORDS = 10_000
/** The number of causes of an error whose messages are passed on. */
const MOST_CAUSES = 3

/**
 * The functions of a program that keeps its token or its key itself. Calls them one at a time, and recognises calls from inside
 * them. The core of one manager makes one call at a time, but a call of a closed manager may still run when the next manager begins
 * with the same store.
 */
class CustomStore {
  /** Settled when the latest call has ended. */
  #latest = Promise.resolve()

  #store

  /** @param {{ load?(): unknown, save?(newRefreshToken: string, oldRefreshToken?: string): unknown, key?: unknown }} store */
  constructor(store) {
    this.#store = /** @type {any} */ (store)
    if (typeof this.#store.load !== 'function') {
      this.load = undefined
      this.save = undefined
    }
    if (typeof this.#store.key !== 'function') this.key = undefined
  }

  /** @type {undefined} Only a shared store has them. */
  warnings = undefined

  // Fields, which are defined: what is assigned would go to a setter on Object.prototype.

  /** @type {(() => Promise<BindingAnswer>) | undefined} */
  load = async () => {
    const called = await this.#run(() => this.#store.load())
    if (called.failed !== undefined) return failed(called.failed)
    const { value } = called
    if (value === null || value === undefined) return done()
    return typeof value === 'string' ? done(value) : failed(`load gave ${kindOf(value)}, not a string or null`)
  }
  /** @type {((change: import('../binding/binding.js').BindingChange) => Promise<BindingAnswer>) | undefined} */
  save = async (change) => {
    const newToken = change.new
    const oldToken = change.old ?? undefined
    const called = await this.#run(() => this.#store.save(newToken, oldToken))
    return called.failed === undefined ? done() : failed(called.failed)
  }

  /** @type {(() => Promise<BindingAnswer>) | undefined} */
  key = async () => {
    try {
      // The core refuses, as an invalid argument, a text that is not a key.
      return done(keyText(await callInside(this, () => this.#store.key())) ?? '')
    } catch (error) {
      // The error's own message could contain the key.
      return failed(describeThrown(error))
    }
  }

  /** Throws inside a running function: the manager waits for that function, so a call from inside it would wait for itself. */
  refuseInside() {
    if (isInside(this)) {
      throw invalid('The manager cannot be called from inside its own load, save or key, which it is waiting for')
    }
  }

  /**
   * @param {() => unknown} call
   * @returns {Promise<{ value: unknown, failed: string | undefined }>}
   */
  async #run(call) {
    const before = this.#latest
    let end = () => {}
    this.#latest = new Promise((resolve) => {
      end = resolve
    })
    await before
    try {
      return { value: await callInside(this, call), failed: undefined }
    } catch (error) {
      return { value: undefined, failed: words(error) }
    } finally {
      end()
    }
  }
}

/**
 * The custom store of each object that a program gives as a store, for all managers that are given the object.
 * @type {WeakMap<object, CustomStore>}
 */
const customStores = new WeakMap()

// Answers as the native part takes them: without a prototype, from which an absent field would be read.

/**
 * @param {string} [token]
 * @returns {BindingAnswer}
 */
function done(token) {
  return Object.assign(Object.create(null), { type: 'done' }, token !== undefined && { token })
}

/**
 * @param {string} message
 * @returns {BindingAnswer}
 */
function failed(message) {
  return Object.assign(Object.create(null), { type: 'failed', message })
}

/**
 * The message of an error and of its causes. A token may be quoted in them: the core removes it.
 * @param {unknown} error
 */
function words(error) {
  /** @type {string[]} */
  const messages = []
  try {
    for (let cause = /** @type {any} */ (error); cause != null && messages.length < MOST_CAUSES; cause = cause.cause) {
      const sentence = wordsOfOne(cause)
      // Many errors repeat the message of their cause.
      if (!messages.some((former) => former.includes(sentence))) messages.push(sentence)
      else break
      if (typeof cause !== 'object') break
    }
  } catch {
    // A getter threw: the messages so far are used.
  }
  const text = messages.join(': ') || 'it threw something that is no error'
  // Not in the middle of a word: the rest of a token could not be recognised.
  return text.length <= LONGEST_WORDS ? text : text.slice(0, LONGEST_WORDS).replace(/\S*$/, '…')
}

/** @param {any} error */
function wordsOfOne(error) {
  if (typeof error === 'string') return error
  if (!(error instanceof Error)) return `it threw ${kindOf(error)}, which is no error`
  const { message, name, code } = /** @type {Error & { code?: unknown }} */ (error)
  const about = typeof code === 'string' ? code : typeof name === 'string' ? name : 'Error'
  if (typeof message !== 'string' || message.trim() === '') return about
  return typeof code === 'string' && !message.includes(code) ? `${message} (${code})` : message
}

module.exports = { CustomStore, storeOption, words }
