// @ts-check
'use strict'

// The public face: it checks arguments, makes real errors of the data that crosses the boundary, and adds what a native
// class cannot have (AbortSignal, observables, disposal). No logic of tokens is here. `createFace` takes the binding as
// an argument, so that all of it can be tested without a binary.

/** @typedef {import('../index.js').Auth} Auth */
/** @typedef {import('../index.js').ErrorCode} ErrorCode */
/** @typedef {import('../index.js').LogEntry} LogEntry */
/** @typedef {import('../index.js').LoginStep} LoginStep */
/** @typedef {import('../index.js').RefreshTokenUpdate} RefreshTokenUpdate */
/** @typedef {import('../index.js').Status} Status */
/** @typedef {InstanceType<typeof import('./custom-store.js').Caller>} Caller */

// What crosses the boundary is declared by the build, in binding/binding.d.ts.

/** @typedef {typeof import('../binding/binding.js')} Binding */
/** @typedef {import('../binding/binding.js').BindingApi} BindingApi */
/** @typedef {import('../binding/binding.js').BindingApiAnswer} BindingApiAnswer */
/** @typedef {import('../binding/binding.js').BindingEvent} BindingEvent */
/** @typedef {import('../binding/binding.js').BindingEvents} BindingEvents */
/** @typedef {import('../binding/binding.js').BindingManager} BindingManager */
/** @typedef {import('../binding/binding.js').BindingOptions} BindingOptions */
/** @typedef {import('../binding/binding.js').BindingOutcome} BindingOutcome */
/** @typedef {import('../binding/binding.js').BindingStatus} BindingStatus */

/**
 * What the drop-in for ring-client-api needs of a manager beyond its public face.
 * @typedef Internals
 * @property {(deviceName: string, listener: (answer: BindingApiAnswer) => void) => BindingApi} openApi
 * @property {(email: string, password: string, code: string) => Promise<LoginStep>} loginWithCode
 * @property {() => void} refuseInside Throws inside a store's own save, where waiting for the manager would be for ever.
 * @property {(level: LogEntry['level'], message: string) => void} log
 */
const { RingAuthError, fromBinding, guard, internal, invalid } = require('./errors.js')
const { kindOf, nonEmpty, properties, refuseUnknown, tokenText, wrongType } = require('./checks.js')
const { storeOption } = require('./custom-store.js')

const MAX_TIMEOUT_MS = 2 ** 31 - 1
const OPTIONS = [
  'refreshToken',
  'store',
  'systemId',
  'controlCenterDisplayName',
  'loginFlow',
  'userAgent',
  'oauthUrl',
  'apiUrl',
  'requestTimeoutMs',
  'autoRefresh',
  'logger',
]
const CALL_OPTIONS = ['signal']
const REFRESH_OPTIONS = ['force', 'signal']
const LOGIN_FLOWS = ['auto', 'pkce', 'password']

const INSPECT = Symbol.for('nodejs.util.inspect.custom')
/** @type {typeof Symbol.asyncDispose} */
const ASYNC_DISPOSE = Symbol.asyncDispose ?? /** @type {any} */ (Symbol.for('Symbol.asyncDispose'))
const ABORTED = Symbol('aborted')
/** Known to every copy of this package: a manager of one may be attached by another. */
const INTERNALS = Symbol.for('ring-auth.internals')

// ---- arguments

/**
 * @param {unknown} options
 * @returns {{ native: BindingOptions, caller: Caller | undefined, logger: ((entry: LogEntry) => unknown) | undefined }}
 */
function managerOptions(options) {
  const given = options === undefined ? {} : properties('options', options)
  refuseUnknown('options', given, OPTIONS)
  /** @type {BindingOptions} */
  const native = {}

  if (given.refreshToken !== undefined) native.refreshToken = tokenText('options.refreshToken', given.refreshToken)
  const { store, caller } = storeOption(given.store)
  if (store !== undefined) native.store = store
  for (const key of /** @type {const} */ ([
    'systemId',
    'controlCenterDisplayName',
    'userAgent',
    'oauthUrl',
    'apiUrl',
  ])) {
    if (given[key] !== undefined) native[key] = nonEmpty(`options.${key}`, given[key])
  }
  const { loginFlow, requestTimeoutMs, autoRefresh, logger } = given
  if (loginFlow !== undefined) {
    if (typeof loginFlow !== 'string') throw wrongType('options.loginFlow', '"auto", "pkce" or "password"', loginFlow)
    if (!LOGIN_FLOWS.includes(loginFlow)) throw invalid('options.loginFlow must be "auto", "pkce" or "password"')
    native.loginFlow = loginFlow
  }
  if (requestTimeoutMs !== undefined) {
    if (typeof requestTimeoutMs !== 'number') throw wrongType('options.requestTimeoutMs', 'a number', requestTimeoutMs)
    // Written so that NaN fails it too.
    if (!(requestTimeoutMs >= 1 && requestTimeoutMs <= MAX_TIMEOUT_MS)) {
      throw invalid(`options.requestTimeoutMs must be from 1 to ${MAX_TIMEOUT_MS} milliseconds`)
    }
    native.requestTimeoutMs = Math.floor(requestTimeoutMs)
  }
  if (autoRefresh !== undefined) {
    if (typeof autoRefresh !== 'boolean') throw wrongType('options.autoRefresh', 'a boolean', autoRefresh)
    native.autoRefresh = autoRefresh
  }
  if (logger !== undefined && typeof logger !== 'function') throw wrongType('options.logger', 'a function', logger)
  return { native, caller, logger: /** @type {any} */ (logger) }
}

/**
 * Checks the options of one call, and rejects it at once when its signal has been aborted already.
 * @param {unknown} options
 * @param {string[]} known
 * @returns {{ force: boolean, signal: AbortSignal | undefined }}
 */
function callOptions(options, known) {
  if (options === undefined) return { force: false, signal: undefined }
  const given = properties('options', options)
  refuseUnknown('options', given, known)
  const { force = false, signal } = given
  if (typeof force !== 'boolean') throw wrongType('options.force', 'a boolean', force)
  if (signal === undefined) return { force, signal }
  if (!isAbortSignal(signal)) throw wrongType('options.signal', 'an AbortSignal', signal)
  if (signal.aborted) throw aborted(signal)
  return { force, signal }
}

// ---- AbortSignal

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
 * The calls that wait on each signal. One listener serves them all: Node warns of a leak from the eleventh on.
 * @type {WeakMap<AbortSignal, { waiting: Set<() => void>, listener: () => void }>}
 */
const signals = new WeakMap()

/**
 * @param {AbortSignal} signal
 * @param {() => void} callback
 * @returns {() => void} Takes the callback away again.
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
 * The result of a native call, or `ABORTED` as soon as the signal says so: the native call then goes on, and what
 * comes of it is dropped.
 * @template T
 * @param {Promise<T>} call
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T | typeof ABORTED>}
 */
function orAborted(call, signal) {
  if (signal === undefined) return call
  return new Promise((resolve, reject) => {
    let done = () => {}
    // First of all, so that a failure of the call is handled even if a foreign signal cannot be listened to.
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

// ---- events

/**
 * What a manager's events need. It does not hold the manager, so that one that nobody uses any more can be collected
 * although the native part holds its listener.
 */
class Hub {
  /** @type {((entry: LogEntry) => unknown) | undefined} */
  logger
  /** @type {object | undefined} Keeps a manager alive that works unasked. */
  owner
  /** @type {RefreshTokenUpdate | undefined} */
  lastUpdate
  /** @type {Set<Subscriber> | undefined} */
  updateSubscribers
  /** @type {Set<Subscriber> | undefined} */
  statusSubscribers

  /** @param {((entry: LogEntry) => unknown) | undefined} logger */
  constructor(logger) {
    this.logger = logger
  }

  /**
   * Called by the native part, where a throw would end the process.
   * @param {BindingEvent} event
   */
  receive(event) {
    try {
      if (event.kind === 'token' && event.newRefreshToken != null) {
        const update = toUpdate(event.newRefreshToken, event.oldRefreshToken)
        this.lastUpdate = update
        this.emit(this.updateSubscribers, update)
      } else if (event.kind === 'status' && event.status != null) {
        if (this.statusSubscribers !== undefined) this.emit(this.statusSubscribers, toStatus(event.status))
      } else if (event.kind === 'log' && event.message != null) {
        this.log(/** @type {LogEntry['level']} */ (event.level ?? 'info'), event.message)
      }
    } catch {
      // Nothing above throws by itself; an exotic value of a listener must not either.
    }
  }

  /**
   * @param {Set<Subscriber> | undefined} subscribers
   * @param {unknown} value
   */
  emit(subscribers, value) {
    if (subscribers === undefined) return
    // A listener may subscribe and unsubscribe others meanwhile.
    for (const subscriber of [...subscribers]) {
      if (subscribers.has(subscriber)) subscriber.deliver(value)
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
      // A logger that fails has nowhere to say so.
    }
    return true
  }
}

/** One listener of one observable. */
class Subscriber {
  /** @type {Hub} */
  #hub
  /** @type {string} */
  #observable
  /** @type {Set<Subscriber>} */
  #set
  /** @type {any} */
  #listener

  /**
   * @param {Hub} hub
   * @param {string} observable
   * @param {Set<Subscriber>} set
   * @param {unknown} listener
   */
  constructor(hub, observable, set, listener) {
    this.#hub = hub
    this.#observable = observable
    this.#set = set
    this.#listener = listener
    set.add(this)
  }

  /** @param {unknown} value */
  deliver(value) {
    const listener = this.#listener
    try {
      const result = typeof listener === 'function' ? listener(value) : listener.next?.(value)
      ignoreRejection(result, (error) => this.#report(error))
      // RxJS's subscribers say so when they are done: firstValueFrom() never calls our unsubscribe().
      if (listener.closed === true) this.unsubscribe()
    } catch (error) {
      this.#report(error)
    }
  }

  unsubscribe() {
    this.#set.delete(this)
  }

  /**
   * The thrown value itself is not shown: what a listener was doing with a token may be in it.
   * @param {unknown} error
   */
  #report(error) {
    const message = `A listener of ${this.#observable} failed (${describeThrown(error)}). It must handle its own errors: they are not shown here, because a token may be in them.`
    if (!this.#hub.log('error', message)) warnOnce(message)
  }
}

class Observable {
  /** @type {Hub} */
  #hub
  /** @type {'onRefreshTokenUpdated' | 'onStatus'} */
  #name

  /**
   * @param {Hub} hub
   * @param {'onRefreshTokenUpdated' | 'onStatus'} name
   */
  constructor(hub, name) {
    this.#hub = hub
    this.#name = name
  }

  /** @param {unknown} [listener] */
  subscribe(listener) {
    const name = this.#name
    const hub = this.#hub
    if (typeof listener !== 'function') {
      if (typeof listener !== 'object' || listener === null) {
        throw wrongType(`the listener of ${name}`, 'a function or an object with next', listener)
      }
      const next = /** @type {any} */ (listener).next
      if (next != null && typeof next !== 'function')
        throw wrongType(`next of the listener of ${name}`, 'a function', next)
    }
    const set = name === 'onStatus' ? (hub.statusSubscribers ??= new Set()) : (hub.updateSubscribers ??= new Set())
    const subscriber = new Subscriber(hub, name, set, listener)
    if (name === 'onRefreshTokenUpdated' && hub.lastUpdate !== undefined) subscriber.deliver(hub.lastUpdate)
    return { unsubscribe: () => subscriber.unsubscribe() }
  }

  // What RxJS's from() looks for, where nobody has defined Symbol.observable.
  ['@@observable']() {
    return this
  }

  [INSPECT]() {
    return `Observable { ${this.#name} }`
  }
}

/**
 * An observable, with Symbol.observable too where a polyfill has defined it by now. The declared type always has it, as
 * RxJS's own do.
 * @template T
 * @param {Hub} hub
 * @param {'onRefreshTokenUpdated' | 'onStatus'} name
 * @returns {import('../index.js').Observable<T>}
 */
function makeObservable(hub, name) {
  const symbol = /** @type {any} */ (Symbol).observable
  if (typeof symbol === 'symbol' && !(symbol in Observable.prototype)) {
    const value = Observable.prototype['@@observable']
    Object.defineProperty(Observable.prototype, symbol, { value, writable: true, configurable: true })
  }
  return /** @type {any} */ (new Observable(hub, name))
}

/**
 * @param {any} value
 * @param {(error: unknown) => void} onRejected
 */
function ignoreRejection(value, onRejected) {
  if (value !== null && typeof value === 'object' && typeof value.then === 'function') {
    Promise.resolve(value).then(undefined, onRejected)
  }
}

/** @param {any} error */
function describeThrown(error) {
  try {
    if (!(error instanceof Error)) return `${kindOf(error)} was thrown`
    const { name, code } = /** @type {any} */ (error)
    const known = /^[A-Za-z]{1,40}$/.test(name) ? name : 'Error'
    return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? `${known}, ${code}` : known
  } catch {
    return 'an error'
  }
}

let warned = false

/** @param {string} message */
function warnOnce(message) {
  if (warned) return
  warned = true
  process.emitWarning(`${message} Give the manager a logger to see each of these.`, 'RingAuthWarning')
}

// ---- what comes back

// Fields that do not apply are left out, not undefined: that is what the types say under exactOptionalPropertyTypes.

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
  const status = { state }
  if (code != null) status.code = code
  if (message != null) status.message = message
  if (retryAt != null) status.retryAt = retryAt
  status.persisted = persisted
  return Object.freeze(status)
}

/**
 * @param {BindingOutcome} outcome
 * @returns {Auth}
 */
function toAuth({ auth }) {
  if (auth == null) throw internal()
  return auth
}

/**
 * @param {BindingOutcome} outcome
 * @returns {LoginStep}
 */
function toStep({ step }) {
  if (step == null) throw internal()
  if (step.twoFactor == null) return { authenticated: step.authenticated }
  const { method, destination, resendInSeconds, prompt } = step.twoFactor
  /** @type {any} */
  const twoFactor = { method }
  if (destination != null) twoFactor.destination = destination
  if (resendInSeconds != null) twoFactor.resendInSeconds = resendInSeconds
  twoFactor.prompt = prompt
  return { authenticated: step.authenticated, twoFactor }
}

// ---- the face

/**
 * The public face over a binding.
 * @param {Binding} binding
 * @returns {Pick<typeof import('../index.js'), 'RingTokenManager' | 'RingAuthError' | 'parseRefreshToken'>}
 */
function createFace(binding) {
  let hooked = false
  let opened = 0
  /** @type {BindingEvents | undefined} Made with the first manager, and shared: one for each would cost a kilobyte. */
  let events
  /**
   * The hub of each manager that the native part still has, whether or not somebody here has it.
   * @type {Map<number, Hub>}
   */
  const hubs = new Map()

  /**
   * Tells of the oldest event that was not told of yet, if there is one. Here and not in a constructor: the native part
   * holds it, and with it all that is in reach, such as options with a token.
   */
  function hear() {
    const event = events?.next()
    if (event == null) return false
    if (event.kind === 'end') hubs.delete(event.manager)
    else hubs.get(event.manager)?.receive(event)
    return true
  }

  /** What happened before a call was done is heard of before its caller goes on. */
  async function hearAll() {
    // Who waits for one event may listen for the next.
    while (hear()) await undefined
  }

  /**
   * Keeps a process that has nothing else to do alive until a rotation under way is on disk. One listener serves every
   * manager; process.exit() does not come here, the native part waits by itself then.
   */
  function holdProcessWhileBusy() {
    if (hooked) return
    hooked = true
    let gaveUp = false
    process.on('beforeExit', async () => {
      try {
        if (gaveUp || !binding.isBusy()) return
        await binding.settled()
        // Node asks again after this. What is busy after its bounded wait must not be waited for a second time.
        gaveUp = binding.isBusy()
      } catch {
        gaveUp = true
      }
    })
  }

  class RingTokenManager {
    /** @type {BindingManager} */
    #native
    /** @type {Caller | undefined} */
    #caller
    /** @type {Hub} */
    #hub
    /** @type {import('../index.js').Observable<RefreshTokenUpdate> | undefined} */
    #onRefreshTokenUpdated
    /** @type {import('../index.js').Observable<Status> | undefined} */
    #onStatus
    /** @type {Promise<void> | undefined} */
    #closing

    /** @param {unknown} [options] */
    constructor(options) {
      const { native, caller, logger } = managerOptions(options)
      const number = opened++
      const { error, manager } = guard(() => {
        events ??= new binding.BindingEvents(hear)
        return binding.open(native, events, number, caller?.load, caller?.save)
      })
      if (error != null) throw fromBinding(error)
      if (manager == null) throw internal()
      const hub = new Hub(logger)
      // Nothing is heard of before this turn of the event loop is over.
      hubs.set(number, hub)
      this.#native = manager
      this.#caller = caller
      this.#hub = hub
      if (native.autoRefresh === true) hub.owner = this
      holdProcessWhileBusy()
    }

    /** @param {unknown} credentials */
    async login(credentials) {
      const { email, password } = properties('credentials', credentials)
      const checkedEmail = nonEmpty('credentials.email', email)
      if (typeof password !== 'string') throw wrongType('credentials.password', 'a string', password)
      if (password === '') throw invalid('credentials.password must not be empty')
      return toStep(await this.#ask((native) => native.login(checkedEmail, password)))
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

    /** @param {unknown} [options] */
    async getAccessToken(options) {
      const signal = options === undefined ? undefined : callOptions(options, CALL_OPTIONS).signal
      this.#caller?.refuseInside()
      // The case of nearly every call, answered without a round trip to another thread.
      let cached
      try {
        cached = this.#native.cachedAccessToken()
      } catch {
        throw internal()
      }
      if (cached != null) return cached
      return toAuth(await this.#ask((native) => native.getAuth(), signal)).accessToken
    }

    /** @param {unknown} [options] */
    async getAuth(options) {
      const { signal } = callOptions(options, CALL_OPTIONS)
      this.#caller?.refuseInside()
      const cached = guard(() => this.#native.cachedAuth())
      if (cached != null) return cached
      return toAuth(await this.#ask((native) => native.getAuth(), signal))
    }

    /** @param {unknown} [options] */
    async refresh(options) {
      const { force, signal } = callOptions(options, REFRESH_OPTIONS)
      return toAuth(await this.#ask((native) => native.refresh(force), signal))
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

    get refreshToken() {
      return guard(() => this.#native.refreshToken) ?? null
    }

    get hardwareId() {
      return guard(() => this.#native.hardwareId) ?? null
    }

    get status() {
      return toStatus(guard(() => this.#native.status))
    }

    get onRefreshTokenUpdated() {
      return (this.#onRefreshTokenUpdated ??= makeObservable(this.#hub, 'onRefreshTokenUpdated'))
    }

    get onStatus() {
      return (this.#onStatus ??= makeObservable(this.#hub, 'onStatus'))
    }

    close() {
      try {
        // It would wait for the very function that calls it.
        this.#caller?.refuseInside()
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
        refuseInside: () => this.#caller?.refuseInside(),
        log: (level, message) => void this.#hub.log(level, message),
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
        await hearAll()
      } catch {
        throw internal()
      } finally {
        this.#hub.owner = undefined
      }
    }

    /**
     * Makes a native call. Every error is made here, after an `await` of an async function, so that its stack leads
     * back to the caller's own.
     * @param {(native: BindingManager) => Promise<BindingOutcome>} call
     * @param {AbortSignal} [signal]
     * @returns {Promise<BindingOutcome>}
     */
    async #ask(call, signal) {
      this.#caller?.refuseInside()
      let outcome
      try {
        outcome = await orAborted(call(this.#native), signal)
        await hearAll()
      } catch {
        throw internal()
      }
      if (outcome === ABORTED) throw aborted(/** @type {AbortSignal} */ (signal))
      if (outcome.error != null) throw fromBinding(outcome.error)
      return outcome
    }
  }

  /** @param {unknown} token */
  function parseRefreshToken(token) {
    const checked = nonEmpty('token', tokenText('token', token))
    const { error, raw, hardwareId, hasPushCredentials } = guard(() => binding.parseRefreshToken(checked))
    if (error != null) throw fromBinding(error)
    if (raw == null) throw internal()
    const parsed = { raw, hasPushCredentials: hasPushCredentials === true }
    return hardwareId == null ? parsed : { ...parsed, hardwareId }
  }

  return { RingTokenManager, RingAuthError, parseRefreshToken }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function jsonObject(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType(name, 'an object or null', value)
  }
  let json
  try {
    json = JSON.stringify(value)
  } catch {
    throw invalid(`${name} cannot be written as JSON: it has a cycle, a BigInt or a toJSON that fails`)
  }
  // A toJSON may turn an object into anything: a Date becomes a string.
  if (typeof json !== 'string' || !json.startsWith('{')) throw invalid(`${name} must be an object in JSON too`)
  return json
}

module.exports = {
  createFace,
  RingAuthError,
  // For rest-client.js, attach.js and what they share.
  ABORTED,
  ASYNC_DISPOSE,
  INTERNALS,
  MANAGER_OPTIONS: OPTIONS,
  aborted,
  describeThrown,
  isAbortSignal,
  orAborted,
}
