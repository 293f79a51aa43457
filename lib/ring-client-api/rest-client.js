// @ts-check
'use strict'

// The drop-in for `ring-client-api/rest-client`: its names, messages and behaviour, on top of RingTokenManager.

const { pick, describeThrown, properties, wrongType } = require('../checks.js')
const { RingAuthError } = require('../errors.js')
const { ASYNC_DISPOSE } = require('../manager.js')
const { MANAGER_OPTIONS, REFUSES_AT_CALLS } = require('../options.js')
const { RingTokenManager, parseRefreshToken } = require('../../index.js')
const { Announcer, ApiClient, PushCredentials, internalsOf, isOfTheApi, toWire } = require('./api-client.js')
const { ReplaySubject } = require('../observable.js')

/** @typedef {import('../../index.js').LoginStep} LoginStep */

const API_VERSION = 11
const DEVICE_NAME = 'ring-client-api'
const WIKI = 'https://github.com/dgreif/ring/wiki/Refresh-Tokens'

// The messages that programs for ring-client-api search for, spaces included.
const NEEDS_CODE = `Your Ring account is configured to use 2-factor authentication (2fa).  See ${WIKI} for details.`
const NO_TOKEN = `Refresh token is not valid.  Unable to authenticate with Ring servers.  See ${WIKI}`
const WRONG_CODE = 'Verification Code is invalid or expired'
const WRONG_CODE_PROMPT = 'Invalid 2fa code entered.  Please try again.'
const FAILED = 'Failed to fetch oauth token from Ring. '
const TOO_MANY_CODES =
  'You have requested too many 2fa codes.  Ring limits 2fa to 10 codes within 10 minutes.  Please try again in 10 minutes.'

const WITHOUT_TOKEN = ['NO_REFRESH_TOKEN', 'REFRESH_TOKEN_REJECTED']

/** @param {string} path */
function clientApi(path) {
  return `https://api.ring.com/clients_api/${path}`
}

/** @param {string} path */
function deviceApi(path) {
  return `https://api.ring.com/devices/v1/${path}`
}

/** @param {string} path */
function commandsApi(path) {
  return `https://api.ring.com/commands/v1/${path}`
}

/** @param {string} path */
function appApi(path) {
  return `https://prd-api-us.prd.rings.solutions/api/v1/${path}`
}

class RingRestClient {
  using2fa = false
  /** @type {string | undefined} */
  promptFor2fa = undefined
  onRefreshTokenUpdated
  onSession
  baseSessionMetadata

  /** @type {import('../../index.js').RingTokenManager} */
  #manager
  /** @type {import('../manager.js').Internals} */
  #internals
  #api
  #push
  /** @type {{ email: string, password: string } | undefined} */
  #credentials
  #news
  /** @type {Promise<unknown> | undefined} */
  #login
  #waitsForCode = false
  /** The error with which Ring refused the credentials. They are not sent again by themselves. @type {Error | undefined} */
  #refused

  /** @param {any} authOptions */
  constructor(authOptions) {
    const given = properties('options', authOptions, [...MANAGER_OPTIONS, 'email', 'password'])
    const { email, password } = given
    const name = given.controlCenterDisplayName ?? DEVICE_NAME
    // Without a prototype: a setter on Object.prototype would get the token.
    const options = Object.assign(Object.create(null), { controlCenterDisplayName: name })
    for (const key of MANAGER_OPTIONS) {
      // A settings page may leave an empty text, which is no token.
      if (given[key] != null && given[key] !== '') options[key] = given[key]
    }
    if (email != null && email !== '') {
      if (typeof email !== 'string') throw wrongType('options.email', 'a string', email)
      if (typeof password !== 'string') throw wrongType('options.password', 'a string', password)
      this.#credentials = { email, password }
    }
    // As in ring-client-api, the constructor takes any text. The first call refuses a text that cannot be a token.
    options[REFUSES_AT_CALLS] = true
    this.#manager = new RingTokenManager(options)
    this.#internals = internalsOf(this.#manager)
    const report = (/** @type {unknown} */ error) => {
      this.#internals.log('error', `A listener failed (${describeThrown(error)}). It must handle its own errors.`)
    }
    this.onRefreshTokenUpdated = new ReplaySubject(report)
    this.onSession = new ReplaySubject(report)
    this.baseSessionMetadata = { api_version: API_VERSION, device_model: String(name) }
    const onSession = this.onSession
    this.#api = new ApiClient(this.#internals, this.baseSessionMetadata.device_model, (session) =>
      onSession.next(session),
    )
    this.#push = new PushCredentials(this.#manager, this.#internals)
    const onRefreshTokenUpdated = this.onRefreshTokenUpdated
    const token = canBeToken(options.refreshToken) ? options.refreshToken : undefined
    const news = new Announcer(this.#manager, token, (update) => onRefreshTokenUpdated.next(update))
    this.#news = news
    this.#manager.onRefreshTokenUpdated.subscribe(() => news.news())
  }

  /** The manager of this client, for its status and its events. */
  get manager() {
    return this.#manager
  }

  get refreshToken() {
    return this.#news.shown
  }

  get _internalOnly_pushNotificationCredentials() {
    return this.#push.value
  }

  set _internalOnly_pushNotificationCredentials(credentials) {
    this.#push.value = credentials
  }

  /**
   * Makes a token request: rotates the token, or logs in if there is none, or submits a code.
   * @param {string} [twoFactorAuthCode]
   */
  async getAuth(twoFactorAuthCode) {
    if (twoFactorAuthCode) {
      await this.#enterCode(String(twoFactorAuthCode))
    } else if (this.#waitsForCode && this.#needsLogin()) {
      await this.#askForAnotherCode()
    } else if (!this.#needsLogin()) {
      try {
        return toWire(await this.#news.after(this.#manager.refresh()))
      } catch (error) {
        if (!this.#canLogInFor(error)) throw this.#inTheirWords(error)
        await this.#logIn()
      }
    } else {
      this.#refused = undefined
      await this.#logIn()
    }
    return this.#withToken(async () => toWire(await this.#manager.getAuth()))
  }

  /** The current access token and the values that belong to it. Makes a token request only if one is needed. */
  async getCurrentAuth() {
    return this.#withToken(async () => toWire(await this.#manager.getAuth()))
  }

  async getSession() {
    return this.#withToken(() => this.#api.getSession())
  }

  /** @param {any} options */
  async request(options) {
    return this.#withToken(() => this.#api.request(options))
  }

  clearTimeouts() {
    this.#api.clear()
  }

  /** Closes this client and its manager. Waits for a rotation under way. */
  async close() {
    this.#api.close()
    await this.#manager.close()
  }

  [ASYNC_DISPOSE]() {
    return this.close()
  }

  // ---- logging in

  /** Whether a login is needed. It is not if a token came in the meantime, through the manager or another process. */
  #needsLogin() {
    return this.#credentials !== undefined && this.#manager.status.state === 'needs-login' && !this.#isCopied()
  }

  /**
   * Whether the journal was copied and the copy uses the token. Then the user decides which of the two continues. A login for each
   * copy of a project would add a device at Ring and cause a code that the user did not ask for.
   */
  #isCopied() {
    const { state, code } = this.#manager.status
    return state === 'needs-login' && code === 'NO_REFRESH_TOKEN' && this.#manager.refreshToken !== null
  }

  /** @param {any} error */
  #canLogInFor(error) {
    return this.#credentials !== undefined && WITHOUT_TOKEN.includes(error?.code) && !this.#isCopied()
  }

  /**
   * Runs a function that needs a token, after a login if there is no token.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #withToken(work) {
    if (this.#needsLogin()) await this.#logIn()
    for (let again = true; ; again = false) {
      try {
        return await this.#news.after(work())
      } catch (error) {
        if (isOfTheApi(error)) throw error
        if (!again || !this.#canLogInFor(error)) throw this.#inTheirWords(error)
      }
      await this.#logIn()
    }
  }

  /** Logs in. All calls share one login, and no second code is requested while the first one is awaited. */
  async #logIn() {
    if (this.#refused !== undefined) throw this.#refused
    if (this.#waitsForCode) throw this.#needsCode()
    const credentials = this.#credentials
    if (credentials === undefined) throw new RingAuthError('NO_REFRESH_TOKEN', NO_TOKEN)
    this.#login ??= this.#step(() => this.#manager.login(credentials)).finally(() => {
      this.#login = undefined
    })
    await this.#login
  }

  /** @param {string} code */
  async #enterCode(code) {
    const credentials = this.#credentials
    if (credentials === undefined) throw new RingAuthError('NO_REFRESH_TOKEN', NO_TOKEN)
    const { email, password } = credentials
    await this.#step(() =>
      this.#waitsForCode
        ? this.#manager.submitTwoFactorCode(code)
        : this.#internals.loginWithCode(email, password, code),
    )
  }

  /** Requests another code. If Ring does not send another one yet, the user can still enter the first one. */
  async #askForAnotherCode() {
    await this.#step(async () => {
      try {
        return await this.#manager.resendTwoFactorCode()
      } catch (error) {
        const { code, httpStatus } = /** @type {any} */ (error)
        const credentials = this.#credentials
        // An authenticator app needs no other code, and Ring may have forgotten this login by now.
        if (code === 'INVALID_ARGUMENT' && credentials !== undefined) return this.#manager.login(credentials)
        throw code === 'TWO_FACTOR_RATE_LIMITED' && httpStatus === undefined ? this.#needsCode() : error
      }
    })
  }

  /** @param {() => Promise<LoginStep>} work */
  async #step(work) {
    let step
    try {
      step = await work()
    } catch (error) {
      const told = this.#inTheirWords(error)
      if (/** @type {any} */ (error)?.code === 'INVALID_CREDENTIALS') {
        this.#refused = told
        this.#waitsForCode = false
      }
      throw told
    }
    this.#refused = undefined
    const { twoFactor } = pick(step, ['twoFactor'])
    this.#waitsForCode = twoFactor !== undefined
    if (twoFactor !== undefined) {
      this.promptFor2fa = twoFactor.prompt
      throw this.#needsCode()
    }
  }

  #needsCode() {
    this.using2fa = true
    return new RingAuthError('TWO_FACTOR_REQUIRED', NEEDS_CODE)
  }

  /**
   * Gives an error the message for which programs for ring-client-api search.
   * @param {any} error
   */
  #inTheirWords(error) {
    switch (error?.code) {
      case 'NO_REFRESH_TOKEN':
      case 'REFRESH_TOKEN_REJECTED':
        return reworded(error, this.#isCopied() ? `${NO_TOKEN}  ${error.message}` : NO_TOKEN)
      case 'TWO_FACTOR_REQUIRED':
        return this.#needsCode()
      case 'TWO_FACTOR_INVALID':
        this.using2fa = true
        this.promptFor2fa = WRONG_CODE_PROMPT
        return reworded(error, WRONG_CODE)
      case 'INVALID_CREDENTIALS':
        return reworded(error, `${FAILED}Verify that your email and password are correct. (error: access_denied)`)
      case 'TWO_FACTOR_RATE_LIMITED':
        return reworded(error, `${FAILED}${TOO_MANY_CODES} (error: ${error.message})`)
      case 'CLIENT_REJECTED':
      case 'BLOCKED':
      case 'RATE_LIMITED':
      case 'SERVER_ERROR':
      case 'NETWORK':
      case 'TIMEOUT':
      case 'PROTOCOL':
        return reworded(error, FAILED + error.message)
      default:
        return error
    }
  }
}

/** Whether a program may replace this text with a newer token. @param {any} text */
function canBeToken(text) {
  try {
    parseRefreshToken(text)
    return true
  } catch {
    return false
  }
}

/**
 * @param {any} error
 * @param {string} message
 */
function reworded(error, message) {
  return new RingAuthError(error.code, message, pick(error, ['transient', 'httpStatus', 'retryAfterMs', 'cause']))
}

module.exports = { RingRestClient, clientApi, deviceApi, commandsApi, appApi }
