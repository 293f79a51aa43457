// @ts-check
'use strict'

// A RingApi of ring-client-api whose rest client gets its tokens and answers from a manager. The rest client is changed in place,
// because every camera and location holds it and has subscribed to its subjects.

const { ABORTED, aborted, isAbortSignal, orAborted } = require('../abort.js')
const { pick, wrongType } = require('../checks.js')
const { invalid } = require('../errors.js')
const { parseRefreshToken } = require('../../index.js')
const { Announcer, ApiClient, PushCredentials, internalsOf, toWire, unwrapped } = require('./api-client.js')

/** Methods and fields of the rest client of ring-client-api 14. If one is missing, the rest client is of another version. */
const METHODS = ['getAuth', 'getCurrentAuth', 'getSession', 'request', 'clearTimeouts', 'refreshAuth', 'refreshSession']
const FIELDS = ['refreshToken', 'authConfig', 'hardwareIdPromise', 'timeouts', 'sessionPromise', '_authPromise']
const API_VERSION = 11

/** The rest clients that are attached. @type {WeakSet<object>} */
const attached = new WeakSet()

/** The token that each rest client got back when it was last detached. @type {WeakMap<object, string>} */
const givenBack = new WeakMap()

/**
 * @param {any} ringApi
 * @param {any} manager
 */
function attachToRingApi(ringApi, manager) {
  const internals = internalsOf(manager)
  const client = knownClient(ringApi)
  if (attached.has(client)) throw invalid('ringApi is attached already: detach it first')
  const attachment = new Attachment(client, manager, internals)
  attachment.attach()
  return {
    detach() {
      attachment.detach()
    },
  }
}

/**
 * The state of an attachment.
 * - `adopting`: the manager has not taken over the token of the RingApi yet. A rotation of the RingApi may be under way.
 * - `attached`: the RingApi gets its tokens from the manager.
 * - `given-up`: detached while it was adopting. The RingApi continues with its own token and its own rotation.
 * - `detached`: detached later. The RingApi has the token of the manager.
 * @typedef {'adopting' | 'attached' | 'given-up' | 'detached'} AttachmentState
 */

/** One rest client that gets its tokens and answers from one manager, from `attach` until `detach`. */
class Attachment {
  /** @type {AttachmentState} */
  #state = 'adopting'
  /** @type {any} */
  #client
  /** @type {any} */
  #manager
  /** @type {import('../manager.js').Internals} */
  #internals
  #news
  #api
  #push

  /** The client's own method. */
  #clearTimeouts
  /** The properties of the client before they were replaced. @type {[string, PropertyDescriptor | undefined][]} */
  #before = []
  /** @type {{ unsubscribe(): void } | undefined} */
  #subscription

  /**
   * The values that the client's own code has written into the fields of its token, until the manager has adopted the token. That
   * code writes `authConfig`, and then builds the new token from it.
   * @type {Map<string, any>}
   */
  #written

  /** The client's own rotation that was under way when it was attached. @type {Promise<unknown> | undefined} */
  #ownRotation
  /** The newest token of the client's own, and whether it came from a rotation of its own. @type {{ text: any, isRotated: boolean }} */
  #received
  /** The adoption of that token by the manager. @type {Promise<void> | undefined} */
  #adoption
  /** Ends the wait for the client's own rotation. */
  #stopWaiting = () => {}
  /** @type {Promise<void>} */
  #waitingStopped = new Promise((resolve) => {
    this.#stopWaiting = resolve
  })

  /**
   * @param {any} client
   * @param {any} manager
   * @param {import('../manager.js').Internals} internals
   */
  constructor(client, manager, internals) {
    this.#client = client
    this.#manager = manager
    this.#internals = internals
    // A token that its subscribers do not know would not fit what they have stored.
    this.#news = new Announcer(manager, client.refreshToken || undefined, (update) =>
      client.onRefreshTokenUpdated.next(update),
    )
    const deviceName = String(client.baseSessionMetadata.device_model)
    this.#api = new ApiClient(internals, deviceName, (session) => client.onSession.next(session))
    this.#clearTimeouts = client.clearTimeouts
    this.#written = new Map([
      ['refreshToken', client.refreshToken],
      ['authConfig', client.authConfig],
    ])
    this.#ownRotation = client._authPromise
    this.#received = {
      text: client.refreshToken,
      isRotated: this.#ownRotation !== undefined || hasRotated(client),
    }
    this.#push = this.#pushCredentials()
  }

  /** Replaces the methods and fields of the client, and begins the adoption of its token. */
  attach() {
    const client = this.#client
    const replaced = this.#replacements()
    this.#before = Object.keys(replaced).map((name) => [name, Object.getOwnPropertyDescriptor(client, name)])
    for (const [name, descriptor] of Object.entries(replaced)) {
      Object.defineProperty(client, name, { ...descriptor, configurable: true })
    }
    attached.add(client)
    // The timers for its own token are not needed any more.
    this.#clearTimeouts.call(client)

    this.#adopted()
      // A failure is reported to the next call.
      .catch(() => {})
      .then(() => {
        if (this.#isDetached) return
        this.#news.news()
        this.#subscription = this.#manager.onRefreshTokenUpdated.subscribe(() => this.#news.news())
      })
  }

  /** Restores the methods and fields of the client. Its next rotation is its own. */
  detach() {
    if (this.#isDetached) return
    const client = this.#client
    const isAdopted = this.#state === 'attached'
    this.#state = isAdopted ? 'detached' : 'given-up'
    attached.delete(client)
    this.#api.close()
    for (const [name, descriptor] of this.#before) {
      delete client[name]
      if (descriptor !== undefined) Object.defineProperty(client, name, descriptor)
    }
    client.sessionPromise = undefined
    if (isAdopted) this.#giveTokenBack()
    else this.#leaveToOwnRotation()
  }

  get #isDetached() {
    return this.#state === 'given-up' || this.#state === 'detached'
  }

  /** @returns {string | undefined} */
  get #shownToken() {
    if (this.#written.has('refreshToken')) return this.#written.get('refreshToken')
    return this.#manager.refreshToken ?? undefined
  }

  // ---- the adoption of the client's own token

  /**
   * Resolves when the manager has adopted the newest token of the client. After a failure, such as a locked store, the next call
   * tries again.
   * @param {Promise<void>} [before]
   */
  #adopted(before) {
    if (this.#adoption !== undefined) return this.#adoption
    const current = (before ?? Promise.resolve())
      .then(() => this.#adopt())
      .catch((error) => {
        if (this.#adoption === current) this.#adoption = undefined
        throw error
      })
    this.#adoption = current
    return current
  }

  async #adopt() {
    // A rotation of the client that is still under way brings the newest token.
    await Promise.race([this.#ownRotation, this.#waitingStopped]).catch(() => {})
    // If the client was detached in the meantime, it continues with that token itself.
    if (this.#state === 'given-up') return
    if (this.#state === 'adopting') this.#state = 'attached'
    const received = this.#received
    if (received.text && (received.isRotated || this.#manager.refreshToken === null)) {
      await this.#manager.setRefreshToken(received.text)
    } else if (received.text) {
      warnOfNoToken(this.#internals, received.text)
    }
    // A token that came in the meantime is adopted next.
    if (received.text === this.#received.text) this.#written.clear()
  }

  /** The client's own code has written a token, or has dropped the one that it had. @param {unknown} token */
  #receive(token) {
    if (typeof token !== 'string' || token === '') {
      // Its rotation failed. Its next request goes to the manager, so nothing here may wait for that rotation any longer.
      this.#stopWaiting()
      if (this.#isAdopted) this.#written.clear()
      return
    }
    this.#received = { text: token, isRotated: true }
    // The client announces that token itself.
    this.#news.knows(token)
    if (!this.#isAdopted) return
    const before = this.#adoption?.catch(() => {})
    this.#adoption = undefined
    this.#adopted(before).catch(() => {})
  }

  get #isAdopted() {
    return this.#state === 'attached' || this.#state === 'detached'
  }

  // ---- what takes the place of the client's own methods and fields

  /** @returns {PropertyDescriptorMap} */
  #replacements() {
    const client = this.#client
    const manager = this.#manager
    const news = this.#news
    const api = this.#api
    const push = this.#push
    const getCurrentAuth = this.#replacement('getCurrentAuth', async () => toWire(await news.after(manager.getAuth())))
    return {
      getAuth: this.#replacement('getAuth', async () => toWire(await news.after(manager.refresh()))),
      getCurrentAuth,
      getSession: this.#replacement('getSession', () => news.after(api.getSession())),
      request: this.#replacement('request', (options) => news.after(api.request(options))),
      clearTimeouts: method(() => {
        this.#clearTimeouts.call(client)
        api.clear()
      }),
      refreshToken: {
        get: () => this.#shownToken,
        set: (token) => {
          this.#written.set('refreshToken', token)
          this.#receive(token)
        },
        enumerable: true,
      },
      authConfig: {
        get: () =>
          this.#written.has('authConfig') ? this.#written.get('authConfig') : unwrapped(manager.refreshToken),
        set: (config) => this.#configure(config),
        enumerable: true,
      },
      // A request that began before the attachment asks for it.
      _authPromise: { get: () => handled(getCurrentAuth.value()), set: () => {} },
      _internalOnly_pushNotificationCredentials: {
        get: () => push.value,
        set: (credentials) => {
          push.value = credentials
        },
      },
    }
  }

  /**
   * A method in the place of one of the client. It waits for the adoption; if the client was detached in the meantime, it calls
   * the client's own method.
   * @param {string} name
   * @param {(options: any) => Promise<unknown>} work
   */
  #replacement(name, work) {
    return method(async (/** @type {any} */ options) => {
      const { signal } =
        typeof options === 'object' && options !== null ? pick(options, ['signal']) : { signal: undefined }
      if (isAbortSignal(signal)) {
        if (signal.aborted || (await orAborted(this.#adopted(), signal)) === ABORTED) throw aborted(signal)
      } else {
        await this.#adopted()
      }
      if (!this.#isDetached) return work(options)
      // The client's own getAuth makes a request each time. The calls that waited here share one, as they would have before.
      return this.#client[name === 'getAuth' ? 'getCurrentAuth' : name](options)
    })
  }

  /** @param {any} config */
  #configure(config) {
    if (this.#isAdopted && !config?.rt) {
      this.#written.delete('authConfig')
      return
    }
    this.#written.set('authConfig', config)
    // The client's own code writes the token next. A value that other code writes is not kept: it would outlive the manager's next
    // rotation.
    if (this.#isAdopted) {
      queueMicrotask(() => this.#written.has('refreshToken') || this.#written.delete('authConfig'))
    }
  }

  #pushCredentials() {
    const shownToken = () => this.#shownToken ?? null
    return new PushCredentials(
      {
        get refreshToken() {
          return shownToken()
        },
        setPushCredentials: async (/** @type {any} */ credentials) => {
          await this.#adopted()
          if (this.#isDetached) this.#client._internalOnly_pushNotificationCredentials = credentials ?? undefined
          else await this.#manager.setPushCredentials(credentials)
        },
      },
      this.#internals,
    )
  }

  // ---- what the client gets back

  /** All calls wait for the client's own rotation, which is still under way. */
  #leaveToOwnRotation() {
    const client = this.#client
    const token = this.#received.text
    this.#stopWaiting()
    client._authPromise = this.#ownRotation
    client.refreshToken = token
    if (token) client.authConfig = configOf(token)
  }

  #giveTokenBack() {
    const client = this.#client
    const manager = this.#manager
    client._authPromise = undefined
    const { hardwareId } = manager
    if (hardwareId !== null) client.hardwareIdPromise = hardwareId
    const token = this.#shownToken
    if (!token) return
    // A token that the manager could not adopt yet is still the client's own.
    if (this.#written.size === 0) givenBack.set(client, token)
    this.#lendFields()
    if (this.#internals.isAsked() || manager.status.state === 'refreshing') {
      // The manager is spending that token, or is about to: the client must not send it a second time.
      const own = () => client.getAuth()
      client._authPromise = handled(this.#news.after(manager.refresh()).then(toWire, own))
    }
  }

  /**
   * Shows the manager's newest token in the fields of the client until its own code writes one of them: a rotation of the manager
   * may be under way, for which close() waits.
   */
  #lendFields() {
    const client = this.#client
    const keep = () => {
      this.#subscription?.unsubscribe()
      this.#news.news()
      const { refreshToken, authConfig } = client
      for (const [name, value] of Object.entries({ refreshToken, authConfig })) {
        Object.defineProperty(client, name, { value, writable: true, enumerable: true, configurable: true })
      }
    }
    /** @type {PropertyDescriptorMap} */
    const lent = {
      refreshToken: { get: () => this.#shownToken },
      authConfig: { get: () => configOf(String(this.#shownToken)) },
    }
    for (const [name, descriptor] of Object.entries(lent)) {
      /** @param {unknown} value */
      const set = (value) => {
        keep()
        client[name] = value
      }
      Object.defineProperty(client, name, { ...descriptor, set, enumerable: true, configurable: true })
    }
  }
}

/**
 * The rest client of a RingApi. Throws if it is not of a known version.
 * @param {any} ringApi
 */
function knownClient(ringApi) {
  if (typeof ringApi !== 'object' || ringApi === null)
    throw wrongType('ringApi', 'a RingApi of ring-client-api', ringApi)
  const client = ringApi.restClient
  if (typeof client !== 'object' || client === null) throw unknownVersion('restClient')
  for (const name of METHODS) if (typeof client[name] !== 'function') throw unknownVersion(`restClient.${name}`)
  // A field exists even if its value is undefined.
  for (const name of FIELDS) if (!(name in client)) throw unknownVersion(`restClient.${name}`)
  for (const name of ['onRefreshTokenUpdated', 'onSession']) {
    const { next, subscribe } = client[name] ?? {}
    if (typeof next !== 'function' || typeof subscribe !== 'function') throw unknownVersion(`restClient.${name}`)
  }
  const version = client.baseSessionMetadata?.api_version
  if (version !== API_VERSION) {
    throw invalid(
      `This RingApi uses version ${String(version).slice(0, 20)} of Ring's API, and attachToRingApi supports ${API_VERSION}, that of ring-client-api 14. Look for a newer version of ring-auth.`,
    )
  }
  return client
}

/**
 * Whether the token of a rest client came from a rotation of its own: then it has announced the token. Its access token may have
 * expired since.
 * @param {any} client
 */
function hasRotated(client) {
  /** @type {any} */
  let last
  client.onRefreshTokenUpdated.subscribe((/** @type {any} */ update) => (last = update)).unsubscribe()
  const { refreshToken } = client
  return last?.newRefreshToken === refreshToken && refreshToken !== givenBack.get(client)
}

/**
 * Logs a warning if the text in the RingApi cannot be a token. The manager's own token is used then.
 * @param {import('../manager.js').Internals} internals
 * @param {string} text
 */
function warnOfNoToken(internals, text) {
  try {
    parseRefreshToken(text)
  } catch (error) {
    const { message } = /** @type {Error} */ (error)
    internals.log(
      'warn',
      `The refreshToken of the RingApi is ignored, and the token of the manager is used. ${message}`,
    )
  }
}

/** @param {string} token */
function configOf(token) {
  return unwrapped(token) ?? { rt: token }
}

/** @param {string} missing */
function unknownVersion(missing) {
  return invalid(
    `attachToRingApi supports ring-client-api 14, and this is not a RingApi of that version: ${missing} is missing or is something else. Use ring-client-api 14, or look for a newer version of ring-auth.`,
  )
}

/**
 * A promise whose rejection counts as handled.
 * @template T
 * @param {Promise<T>} promise
 */
function handled(promise) {
  promise.catch(() => {})
  return promise
}

/** @param {(...args: any[]) => unknown} value @returns {PropertyDescriptor} */
function method(value) {
  return { value, writable: true }
}

module.exports = { attachToRingApi }
