// @ts-check
'use strict'

// `--store-module`: the store that a module of the user exports by default.

const { resolve } = require('node:path')
const { pathToFileURL } = require('node:url')
const { storeOption, words } = require('./custom-store.js')

/** @typedef {import('../binding/binding.js').BindingModule} BindingModule */

/** How long a module may take to load and to make its store. */
const LIMIT_MS = 30_000

/**
 * Loads a module, as `import` does it.
 * @param {typeof import('../binding/binding.js')} addon
 * @param {string} path as it was typed
 * @returns {Promise<{ native: BindingModule, value: any }>} the store for the native part, and as the module exports it
 */
async function loadStoreModule(addon, path) {
  let value
  const stray = strayRejections()
  try {
    value = await inTime(exported(path))
    stray.end()
  } catch (error) {
    stray.belongsTo(error)
    return refused(`cannot be loaded: ${reasonOf(error)}`, 'Correct it, or the path')
  }
  if (value === undefined) return refused('has no default export', 'End it with: export default store')
  try {
    const { store, mirror, sealKey, custom } = storeOption(value)
    if (store === undefined) return refused('exports a store in memory', 'Export one that keeps the token')
    const { load, save, key, warnings } = custom ?? {}
    return { native: new addon.BindingModule(store, mirror, sealKey, load, save, key, warnings), value }
  } catch (error) {
    const reason = reasonOf(error).replaceAll('options.store', 'store')
    return refused(`does not export a store: ${reason}`, 'Correct its default export')
  }

  /** @param {string} problem @param {string} remedy */
  function refused(problem, remedy) {
    const sentence = `The store module ${path} ${problem}`.replace(/[.\s]*$/, '')
    return { native: addon.BindingModule.refused(`${sentence}. ${remedy}.`), value: undefined }
  }
}

/**
 * Node 20 reports the error of a CommonJS module, which an ES module imports, a second time: as a rejection that nobody handles. It would
 * end the process before the sentence about the module is written.
 */
function strayRejections() {
  /** @type {{ error: unknown } | undefined} */
  let known
  const listener = (/** @type {unknown} */ reason) => {
    // The import may reject only afterwards.
    setImmediate(() => {
      if (known === undefined || known.error !== reason) throw reason
    })
  }
  process.on('unhandledRejection', listener)
  return {
    end: () => process.off('unhandledRejection', listener),
    /** @param {unknown} error The process ends soon, and the rejection may come until then. */
    belongsTo: (error) => {
      known = { error }
    },
  }
}

/**
 * What went wrong, without the code of ours that the whole message ends with.
 * @param {unknown} error
 */
function reasonOf(error) {
  return words(error).replaceAll(' (INVALID_ARGUMENT)', '')
}

/** @param {string} path */
async function exported(path) {
  const module = await import(pathToFileURL(resolve(path)).href)
  const value = await module.default
  // A module that was translated to CommonJS.
  return value?.__esModule === true ? await value.default : value
}

/**
 * Waits for a module, which may wait for something that never comes.
 * @param {Promise<unknown>} loading
 */
async function inTime(loading) {
  let late = () => {}
  const timer = setTimeout(() => late(), LIMIT_MS).unref()
  try {
    return await new Promise((done, fail) => {
      late = () => fail(new Error('it does not come to an end'))
      process.once('beforeExit', late)
      loading.then(done, fail)
    })
  } finally {
    clearTimeout(timer)
    process.off('beforeExit', late)
  }
}

/**
 * Ends the process after its output, although a client of the module keeps the event loop alive.
 * @param {number} code
 */
async function end(code) {
  const busy = [process.stdout, process.stderr].filter((stream) => stream.writableLength > 0)
  await Promise.all(busy.map((stream) => new Promise((done) => stream.write('', done))))
  process.exit(code)
}

module.exports = { end, loadStoreModule }
