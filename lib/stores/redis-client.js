// @ts-check
'use strict'

// Recognises the client of Redis by its methods, and sends commands with it. Also converts the replies of all clients.

const { kindOf } = require('../checks.js')
const { invalid } = require('../errors.js')

/** @typedef {(args: string[]) => Promise<unknown>} Send */

const WANTED = 'a client of ioredis, a client of the package redis, or a function (...args) => reply'

/**
 * Returns a function that sends a command to the server that has a key, even if the command does not name the key.
 * @param {any} client
 * @param {string} key
 * @returns {Send}
 */
function sender(client, key) {
  if (typeof client === 'function') return async (args) => client(...args)
  if (typeof client !== 'object' || client === null) {
    throw invalid(`The client of Redis must be ${WANTED}, got ${kindOf(client)}`)
  }
  const has = (/** @type {string} */ method) => typeof client[method] === 'function'
  // A cluster of ioredis sends a command without a key to any server. In a pipeline, the command goes to the server of the other command.
  if (has('call') && has('nodes') && has('pipeline')) {
    return async ([command = '', ...args]) => {
      if (args.includes(key)) return client.call(command, ...args)
      const [, answer] = await client
        .pipeline([
          ['exists', key],
          [command, ...args],
        ])
        .exec()
      const [error, reply] = answer
      if (error) throw error
      return reply
    }
  }
  if (has('call')) return async ([command, ...args]) => client.call(command, ...args)
  // The package redis: a cluster takes the key as an argument, a sentinel does not.
  if (has('sendCommand') && has('nodeClient')) return async (args) => client.sendCommand(key, false, args)
  if (has('sendCommand') && has('acquire')) return async (args) => client.sendCommand(false, args)
  if (has('sendCommand')) return async (args) => client.sendCommand(args)
  throw invalid(`The client of Redis must be ${WANTED}, got an object without call or sendCommand`)
}

/**
 * Converts a reply to text. Returns null if the reply is empty.
 * @param {unknown} reply
 * @returns {string | null}
 */
function textOf(reply) {
  if (reply === null || reply === undefined || reply === false) return null
  if (typeof reply === 'string') return reply
  if (typeof reply === 'number' || typeof reply === 'bigint') return String(reply)
  if (reply instanceof Uint8Array) return Buffer.from(reply).toString('utf8')
  throw new Error(`Redis answered with ${kindOf(reply)}, not with text`)
}

/**
 * Checks that a reply is a list.
 * @param {unknown} reply
 * @returns {unknown[]}
 */
function listOf(reply) {
  if (Array.isArray(reply)) return reply
  throw new Error(`Redis answered with ${kindOf(reply)}, not with a list`)
}

/**
 * Converts a reply of names and values to a map. The reply is a list in version 2 of the protocol, and a map or an object in version 3.
 * @param {unknown} reply
 * @returns {Map<string, string>}
 */
function mapOf(reply) {
  /** @type {Map<string, string>} */
  const found = new Map()
  const add = (/** @type {unknown} */ key, /** @type {unknown} */ value) =>
    found.set(String(textOf(key)), textOf(value) ?? '')
  if (Array.isArray(reply)) for (let i = 0; i + 1 < reply.length; i += 2) add(reply[i], reply[i + 1])
  else if (reply instanceof Map) for (const [key, value] of reply) add(key, value)
  else if (typeof reply === 'object' && reply !== null)
    for (const [key, value] of Object.entries(reply)) add(key, value)
  else throw new Error(`Redis answered with ${kindOf(reply)}, not with names and values`)
  return found
}

module.exports = { listOf, mapOf, sender, textOf }
