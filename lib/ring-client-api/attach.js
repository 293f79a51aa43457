// @ts-check
'use strict'

// A real RingApi, whose rest client gets its tokens and its answers from a manager. That object is changed in place: every
// camera and location holds it, and its subjects are those that they have subscribed to.

const { ABORTED, aborted, isAbortSignal, orAborted } = require('../abort.js')
const { wrongType } = require('../checks.js')
const { invalid } = require('../errors.js')
const { Announcer, ApiClient, PushCredentials, internalsOf, toWire, unwrapped } = require('./api-client.js')

/** What the rest client of ring-client-api 14 has. Where one of these is missing, it is of another version. */
const METHODS = ['getAuth', 'getCurrentAuth', 'getSession', 'request', 'clearTimeouts', 'refreshAuth', 'refreshSession']
const FIELDS = ['refreshToken', 'authConfig', 'hardwareIdPromise', 'timeouts', 'sessionPromise', '_authPromise']
const API_VERSION = 11

/** The rest clients that are attached. @type {WeakSet<object>} */
const attached = new WeakSet()

/** The token that each got back at its last detaching. @type {WeakMap<object, string>} */
const givenBack = new WeakMap()

/**
 * @param {any} ringApi
 * @param {any} manager
 */
function attachToRingApi(ringApi, manager) {
  const internals = internalsOf(manager)
  const client = knownClient(ringApi)
  if (attached.has(client)) throw invalid('ringApi is attached already: detach it first')

  // A token that its subscribers have never heard of would not fit what they have stored.
  const news = new Announcer(manager, client.refreshToken || undefined, (update) =>
    client.onRefreshTokenUpdated.next(update),
  )
  const deviceName = String(client.baseSessionMetadata.device_model)
  const api = new ApiClient(internals, deviceName, (session) => client.onSession.next(session))
  const push = new PushCredentials(manager, internals)
  const clearTimeouts = client.clearTimeouts

  // A rotation of its own may still be under way: what that brings is the newest there is.
  let received = client.refreshToken
  let settled = false
  let detached = false
  let gaveUp = () => {}
  /** @type {Promise<void>} */
  const givenUp = new Promise((resolve) => {
    gaveUp = resolve
  })
  /** @param {unknown} token */
  const receive = (token) => {
    if (typeof token !== 'string' || token === '') {
      // It failed. What it asks for next is ours, so nothing here may wait for it any longer.
      gaveUp()
      return
    }
    received = token
    // It announces that one itself.
    news.knows(token)
    if (settled) manager.setRefreshToken(token).catch(() => {})
  }
  const begun = client._authPromise
  const isItsOwn = begun !== undefined || hasRotated(client)
  const adopt = async () => {
    await Promise.race([begun, givenUp]).catch(() => {})
    // Detached meanwhile, it goes on with that token itself.
    if (detached) return
    settled = true
    if (received && (isItsOwn || manager.refreshToken === null)) await manager.setRefreshToken(received)
  }
  /** @type {Promise<void> | undefined} */
  let adoption
  /** Where it fails, as a locked store does, the next call tries again. */
  const adopted = () =>
    (adoption ??= adopt().catch((error) => {
      adoption = undefined
      throw error
    }))

  /**
   * One of its methods: after the adoption, and by its own one where it was detached meanwhile.
   * @param {string} name
   * @param {(options: any) => Promise<unknown>} work
   */
  const replacement = (name, work) =>
    method(async (/** @type {any} */ options) => {
      const { signal } = options ?? {}
      if (isAbortSignal(signal)) {
        if (signal.aborted || (await orAborted(adopted(), signal)) === ABORTED) throw aborted(signal)
      } else {
        await adopted()
      }
      return detached ? client[name](options) : work(options)
    })
  const getCurrentAuth = replacement('getCurrentAuth', async () => toWire(await news.after(manager.getAuth())))

  /** @type {PropertyDescriptorMap} */
  const replaced = {
    getAuth: replacement('getAuth', async () => toWire(await news.after(manager.refresh()))),
    getCurrentAuth,
    getSession: replacement('getSession', () => news.after(api.getSession())),
    request: replacement('request', (options) => news.after(api.request(options))),
    clearTimeouts: method(() => {
      clearTimeouts.call(client)
      api.clear()
    }),
    refreshToken: { get: () => manager.refreshToken ?? undefined, set: receive, enumerable: true },
    authConfig: { get: () => unwrapped(manager.refreshToken), set: () => {}, enumerable: true },
    // A request that was begun before this asks for it.
    _authPromise: { get: () => handled(getCurrentAuth.value()), set: () => {} },
    _internalOnly_pushNotificationCredentials: {
      get: () => push.value,
      set: (credentials) => {
        push.value = credentials
      },
    },
  }
  const before = Object.fromEntries(
    Object.keys(replaced).map((name) => [name, Object.getOwnPropertyDescriptor(client, name)]),
  )
  for (const [name, descriptor] of Object.entries(replaced)) {
    Object.defineProperty(client, name, { ...descriptor, configurable: true })
  }
  attached.add(client)
  // What it did for its own token it does no more.
  clearTimeouts.call(client)

  /** @type {{ unsubscribe(): void } | undefined} */
  let subscription
  adopted()
    // Whoever asks for something is told of it.
    .catch(() => {})
    .then(() => {
      if (detached) return
      news.news()
      subscription = manager.onRefreshTokenUpdated.subscribe(() => news.news())
    })

  return {
    detach() {
      if (detached) return
      detached = true
      attached.delete(client)
      api.close()
      for (const [name, descriptor] of Object.entries(before)) {
        delete client[name]
        if (descriptor !== undefined) Object.defineProperty(client, name, descriptor)
      }
      client.sessionPromise = undefined
      if (!settled) {
        // Its own rotation is still under way: everybody waits for that one.
        gaveUp()
        client._authPromise = begun
        client.refreshToken = received
        if (received) client.authConfig = configOf(received)
        return
      }
      client._authPromise = undefined
      const { refreshToken, hardwareId } = manager
      if (hardwareId !== null) client.hardwareIdPromise = hardwareId
      if (refreshToken === null) return
      givenBack.set(client, refreshToken)
      // A rotation of the manager's may be under way, which close() waits for: until the first one of its own, what it has
      // is the manager's newest.
      /** @type {PropertyDescriptorMap} */
      const lent = {
        refreshToken: { get: () => manager.refreshToken },
        authConfig: { get: () => configOf(manager.refreshToken) },
      }
      const keep = () => {
        subscription?.unsubscribe()
        news.news()
        const { refreshToken, authConfig } = client
        for (const [name, value] of Object.entries({ refreshToken, authConfig })) {
          Object.defineProperty(client, name, { value, writable: true, enumerable: true, configurable: true })
        }
      }
      for (const [name, descriptor] of Object.entries(lent)) {
        /** @param {unknown} value */
        const set = (value) => {
          keep()
          client[name] = value
        }
        Object.defineProperty(client, name, { ...descriptor, set, enumerable: true, configurable: true })
      }
      if (manager.status.state === 'refreshing') {
        // That token is being spent: it must not be sent a second time.
        const own = () => client.getAuth()
        client._authPromise = handled(news.after(manager.refresh()).then(toWire, own))
      }
    },
  }
}

/**
 * The rest client of a RingApi, if it is one that is known.
 * @param {any} ringApi
 */
function knownClient(ringApi) {
  if (typeof ringApi !== 'object' || ringApi === null)
    throw wrongType('ringApi', 'a RingApi of ring-client-api', ringApi)
  const client = ringApi.restClient
  if (typeof client !== 'object' || client === null) throw unknownVersion('restClient')
  for (const name of METHODS) if (typeof client[name] !== 'function') throw unknownVersion(`restClient.${name}`)
  // Its fields are defined even where they are undefined.
  for (const name of FIELDS) if (!(name in client)) throw unknownVersion(`restClient.${name}`)
  for (const name of ['onRefreshTokenUpdated', 'onSession']) {
    const { next, subscribe } = client[name] ?? {}
    if (typeof next !== 'function' || typeof subscribe !== 'function') throw unknownVersion(`restClient.${name}`)
  }
  const version = client.baseSessionMetadata?.api_version
  if (version !== API_VERSION) {
    throw invalid(
      `This RingApi speaks version ${String(version).slice(0, 20)} of Ring's API, and attachToRingApi knows ${API_VERSION}, that of ring-client-api 14. Look for a newer version of ring-auth.`,
    )
  }
  return client
}

/**
 * Whether the token that it has came from a request of its own: it has announced it, and its access token may be gone by now.
 * @param {any} client
 */
function hasRotated(client) {
  /** @type {any} */
  let last
  client.onRefreshTokenUpdated.subscribe((/** @type {any} */ update) => (last = update)).unsubscribe()
  const { refreshToken } = client
  return last?.newRefreshToken === refreshToken && refreshToken !== givenBack.get(client)
}

/** @param {string} token */
function configOf(token) {
  return unwrapped(token) ?? { rt: token }
}

/** @param {string} missing */
function unknownVersion(missing) {
  return invalid(
    `attachToRingApi knows ring-client-api 14, and this is not a RingApi of it: ${missing} is missing or is something else. Use ring-client-api 14, or look for a newer version of ring-auth.`,
  )
}

/**
 * A promise that nobody has to wait for.
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
