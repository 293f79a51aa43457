// @ts-check
'use strict'

// AbortSignal. It is handled here and not in the native part, whose calls continue after an abort.

const { RingAuthError } = require('./errors.js')

const ABORTED = Symbol('aborted')

/**
 * @param {any} value
 * @returns {value is AbortSignal}
 */
function isAbortSignal(value) {
  try {
    return (
      typeof value === 'object' &&
      typeof value.aborted === 'boolean' &&
      typeof value.addEventListener === 'function' &&
      typeof value.removeEventListener === 'function'
    )
  } catch {
    return false
  }
}

/** @param {AbortSignal} signal */
function aborted(signal) {
  return new RingAuthError('ABORTED', 'The call was aborted by its signal', { cause: signal.reason })
}

/**
 * The calls that wait for each signal. One listener serves all of them: Node warns about a leak from the eleventh listener on.
 * @type {WeakMap<AbortSignal, { waiting: Set<() => void>, listener: () => void }>}
 */
const signals = new WeakMap()

/**
 * @param {AbortSignal} signal
 * @param {() => void} callback
 * @returns {() => void} Removes the callback.
 */
function onAbort(signal, callback) {
  let entry = signals.get(signal)
  if (entry === undefined) {
    /** @type {Set<() => void>} */
    const waiting = new Set()
    const listener = () => {
      for (const waiter of [...waiting]) waiter()
    }
    signal.addEventListener('abort', listener)
    entry = { waiting, listener }
    signals.set(signal, entry)
  }
  const { waiting, listener } = entry
  waiting.add(callback)
  return () => {
    if (!waiting.delete(callback) || waiting.size > 0) return
    signals.delete(signal)
    signal.removeEventListener('abort', listener)
  }
}

/**
 * The result of a native call, or `ABORTED` as soon as the signal is aborted. The native call then continues, and its result
 * is dropped.
 * @template T
 * @param {Promise<T>} call
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T | typeof ABORTED>}
 */
function orAborted(call, signal) {
  if (signal === undefined) return call
  return new Promise((resolve, reject) => {
    let done = () => {}
    // This comes first, so that a failure of the call is handled even if `onAbort` throws for a signal of another library.
    call.then(
      (value) => {
        done()
        resolve(value)
      },
      (error) => {
        done()
        reject(error)
      },
    )
    done = onAbort(signal, () => {
      done()
      resolve(ABORTED)
    })
  })
}

module.exports = { ABORTED, aborted, isAbortSignal, orAborted }
