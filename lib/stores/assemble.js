// @ts-check
'use strict'

/** @typedef {import('./index.js').SharedStore} SharedStore */

/**
 * A shared store as the manager takes it. `remove` is for `checkStore` alone, which cleans up with it: it is not listed among the
 * properties, so that a copy of the store does not have it, and the manager does not see it.
 * @param {SharedStore} store
 * @param {(version: string) => Promise<void>} remove
 * @returns {SharedStore}
 */
function assemble(store, remove) {
  return Object.defineProperty(store, 'remove', { value: remove })
}

module.exports = { assemble }
