// @ts-check
// The session and the API paths that show whether an access token works: those that a RingApi of ring-client-api asks for when it
// starts, and one of each kind of answer (JSON, a picture, nothing).
import { SESSION_PATH, isUuid, json, methodNotAllowed } from './answers.mjs'
import { DEVICES, LOCATIONS, PICTURE } from './devices.mjs'

/** @typedef {import('./answers.mjs').Incoming} Incoming */
/** @typedef {import('./answers.mjs').Answer} Answer */

/**
 * @typedef {object} DeviceSession
 * @property {string} hardwareId
 * @property {string} email
 * @property {string} deviceModel
 * @property {number} at
 * @property {number} times
 */

const PREFIXES = ['/clients_api/', '/devices/v1/', '/commands/v1/', '/api/v1/', '/snapshots/']

/** @param {string} path */
export function isApiPath(path) {
  return PREFIXES.some((prefix) => path.startsWith(prefix))
}

export class Api {
  #settings
  #accounts
  /** By hardware id. @type {Map<string, DeviceSession>} */
  sessions = new Map()
  /** The mode of each location. @type {Map<string, string>} */
  #modes = new Map()
  /** The last body of PATCH /clients_api/device. @type {any} */
  pushRegistration = undefined

  /** @type {[RegExp, Record<string, (id: string, request: Incoming) => Answer>][]} */
  #routes = [
    [/^\/clients_api\/ring_devices$/, { GET: () => json(200, DEVICES) }],
    [/^\/devices\/v1\/locations$/, { GET: () => json(200, { user_locations: LOCATIONS }) }],
    [/^\/clients_api\/profile$/, { GET: () => json(200, { profile: { id: 1, first_name: 'Person', country: 'US' } }) }],
    [
      /^\/clients_api\/doorbots\/(\d+)\/health$/,
      { GET: (id) => json(200, { device_health: { id: Number(id), wifi_name: 'home' } }) },
    ],
    // ring-client-api asks this for dings. The answer is empty.
    [/^\/clients_api\/doorbots\/(\d+)\/(?:motions_)?(?:un)?subscribe$/, { POST: () => nothing() }],
    [/^\/clients_api\/doorbots\/(\d+)\/(?:floodlight_light|siren)_(?:on|off)$/, { PUT: () => nothing() }],
    [
      /^\/clients_api\/device$/,
      {
        PATCH: (_id, request) => {
          const { device } = request.parsed.form
          if (typeof device?.push_notification_token !== 'string')
            return json(400, { error: 'push_notification_token is missing' })
          this.pushRegistration = device
          return nothing()
        },
      },
    ],
    [/^\/snapshots\/next\/(\d+)$/, { GET: () => picture() }],
    [
      /^\/clients_api\/snapshots\/uuid$/,
      { GET: (_id, request) => (request.query.get('uuid') ? picture() : json(400, { error: 'uuid is missing' })) },
    ],
    [
      /^\/api\/v1\/mode\/location\/([\w-]+)$/,
      {
        GET: (id) => json(200, { mode: this.#modes.get(id) ?? 'home', readOnly: false }),
        POST: (id, request) => {
          const { mode } = request.parsed.form
          if (!['disarmed', 'home', 'away'].includes(mode)) return json(400, { error: 'no such mode' })
          this.#modes.set(id, mode)
          return json(200, { mode, readOnly: false })
        },
      },
    ],
  ]

  /**
   * @param {import('./settings.mjs').Settings} settings
   * @param {import('./accounts.mjs').Accounts} accounts
   */
  constructor(settings, accounts) {
    this.#settings = settings
    this.#accounts = accounts
  }

  /** @param {Incoming} request @returns {Answer} */
  handle(request) {
    const answer = this.#route(request)
    answer.headers['x-time-millis'] = String(this.#settings.now())
    return answer
  }

  /** @param {Incoming} request @returns {Answer} */
  #route(request) {
    const bearer = /^Bearer (\S+)$/.exec(request.headers['authorization'] ?? '')
    const account = bearer ? this.#accounts.access(bearer[1]) : undefined
    if (!account) return json(401, { error: 'Unauthorized', status_code: 401 })
    if (request.path === SESSION_PATH) return this.#session(request, account.email)
    const hardwareId = request.headers['hardware_id'] ?? ''
    // The other bases do not need a session, as far as is known: ring-client-api would not make one for them.
    if (
      this.#settings.requireSession &&
      request.path.startsWith('/clients_api/') &&
      this.sessions.get(hardwareId)?.email !== account.email
    ) {
      return json(404, { error: `Session not found for device ${hardwareId}` })
    }
    if (request.parsed.problem !== undefined) return json(400, { error: request.parsed.problem })
    for (const [pattern, methods] of this.#routes) {
      const match = pattern.exec(request.path)
      if (!match) continue
      const answer = methods[request.method]
      return answer ? answer(match[1] ?? '', request) : methodNotAllowed(Object.keys(methods).join(', '))
    }
    return json(200, { path: request.path })
  }

  /** @param {Incoming} request @param {string} email @returns {Answer} */
  #session(request, email) {
    if (request.method !== 'POST') return methodNotAllowed('POST')
    const { form, kind, problem } = request.parsed
    const device = form.device
    const hardwareId = request.headers['hardware_id'] ?? (this.#settings.sessionNeedsHeaders ? '' : device?.hardware_id)
    const wrong =
      problem ??
      (kind !== 'json'
        ? 'a session takes JSON'
        : typeof device !== 'object' || device === null
          ? 'device is missing'
          : !isUuid(device.hardware_id) || device.hardware_id !== hardwareId
            ? 'device.hardware_id is not that of the header'
            : device.metadata?.api_version !== 11
              ? 'device.metadata.api_version is not 11'
              : typeof device.metadata.device_model !== 'string' || device.metadata.device_model === ''
                ? 'device.metadata.device_model is missing'
                : device.os !== 'android'
                  ? 'device.os is not android'
                  : undefined)
    if (wrong !== undefined) return json(400, { error: wrong })
    const before = this.sessions.get(hardwareId)
    this.sessions.set(hardwareId, {
      hardwareId,
      email,
      deviceModel: device.metadata.device_model,
      at: this.#settings.now(),
      times: (before?.times ?? 0) + 1,
    })
    return json(200, { profile: { id: 1, email, first_name: 'Person', country: 'US' } })
  }
}

/** @returns {Answer} */
function nothing() {
  return { status: 204, headers: {}, body: '' }
}

/** @returns {Answer} */
function picture() {
  return { status: 200, headers: { 'content-type': 'image/jpeg' }, body: PICTURE }
}
