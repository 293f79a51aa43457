// @ts-check
'use strict'

/** @typedef {import('./index.js').SharedStore} SharedStore */

/**
 * Adds the method `remove` to a shared store. `checkStore` uses it to clean up. The method is not enumerable, so that a copy of the store
 * does not have it, and the manager does not take it for an unknown option.
 * @param {SharedStore} store
 * @param {(version: string) => Promise<void>} remove
 * @returns {SharedStore}
 */
function assemble(store, remove) {
  return Object.defineProperty(store, 'remove', { value: remove })
}

module.exports = { assemble }
