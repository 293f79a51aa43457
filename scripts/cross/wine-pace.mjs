// @ts-check
// What `node:test` is in `npm run test:wine`: no more than two tests of a suite run at once. Wine's server does the calls of all threads one
// after another, so that tests that run all at once wait for each other until requests time out. A test may take as long as it should at
// most, which `--test-timeout` would also apply to a whole suite. With `node --import` it takes the place of `node:test`.
import module from 'node:module'
import test from 'node:test'

// All that the tests take from it.
export { after, afterEach, before, beforeEach } from 'node:test'

const AT_ONCE = 2
/** Longer than the tests themselves wait for anything: a test that takes longer hangs. */
const LIMIT_MS = 300_000

/**
 * A function of `node:test` with other options than the caller's.
 * @template {(...args: any[]) => any} F
 * @param {F} run called with a name, options and a function, of which the options may be missing
 * @param {(options: any) => object} change
 * @returns {F}
 */
function withOptions(run, change) {
  const changed = (/** @type {any} */ name, /** @type {any[]} */ ...rest) => {
    const [options = {}] = rest.filter((arg) => typeof arg === 'object')
    return run(name, change(options), ...rest.filter((arg) => typeof arg === 'function'))
  }
  return Object.assign(/** @type {any} */ (changed), run)
}

export const describe = withOptions(test.describe, (options) => ({
  ...options,
  concurrency: options.concurrency ? AT_ONCE : 1,
}))
export const it = withOptions(test.it, (options) => ({ timeout: LIMIT_MS, ...options }))
const limited = withOptions(test, (options) => ({ timeout: LIMIT_MS, ...options }))
export { limited as default, limited as test }

// Node 22 has it, and the types are those of Node 20.
const { registerHooks } = /** @type {any} */ (module)
registerHooks({
  /** @param {string} specifier @param {{ parentURL?: string }} context @param {(specifier: string, context: object) => object} next */
  resolve: (specifier, context, next) =>
    specifier === 'node:test' && context.parentURL !== import.meta.url
      ? { url: import.meta.url, shortCircuit: true }
      : next(specifier, context),
})
