// @ts-check
// The session and the few API paths that show whether an access token works.
import { isUuid, json, methodNotAllowed } from './answers.mjs';

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

const PREFIXES = ['/clients_api/', '/devices/v1/', '/commands/v1/', '/api/v1/'];

/** @param {string} path */
export function isApiPath(path) {
  return PREFIXES.some((prefix) => path.startsWith(prefix));
}

export class Api {
  #settings;
  #accounts;
  /** By hardware id. @type {Map<string, DeviceSession>} */
  sessions = new Map();

  /**
   * @param {import('./settings.mjs').Settings} settings
   * @param {import('./accounts.mjs').Accounts} accounts
   */
  constructor(settings, accounts) {
    this.#settings = settings;
    this.#accounts = accounts;
  }

  /** @param {Incoming} request @returns {Answer} */
  handle(request) {
    const answer = this.#route(request);
    answer.headers['x-time-millis'] = String(this.#settings.now());
    return answer;
  }

  /** @param {Incoming} request @returns {Answer} */
  #route(request) {
    const bearer = /^Bearer (\S+)$/.exec(request.headers['authorization'] ?? '');
    const account = bearer ? this.#accounts.access(bearer[1]) : undefined;
    if (!account) return json(401, { error: 'Unauthorized', status_code: 401 });
    const hardwareId = request.headers['hardware_id'] ?? '';
    if (request.path === '/clients_api/session') return this.#session(request, account.email, hardwareId);
    if (this.#settings.requireSession && this.sessions.get(hardwareId)?.email !== account.email) {
      return json(404, { error: `Session not found for device ${hardwareId}` });
    }
    if (request.path === '/clients_api/ring_devices') {
      if (request.method !== 'GET') return methodNotAllowed('GET');
      return json(200, {
        doorbots: [{ id: 1, description: 'Front Door', kind: 'doorbell_v3', location_id: 'location-1' }],
        authorized_doorbots: [],
        chimes: [],
        stickup_cams: [],
        base_stations: [],
        beams_bridges: [],
        other: [],
      });
    }
    if (request.path === '/devices/v1/locations') {
      return json(200, { user_locations: [{ location_id: 'location-1', name: 'Home', owner_id: 1 }] });
    }
    return json(200, { path: request.path });
  }

  /** @param {Incoming} request @param {string} email @param {string} hardwareId @returns {Answer} */
  #session(request, email, hardwareId) {
    if (request.method !== 'POST') return methodNotAllowed('POST');
    const { form, kind, problem } = request.parsed;
    const device = form.device;
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
                  : undefined);
    if (wrong !== undefined) return json(400, { error: wrong });
    const before = this.sessions.get(hardwareId);
    this.sessions.set(hardwareId, {
      hardwareId,
      email,
      deviceModel: device.metadata.device_model,
      at: this.#settings.now(),
      times: (before?.times ?? 0) + 1,
    });
    return json(200, { profile: { id: 1, email, first_name: 'Person', country: 'US' } });
  }
}
