// @ts-check
'use strict'

// A real RingApi, whose rest client gets its tokens and its answers from a manager. That object is changed in place: every
// camera and location holds it, and its subjects are those that they have subscribed to.

const { ABORTED, aborted, isAbortSignal, orAborted } = require('../abort.js')
const { pick, wrongType } = require('../checks.js')
const { invalid } = require('../errors.js')
const { parseRefreshToken } = require('../../index.js')
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
  const clearTimeouts = client.clearTimeouts

  // What its own code has written into the fields of its token, and reads back from there, until the manager has adopted it: it
  // writes authConfig, and builds the new token from it.
  const own = new Map([
    ['refreshToken', client.refreshToken],
    ['authConfig', client.authConfig],
  ])
  /** @returns {string | undefined} */
  const shownToken = () => (own.has('refreshToken') ? own.get('refreshToken') : (manager.refreshToken ?? undefined))

  // A rotation of its own may still be under way: what that brings is the newest there is.
  const begun = client._authPromise
  let received = client.refreshToken
  let isItsOwn = begun !== undefined || hasRotated(client)
  let settled = false
  let detached = false
  let gaveUp = () => {}
  /** @type {Promise<void>} */
  const givenUp = new Promise((resolve) => {
    gaveUp = resolve
  })
  const adopt = async () => {
    await Promise.race([begun, givenUp]).catch(() => {})
    // Detached meanwhile, it goes on with that token itself.
    if (detached && !settled) return
    settled = true
    const token = received
    if (token && (isItsOwn || manager.refreshToken === null)) {
      await manager.setRefreshToken(token)
    } else if (token) {
      warnOfNoToken(internals, token)
    }
    // One that came meanwhile is adopted next.
    if (token === received) own.clear()
  }
  /** @type {Promise<void> | undefined} */
  let adoption
  /** Where it fails, as a locked store does, the next call tries again. @param {Promise<void>} [before] */
  const adopted = (before) => {
    if (adoption !== undefined) return adoption
    const current = (before ?? Promise.resolve()).then(adopt).catch((error) => {
      if (adoption === current) adoption = undefined
      throw error
    })
    adoption = current
    return current
  }
  /** Its own code has got a token, or has dropped the one that it had. @param {unknown} token */
  const receive = (token) => {
    if (typeof token !== 'string' || token === '') {
      // It failed. What it asks for next is ours, so nothing here may wait for it any longer.
      gaveUp()
      if (settled) own.clear()
      return
    }
    received = token
    isItsOwn = true
    // It announces that one itself.
    news.knows(token)
    if (!settled) return
    const before = adoption?.catch(() => {})
    adoption = undefined
    adopted(before).catch(() => {})
  }
  /** @param {any} config */
  const configure = (config) => {
    if (settled && !config?.rt) {
      own.delete('authConfig')
      return
    }
    own.set('authConfig', config)
    // Its own code writes the token next. What somebody else writes is not kept: it would outlive the manager's next rotation.
    if (settled) queueMicrotask(() => own.has('refreshToken') || own.delete('authConfig'))
  }
  const push = new PushCredentials(
    {
      get refreshToken() {
        return shownToken() ?? null
      },
      setPushCredentials: async (/** @type {any} */ credentials) => {
        await adopted()
        if (detached) client._internalOnly_pushNotificationCredentials = credentials ?? undefined
        else await manager.setPushCredentials(credentials)
      },
    },
    internals,
  )

  /**
   * One of its methods: after the adoption, and by its own one where it was detached meanwhile.
   * @param {string} name
   * @param {(options: any) => Promise<unknown>} work
   */
  const replacement = (name, work) =>
    method(async (/** @type {any} */ options) => {
      const { signal } =
        typeof options === 'object' && options !== null ? pick(options, ['signal']) : { signal: undefined }
      if (isAbortSignal(signal)) {
        if (signal.aborted || (await orAborted(adopted(), signal)) === ABORTED) throw aborted(signal)
      } else {
        await adopted()
      }
      // Its own getAuth makes a request each time: those who waited here share one, as they would have.
      return detached ? client[name === 'getAuth' ? 'getCurrentAuth' : name](options) : work(options)
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
    refreshToken: {
      get: shownToken,
      set: (token) => {
        own.set('refreshToken', token)
        receive(token)
      },
      enumerable: true,
    },
    authConfig: {
      get: () => (own.has('authConfig') ? own.get('authConfig') : unwrapped(manager.refreshToken)),
      set: configure,
      enumerable: true,
    },
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
      const { hardwareId } = manager
      if (hardwareId !== null) client.hardwareIdPromise = hardwareId
      const token = shownToken()
      if (!token) return
      // One that the manager could not take over yet is still its own.
      if (own.size === 0) givenBack.set(client, token)
      // A rotation of the manager's may be under way, which close() waits for: until the first one of its own, what it has
      // is the manager's newest.
      /** @type {PropertyDescriptorMap} */
      const lent = {
        refreshToken: { get: shownToken },
        authConfig: { get: () => configOf(String(shownToken())) },
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
      if (internals.isAsked() || manager.status.state === 'refreshing') {
        // That token is being spent, or is about to be: it must not be sent a second time.
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
      `This RingApi uses version ${String(version).slice(0, 20)} of Ring's API, and attachToRingApi supports ${API_VERSION}, that of ring-client-api 14. Look for a newer version of ring-auth.`,
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

/**
 * Says that a text of the RingApi cannot be a token, if it cannot: the manager's own token is used.
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
