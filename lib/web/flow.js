// @ts-check
'use strict'

// The login for a page: steps and errors as data, and Ring's limits. This file does not depend on HTTP or Homebridge.

const { INTERNALS } = require('../manager.js')

/** @typedef {import('../../index.js').LoginStep} LoginStep */
/** @typedef {import('../../index.js').RingTokenManager} RingTokenManager */

/**
 * An answer to the page.
 * @typedef {object} Answer
 * @property {'account' | 'code' | 'done'} step
 * @property {string} [block] With `code` and `done`: the block that was chosen, if one was.
 * @property {string} [email] With `code`: the account, so that password managers see both.
 * @property {string} [prompt] With `code`: Ring's question as an English sentence.
 * @property {'sms' | 'email' | 'totp' | 'unknown'} [method] With `code`: how the code was sent.
 * @property {string} [destination] With `code`: the address to which the code was sent, masked by Ring.
 * @property {number} [resendInSeconds] Seconds until another code may be requested.
 * @property {boolean} [canResend] With `code`: whether another code can be requested.
 * @property {SentBefore} [sentBefore] With `account`: a code that belongs to a login that is over.
 * @property {{ code: string, message: string, seconds?: number }} [error]
 * @property {string} [refreshToken] With `done`, inside Homebridge's UI alone.
 */

/**
 * A code that was sent for a login of an earlier process.
 * @typedef {object} SentBefore
 * @property {string} [destination]
 * @property {number} at Milliseconds since the epoch.
 * @property {number} until The time from which on another code may be requested.
 */

/**
 * @typedef {object} FlowOptions
 * @property {(block: string | undefined) => RingTokenManager} open Gives the manager that logs in.
 * @property {boolean} [printsToken] The program prints a token that could not be stored.
 * @property {() => SentBefore | undefined} [readSent] Looks for a code of an earlier process.
 * @property {(sent: SentBefore | undefined) => void} [keepSent] Keeps a code for a later process.
 * @property {(answer: Answer) => void} [onDone] Called before the page gets the answer.
 */

/** Ring allows few codes. This file refuses further ones. */
const MOST_CODES = 5
const MOST_TRIES = 3
/** The wait for another code if Ring's answer has none. */
const USUAL_WAIT_S = 60
/** The errors after which Ring has sent no code. */
const NO_CODE_SENT = [
  'INVALID_ARGUMENT',
  'INVALID_CREDENTIALS',
  'TWO_FACTOR_RATE_LIMITED',
  'RATE_LIMITED',
  'CLIENT_REJECTED',
  'BLOCKED',
  'STORE',
  'STORE_LOCKED',
  'BINARY',
]

class LoginFlow {
  /** @type {FlowOptions} */
  #options
  /** @type {RingTokenManager | undefined} */
  #manager
  /** @type {{ email: string, twoFactor: NonNullable<LoginStep['twoFactor']>, resendAt: number, tries: number } | undefined} */
  #waiting
  /** @type {string | undefined} */
  #block
  #isDone = false
  #isBusy = false
  #codes = 0

  /** @param {FlowOptions} options */
  constructor(options) {
    this.#options = options
  }

  get isDone() {
    return this.#isDone
  }

  /** The current step of the login. Makes no request. @returns {Answer} */
  status() {
    const block = this.#block === undefined ? {} : { block: this.#block }
    if (this.#isDone) return { step: 'done', ...block }
    if (this.#waiting !== undefined) {
      const { email, twoFactor } = this.#waiting
      return {
        step: 'code',
        ...block,
        email,
        prompt: twoFactor.prompt,
        method: twoFactor.method,
        ...(twoFactor.destination === undefined ? {} : { destination: twoFactor.destination }),
        resendInSeconds: this.#secondsUntilResend(),
        canResend: twoFactor.method !== 'totp',
      }
    }
    const sentBefore = this.#sentBefore()
    return sentBefore === undefined ? { step: 'account' } : { step: 'account', sentBefore }
  }

  /**
   * Starts a login.
   * @param {unknown} body `{ email, password, block? }`
   * @returns {Promise<Answer>}
   */
  login(body) {
    return this.#alone(async () => {
      if (this.#isDone) return this.status()
      const { email, password, block } = fields(body)
      const account = typeof email === 'string' ? email.trim() : ''
      if (account === '' || typeof password !== 'string' || password === '') {
        return this.#refused('INVALID_ARGUMENT', 'A login needs an e-mail address and a password.')
      }
      const sent = this.#sentBefore()
      if (sent !== undefined) return this.#tooSoon(Math.ceil((sent.until - Date.now()) / 1000))
      // The page does not know of the login that waits for its code: it was loaded in the meantime, for example.
      const seconds = this.#waiting?.twoFactor.method === 'totp' ? 0 : this.#secondsUntilResend()
      if (seconds > 0) return this.#tooSoon(seconds)
      if (this.#codes >= MOST_CODES) return this.#tooMany()
      this.#waiting = undefined
      this.#block = name(block)
      return this.#step(account, (manager) => manager.login({ email: account, password }))
    })
  }

  /**
   * Submits the code.
   * @param {unknown} body `{ code }`
   * @returns {Promise<Answer>}
   */
  code(body) {
    return this.#alone(async () => {
      if (this.#isDone) return this.status()
      const { code } = fields(body)
      if (this.#waiting === undefined) return this.#over()
      const plain = typeof code === 'string' ? code.replace(/[\s-]/g, '') : ''
      if (plain === '') return this.#refused('INVALID_ARGUMENT', 'The code is empty.')
      return this.#step(this.#waiting.email, (manager) => manager.submitTwoFactorCode(plain))
    })
  }

  /** Requests another code. @returns {Promise<Answer>} */
  resend() {
    return this.#alone(async () => {
      if (this.#isDone) return this.status()
      if (this.#waiting === undefined) return this.#over()
      const seconds = this.#secondsUntilResend()
      if (seconds > 0) return this.#tooSoon(seconds)
      if (this.#codes >= MOST_CODES) return this.#tooMany()
      return this.#step(this.#waiting.email, (manager) => manager.resendTwoFactorCode(), true)
    })
  }

  /** Forgets a login that waits for its code. @returns {Promise<Answer>} */
  cancel() {
    return this.#alone(async () => {
      this.#waiting = undefined
      return this.status()
    })
  }

  /**
   * Runs one step at a time. Refuses a second request while Ring has not answered the first one.
   * @param {() => Promise<Answer>} work
   * @returns {Promise<Answer>}
   */
  async #alone(work) {
    if (this.#isBusy) return this.#refused('BUSY', 'A login is under way already.')
    this.#isBusy = true
    try {
      return await work()
    } finally {
      this.#isBusy = false
    }
  }

  /**
   * @param {string} email
   * @param {(manager: RingTokenManager) => Promise<LoginStep>} call
   * @param {boolean} [isResend]
   * @returns {Promise<Answer>}
   */
  async #step(email, call, isResend = false) {
    const asksForCode = isResend || this.#waiting === undefined
    if (asksForCode) this.#codes++
    let step
    let manager
    try {
      manager = this.#manager = this.#waiting && this.#manager ? this.#manager : this.#options.open(this.#block)
      step = await call(manager)
    } catch (error) {
      const { code, message } = described(error)
      if (asksForCode && NO_CODE_SENT.includes(code)) this.#codes--
      return this.#failed(code, message)
    }
    if (step.twoFactor !== undefined) {
      const wait = step.twoFactor.resendInSeconds ?? (step.twoFactor.method === 'totp' ? 0 : USUAL_WAIT_S)
      this.#waiting = { email, twoFactor: step.twoFactor, resendAt: performance.now() + wait * 1000, tries: 0 }
      if (step.twoFactor.method === 'totp') this.#codes--
      else this.#keepSent(step.twoFactor.destination, wait)
      return this.status()
    }
    // The account has no second factor, so Ring has sent no code.
    if (this.#waiting === undefined) this.#codes--
    return this.#done(manager)
  }

  /** @param {RingTokenManager} manager @returns {Answer} */
  #done(manager) {
    this.#waiting = undefined
    this.#isDone = true
    this.#options.keepSent?.(undefined)
    /** @type {Answer} */
    const answer = this.status()
    const { code, message = '' } = manager.status
    if (code === 'STORE' || code === 'STORE_LOCKED') {
      const internals = /** @type {any} */ (manager)[INTERNALS]?.()
      // What the disk of this host has comes to its shared store by itself.
      const isPrinted = this.#options.printsToken === true && internals?.isSpooled() !== true
      answer.error = { code: isPrinted ? 'NOT_STORED_TERMINAL' : 'NOT_STORED', message }
    }
    this.#options.onDone?.(answer)
    return answer
  }

  /** @param {string} code @param {string} message @returns {Answer} */
  #failed(code, message) {
    const waiting = this.#waiting
    if (waiting !== undefined) {
      if (code === 'TWO_FACTOR_INVALID' && ++waiting.tries >= MOST_TRIES) {
        this.#waiting = undefined
        return this.#refused('TOO_MANY_TRIES', 'The code was wrong three times.')
      }
      // The core reports this if the login does not wait for a code any more.
      if (code === 'INVALID_CREDENTIALS') this.#waiting = undefined
    }
    return this.#refused(code, message)
  }

  /** @param {string} code @param {string} message @param {number} [seconds] @returns {Answer} */
  #refused(code, message, seconds) {
    return { ...this.status(), error: { code, message, ...(seconds === undefined ? {} : { seconds }) } }
  }

  #over() {
    return this.#refused('LOGIN_OVER', 'No login is waiting for a code.')
  }

  #tooMany() {
    return this.#refused('TOO_MANY_CODES', `This page asks Ring for at most ${MOST_CODES} codes.`)
  }

  /** @param {number} seconds */
  #tooSoon(seconds) {
    return this.#refused('RESEND_TOO_SOON', `Ring sends another code in ${seconds} seconds at the earliest.`, seconds)
  }

  #secondsUntilResend() {
    if (this.#waiting === undefined) return 0
    return Math.max(0, Math.ceil((this.#waiting.resendAt - performance.now()) / 1000))
  }

  #sentBefore() {
    const sent = this.#options.readSent?.()
    return sent !== undefined && sent.until > Date.now() && this.#codes === 0 ? sent : undefined
  }

  /** @param {string | undefined} destination @param {number} wait */
  #keepSent(destination, wait) {
    const at = Date.now()
    this.#options.keepSent?.({ ...(destination === undefined ? {} : { destination }), at, until: at + wait * 1000 })
  }
}

/** @param {unknown} body @returns {Record<string, unknown>} */
function fields(body) {
  return typeof body === 'object' && body !== null ? { .../** @type {Record<string, unknown>} */ (body) } : {}
}

/** @param {unknown} block */
function name(block) {
  return typeof block === 'string' && block !== '' ? block : undefined
}

/**
 * An error as data. An error of the loader means that the addon is missing.
 * @param {unknown} error
 * @returns {{ code: string, message: string }}
 */
function described(error) {
  const { code, message } = /** @type {{ code?: unknown, message?: unknown }} */ (error ?? {})
  const text = typeof message === 'string' ? message : ''
  if (typeof code !== 'string') return { code: 'UNEXPECTED', message: '' }
  if (/^(BINARY_|PLATFORM_|MODULE_NOT_FOUND)/.test(code)) return { code: 'BINARY', message: text }
  return { code, message: text }
}

module.exports = { LoginFlow, described }
