// @ts-check
// The data between the parts of the fake: a decoded request comes in, and an answer that is not sent yet goes out. Because an answer is plain data until the
// very end, a fault can change it, cut it or throw it away after the request was processed for real.
import { STATUS_CODES } from 'node:http'

/**
 * @typedef {object} Incoming
 * @property {string} method
 * @property {string} path
 * @property {string} search with the question mark
 * @property {URLSearchParams} query
 * @property {Record<string, string>} headers
 * @property {string} body
 * @property {Parsed} parsed
 * @property {string} origin as the client addressed this server
 * @property {boolean} secure
 * @property {boolean} reused a connection that already carried a request
 */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {Record<string, string | string[]>} headers
 * @property {string | Buffer} body
 */

/**
 * @typedef {object} Parsed
 * @property {Record<string, any>} form
 * @property {'form'|'json'|'none'} kind
 * @property {string} [problem] why the body is refused
 */

/**
 * @param {number} status
 * @param {unknown} value
 * @param {Record<string, string | string[]>} [headers]
 * @returns {Answer}
 */
export function json(status, value, headers = {}) {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(value),
  }
}

/**
 * @param {number} status
 * @param {string} body
 * @param {Record<string, string | string[]>} [headers]
 * @returns {Answer}
 */
export function html(status, body, headers = {}) {
  return { status, headers: { 'content-type': 'text/html; charset=utf-8', ...headers }, body }
}

/**
 * @param {string} location
 * @param {Record<string, string | string[]>} [headers]
 * @param {number} [status]
 * @returns {Answer}
 */
export function redirect(location, headers = {}, status = 302) {
  return { status, headers: { location, ...headers }, body: '' }
}

/**
 * @param {string} allow
 * @returns {Answer}
 */
export function methodNotAllowed(allow) {
  return json(405, { error: 'method_not_allowed' }, { allow })
}

/** The page of the proxy in front, not of the application. @param {number} status */
export function edgePage(status) {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim()
  const signature = status === 403 ? 'cloudflare' : 'openresty'
  return html(
    status,
    `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n<hr><center>${signature}</center>\r\n</body>\r\n</html>\r\n`,
    { server: signature },
  )
}

export const SESSION_PATH = '/clients_api/session'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** @param {unknown} value @returns {value is string} */
export function isUuid(value) {
  return typeof value === 'string' && UUID.test(value)
}

/**
 * The requests that the edge refuses before the application sees them.
 * @param {Incoming} request
 * @param {import('./settings.mjs').Settings} settings
 * @returns {Answer | undefined}
 */
export function edgeRefusal(request, settings) {
  // ring-client-api sends its sessions without them, and Ring accepts that.
  if (request.path === SESSION_PATH && !settings.sessionNeedsHeaders) return undefined
  const agent = request.headers['user-agent']
  if (!agent) return edgePage(403)
  const wanted = typeof settings.userAgent === 'string' ? new RegExp(settings.userAgent) : settings.userAgent
  if (agent.search(wanted) < 0) return edgePage(406)
  const hardwareId = request.headers['hardware_id']
  if (!isUuid(hardwareId)) return edgePage(406)
  if (settings.flaggedHardwareIds.includes(hardwareId)) return edgePage(406)
  return undefined
}

/**
 * @param {string | undefined} contentType
 * @param {string} body
 * @returns {Parsed}
 */
export function parseBody(contentType, body) {
  if (body === '') return { form: {}, kind: 'none' }
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (type === 'application/json') {
    try {
      const value = JSON.parse(body)
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { form: value, kind: 'json' }
    } catch {
      // told below
    }
    return { form: {}, kind: 'json', problem: 'the body is not a JSON object' }
  }
  if (type === 'application/x-www-form-urlencoded') {
    const pairs = [...new URLSearchParams(body)]
    const form = Object.fromEntries(pairs)
    // URLSearchParams forgives anything; a mangled password has to be seen here, not guessed at from a 401.
    let problem
    if (/[^\x21-\x7e]/.test(body) || /%(?![0-9a-fA-F]{2})/.test(body))
      problem = 'the form is not percent-encoded properly'
    else if (pairs.length !== Object.keys(form).length) problem = 'a parameter is given twice'
    return { form, kind: 'form', ...(problem ? { problem } : {}) }
  }
  return { form: {}, kind: 'none', problem: 'the body is neither a form nor JSON' }
}

/** @param {string | undefined} header @returns {Record<string, string>} */
export function parseCookies(header) {
  /** @type {Record<string, string>} */
  const cookies = {}
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=')
    if (at < 0) continue
    const name = part.slice(0, at).trim()
    // The one with the longer path comes first (RFC 6265).
    if (!Object.hasOwn(cookies, name)) cookies[name] = part.slice(at + 1).trim()
  }
  return cookies
}
