// @ts-check
'use strict'

// The class of all errors, and the conversion of errors that cross the boundary.

/** @typedef {import('../index.js').ErrorCode} ErrorCode */
/** @typedef {import('../binding/binding.js').BindingError} BindingError */

const ERROR_BRAND = Symbol.for('ring-auth.RingAuthError')

/**
 * @typedef {{ transient?: boolean, httpStatus?: number | null | undefined, retryAfterMs?: number | null | undefined, cause?: unknown }} ErrorDetails
 */
class RingAuthError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {ErrorDetails} [details]
   */
  constructor(code, message, details) {
    // Without a prototype: a field that is not given must not be read from Object.prototype.
    const { transient = false, httpStatus, retryAfterMs, cause } = Object.assign(Object.create(null), details)
    super(message, cause == null ? undefined : { cause })
    /** @readonly */
    this.code = code
    /** @readonly */
    this.transient = transient
    // Not fields of the class, because they exist only if they apply.
    if (httpStatus != null) Object.assign(this, { httpStatus })
    if (retryAfterMs != null) Object.assign(this, { retryAfterMs })
  }

  /**
   * Each plugin can have its own copy of this package: errors of all copies are instances of this class. For a subclass
   * `instanceof` has its usual meaning.
   * @override
   * @param {any} value
   */
  static [Symbol.hasInstance](value) {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that `instanceof` was asked about, which may be a subclass
    if (this !== RingAuthError) return Function.prototype[Symbol.hasInstance].call(this, value)
    return typeof value === 'object' && value !== null && value[ERROR_BRAND] === true
  }
}

Object.defineProperty(RingAuthError.prototype, 'name', { value: 'RingAuthError', writable: true, configurable: true })
Object.defineProperty(RingAuthError.prototype, ERROR_BRAND, { value: true })

/** @param {BindingError} error */
function fromBinding({ code, message, transient, httpStatus, retryAfterMs, cause }) {
  return new RingAuthError(/** @type {ErrorCode} */ (code), message, { transient, httpStatus, retryAfterMs, cause })
}

/** @param {string} message */
function invalid(message) {
  return new RingAuthError('INVALID_ARGUMENT', message)
}

/**
 * The error for a native call that threw instead of returning data, which is a bug. The original message is left out, because
 * the message of a panic can quote a secret.
 */
function internal() {
  return new RingAuthError('PROTOCOL', 'The native part of ring-auth failed without a reason. Please report this.', {
    transient: true,
  })
}

/**
 * Runs a synchronous native call.
 * @template T
 * @param {() => T} call
 * @returns {T}
 */
function guard(call) {
  try {
    return call()
  } catch {
    throw internal()
  }
}

/**
 * Handles the rejection of what a program's own function returned, if that is a promise.
 * @param {any} value
 * @param {(error: unknown) => void} onRejected
 */
function ignoreRejection(value, onRejected) {
  if (value !== null && typeof value === 'object' && typeof value.then === 'function') {
    Promise.resolve(value).then(undefined, onRejected)
  }
}

module.exports = { RingAuthError, fromBinding, guard, ignoreRejection, internal, invalid }
