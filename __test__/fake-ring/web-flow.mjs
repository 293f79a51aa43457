// @ts-check
// /oauth/v2/*: the sign-in of the web, authorization code with PKCE.
import { createHash, randomBytes } from 'node:crypto'
import { html, isUuid, json, methodNotAllowed, parseCookies, redirect } from './answers.mjs'
import { CLIENT_ID, badLogin, tooManyCodes, wrongCode } from './oauth-token.mjs'

/** @typedef {import('./answers.mjs').Incoming} Incoming */
/** @typedef {import('./answers.mjs').Answer} Answer */
/** @typedef {import('./accounts.mjs').Account} Account */

/**
 * @typedef {object} WebSession
 * @property {string} id
 * @property {number} at
 * @property {string} redirectUri
 * @property {string} state
 * @property {string} challenge
 * @property {string} csrfToken
 * @property {string} csrfCookie what the cookie must bring back
 * @property {string} csrfCookieName
 * @property {Account | undefined} account
 * @property {'new'|'code-needed'|'done'} step
 */

/** @typedef {{account: Account, challenge: string, redirectUri: string, at: number}} AuthCode */

export const REDIRECT_URI = 'https://ring.com/signin/callback'
const SESSION_TTL_MS = 3_600_000
const MAX_KEPT = 10_000

/**
 * Every parameter of authorize, with what it has to look like.
 * @type {Record<string, (value: string) => boolean>}
 */
const PARAMETERS = {
  redirect_uri: (value) => value === REDIRECT_URI,
  client_id: (value) => value === CLIENT_ID,
  response_type: (value) => value === 'code',
  prompt: (value) => value === 'login',
  state: (value) => value !== '',
  scope: (value) => value === 'client',
  // 32 bytes of SHA-256 in base64url, no padding
  code_challenge: (value) => /^[\w-]{43}$/.test(value),
  code_challenge_method: (value) => value === 'S256',
  device_model: (value) => value !== '',
  app_version: (value) => /^\d+(\.\d+)+$/.test(value),
  dark_mode: (value) => value === 'true' || value === 'false',
  device_brand: (value) => value !== '',
  device_os_version: (value) => value !== '',
  app_brand: (value) => value === 'ring',
  hardware_id: isUuid,
}

export class WebFlow {
  #settings
  #accounts
  /** @type {Map<string, WebSession>} */
  #sessions = new Map()
  /** @type {Map<string, AuthCode>} */
  #codes = new Map()

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
    if (!this.#settings.web) return html(404, '<html><body><h1>404 Not Found</h1></body></html>')
    const hop = /^\/oauth\/v2\/hop\/(\d+)$/.exec(request.path)
    if (hop) return redirect(Number(hop[1]) > 1 ? `/oauth/v2/hop/${Number(hop[1]) - 1}` : '/oauth/v2/signin')
    switch (request.path) {
      case '/oauth/v2/authorize':
        if (request.method !== 'GET') return methodNotAllowed('GET')
        return request.search.length > 1 ? this.#start(request) : this.#callback(request)
      case '/oauth/v2/signin':
        if (request.method === 'GET') return this.#page(request)
        return request.method === 'POST' ? this.#signin(request) : methodNotAllowed('GET, POST')
      case '/oauth/v2/2fa':
        return request.method === 'GET' ? this.#page(request) : methodNotAllowed('GET')
      case '/oauth/v2/2fa/verify':
        return request.method === 'POST' ? this.#verify(request) : methodNotAllowed('POST')
      default:
        return html(404, '<html><body><h1>404 Not Found</h1></body></html>')
    }
  }

  /**
   * A code is gone after a request has presented it, also if the rest of that request was wrong.
   * @param {Record<string, string>} form
   * @returns {Account | undefined}
   */
  redeem(form) {
    const key = form.code ?? ''
    const code = this.#codes.get(key)
    this.#codes.delete(key)
    if (!code || this.#settings.now() - code.at >= this.#settings.authCodeTtlMs) return undefined
    if (form.redirect_uri !== code.redirectUri) return undefined
    const verifier = form.code_verifier ?? ''
    if (!/^[\w.~-]{43,128}$/.test(verifier)) return undefined
    if (createHash('sha256').update(verifier).digest('base64url') !== code.challenge) return undefined
    return code.account
  }

  /** @param {Incoming} request @returns {Answer} */
  #start(request) {
    const { query } = request
    for (const [name, valid] of Object.entries(PARAMETERS)) {
      const given = query.getAll(name)
      if (given.length !== 1)
        return json(400, {
          error: 'invalid_request',
          error_description: `${name} is ${given.length ? 'given twice' : 'missing'}`,
        })
      if (!valid(given[0] ?? '')) return json(400, { error: 'invalid_request', error_description: `${name} is wrong` })
    }
    if (query.get('hardware_id') !== request.headers['hardware_id']) {
      return json(400, { error: 'invalid_request', error_description: 'hardware_id is not that of the header' })
    }
    const { redirectLoop, csrf, canary } = this.#settings
    if (redirectLoop === true || redirectLoop === 'start') return redirect(`/oauth/v2/authorize${request.search}`)

    const cookieMode = csrf === 'cookie'
    const random = canary + randomBytes(24).toString('base64url')
    // In the page the token has characters which need escaping there and encoding in a form; for a cookie there is no common rule for escaping.
    const csrfToken = cookieMode ? random : `${random}+/&'=`
    /** @type {WebSession} */
    const session = {
      id: canary + randomBytes(24).toString('base64url'),
      at: this.#settings.now(),
      redirectUri: query.get('redirect_uri') ?? '',
      state: query.get('state') ?? '',
      challenge: query.get('code_challenge') ?? '',
      csrfToken,
      csrfCookie: cookieMode ? csrfToken : canary + randomBytes(18).toString('base64url'),
      // Without `cookie` the name must not be one under which a client looks for a token.
      csrfCookieName:
        cookieMode || (this.#settings.csrfDecoyCookie && csrf !== 'none')
          ? this.#settings.csrfCookieName
          : 'ring_web_binding',
      account: undefined,
      step: 'new',
    }
    this.#keep(this.#sessions, session.id, session, SESSION_TTL_MS)
    const hops = typeof redirectLoop === 'number' && redirectLoop > 0 ? redirectLoop : 0
    const next = hops ? `/oauth/v2/hop/${hops}` : '/oauth/v2/signin'
    return redirect(this.#target('start', next), { 'set-cookie': [this.#sessionCookie(session, request)] })
  }

  /** @param {Incoming} request @returns {Answer} */
  #page(request) {
    const session = this.#session(request)
    if (!session) return html(400, '<html><body><h1>Your session has expired</h1></body></html>')
    return html(200, page(this.#settings.csrf, session.csrfToken), {
      'set-cookie': [
        `${session.csrfCookieName}=${session.csrfCookie}; Path=${this.#settings.csrfCookiePath}; SameSite=Strict${request.secure ? '; Secure' : ''}`,
        'ring_locale=en-US; Path=/; Max-Age=31536000',
      ],
      'cache-control': 'no-store',
    })
  }

  /** @param {Incoming} request @returns {Answer} */
  #signin(request) {
    const session = this.#post(request)
    if ('status' in session) return session
    const { form } = request.parsed
    for (const name of ['username', 'password']) {
      if (!Object.hasOwn(form, name))
        return json(400, { error: 'invalid_request', error_description: `${name} is missing` })
    }
    const account = this.#accounts.authenticate(form.username, form.password)
    if (!account) return badLogin()
    session.account = account
    if (account.twoFactor === 'none') {
      session.step = 'done'
      const headers = this.#renewed(session, request)
      if (this.#settings.signinDoneStatus === 302)
        return redirect(this.#target('signin', '/oauth/v2/authorize'), headers)
      return { status: 204, headers, body: '' }
    }
    if (this.#settings.signinAnswer === 'captcha') return html(200, captchaPage())
    if (!this.#accounts.sendCode(account)) return tooManyCodes(this.#settings)
    session.step = 'code-needed'
    const headers = this.#renewed(session, request)
    const challenge = this.#accounts.challenge(account)
    if (this.#settings.signinAnswer === 'page') {
      session.csrfToken = this.#settings.canary + randomBytes(24).toString('base64url')
      return html(200, codePage(session.csrfToken), headers)
    }
    if (this.#settings.signinAnswer === 'redirect-2fa')
      return redirect(this.#target('signin', '/oauth/v2/2fa'), headers)
    // Without any of the fields only the status says it.
    if (this.#settings.signinAnswer === 'other-status-json' && Object.keys(challenge).length > 0) {
      return json(this.#settings.signinOtherStatus, challenge, headers)
    }
    return json(412, challenge, headers)
  }

  /** @param {Incoming} request @returns {Answer} */
  #verify(request) {
    const session = this.#post(request)
    if ('status' in session) return session
    const { form } = request.parsed
    if (form.remember_me !== 'true' && form.remember_me !== 'false') {
      return json(400, { error: 'invalid_request', error_description: 'remember_me is missing' })
    }
    if (session.step !== 'code-needed' || !session.account)
      return json(400, { error: 'invalid_request', error_description: 'no code was asked for' })
    if (!this.#accounts.useCode(session.account, form['2fa_code'])) return wrongCode(this.#settings.verifyWrongStatus)
    session.step = 'done'
    const url = this.#target('verify', `${request.origin}/oauth/v2/authorize`)
    return json(
      this.#settings.verifyStatus,
      { redirect_url: url, status: 'auth-completed' },
      this.#renewed(session, request),
    )
  }

  /** @param {Incoming} request @returns {Answer} */
  #callback(request) {
    const session = this.#session(request)
    if (!session?.account || session.step !== 'done') return redirect('/oauth/v2/signin')
    if (this.#settings.redirectLoop === 'callback') return redirect('/oauth/v2/authorize')
    const key = this.#settings.canary + randomBytes(24).toString('base64url')
    const code = {
      account: session.account,
      challenge: session.challenge,
      redirectUri: session.redirectUri,
      at: this.#settings.now(),
    }
    this.#keep(this.#codes, key, code, this.#settings.authCodeTtlMs)
    const url = new URL(this.#target('callback', session.redirectUri))
    url.searchParams.set('code', key)
    const { tamperState } = this.#settings
    if (tamperState !== 'missing')
      url.searchParams.set('state', tamperState ? randomBytes(16).toString('base64url') : session.state)
    return redirect(url.href)
  }

  /**
   * The checks of both forms that come before all others.
   * @param {Incoming} request
   * @returns {WebSession | Answer}
   */
  #post(request) {
    const { form, kind, problem } = request.parsed
    if (problem !== undefined || kind !== 'form') {
      return json(400, { error: 'invalid_request', error_description: problem ?? 'this takes a form' })
    }
    if (request.headers['origin'] !== request.origin)
      return json(403, { error: 'forbidden', error_description: 'bad origin' })
    if (!request.headers['referer']?.startsWith(`${request.origin}/oauth/v2/`)) {
      return json(403, { error: 'forbidden', error_description: 'bad referer' })
    }
    const session = this.#session(request)
    if (!session) return json(403, { error: 'forbidden', error_description: 'no session' })
    const cookie = parseCookies(request.headers['cookie'])[session.csrfCookieName]
    const noTokenWasGiven = this.#settings.csrf === 'none'
    if (noTokenWasGiven || cookie !== session.csrfCookie || form['csrf-token'] !== session.csrfToken) {
      return json(403, { error: 'forbidden', error_description: 'invalid csrf token' })
    }
    return session
  }

  /** @param {Incoming} request @returns {WebSession | undefined} */
  #session(request) {
    const id = parseCookies(request.headers['cookie'])['session'] ?? ''
    const session = this.#sessions.get(id)
    return session && this.#settings.now() - session.at < SESSION_TTL_MS ? session : undefined
  }

  /** @param {WebSession} session @param {Incoming} request */
  #sessionCookie(session, request) {
    return `session=${session.id}; Path=/oauth; HttpOnly; SameSite=Lax${request.secure ? '; Secure' : ''}`
  }

  /** @param {WebSession} session @param {Incoming} request @returns {Record<string, string[]>} */
  #renewed(session, request) {
    if (!this.#settings.rotateSessionCookie) return {}
    this.#sessions.delete(session.id)
    session.id = this.#settings.canary + randomBytes(24).toString('base64url')
    this.#sessions.set(session.id, session)
    return { 'set-cookie': [this.#sessionCookie(session, request)] }
  }

  /** @param {import('./settings.mjs').ForeignRedirect['at']} at @param {string} normal */
  #target(at, normal) {
    const { foreignRedirect } = this.#settings
    const foreign = typeof foreignRedirect === 'string' ? { at: 'start', url: foreignRedirect } : foreignRedirect
    return foreign?.at === at ? foreign.url : normal
  }

  /**
   * @template {{at: number}} T
   * @param {Map<string, T>} map
   * @param {string} key
   * @param {T} value
   * @param {number} ttl
   */
  #keep(map, key, value, ttl) {
    for (const [oldKey, old] of map) {
      if (value.at - old.at < ttl && map.size < MAX_KEPT) break
      map.delete(oldKey)
    }
    map.set(key, value)
  }
}

/** A form for the code. Ring's real one has not been seen. @param {string} token */
function codePage(token) {
  return `<!DOCTYPE html>
<html lang="en">
<head><title>Verify it's you</title></head>
<body>
<form method="post" action="/oauth/v2/2fa/verify">
<input type="hidden" name="csrf-token" value="${escapeHtml(token)}">
<input type="text" name="2fa_code" inputmode="numeric" autocomplete="one-time-code">
<button type="submit">Verify</button>
</form>
</body>
</html>
`
}

function captchaPage() {
  return '<!DOCTYPE html>\n<html lang="en"><body><h1>One more step</h1><div class="h-captcha" data-sitekey="0"></div></body></html>\n'
}

/** @param {string} text */
function escapeHtml(text) {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;')
    .replace(/=/g, '&#x3D;')
    .replace(/\+/g, '&#43;')
}

/** JSON that may stand in a script: entities mean nothing there, `</script>` would end it. @param {unknown} value */
function scriptJson(value) {
  return JSON.stringify(value).replace(/[<>&'+]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/**
 * Other scripts and forms stand around the token, because they do on a real page.
 * @param {import('./settings.mjs').Settings['csrf']} place
 * @param {string} token
 */
function page(place, token) {
  const head = place === 'meta' ? `<meta name="csrf-token" content="${escapeHtml(token)}">\n` : ''
  const input = place === 'input' ? `<input type="hidden" name="csrf-token" value="${escapeHtml(token)}">\n` : ''
  const title = 'Sign in <to> "Ring" & more </script>'
  let data = ''
  if (place === 'oauth-args') {
    data = `<script id="oauth-args" type="application/json">${scriptJson({ title, flags: { passkeys: false }, 'csrf-token': token, locale: 'en-US' })}</script>\n`
  } else if (place === 'next-data') {
    const props = { pageProps: { title, list: [null, 1, { security: { csrfToken: token } }] }, __N_SSP: true }
    data = `<script id="__NEXT_DATA__" type="application/json">${scriptJson({ props, page: '/signin', query: {}, buildId: 'a1b2c3' })}</script>\n`
  }
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${head}<title>Sign In | Ring &amp; Neighbors</title>
<script>window.__start = Date.now(); if (1 < 2 && "a" > 'b') { window.__never = {"args": "}</" + "script>"}; }</script>
<script async src="/oauth/static/vendor.js?v=1&amp;b=2"></script>
<script id="feature-flags" type="application/json">{"a":{"b":[1,2,{"c":"\\u003cp\\u003e"}]},"csrf":true}</script>
</head>
<body>
<!-- <form> of the old page was here -->
<form method="post" action="/oauth/v2/signin" class="signin &lt;wide&gt;">
<input type="email" name="username" autocomplete="username" placeholder="you&#64;example.com">
<input type="password" name="password" autocomplete="current-password">
<input type="hidden" name="utf8" value="&#x2713;">
${input}<button type="submit">Continue &rarr;</button>
</form>
${data}<script>(function(){document.documentElement.className="js"})();</script>
</body>
</html>
`
}
