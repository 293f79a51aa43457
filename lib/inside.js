// @ts-check
'use strict'

// Which functions of the program run now, so that a call of a manager from inside a function that it waits for is recognised.

const { AsyncLocalStorage } = require('node:async_hooks')

/**
 * A call of a function.
 * @typedef {{ owner: object, isRunning: boolean, outer: Scope | undefined }} Scope
 */

/**
 * One for all managers. Before Node 24, each `AsyncLocalStorage` adds a property to every promise of the process: with one for each of
 * a thousand managers, every promise has a thousand.
 * @type {AsyncLocalStorage<Scope>}
 */
const scopes = new AsyncLocalStorage()

/**
 * The calls that have not ended. Nothing else holds a promise that never settles. If it were collected, the core would assume that
 * the end of the program had cut the call off, and call again.
 * @type {Set<Promise<unknown>>}
 */
const unended = new Set()

/**
 * Calls a function of the program. Until it has ended, `isInside` knows what is called from inside it.
 * @template T
 * @param {object} owner the one that the function belongs to
 * @param {() => T} call
 * @returns {Promise<Awaited<T>>}
 */
async function callInside(owner, call) {
  const scope = { owner, isRunning: true, outer: running(scopes.getStore()) }
  const called = scopes.run(scope, async () => call())
  unended.add(called)
  try {
    return await called
  } finally {
    unended.delete(called)
    scope.isRunning = false
  }
}

/**
 * Whether this code was called from inside a function of the owner that still runs.
 * @param {object} owner
 */
function isInside(owner) {
  for (let scope = running(scopes.getStore()); scope; scope = running(scope.outer)) {
    if (scope.owner === owner) return true
  }
  return false
}

/** The innermost call that still runs. @param {Scope | undefined} scope */
function running(scope) {
  while (scope && !scope.isRunning) scope = scope.outer
  return scope
}

module.exports = { callInside, isInside }
