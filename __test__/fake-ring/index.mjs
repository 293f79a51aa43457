// @ts-check
// A Ring that exists only on this machine, with all that is known about Ring's authentication, as strict as that is known. See README.md.
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { isIP } from 'node:net'
import { Accounts } from './accounts.mjs'
import { edgeRefusal, html, json, parseBody } from './answers.mjs'
import { Api, isApiPath } from './api.mjs'
import { control } from './control.mjs'
import { Faults } from './faults.mjs'
import { TokenEndpoint } from './oauth-token.mjs'
import { Recorder } from './recorder.mjs'
import { defaultAccounts, defaultSettings, mergeSettings } from './settings.mjs'
import { WebFlow } from './web-flow.mjs'
import { deliver } from './wire.mjs'

/** @typedef {import('./settings.mjs').Settings} Settings */
/** @typedef {import('./settings.mjs').AccountInput} AccountInput */
/** @typedef {import('./faults.mjs').FaultSpec} FaultSpec */
/** @typedef {import('./answers.mjs').Incoming} Incoming */
/** @typedef {import('./answers.mjs').Answer} Answer */
/** @typedef {import('node:net').Socket} Socket */

/**
 * @typedef {object} ServerOptions
 * @property {string} [host] a loopback address
 * @property {number} [port]
 * @property {{key: string | Buffer, cert: string | Buffer}} [tls]
 * @property {AccountInput[]} [accounts]
 * @property {(email: string, code: string) => void} [onCode]
 */

/** @typedef {ServerOptions & Partial<Settings> & {tokenPrefix?: string}} FakeRingOptions */

const MAX_BODY = 1024 * 1024

function zeroCounts() {
  return {
    tokenPosts: 0,
    refreshes: 0,
    rotations: 0,
    stalePresentations: 0,
    graceUses: 0,
    codesSent: 0,
    maxConcurrentRefreshes: 0,
    invalidGrants: 0,
  }
}

/** @param {string} host */
function isLoopback(host) {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

export class FakeRing {
  settings = defaultSettings()
  counts = zeroCounts()
  /** Mistakes of the fake itself; a test may assert that there are none. @type {unknown[]} */
  internalErrors = []
  accounts
  /** Origins, set by start(). */
  oauthUrl = ''
  apiUrl = ''

  #api
  #web
  #token
  #faults = new Faults()
  #recorder
  #server
  #secure
  /** @type {Set<Socket>} */
  #sockets = new Set()
  /** @type {WeakSet<Socket>} */
  #usedSockets = new WeakSet()
  /** @type {Set<NodeJS.Timeout>} */
  #timers = new Set()
  #refreshesInFlight = 0
  #unref = false
  /** @type {Promise<void> | undefined} */
  #closed

  /** @param {FakeRingOptions} [options] */
  static async start(options = {}) {
    const ring = new FakeRing(options)
    await ring.#listen(options.host ?? '127.0.0.1', options.port ?? 0)
    return ring
  }

  /** Not listening yet: use FakeRing.start(). @param {FakeRingOptions} options */
  constructor(options) {
    const { host = '127.0.0.1', port: _port, tls, accounts, onCode, ...settings } = options
    if (!isLoopback(host)) throw new TypeError(`fake ring: listens on loopback only, not on ${host}`)
    mergeSettings(this.settings, settings)
    this.accounts = new Accounts(this.settings, this.counts, accounts ?? defaultAccounts(), onCode ?? (() => {}))
    this.#api = new Api(this.settings, this.accounts)
    this.#web = new WebFlow(this.settings, this.accounts)
    this.#token = new TokenEndpoint(this.settings, this.accounts, this.#web)
    this.#recorder = new Recorder(this.settings)
    this.#secure = tls !== undefined
    /** @type {import('node:http').RequestListener} */
    const listener = (req, res) => this.#receive(req, res)
    this.#server = tls ? createHttpsServer({ key: tls.key, cert: tls.cert }, listener) : createHttpServer(listener)
    // A test that is paused in a debugger, or dribbles, is not an attack.
    this.#server.requestTimeout = 0
    this.#server.on('connection', (/** @type {Socket} */ socket) => {
      this.#sockets.add(socket)
      if (this.#unref) socket.unref()
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('clientError', (_error, /** @type {import('node:stream').Duplex} */ socket) => socket.destroy())
  }

  // ---- for the test

  /** The code last sent, or the one an authenticator app shows now. @param {string} [email] */
  codeFor(email) {
    return this.accounts.codeFor(this.accounts.get(email))
  }

  /** The address in the QR code of an authenticator's set-up, with its secret. @param {string} [email] */
  totpAddress(email) {
    return this.accounts.totpAddress(this.accounts.get(email))
  }

  get codesSent() {
    return this.counts.codesSent
  }

  /** @param {string} email */
  codesSentTo(email) {
    return this.accounts.get(email).codesSent
  }

  /** A refresh token of a new family. @param {string} [email] @param {{hardwareId?: string | undefined}} [how] */
  mint(email, how = {}) {
    return this.accounts.login(this.accounts.get(email), how.hardwareId).refreshToken
  }

  /** A refresh token of a new family, with its access token. @param {string} [email] @param {{hardwareId?: string | undefined}} [how] */
  mintPair(email, how = {}) {
    return this.accounts.login(this.accounts.get(email), how.hardwareId)
  }

  /** @param {string} raw */
  isLive(raw) {
    return this.accounts.inspect(raw).live
  }

  /** @param {string} raw */
  inspect(raw) {
    return this.accounts.inspect(raw)
  }

  /** The refresh token minted last for this account, dead or alive. @param {string} [email] */
  newest(email) {
    return this.accounts.get(email).newest
  }

  /** @param {string} raw */
  isAccessLive(raw) {
    return this.accounts.access(raw) !== undefined
  }

  expireAccessTokens() {
    this.accounts.expireAccess()
  }

  /** @param {string} raw @returns {boolean} whether it was one */
  revokeAccessToken(raw) {
    return this.accounts.revokeAccess(raw)
  }

  /** @param {string} [email] */
  revokeAll(email) {
    this.accounts.revokeAll(this.accounts.get(email))
  }

  /** Changes the password as a user does: every token dies. @param {string} email @param {string} password */
  changePassword(email, password) {
    const account = this.accounts.get(email)
    account.password = password
    this.accounts.revokeAll(account)
  }

  /** By hardware id. */
  get sessions() {
    return this.#api.sessions
  }

  /** The last data that a device has registered for push notifications. */
  get pushRegistration() {
    return this.#api.pushRegistration
  }

  get requests() {
    return this.#recorder.all
  }

  get tokenRequests() {
    return this.#recorder.token
  }

  clearRequests() {
    this.#recorder.clear()
  }

  clearCounts() {
    // The same object, because the parts keep it.
    Object.assign(this.counts, zeroCounts())
  }

  /** @param {FaultSpec} spec */
  fault(spec) {
    return this.#faults.add(spec)
  }

  clearFaults() {
    this.#faults.clear()
  }

  unref() {
    this.#unref = true
    this.#server.unref()
    for (const socket of this.#sockets) socket.unref()
    for (const timer of this.#timers) timer.unref()
    return this
  }

  close() {
    this.#closed ??= new Promise((resolve) => {
      for (const timer of this.#timers) clearTimeout(timer)
      this.#timers.clear()
      this.#server.close(() => resolve())
      for (const socket of this.#sockets) socket.destroy()
    })
    return this.#closed
  }

  // ---- the server

  /** @param {string} host @param {number} port @returns {Promise<void>} */
  #listen(host, port) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: 4096 }, () => {
        this.#server.off('error', reject)
        const address = /** @type {import('node:net').AddressInfo} */ (this.#server.address())
        const name = host.includes(':') ? `[${host}]` : host
        this.oauthUrl = this.apiUrl = `${this.#secure ? 'https' : 'http'}://${name}:${address.port}`
        resolve()
      })
    })
  }

  /** @param {import('node:http').IncomingMessage} req @param {import('node:http').ServerResponse} res */
  #receive(req, res) {
    const reused = this.#usedSockets.has(req.socket)
    this.#usedSockets.add(req.socket)
    /** @type {Buffer[]} */
    const chunks = []
    let size = 0
    req.on('data', (/** @type {Buffer} */ chunk) => {
      size += chunk.length
      if (size <= MAX_BODY) chunks.push(chunk)
    })
    req.on('error', () => {})
    req.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      try {
        this.#handle(req, res, size > MAX_BODY ? undefined : body, reused)
      } catch (error) {
        this.internalErrors.push(error)
        res.socket?.destroy()
      }
    })
  }

  /**
   * @param {import('node:http').IncomingMessage} req
   * @param {import('node:http').ServerResponse} res
   * @param {string | undefined} body undefined: too large
   * @param {boolean} reused
   */
  #handle(req, res, body, reused) {
    const target = req.url ?? '/'
    const question = target.indexOf('?')
    const search = question < 0 ? '' : target.slice(question)
    /** @type {Record<string, string>} */
    const headers = {}
    for (const [name, value] of Object.entries(req.headers))
      headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '')
    /** @type {Incoming} */
    const request = {
      method: req.method ?? '',
      path: question < 0 ? target : target.slice(0, question),
      search,
      query: new URLSearchParams(search),
      headers,
      body: body ?? '',
      parsed: parseBody(headers['content-type'], body ?? ''),
      origin: `${this.#secure ? 'https' : 'http'}://${headers['host']}`,
      secure: this.#secure,
      reused,
    }
    const date = () => {
      const now = new Date(this.settings.now())
      return (Number.isNaN(now.getTime()) ? new Date() : now).toUTCString()
    }
    const later = (/** @type {() => void} */ fn, /** @type {number} */ ms) => this.#later(fn, ms)
    if (request.path.startsWith('/__fake/')) {
      return deliver({
        res,
        fault: undefined,
        process: () => control(this, request),
        latencyMs: 0,
        date,
        done: () => {},
        later,
      })
    }

    const record = this.#recorder.add(request, req.rawHeaders)
    let release = () => {}
    if (request.path === '/oauth/token' && request.method === 'POST') {
      this.counts.tokenPosts += 1
      if (record.grant === 'refresh_token') release = this.#refreshBegins()
    }
    res.on('close', release)
    deliver({
      res,
      fault: this.#faults.take(request, record.grant),
      process: () => this.#answer(request, body === undefined),
      latencyMs: this.settings.latencyMs,
      date,
      done: (status) => {
        record.status = status
        release()
      },
      later,
    })
  }

  /** @param {Incoming} request @param {boolean} tooLarge @returns {Answer} */
  #answer(request, tooLarge) {
    try {
      if (tooLarge) return json(413, { error: 'request entity too large' })
      const refused = edgeRefusal(request, this.settings)
      if (refused) return refused
      if (request.path === '/oauth/token') return this.#token.handle(request)
      if (request.path.startsWith('/oauth/v2/')) return this.#web.handle(request)
      if (isApiPath(request.path)) return this.#api.handle(request)
      return html(404, '<html><body><h1>404 Not Found</h1></body></html>')
    } catch (error) {
      this.internalErrors.push(error)
      return html(500, `a mistake of the fake: ${error}`)
    }
  }

  /**
   * From the arrival of a refresh until its answer leaves. Released before the last byte is written: a client that has its answer
   * may start the next refresh before this process hears that the writing is over.
   */
  #refreshBegins() {
    this.counts.refreshes += 1
    this.#refreshesInFlight += 1
    this.counts.maxConcurrentRefreshes = Math.max(this.counts.maxConcurrentRefreshes, this.#refreshesInFlight)
    let held = true
    return () => {
      if (held) this.#refreshesInFlight -= 1
      held = false
    }
  }

  /** @param {() => void} fn @param {number} ms */
  #later(fn, ms) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      try {
        fn()
      } catch (error) {
        this.internalErrors.push(error)
      }
    }, ms)
    if (this.#unref) timer.unref()
    this.#timers.add(timer)
  }
}
