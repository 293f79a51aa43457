// @ts-check
'use strict'

// The public class. It checks arguments, converts the data that crosses the boundary to errors, and adds AbortSignal, observables and
// disposal, which a native class cannot have. It has no logic of tokens. `createExports` takes the binding as an argument, so that
// all of it can be tested without a binary.

/** @typedef {import('../index.js').Auth} Auth */
/** @typedef {import('../index.js').ErrorCode} ErrorCode */
/** @typedef {import('../index.js').LogEntry} LogEntry */
/** @typedef {import('../index.js').LoginStep} LoginStep */
/** @typedef {import('../index.js').RefreshTokenUpdate} RefreshTokenUpdate */
/** @typedef {import('../index.js').Status} Status */
/** @typedef {import('./custom-store.js').Functions} CustomStore */
/** @typedef {InstanceType<typeof import('./observable.js').Subscriber>} Subscriber */

// The build declares the types that cross the boundary, in binding/binding.d.ts.

/** @typedef {typeof import('../binding/binding.js')} Binding */
/** @typedef {import('../binding/binding.js').BindingApi} BindingApi */
/** @typedef {import('../binding/binding.js').BindingApiAnswer} BindingApiAnswer */
/** @typedef {import('../binding/binding.js').BindingEvent} BindingEvent */
/** @typedef {import('../binding/binding.js').BindingEvents} BindingEvents */
/** @typedef {import('../binding/binding.js').BindingManager} BindingManager */
/** @typedef {import('../binding/binding.js').BindingOptions} BindingOptions */
/** @typedef {import('../binding/binding.js').BindingResult} BindingResult */
/** @typedef {import('../binding/binding.js').BindingStatus} BindingStatus */

/**
 * The part of a manager that is not public, for the drop-in for ring-client-api.
 * @typedef Internals
 * @property {(deviceName: string, listener: (answer: BindingApiAnswer) => void) => BindingApi} openApi
 * @property {(email: string, password: string, code: string) => Promise<LoginStep>} loginWithCode
 * @property {() => boolean} isAsked Whether a call that may rotate has not ended.
 * @property {() => boolean} isSpooled Whether the disk of this host has the newest token, and the shared store has not taken it.
 * @property {() => void} refuseInside Throws inside a store's own save, which would wait for the manager forever.
 * @property {(level: LogEntry['level'], message: string) => void} log
 */
const { RingAuthError, fromBinding, guard, ignoreRejection, internal, invalid } = require('./errors.js')
const { jsonObject, nonEmpty, properties, tokenText, wrongType } = require('./checks.js')

// Each file costs every program half a millisecond at its start. These files are read when they are first needed.

/** @type {typeof import('./options.js') | undefined} */
let optionsModule
/** @type {typeof import('./abort.js') | undefined} */
let abortModule
/** @type {typeof import('./observable.js') | undefined} */
let observableModule
/** @type {typeof import('./tracing.js') | undefined} */
let tracingModule
const options = () => (optionsModule ??= require('./options.js'))
const abort = () => (abortModule ??= require('./abort.js'))
/** @type {typeof import('node:diagnostics_channel') | undefined} */
let diagnosticsModule
const diagnostics = () => (diagnosticsModule ??= require('node:diagnostics_channel'))
const observable = () => (observableModule ??= require('./observable.js'))
const tracing = () => (tracingModule ??= require('./tracing.js'))

const CREDENTIALS = ['email', 'password', 'totpSecret']
/** The channels of the tracing channel `ring-auth:refresh`, as Node names them. */
const CHANNELS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((name) => `tracing:ring-auth:refresh:${name}`)
const hasSubscribers = () => CHANNELS.some((name) => diagnostics().hasSubscribers(name))
const INSPECT = Symbol.for('nodejs.util.inspect.custom')
/** @type {typeof Symbol.asyncDispose} */
const ASYNC_DISPOSE = Symbol.asyncDispose ?? /** @type {any} */ (Symbol.for('Symbol.asyncDispose'))
/** The key of {@link Internals} in every copy of this package: one copy may attach a manager of another. */
const INTERNALS = Symbol.for('ring-auth.internals')

// ---- events

/**
 * The events of one manager. It does not hold the manager, so that an unused manager can be collected although the native part
 * holds its listener.
 */
class ManagerEvents {
  /** @type {((entry: LogEntry) => unknown) | undefined} */
  logger
  /** @type {object | undefined} Keeps a manager with `autoRefresh` alive. */
  owner
  /** @type {RefreshTokenUpdate | undefined} */
  lastUpdate
  /** @type {Set<Subscriber> | undefined} */
  updateSubscribers
  /** @type {Set<Subscriber> | undefined} */
  statusSubscribers
  /** @type {object | undefined} The refresh under way, for the tracing channel. */
  refresh

  /** @param {((entry: LogEntry) => unknown) | undefined} logger */
  constructor(logger) {
    this.logger = logger
  }

  /**
   * Handles an event of the native part. Never throws, because that would end the process.
   * @param {BindingEvent} event
   */
  receive(event) {
    try {
      switch (event.type) {
        case 'token': {
          const update = toUpdate(event.newRefreshToken, event.oldRefreshToken)
          this.lastUpdate = update
          if (this.updateSubscribers !== undefined) observable().emit(this.updateSubscribers, update)
          break
        }
        case 'status':
          if (this.statusSubscribers !== undefined) observable().emit(this.statusSubscribers, toStatus(event.status))
          break
        case 'log':
          this.log(/** @type {LogEntry['level']} */ (event.level), event.message)
          break
        case 'begun':
          // If there is no subscriber now, a later one gets the whole refresh at its end.
          this.refresh = hasSubscribers() ? tracing().begun(event.reason) : undefined
          break
        case 'ended': {
          const begun = this.refresh
          this.refresh = undefined
          tracing().ended(begun, event.refresh)
          break
        }
      }
    } catch {
      // Nothing above throws by itself, but a value that a listener has changed may.
    }
  }

  /**
   * @param {LogEntry['level']} level
   * @param {string} message
   * @returns {boolean} Whether there is a logger.
   */
  log(level, message) {
    const { logger } = this
    if (logger === undefined) return false
    try {
      ignoreRejection(logger({ level, message }), () => {})
    } catch {
      // There is no place to report a failure of the logger.
    }
    return true
  }
}

// ---- results

// Fields that do not apply are absent, not undefined, as the types require under exactOptionalPropertyTypes.

/**
 * @param {string} newRefreshToken
 * @param {string | null | undefined} oldRefreshToken
 * @returns {RefreshTokenUpdate}
 */
function toUpdate(newRefreshToken, oldRefreshToken) {
  return Object.freeze(oldRefreshToken == null ? { newRefreshToken } : { oldRefreshToken, newRefreshToken })
}

/**
 * @param {BindingStatus} given
 * @returns {Status}
 */
function toStatus({ state, code, message, retryAt, persisted }) {
  /** @type {any} */
  const status = {
    state,
    ...(code != null && { code }),
    ...(message != null && { message }),
    ...(retryAt != null && { retryAt }),
    persisted,
  }
  return Object.freeze(status)
}

/**
 * @param {import('../binding/binding.js').BindingStats} given
 * @returns {import('../index.js').Stats}
 */
function toStats({ rotations, adopted, takeovers, failures, lastSuccessAt }) {
  const counted = Object.freeze(Object.fromEntries(failures.map(({ code, count }) => [code, count])))
  return Object.freeze({ rotations, adopted, takeovers, failures: counted, lastSuccessAt: lastSuccessAt ?? null })
}

/**
 * @param {BindingResult} result
 * @returns {Auth}
 */
function toAuth(result) {
  if (result.type !== 'auth') throw internal()
  return result.auth
}

/**
 * @param {BindingResult} result
 * @returns {LoginStep}
 */
function toStep(result) {
  if (result.type !== 'step') throw internal()
  const { step } = result
  if (step.twoFactor == null) return { authenticated: step.authenticated }
  const { method, destination, resendInSeconds, prompt } = step.twoFactor
  /** @type {any} */
  const twoFactor = {
    method,
    ...(destination != null && { destination }),
    ...(resendInSeconds != null && { resendInSeconds }),
    prompt,
  }
  return { authenticated: step.authenticated, twoFactor }
}

// ---- the manager

/**
 * Makes the public class over a binding.
 * @param {Binding} binding
 * @returns {Pick<typeof import('../index.js'), 'RingTokenManager' | 'RingAuthError' | 'parseRefreshToken'>}
 */
function createExports(binding) {
  let hooked = false
  let opened = 0
  /** @type {BindingEvents | undefined} Made with the first manager and shared: one for each manager would cost a kilobyte. */
  let events
  /**
   * The events of each manager that the native part still has, whether or not a program still has the manager.
   * @type {Map<number, ManagerEvents>}
   */
  const eventsOf = new Map()

  /**
   * Passes the oldest waiting event to its manager. Returns false if there is none. This function is not in a constructor: the
   * native part holds it, and with it everything in its scope, such as options with a token.
   */
  function dispatchNext() {
    const event = events?.next()
    if (event == null) return false
    askWhetherTraced()
    if (event.type === 'end') eventsOf.delete(event.manager)
    else eventsOf.get(event.manager)?.receive(event)
    return true
  }

  /** Whether the native part makes events of each refresh. */
  let isTraced = false

  /**
   * Tells the native part whether the tracing channel has a subscriber. Node does not report new subscribers, so this function
   * looks at each call that may refresh and at each event: an event comes before each request.
   */
  function askWhetherTraced() {
    const wanted = hasSubscribers()
    if (wanted === isTraced) return
    isTraced = wanted
    events?.trace(wanted)
  }

  /** Passes on all events that came before the end of a call, before its caller continues. */
  async function dispatchAll() {
    // A program that waits for one event may subscribe to the next.
    while (dispatchNext()) await undefined
  }

  /**
   * Keeps a process that has nothing else to do alive until a rotation under way is on disk. One listener serves all managers.
   * At process.exit() the native part waits instead.
   */
  function holdProcessWhileBusy() {
    if (hooked) return
    hooked = true
    let gaveUp = false
    process.on('beforeExit', async () => {
      try {
        if (gaveUp || !binding.isBusy()) return
        await binding.untilIdle()
        // Node emits the event again after this. If the core is still busy after its bounded wait, it is not waited for again.
        gaveUp = binding.isBusy()
      } catch {
        gaveUp = true
      }
    })
  }

  class RingTokenManager {
    /** @type {BindingManager} */
    #native
    /** @type {CustomStore | undefined} */
    #custom
    /** @type {ManagerEvents} */
    #events
    /** @type {import('../index.js').Observable<RefreshTokenUpdate> | undefined} */
    #onRefreshTokenUpdated
    /** @type {import('../index.js').Observable<Status> | undefined} */
    #onStatus
    /** @type {Promise<void> | undefined} */
    #closing
    /** The number of calls that may rotate and have not ended. */
    #rotating = 0

    /** @param {unknown} [given] */
    constructor(given) {
      const { native, custom, logger } = options().managerOptions(given)
      const number = opened++
      const result = guard(() => {
        events ??= new binding.BindingEvents(dispatchNext)
        return binding.open(native, events, number, custom?.load, custom?.save, custom?.key, custom?.warnings)
      })
      if (result.type === 'failed') throw fromBinding(result.error)
      const managerEvents = new ManagerEvents(logger)
      // No event comes before this turn of the event loop is over.
      eventsOf.set(number, managerEvents)
      this.#native = result.manager
      this.#custom = custom
      this.#events = managerEvents
      if (native.autoRefresh === true) managerEvents.owner = this
      holdProcessWhileBusy()
    }

    /** @param {unknown} credentials */
    async login(credentials) {
      const { email, password, totpSecret } = properties('credentials', credentials, CREDENTIALS)
      const checkedEmail = nonEmpty('credentials.email', email)
      if (typeof password !== 'string') throw wrongType('credentials.password', 'a string', password)
      if (password === '') throw invalid('credentials.password must not be empty')
      if (totpSecret === undefined) return toStep(await this.#ask((native) => native.login(checkedEmail, password)))
      const secret = nonEmpty('credentials.totpSecret', totpSecret)
      return toStep(await this.#ask((native) => native.login(checkedEmail, password, secret)))
    }

    /** @param {unknown} code */
    async submitTwoFactorCode(code) {
      if (typeof code === 'number') throw invalid('code must be a string, got a number: a code may begin with 0')
      const checked = nonEmpty('code', code)
      return toStep(await this.#ask((native) => native.submitTwoFactorCode(checked)))
    }

    async resendTwoFactorCode() {
      return toStep(await this.#ask((native) => native.resendTwoFactorCode()))
    }

    /** @param {unknown} [given] */
    async getAccessToken(given) {
      const signal = given === undefined ? undefined : options().callOptions(given, ['signal']).signal
      this.#custom?.refuseInside()
      // Nearly every call ends here, without a round trip to another thread.
      let cached
      try {
        cached = this.#native.cachedAccessToken()
      } catch {
        throw internal()
      }
      if (cached != null) return cached
      return toAuth(await this.#ask((native) => this.#rotate(native), signal)).accessToken
    }

    /** @param {unknown} [given] */
    async getAuth(given) {
      const { signal } = options().callOptions(given, ['signal'])
      this.#custom?.refuseInside()
      const cached = guard(() => this.#native.cachedAuth())
      if (cached != null) return cached
      return toAuth(await this.#ask((native) => this.#rotate(native), signal))
    }

    /** @param {unknown} [given] */
    async refresh(given) {
      const { force, signal } = options().callOptions(given, ['force', 'signal'])
      return toAuth(await this.#ask((native) => this.#rotate(native, force), signal))
    }

    /** @param {unknown} accessToken */
    invalidateAccessToken(accessToken) {
      const checked = nonEmpty('accessToken', accessToken)
      const error = guard(() => this.#native.invalidateAccessToken(checked))
      if (error != null) throw fromBinding(error)
    }

    /** @param {unknown} refreshToken */
    async setRefreshToken(refreshToken) {
      const checked = nonEmpty('refreshToken', tokenText('refreshToken', refreshToken))
      await this.#ask((native) => native.setRefreshToken(checked))
    }

    /** @param {unknown} pnc */
    async setPushCredentials(pnc) {
      const json = pnc === null ? null : jsonObject('pnc', pnc)
      await this.#ask((native) => native.setPushCredentials(json))
    }

    /** @param {unknown} [given] */
    async waitForLogin(given) {
      const { signal } = options().callOptions(given, ['signal'])
      const waiting = guard(() => new binding.BindingWaiting())
      try {
        await this.#ask((native) => native.waitForLogin(waiting), signal)
      } finally {
        // Otherwise a call that was aborted would keep the process alive.
        guard(() => waiting.end())
      }
    }

    get refreshToken() {
      return guard(() => this.#native.refreshToken) ?? null
    }

    get hardwareId() {
      return guard(() => this.#native.hardwareId) ?? null
    }

    get status() {
      return toStatus(guard(() => this.#native.status))
    }

    get stats() {
      return toStats(guard(() => this.#native.stats))
    }

    get onRefreshTokenUpdated() {
      return (this.#onRefreshTokenUpdated ??= observable().makeObservable(this.#events, 'onRefreshTokenUpdated'))
    }

    get onStatus() {
      return (this.#onStatus ??= observable().makeObservable(this.#events, 'onStatus'))
    }

    close() {
      try {
        // It would wait for the function that calls it.
        this.#custom?.refuseInside()
      } catch (error) {
        return Promise.reject(error)
      }
      return (this.#closing ??= this.#close())
    }

    [ASYNC_DISPOSE]() {
      return this.close()
    }

    toJSON() {
      return { status: this.status }
    }

    /** @returns {Internals} */
    [INTERNALS]() {
      return {
        openApi: (deviceName, listener) => guard(() => this.#native.openApi(deviceName, listener)),
        loginWithCode: async (email, password, code) =>
          toStep(await this.#ask((native) => native.loginWithCode(email, password, code))),
        isAsked: () => this.#rotating > 0,
        isSpooled: () => guard(() => this.#native.isSpooled),
        refuseInside: () => this.#custom?.refuseInside(),
        log: (level, message) => void this.#events.log(level, message),
      }
    }

    /**
     * @param {number} _depth
     * @param {unknown} options
     * @param {(value: unknown, options: unknown) => string} [inspect]
     */
    [INSPECT](_depth, options, inspect) {
      let shown
      try {
        shown = this.toJSON()
      } catch {
        return 'RingTokenManager {}'
      }
      return `RingTokenManager ${inspect === undefined ? JSON.stringify(shown) : inspect(shown, options)}`
    }

    async #close() {
      try {
        await this.#native.close()
        await dispatchAll()
      } catch {
        throw internal()
      } finally {
        this.#events.owner = undefined
      }
    }

    /**
     * Makes a call that may rotate. It is counted until it has ended, even if its caller does not wait for it any more.
     * @param {BindingManager} native
     * @param {boolean} [force] for a refresh
     */
    async #rotate(native, force) {
      this.#rotating++
      try {
        return await (force === undefined ? native.getAuth() : native.refresh(force))
      } finally {
        this.#rotating--
      }
    }

    /**
     * Makes a native call. Each error is made here, after an `await` in an async function, so that its stack leads to the caller's
     * code.
     * @param {(native: BindingManager) => Promise<BindingResult>} call
     * @param {AbortSignal} [signal]
     * @returns {Promise<BindingResult>}
     */
    async #ask(call, signal) {
      this.#custom?.refuseInside()
      let result
      try {
        askWhetherTraced()
        const called = call(this.#native)
        result = signal === undefined ? await called : await abort().orAborted(called, signal)
        await dispatchAll()
      } catch {
        throw internal()
      }
      if (typeof result === 'symbol') throw abort().aborted(/** @type {AbortSignal} */ (signal))
      if (result.type === 'failed') throw fromBinding(result.error)
      return result
    }
  }

  /** @param {unknown} token */
  function parseRefreshToken(token) {
    const checked = nonEmpty('token', tokenText('token', token))
    const result = guard(() => binding.parseRefreshToken(checked))
    if (result.type === 'failed') throw fromBinding(result.error)
    const { raw, hardwareId, hasPushCredentials } = result
    const parsed = { raw, hasPushCredentials }
    return hardwareId == null ? parsed : { ...parsed, hardwareId }
  }

  return { RingTokenManager, RingAuthError, parseRefreshToken }
}

module.exports = { ASYNC_DISPOSE, ManagerEvents, INTERNALS, RingAuthError, createExports }
