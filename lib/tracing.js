// @ts-check
'use strict'

// The tracing channel `ring-auth:refresh`. This file is read when the first subscriber exists.

/** @typedef {import('../binding/binding.js').BindingRefresh} BindingRefresh */

const { tracingChannel } = require('node:diagnostics_channel')
const { fromBinding } = require('./errors.js')

/** @type {any} The types of Node 20 do not know `runStores` on the channels of a tracing channel. */
const channel = tracingChannel('ring-auth:refresh')
const nothing = () => {}

/**
 * Publishes the beginning of a refresh. As with `tracePromise`, `end` is the end of the call that began it, and `asyncEnd` is the
 * end of the refresh.
 * @param {string} reason
 */
function begun(reason) {
  const context = { reason }
  channel.start.runStores(context, nothing)
  channel.end.publish(context)
  return context
}

/**
 * Publishes the end of a refresh.
 * @param {object | undefined} given The result of {@link begun}; undefined if there was no subscriber then.
 * @param {BindingRefresh} refresh
 */
function ended(given, { reason, requests, adopted, durationMs, error }) {
  const context = given ?? begun(reason)
  Object.assign(context, { requests, adopted, durationMs })
  if (error != null) {
    Object.assign(context, { code: error.code, error: fromBinding(error) })
    channel.error.publish(context)
  }
  channel.asyncStart.runStores(context, nothing)
  channel.asyncEnd.publish(context)
}

module.exports = { begun, ended }
