// @ts-check
'use strict'

// The page over HTTP: on a server of its own, or as a handler on the program's server, behind that server's login.

const { createHash, randomBytes, randomInt, timingSafeEqual } = require('node:crypto')
const { isIP } = require('node:net')
const { hostname } = require('node:os')
const { properties, refuseUnknown, wrongType } = require('../checks.js')
const { RingAuthError, invalid } = require('../errors.js')
const { LoginFlow } = require('./flow.js')
const { STYLE, page, program } = require('./page.js')

/** @typedef {import('node:http').IncomingMessage} IncomingMessage */
/** @typedef {import('node:http').ServerResponse} ServerResponse */
/** @typedef {import('../../index.js').RingTokenManager} RingTokenManager */
/** @typedef {Record<string, Partial<import('./texts.js').Texts>>} OwnTexts */

const MOST_BYTES = 8 * 1024
const BODY_MS = 10_000
const IDLE_MS = 10 * 60_000
const RUN_MS = 15 * 60_000
const MOST_WRONG_SECRETS = 5
/** 32 capitals and digits that are not mistaken for one another. Eight of them are 40 bits. */
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}
const HANDLER_OPTIONS = ['texts']
const SERVER_OPTIONS = ['host', 'port', 'allowedHosts', 'tls', 'signal', 'texts', 'printsToken']
const STEPS = ['status', 'login', 'code', 'resend', 'cancel']

/** A refused request. The browser gets the status and nothing else. */
class Refusal extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`HTTP ${status}`)
    this.status = status
  }
}

/**
 * The differences between the two ways to serve the page.
 * @typedef {object} Site
 * @property {InstanceType<typeof LoginFlow>} flow
 * @property {OwnTexts | undefined} texts
 * @property {boolean} needsSecret
 * @property {boolean} redirects Whether an address without a slash at its end leads to the one with it.
 * @property {(request: IncomingMessage) => void} check Throws a `Refusal`.
 * @property {'https' | undefined} scheme The scheme, if the page has only one.
 * @property {(secret: string) => { status: number, session?: string }} exchange
 * @property {(request: IncomingMessage) => boolean} isKnown Whether the session is the one of the first visitor.
 */

/**
 * Answers one request. Logs and repeats nothing of it.
 * @param {Site} site
 * @param {IncomingMessage & { originalUrl?: string, body?: unknown }} request
 * @param {ServerResponse} response
 */
async function answer(site, request, response) {
  try {
    checkHost(request)
    site.check(request)
    const path = pathOf(request.url)
    const step = /(?:^|\/)api\/([a-z]+)$/.exec(path)?.[1]
    if (step !== undefined) return await answerStep(site, request, response, step)
    const file = /(?:^|\/)(page\.js|page\.css)$/.exec(path)?.[1]
    const full = pathOf(request.originalUrl ?? request.url)
    if (file === undefined && !full.endsWith('/') && !site.redirects) throw new Refusal(404)
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new Refusal(405)
    if (file === 'page.css') return send(response, 200, 'text/css; charset=utf-8', STYLE)
    if (file === 'page.js') {
      const text = program({ place: 'web', needsSecret: site.needsSecret }, site.texts)
      return send(response, 200, 'text/javascript; charset=utf-8', text)
    }
    if (full.endsWith('/')) {
      const text = page(request.headers['accept-language'], site.texts)
      return send(response, 200, 'text/html; charset=utf-8', text)
    }
    // The addresses in the page are relative to a folder.
    response.setHeader('location', `./${full.slice(full.lastIndexOf('/') + 1)}/`)
    send(response, 308, 'text/plain; charset=utf-8', '')
  } catch (error) {
    refuse(response, error instanceof Refusal ? error.status : 500)
  }
}

/**
 * @param {Site} site
 * @param {IncomingMessage & { body?: unknown }} request
 * @param {ServerResponse} response
 * @param {string} step
 */
async function answerStep(site, request, response, step) {
  if (!STEPS.includes(step) && !(step === 'session' && site.needsSecret)) throw new Refusal(404)
  if (request.method !== 'POST') throw new Refusal(405)
  checkOrigin(request, site.scheme)
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/json\s*(?:;|$)/i.test(type)) throw new Refusal(415)
  if (step === 'session') {
    await bodyOf(request)
    const { status, session } = site.exchange(String(request.headers['x-ring-auth-secret'] ?? ''))
    if (session === undefined) throw new Refusal(status)
    return send(response, status, 'application/json', JSON.stringify({ session }))
  }
  if (!site.isKnown(request)) throw new Refusal(401)
  const body = await bodyOf(request)
  const { flow } = site
  const given =
    step === 'login'
      ? flow.login(body)
      : step === 'code'
        ? flow.code(body)
        : step === 'resend'
          ? flow.resend()
          : step === 'cancel'
            ? flow.cancel()
            : flow.status()
  send(response, 200, 'application/json', JSON.stringify(await given))
}

/** @param {string | undefined} url */
function pathOf(url) {
  return (url ?? '/').split(/[?#]/, 1)[0] ?? '/'
}

/** @param {ServerResponse} response @param {number} status @param {string} type @param {string} text */
function send(response, status, type, text) {
  if (response.headersSent || response.destroyed) return
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
  response.statusCode = status
  response.setHeader('content-type', type)
  response.setHeader('content-length', Buffer.byteLength(text))
  response.end(response.req.method === 'HEAD' ? undefined : text)
}

/** @param {ServerResponse} response @param {number} status */
function refuse(response, status) {
  // The rest of the body is not read.
  if (!response.headersSent) response.setHeader('connection', 'close')
  send(response, status, 'text/plain; charset=utf-8', '')
}

/** @param {IncomingMessage} request @param {string} name */
function valuesOf({ rawHeaders }, name) {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name)
}

/** @param {IncomingMessage} request */
function checkHost(request) {
  const hosts = valuesOf(request, 'host')
  if (hosts.length !== 1 || hosts[0]?.trim() === '') throw new Refusal(400)
}

/** @param {IncomingMessage} request @param {'https' | undefined} scheme */
function checkOrigin(request, scheme) {
  const [origin, ...others] = valuesOf(request, 'origin')
  if (origin === undefined || others.length > 0) throw new Refusal(403)
  const host = String(request.headers.host).toLowerCase()
  const own = scheme === undefined ? [`http://${host}`, `https://${host}`] : [`${scheme}://${host}`]
  const written = origin.toLowerCase()
  // A browser leaves out the usual port of the scheme. The header Host may contain it.
  const short = own.map((url) => (URL.canParse(url) ? new URL(url).origin : url))
  if (!own.includes(written) && !short.includes(written)) throw new Refusal(403)
  const site = request.headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') throw new Refusal(403)
}

/**
 * @param {IncomingMessage & { body?: unknown }} request
 * @returns {Promise<unknown>}
 */
async function bodyOf(request) {
  if (Number(request.headers['content-length'] ?? 0) > MOST_BYTES) throw new Refusal(413)
  // A framework may have read the body already, with its own limit.
  if (request.readableEnded && typeof request.body === 'object') {
    if (Buffer.byteLength(JSON.stringify(request.body)) > MOST_BYTES) throw new Refusal(413)
    return request.body
  }
  const bytes = await new Promise((resolve, reject) => {
    /** @type {Buffer[]} */
    const chunks = []
    let length = 0
    const timer = setTimeout(() => reject(new Refusal(408)), BODY_MS)
    const end = (/** @type {() => void} */ then) => {
      clearTimeout(timer)
      then()
    }
    request.on('data', (/** @type {Buffer} */ chunk) => {
      length += chunk.length
      if (length > MOST_BYTES) {
        request.pause()
        return end(() => reject(new Refusal(413)))
      }
      chunks.push(chunk)
    })
    request.on('end', () => end(() => resolve(Buffer.concat(chunks))))
    request.on('error', () => end(() => reject(new Refusal(400))))
    request.on('close', () => end(() => reject(new Refusal(400))))
  })
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new Refusal(400)
  }
}

/** @param {unknown} manager @returns {RingTokenManager} */
function checkedManager(manager) {
  const given = /** @type {Record<string, unknown> | null | undefined} */ (manager)
  for (const name of ['login', 'submitTwoFactorCode', 'resendTwoFactorCode']) {
    if (typeof given !== 'object' || given === null || typeof given[name] !== 'function') {
      throw wrongType('manager', 'a RingTokenManager', manager)
    }
  }
  return /** @type {any} */ (manager)
}

/**
 * The login page as a handler for a program's own server. It has no secret: it relies on that server's login.
 * @param {unknown} manager
 * @param {unknown} [options]
 * @returns {(request: IncomingMessage, response: ServerResponse) => void}
 */
function loginHandler(manager, options) {
  const known = checkedManager(manager)
  const given = options === undefined ? {} : properties('options', options, HANDLER_OPTIONS)
  refuseUnknown('options', given, HANDLER_OPTIONS)
  /** @type {Site | undefined} */
  let site
  const open = () => ({
    flow: new LoginFlow({ open: () => known }),
    texts: /** @type {OwnTexts | undefined} */ (given.texts),
    needsSecret: false,
    redirects: true,
    check: () => {},
    scheme: undefined,
    exchange: () => ({ status: 404 }),
    isKnown: () => true,
  })
  return (request, response) => {
    // A program may need several logins: a visit after a login begins another one.
    if (site === undefined || (site.flow.isDone && known.status.state === 'needs-login')) site = open()
    void answer(site, request, response)
  }
}

/**
 * Serves the login page on a server of its own, until a login has succeeded.
 * @param {unknown} manager
 * @param {unknown} [options]
 * @returns {Promise<{ url: string, done: Promise<void>, close(): Promise<void> }>}
 */
async function serveLogin(manager, options) {
  const known = checkedManager(manager)
  const given = options === undefined ? {} : properties('options', options, SERVER_OPTIONS)
  refuseUnknown('options', given, SERVER_OPTIONS)
  const { host = '127.0.0.1', port = 0, allowedHosts = [], tls, signal, texts, printsToken } = given
  if (typeof host !== 'string' || host === '') throw wrongType('options.host', 'a name or an address', host)
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw invalid('options.port must be a number from 0 to 65535')
  }
  if (!Array.isArray(allowedHosts) || allowedHosts.some((name) => typeof name !== 'string')) {
    throw wrongType('options.allowedHosts', 'an array of names', allowedHosts)
  }
  const abort = /** @type {AbortSignal | undefined} */ (signal)
  if (abort?.aborted) throw ended('ABORTED', 'The call was aborted by its signal')

  const secret = Array.from({ length: 8 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
  /** @type {string | undefined} */
  let session
  let wrong = 0
  let finished = false
  /** @type {(error?: Error) => void} */
  let end = () => {}
  /** @type {Site} */
  const site = {
    flow: new LoginFlow({ open: () => known, printsToken: printsToken === true, onDone: () => (finished = true) }),
    texts: /** @type {OwnTexts | undefined} */ (texts),
    needsSecret: true,
    redirects: false,
    check: (request) => {
      if (!isOwnHost(String(request.headers.host), allowedHosts)) throw new Refusal(421)
    },
    scheme: tls === undefined ? undefined : 'https',
    exchange: (shown) => {
      if (wrong >= MOST_WRONG_SECRETS) return { status: 403 }
      if (!isSame(shown.toUpperCase().replace(/[\s-]/g, ''), secret)) {
        if (++wrong >= MOST_WRONG_SECRETS) {
          end(ended('ABORTED', 'The login page was closed after five wrong secrets. Start it again'))
        }
        return { status: 403 }
      }
      if (session !== undefined) return { status: 409 }
      session = randomBytes(24).toString('base64url')
      return { status: 200, session }
    },
    isKnown: ({ headers }) => session !== undefined && isSame(String(headers['x-ring-auth-session'] ?? ''), session),
  }

  /** @type {typeof import('node:http').createServer} */
  const createServer = tls === undefined ? require('node:http').createServer : require('node:https').createServer
  const limits = { headersTimeout: BODY_MS, requestTimeout: 2 * BODY_MS, maxHeaderSize: 16 * 1024 }
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let idle
  const server = serverWith(() =>
    createServer(
      { .../** @type {object} */ (tls ?? {}), ...limits },
      (/** @type {IncomingMessage} */ request, /** @type {ServerResponse} */ response) => {
        clearTimeout(idle)
        // The server keeps the process alive, but its timers do not: a request may still come while it closes.
        idle = setTimeout(() => end(late(10)), IDLE_MS).unref()
        response.once('close', () => {
          // The page has its answer.
          if (finished) end()
        })
        void answer(site, request, response).then(() => {
          // The visitor left before the answer, so the event above came too early.
          if (finished && response.destroyed) end()
        })
      },
    ),
  )
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set()
  server.on('connection', (/** @type {import('node:net').Socket} */ socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise((resolve, reject) => {
    server.once('error', (/** @type {Error} */ error) => reject(unusable(error, host, port)))
    server.listen({ host, port }, () => resolve(undefined))
  })
  const total = setTimeout(() => end(late(15)), RUN_MS).unref()

  /** @type {Promise<void>} */
  let closing = Promise.resolve()
  const done = /** @type {Promise<void>} */ (
    new Promise((resolve, reject) => {
      let isOver = false
      end = (error) => {
        if (isOver) return
        isOver = true
        clearTimeout(total)
        clearTimeout(idle)
        abort?.removeEventListener('abort', onAbort)
        // Finished answers are flushed first, and an answer under way gets a moment.
        closing = new Promise((closed) => {
          server.close(() => closed())
          server.closeIdleConnections()
          // `closeAllConnections` does not close a connection whose TLS handshake has not ended.
          setTimeout(() => {
            for (const socket of sockets) socket.destroy()
          }, 500).unref()
        })
        // If the login has succeeded, its token must not be lost, even if the server ended for another reason.
        closing.then(() => (error === undefined || finished ? resolve() : reject(error)))
      }
    })
  )
  // A program that does not wait for it does not have to handle its rejection.
  done.catch(() => {})
  const onAbort = () =>
    end(new RingAuthError('ABORTED', 'The call was aborted by its signal', { cause: abort?.reason }))
  abort?.addEventListener('abort', onAbort)

  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  const name = host === '0.0.0.0' || host === '::' ? hostname() : host
  const shown = isIP(name) === 6 ? `[${name}]` : name
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${shown}:${address.port}/#${secret.slice(0, 4)}-${secret.slice(4)}`,
    done,
    close: async () => {
      end(ended('ABORTED', 'The login page was closed before a login'))
      await closing
    },
  }
}

/**
 * The error for a certificate or a key that cannot be used: `INVALID_ARGUMENT`.
 * @param {() => import('node:http').Server} create
 */
function serverWith(create) {
  try {
    return create()
  } catch (error) {
    throw new RingAuthError(
      'INVALID_ARGUMENT',
      'The certificate and its key cannot be used: both have to be PEM, and belong together',
      {
        cause: /** @type {Error} */ (error).message,
      },
    )
  }
}

/** @param {import('../../index.js').ErrorCode} code @param {string} message */
function ended(code, message) {
  return new RingAuthError(code, message)
}

/** @param {number} minutes */
function late(minutes) {
  return ended(
    'NO_REFRESH_TOKEN',
    `The login page was closed, because there was no login within ${minutes} minutes. Start it again`,
  )
}

/** @param {Error} error @param {string} host @param {number} port */
function unusable(error, host, port) {
  return new RingAuthError(
    'INVALID_ARGUMENT',
    `The login page cannot listen on ${host}, port ${port}. Choose another one`,
    {
      cause: error.message,
    },
  )
}

/** Compares two texts in a time that does not depend on their content. @param {string} given @param {string} expected */
function isSame(given, expected) {
  const digest = (/** @type {string} */ text) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}

/**
 * Whether a host is an address or a name that the web page of an attacker cannot have.
 * @param {string} header
 * @param {string[]} allowed
 */
function isOwnHost(header, allowed) {
  const host = header.toLowerCase()
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(host)
  if (bracketed !== null) return isIP(bracketed[1] ?? '') === 6
  const name = host.replace(/:\d+$/, '').replace(/\.$/, '')
  if (isIP(name) === 4 || name === 'localhost') return true
  const own = hostname().toLowerCase()
  const names = [own, own.split('.')[0] ?? own]
  const others = allowed.map((one) => one.toLowerCase())
  return name !== '' && [...names, ...names.map((one) => `${one}.local`), ...others].includes(name)
}

module.exports = { loginHandler, serveLogin }
