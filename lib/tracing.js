// @ts-check
'use strict'

// The tracing channel `ring-auth:refresh`. This file is read once somebody has subscribed to it.

/** @typedef {import('../binding/binding.js').BindingRefresh} BindingRefresh */

const { tracingChannel } = require('node:diagnostics_channel')
const { fromBinding } = require('./errors.js')

/** @type {any} The types of Node 20 do not know `runStores` on the channels of a tracing channel. */
const channel = tracingChannel('ring-auth:refresh')
const nothing = () => {}

/**
 * A refresh has begun. As for `tracePromise`, `end` is the end of the call that began it, and `asyncEnd` is its own.
 * @param {string} reason
 */
function begun(reason) {
  const context = { reason }
  channel.start.runStores(context, nothing)
  channel.end.publish(context)
  return context
}

/**
 * A refresh has ended.
 * @param {object | undefined} given what {@link begun} gave; undefined if nobody had subscribed then
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
