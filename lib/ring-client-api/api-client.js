// @ts-check
'use strict'

// Requests to Ring's API in the form of ring-client-api, over the native core. rest-client.js and attach.js share this file.

const { ABORTED, aborted, isAbortSignal, orAborted } = require('../abort.js')
const { pick, properties, wrongType } = require('../checks.js')
const { RingAuthError, fromBinding, internal, invalid } = require('../errors.js')
const { INTERNALS } = require('../manager.js')

/** @typedef {import('../../binding/binding.js').BindingApiAnswer} BindingApiAnswer */
/** @typedef {import('../../binding/binding.js').BindingApi} BindingApi */
/** @typedef {import('../../binding/binding.js').BindingReply} BindingReply */
/** @typedef {import('../manager.js').Internals} Internals */
/** @typedef {import('../../index.js').Auth} Auth */

const DAY_S = 24 * 60 * 60
const MAX_TIMEOUT_MS = 2 ** 31 - 1
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD']
const REQUEST_OPTIONS = [
  'url',
  'method',
  'headers',
  'json',
  'body',
  'timeout',
  'redirect',
  'allowNoResponse',
  'responseType',
  'signal',
]

/** The errors of requests that were sent with an access token. @type {WeakSet<object>} */
const ofTheApi = new WeakSet()

/**
 * The part of a manager that is not public. The manager may be one of another copy of this package.
 * @param {any} manager
 * @returns {Internals}
 */
function internalsOf(manager) {
  const internals = typeof manager === 'object' && manager !== null ? manager[INTERNALS] : undefined
  if (typeof internals !== 'function') throw wrongType('manager', 'a RingTokenManager of this version', manager)
  return internals.call(manager)
}

class ApiClient {
  /** @type {BindingApi} */
  #api
  /** @type {Internals} */
  #internals

  /**
   * @param {Internals} internals
   * @param {string} deviceName The name of this device in a session.
   * @param {(session: any) => void} onSession
   */
  constructor(internals, deviceName, onSession) {
    this.#internals = internals
    this.#api = internals.openApi(deviceName, (answer) => onSession(toData(answer, 'json')))
  }

  /** @param {unknown} options */
  async request(options) {
    this.#internals.refuseInside()
    const given = properties('options', options, REQUEST_OPTIONS)
    const { signal, responseType } = given
    if (responseType !== undefined && responseType !== 'json' && responseType !== 'buffer') {
      throw invalid('options.responseType must be "json" or "buffer"')
    }
    if (signal == null) return toData(finished(await this.#send(await toCall(given))), responseType)
    if (!isAbortSignal(signal)) throw wrongType('options.signal', 'an AbortSignal', signal)
    if (signal.aborted) throw aborted(signal)
    const call = await orAborted(toCall(given), signal)
    if (call === ABORTED || signal.aborted) throw aborted(signal)
    const request = this.#begin(/** @type {import('../../binding/binding.js').BindingCall} */ (call))
    const reply = await orAborted(answered(request), signal)
    if (reply === ABORTED) {
      request.abort()
      throw aborted(signal)
    }
    return toData(finished(/** @type {BindingReply} */ (reply)), responseType)
  }

  async getSession() {
    this.#internals.refuseInside()
    let reply
    try {
      reply = await this.#api.session()
    } catch {
      throw internal()
    }
    return toData(finished(reply), 'json')
  }

  /** Stops the renewal of the session; a request that waits for its next try rejects with `ABORTED`. */
  clear() {
    this.#api.clear()
  }

  close() {
    this.#api.close()
  }

  /** @param {import('../../binding/binding.js').BindingCall} call */
  #send(call) {
    return answered(this.#begin(call))
  }

  /** @param {import('../../binding/binding.js').BindingCall} call */
  #begin(call) {
    try {
      return this.#api.begin(call)
    } catch {
      throw internal()
    }
  }
}

/** @param {import('../../binding/binding.js').BindingRequest} request */
async function answered(request) {
  try {
    return await request.reply()
  } catch {
    throw internal()
  }
}

/**
 * @param {Record<string, unknown>} given
 * @returns {Promise<import('../../binding/binding.js').BindingCall>}
 */
async function toCall(given) {
  const { url, json, body, timeout, redirect, allowNoResponse } = given
  if (typeof url !== 'string' && !(url instanceof URL)) throw wrongType('options.url', 'a string', url)
  const { method: name = 'GET' } = given
  if (typeof name !== 'string') throw wrongType('options.method', 'a string', name)
  const method = name.toUpperCase()
  if (!METHODS.includes(method)) throw invalid(`options.method must be one of ${METHODS.join(', ')}`)
  let headers
  try {
    headers = new Headers(/** @type {any} */ (given.headers ?? {}))
  } catch {
    throw invalid('options.headers has a name or a value that no header can have')
  }
  /** @type {Buffer | undefined} */
  let bytes
  if (json || given.responseType === 'json') {
    headers.set('content-type', 'application/json')
    headers.set('accept', 'application/json')
  } else if (!headers.has('accept')) {
    headers.set('accept', '*/*')
  }
  if (json) {
    bytes = Buffer.from(toJson(json))
  } else if (body != null) {
    // Any body that fetch takes, with the content type that fetch gives it.
    try {
      const wrapped = new Response(/** @type {any} */ (body))
      const type = wrapped.headers.get('content-type')
      if (type !== null && !headers.has('content-type')) headers.set('content-type', type)
      bytes = Buffer.from(await wrapped.arrayBuffer())
    } catch {
      throw invalid(
        'options.body cannot be read: it is nothing that fetch takes, or a stream that fails or was read already',
      )
    }
  }
  if (bytes !== undefined && (method === 'GET' || method === 'HEAD')) {
    throw invalid(`options: a ${method} request cannot have a body`)
  }
  /** @type {import('../../binding/binding.js').BindingCall} */
  const call = Object.assign(Object.create(null), {
    url: String(url),
    method,
    headers: [...headers].map(([name, value]) => ({ name, value })),
    allowNoResponse: Boolean(allowNoResponse),
    followRedirects: redirect === undefined || redirect === 'follow',
  })
  if (bytes !== undefined) call.body = bytes
  if (timeout) {
    if (typeof timeout !== 'number' || !(timeout >= 1 && timeout <= MAX_TIMEOUT_MS)) {
      throw invalid(`options.timeout must be from 1 to ${MAX_TIMEOUT_MS} milliseconds`)
    }
    call.timeoutMs = Math.floor(timeout)
  }
  return call
}

/** @param {unknown} value */
function toJson(value) {
  let text
  try {
    text = JSON.stringify(value)
  } catch {
    throw invalid('options.json cannot be written as JSON: it has a cycle, a BigInt or a toJSON that fails')
  }
  if (typeof text !== 'string') throw invalid('options.json cannot be written as JSON')
  return text
}

/**
 * Returns the answer of a request, or throws its error. The error has the answer as `response`, as in ring-client-api. The property
 * is not enumerable, so that a printed error does not show the answer, which can contain anything.
 * @param {BindingReply} reply
 * @returns {BindingApiAnswer}
 */
function finished({ error, answer, noToken }) {
  if (error != null) {
    const failure = fromBinding(error)
    if (!noToken) ofTheApi.add(failure)
    if (answer != null) {
      const { status, body } = answer
      const value = { status, headers: toHeaders(answer), body: parsed(body) }
      Object.defineProperty(failure, 'response', { value, writable: true, configurable: true })
    }
    throw failure
  }
  if (answer == null) throw internal()
  return answer
}

/**
 * Whether an error is one of the API and not of the login: the request was sent with an access token.
 * @param {any} error
 */
function isOfTheApi(error) {
  return ofTheApi.has(error)
}

/**
 * @param {BindingApiAnswer} answer
 * @param {unknown} responseType
 */
function toData(answer, responseType) {
  const data = responseType === 'buffer' ? answer.body : parsed(answer.body)
  if (data !== null && typeof data === 'object') {
    const headers = toHeaders(answer)
    const date = headers.get('date')
    if (date) data.responseTimestamp = new Date(date).getTime()
    const time = headers.get('x-time-millis')
    if (time) data.timeMillis = Number(time)
  }
  return data
}

/** @param {BindingApiAnswer} answer */
function toHeaders({ headers }) {
  const all = new Headers()
  for (const { name, value } of headers) {
    try {
      all.append(name, value)
    } catch {
      // A header that `Headers` refuses is left out.
    }
  }
  return all
}

/** @param {Buffer} body */
function parsed(body) {
  const text = new TextDecoder().decode(body)
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/**
 * An access token with the field names of the wire, as in ring-client-api.
 * @param {Auth} auth
 */
function toWire({ accessToken, expiresAt, refreshToken, scope, tokenType }) {
  const left = Math.ceil((expiresAt - Date.now()) / 1000)
  return {
    access_token: accessToken,
    // The longest lifetime is a day. If more is left, one of the clocks is wrong.
    expires_in: Math.min(Math.max(left, 0), DAY_S),
    refresh_token: refreshToken,
    scope,
    token_type: tokenType,
  }
}

/**
 * The content of a wrapped token; `undefined` for a raw one.
 * @param {string | null | undefined} token
 * @returns {any}
 */
function unwrapped(token) {
  try {
    const value = JSON.parse(Buffer.from(String(token), 'base64').toString())
    return typeof value === 'object' && typeof pick(value, ['rt']).rt === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * Reports each newer token to subscribers, each with the token that they know as the old one. The manager's own events come a moment
 * after the call that caused them. As in ring-client-api, a program gets a token before the result that came with it.
 */
class Announcer {
  /** @type {any} */
  #manager
  /** @type {(update: { oldRefreshToken?: string, newRefreshToken: string }) => void} */
  #emit
  /** The newest token that the subscribers know, as they know it and as the manager shows it. */
  /** @type {string | undefined} */
  #shown
  /** @type {string | undefined} */
  #known

  /**
   * @param {any} manager
   * @param {string | undefined} given The token with which the program has begun.
   * @param {(update: { oldRefreshToken?: string, newRefreshToken: string }) => void} emit
   */
  constructor(manager, given, emit) {
    this.#manager = manager
    this.#emit = emit
    this.knows(given)
  }

  /** Records a token that the subscribers already know. @param {string | undefined} token */
  knows(token) {
    const newest = this.#manager.refreshToken ?? undefined
    this.#shown = token ?? newest
    this.#known = token === undefined || inner(token) === inner(newest) ? newest : token
  }

  /** Reports the manager's newest token, if the subscribers do not know it. */
  news() {
    const newest = this.#manager.refreshToken
    if (newest === null || newest === this.#known) return
    const update =
      this.#shown === undefined
        ? { newRefreshToken: newest }
        : { oldRefreshToken: this.#shown, newRefreshToken: newest }
    this.#shown = this.#known = newest
    this.#emit(update)
  }

  /**
   * The token as the program knows it: in its given form, until there is a newer one.
   * @returns {string | undefined}
   */
  get shown() {
    const newest = this.#manager.refreshToken ?? undefined
    return newest === this.#known ? this.#shown : newest
  }

  /**
   * The result of a call, after the subscribers have got the token that came with it.
   * @template T
   * @param {Promise<T>} call
   * @returns {Promise<T>}
   */
  async after(call) {
    try {
      return await call
    } finally {
      this.news()
    }
  }
}

/** @param {string | undefined} token */
function inner(token) {
  const wrapper = unwrapped(token)
  return wrapper === undefined ? token : wrapper.rt
}

/**
 * Push credentials as a property. A new value can be read at once, and is in the token as soon as the token is stored.
 */
class PushCredentials {
  /** @type {any} */
  #manager
  /** @type {(level: 'warn', message: string) => void} */
  #log
  /** @type {{ value: unknown } | undefined} */
  #pending

  /**
   * @param {any} manager
   * @param {Internals} internals
   */
  constructor(manager, internals) {
    this.#manager = manager
    this.#log = internals.log
  }

  get value() {
    if (this.#pending !== undefined) return this.#pending.value
    const wrapper = unwrapped(this.#manager.refreshToken)
    return wrapper === undefined ? undefined : pick(wrapper, ['pnc'])['pnc']
  }

  /** @param {any} value */
  set value(value) {
    if (this.#manager.refreshToken === null) {
      throw new RingAuthError('NO_REFRESH_TOKEN', 'Cannot set push notification credentials without a refresh token')
    }
    const pending = { value }
    this.#pending = pending
    this.#manager.setPushCredentials(value ?? null).then(
      () => this.#forget(pending),
      (/** @type {any} */ error) => {
        this.#forget(pending)
        this.#log('warn', `The push credentials could not be kept: ${error.message}`)
      },
    )
  }

  /** @param {{ value: unknown }} pending */
  #forget(pending) {
    if (this.#pending === pending) this.#pending = undefined
  }
}

module.exports = { Announcer, ApiClient, PushCredentials, internalsOf, isOfTheApi, toWire, unwrapped }
