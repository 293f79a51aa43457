// @ts-check
'use strict'

// The options of a manager and of its calls.

/** @typedef {import('../index.js').LogEntry} LogEntry */
/** @typedef {import('../binding/binding.js').BindingOptions} BindingOptions */
/** @typedef {InstanceType<typeof import('./custom-store.js').CustomStore>} CustomStore */

const { aborted, isAbortSignal } = require('./abort.js')
const { isGiven, nonEmpty, optionalTokenText, properties, refuseUnknown, wrongType } = require('./checks.js')
const { storeOption } = require('./custom-store.js')
const { invalid } = require('./errors.js')

const MAX_TIMEOUT_MS = 2 ** 31 - 1
const MANAGER_OPTIONS = [
  'refreshToken',
  'store',
  'systemId',
  'controlCenterDisplayName',
  'loginFlow',
  'userAgent',
  'oauthUrl',
  'apiUrl',
  'requestTimeoutMs',
  'autoRefresh',
  'logger',
]
/** For the drop-in: a text that cannot be a token is refused by the first call, and not by the constructor. */
const REFUSES_AT_CALLS = Symbol('refusesAtCalls')
const LOGGER = 'a function, or an object with the methods error, warn and info'
/** The methods that a logger object must have. `debug` may be absent. */
const LOG_METHODS = ['error', 'warn', 'info']
const LOGIN_FLOWS = ['auto', 'pkce', 'password']

/**
 * @param {unknown} options
 * @returns {{ native: BindingOptions, custom: import('./custom-store.js').Functions | undefined, logger: ((entry: LogEntry) => unknown) | undefined }}
 */
function managerOptions(options) {
  const given = properties('options', options === undefined ? {} : options, MANAGER_OPTIONS)
  refuseUnknown('options', given, MANAGER_OPTIONS)
  // The native part reads each field, and would read an absent one from a prototype.
  /** @type {BindingOptions} */
  const native = Object.create(null)

  if (given.refreshToken !== undefined) {
    native.refreshToken = optionalTokenText('options.refreshToken', given.refreshToken)
  }
  if (/** @type {any} */ (given)[REFUSES_AT_CALLS] === true) native.refusesAtCalls = true
  const { store, mirror, sealKey, custom } = storeOption(given.store)
  if (store !== undefined) native.store = store
  if (mirror !== undefined) native.mirror = mirror
  if (sealKey !== undefined) native.sealKey = sealKey
  for (const key of /** @type {const} */ ([
    'systemId',
    'controlCenterDisplayName',
    'userAgent',
    'oauthUrl',
    'apiUrl',
  ])) {
    if (given[key] !== undefined) native[key] = nonEmpty(`options.${key}`, given[key])
  }
  const { loginFlow, requestTimeoutMs, autoRefresh, logger } = given
  if (loginFlow !== undefined) {
    if (typeof loginFlow !== 'string') throw wrongType('options.loginFlow', '"auto", "pkce" or "password"', loginFlow)
    if (!LOGIN_FLOWS.includes(loginFlow)) throw invalid('options.loginFlow must be "auto", "pkce" or "password"')
    native.loginFlow = loginFlow
  }
  if (requestTimeoutMs !== undefined) {
    if (typeof requestTimeoutMs !== 'number') throw wrongType('options.requestTimeoutMs', 'a number', requestTimeoutMs)
    // In this form NaN is refused too.
    if (!(requestTimeoutMs >= 1 && requestTimeoutMs <= MAX_TIMEOUT_MS)) {
      throw invalid(`options.requestTimeoutMs must be from 1 to ${MAX_TIMEOUT_MS} milliseconds`)
    }
    native.requestTimeoutMs = Math.floor(requestTimeoutMs)
  }
  if (autoRefresh !== undefined) {
    if (typeof autoRefresh !== 'boolean') throw wrongType('options.autoRefresh', 'a boolean', autoRefresh)
    native.autoRefresh = autoRefresh
  }
  return { native, custom, logger: logger === undefined ? undefined : loggerFunction(logger) }
}

/**
 * A function that passes each message to the given logger. A value with the methods `error`, `warn` and `info` is used through its
 * methods, even if it can be called itself, as Homebridge's `log` can.
 * @param {unknown} logger
 * @returns {(entry: LogEntry) => unknown}
 */
function loggerFunction(logger) {
  if ((typeof logger !== 'object' && typeof logger !== 'function') || logger === null) {
    throw wrongType('options.logger', LOGGER, logger)
  }
  const target = /** @type {Record<string, any>} */ (logger)
  let missing
  try {
    missing = LOG_METHODS.find((name) => !isGiven(target, name) || typeof target[name] !== 'function')
  } catch {
    throw invalid('options.logger cannot be read: one of its properties threw an error')
  }
  if (missing === undefined) {
    // The method is looked up for each message: pino replaces its methods when its level changes. The caller catches errors.
    return ({ level, message }) => (isGiven(target, level) ? target[level]?.(message) : undefined)
  }
  if (typeof logger === 'function') return /** @type {(entry: LogEntry) => unknown} */ (logger)
  throw invalid(`options.logger must be ${LOGGER}; it has no method ${missing}`)
}

/**
 * Checks the options of one call. Throws `ABORTED` if its signal is already aborted.
 * @param {unknown} options
 * @param {string[]} known
 * @returns {{ force: boolean, signal: AbortSignal | undefined }}
 */
function callOptions(options, known) {
  if (options === undefined) return { force: false, signal: undefined }
  const given = properties('options', options, known)
  refuseUnknown('options', given, known)
  const { force = false, signal } = given
  if (typeof force !== 'boolean') throw wrongType('options.force', 'a boolean', force)
  if (signal === undefined) return { force, signal }
  if (!isAbortSignal(signal)) throw wrongType('options.signal', 'an AbortSignal', signal)
  if (signal.aborted) throw aborted(signal)
  return { force, signal }
}

module.exports = { MANAGER_OPTIONS, REFUSES_AT_CALLS, callOptions, managerOptions }
