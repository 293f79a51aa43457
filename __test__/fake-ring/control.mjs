// @ts-check
// /__fake/*: the methods of the fake over HTTP, for tests in other processes and for use by hand.
import { json, methodNotAllowed } from './answers.mjs'
import { mergeSettings } from './settings.mjs'

/**
 * @param {import('./index.mjs').FakeRing} ring
 * @param {import('./answers.mjs').Incoming} request
 * @returns {import('./answers.mjs').Answer}
 */
export function control(ring, request) {
  const action = request.path.slice('/__fake/'.length)
  const methods = { state: ['GET'], requests: ['GET', 'DELETE'], faults: ['DELETE'], counts: ['DELETE'] }[action] ?? [
    'POST',
  ]
  if (!methods.includes(request.method)) return methodNotAllowed(methods.join(', '))
  /** @type {any} */
  let input = {}
  try {
    // Any content type: a person who uses curl may not send one.
    if (request.body !== '') input = JSON.parse(request.body)
    return json(200, run(ring, action, request, input) ?? { ok: true })
  } catch (error) {
    return json(400, { error: String(error) })
  }
}

/**
 * @param {import('./index.mjs').FakeRing} ring
 * @param {string} action
 * @param {import('./answers.mjs').Incoming} request
 * @param {any} input
 * @returns {unknown}
 */
function run(ring, action, request, input) {
  switch (action) {
    case 'state':
      return {
        counts: ring.counts,
        settings: { ...ring.settings, userAgent: String(ring.settings.userAgent), now: ring.settings.now() },
        accounts: ring.accounts.all().map(({ email, twoFactor, codesSent, newest }) => ({
          email,
          twoFactor,
          code: ring.codeFor(email),
          codesSent,
          newest,
          ...(newest === undefined ? {} : { newestLive: ring.isLive(newest) }),
        })),
        sessions: [...ring.sessions.values()],
        internalErrors: ring.internalErrors.map(String),
      }
    case 'requests':
      if (request.method === 'DELETE') return ring.clearRequests()
      return ring.requests
    case 'counts':
      return ring.clearCounts()
    case 'settings': {
      // JSON has no undefined and no Infinity.
      const { unset = [], ...patch } = input
      for (const [name, value] of Object.entries(patch)) if (value === 'Infinity') patch[name] = Infinity
      if ('now' in patch) throw new TypeError('the clock cannot be set from here')
      mergeSettings(ring.settings, patch)
      mergeSettings(ring.settings, Object.fromEntries(unset.map((/** @type {string} */ name) => [name, undefined])))
      return undefined
    }
    case 'fault': {
      const { pathRegExp, ...spec } = input
      if (pathRegExp !== undefined) spec.path = new RegExp(pathRegExp)
      if (spec.times === 'Infinity') spec.times = Infinity
      ring.fault(spec)
      return undefined
    }
    case 'faults':
      return ring.clearFaults()
    case 'mint':
      return { refreshToken: ring.mint(input.email, { hardwareId: input.hardwareId }) }
    case 'inspect':
      return ring.inspect(input.token)
    case 'expire':
      return ring.expireAccessTokens()
    case 'revoke':
      return ring.revokeAll(input.email)
    case 'drop-sessions':
      return ring.sessions.clear()
    default:
      throw new Error(`no such action: ${action}`)
  }
}
