// @ts-check
// A record of all requests. A stress run makes a hundred thousand, so header strings are shared, and derived values are
// computed when they are read.
import { parseBody } from './answers.mjs'

/** @type {Map<string, string>} */
const shared = new Map()

/** @param {string} text */
function share(text) {
  if (text.length > 200) return text
  const known = shared.get(text)
  if (known !== undefined) return known
  if (shared.size > 5000) shared.clear()
  shared.set(text, text)
  return text
}

export class RecordedRequest {
  /** The status answered; undefined while it is not, 0 when the connection was cut instead. @type {number | undefined} */
  status = undefined

  /**
   * @param {number} n
   * @param {number} at
   * @param {import('./answers.mjs').Incoming} request
   * @param {string[]} rawHeaders
   */
  constructor(n, at, request, rawHeaders) {
    this.n = n
    this.at = at
    this.method = share(request.method)
    this.path = share(request.path)
    this.search = share(request.search)
    this.rawHeaders = rawHeaders.map(share)
    this.body = request.body
    this.hadReusedConnection = request.reused
    const { grant_type: grant } = request.parsed.form
    /** @type {string | undefined} */
    this.grant = typeof grant === 'string' ? share(grant) : undefined
  }

  /** @returns {Record<string, string>} */
  get query() {
    return Object.fromEntries(new URLSearchParams(this.search))
  }

  /** Lower-case names. @returns {Record<string, string>} */
  get headers() {
    /** @type {Record<string, string>} */
    const headers = {}
    for (let i = 0; i + 1 < this.rawHeaders.length; i += 2) {
      const name = (this.rawHeaders[i] ?? '').toLowerCase()
      const value = this.rawHeaders[i + 1] ?? ''
      headers[name] = Object.hasOwn(headers, name)
        ? `${headers[name]}${name === 'cookie' ? '; ' : ', '}${value}`
        : value
    }
    return headers
  }

  /** The decoded fields, of a form or of JSON. @returns {Record<string, any>} */
  get form() {
    return parseBody(this.headers['content-type'], this.body).form
  }

  toJSON() {
    return { ...this, query: this.query, headers: this.headers, form: this.form }
  }
}

export class Recorder {
  /** @type {RecordedRequest[]} */
  #all = []
  /** @type {RecordedRequest[]} */
  #token = []
  #n = 0
  #settings

  /** @param {import('./settings.mjs').Settings} settings */
  constructor(settings) {
    this.#settings = settings
  }

  /** @param {import('./answers.mjs').Incoming} request @param {string[]} rawHeaders */
  add(request, rawHeaders) {
    const record = new RecordedRequest(++this.#n, this.#settings.now(), request, rawHeaders)
    for (const list of request.path === '/oauth/token' ? [this.#all, this.#token] : [this.#all]) {
      list.push(record)
      // In batches: removing the first of a long array each time is not free.
      if (list.length > this.#settings.maxRecorded * 1.25) this.#trim(list)
    }
    return record
  }

  get all() {
    return this.#trim(this.#all)
  }

  get token() {
    return this.#trim(this.#token)
  }

  clear() {
    this.#all = []
    this.#token = []
  }

  /** @param {RecordedRequest[]} list */
  #trim(list) {
    if (list.length > this.#settings.maxRecorded) list.splice(0, list.length - this.#settings.maxRecorded)
    return list
  }
}
