// @ts-check
// POST /oauth/token: the three grants.
import { edgePage, json, methodNotAllowed } from './answers.mjs'

/** @typedef {import('./answers.mjs').Incoming} Incoming */
/** @typedef {import('./answers.mjs').Answer} Answer */
/** @typedef {import('./accounts.mjs').Account} Account */

export const CLIENT_ID = 'ring_official_android'
const FIELDS = [
  'grant_type',
  'client_id',
  'scope',
  'username',
  'password',
  'refresh_token',
  'code',
  'code_verifier',
  'redirect_uri',
]

/** @param {string} description */
const invalidRequest = (description) => json(400, { error: 'invalid_request', error_description: description })

/** The answer to a wrong or old code, the same in both flows. @param {number} [status] */
export function wrongCode(status = 400) {
  return json(status, {
    error: 'Verification Code is invalid or expired',
    err_msg: 'Verification Code is invalid or expired',
  })
}

export function badLogin() {
  return json(401, { error: 'access_denied', error_description: 'invalid user credentials' })
}

/** @param {import('./settings.mjs').Settings} settings */
export function tooManyCodes(settings) {
  return json(settings.codeThrottleStatus, {
    error: 'invalid_request',
    error_description: 'too many requests from dependency service',
    err_msg: 'too many requests from dependency service',
  })
}

export class TokenEndpoint {
  #settings
  #accounts
  #web

  /**
   * @param {import('./settings.mjs').Settings} settings
   * @param {import('./accounts.mjs').Accounts} accounts
   * @param {import('./web-flow.mjs').WebFlow} web
   */
  constructor(settings, accounts, web) {
    this.#settings = settings
    this.#accounts = accounts
    this.#web = web
  }

  /** @param {Incoming} request @returns {Answer} */
  handle(request) {
    if (request.method !== 'POST') return methodNotAllowed('POST')
    const { form, kind, problem } = request.parsed
    if (problem !== undefined) return invalidRequest(problem)
    if (kind === 'none') return invalidRequest('the body is empty')
    for (const name of FIELDS) {
      if (Object.hasOwn(form, name) && typeof form[name] !== 'string') return invalidRequest(`${name} is not a string`)
    }
    if (form.client_id !== CLIENT_ID) {
      return json(401, { error: 'unauthorized_client', error_description: 'client authentication failed' })
    }
    if (form.scope !== undefined && form.scope !== 'client')
      return json(400, { error: 'invalid_scope', error_description: 'unknown scope' })
    switch (form.grant_type) {
      case 'refresh_token':
        return this.#refresh(form)
      case 'password':
        return this.#password(request, form)
      case 'authorization_code':
        return this.#code(request, form)
      case undefined:
        return invalidRequest('grant_type is missing')
      default:
        return json(400, { error: 'unsupported_grant_type', error_description: 'unknown grant_type' })
    }
  }

  /** @param {Record<string, string>} form @returns {Answer} */
  #refresh(form) {
    const pair = this.#accounts.refresh(form.refresh_token)
    if (!pair) return json(401, { error: 'invalid_grant', error_description: 'token is invalid or does not exists' })
    return this.#tokens(pair)
  }

  /** @param {Incoming} request @param {Record<string, string>} form @returns {Answer} */
  #password(request, form) {
    if (this.#settings.legacy === 'blocked') return edgePage(this.#settings.blockedStatus)
    if (!this.#settings.legacy)
      return json(400, { error: 'unsupported_grant_type', error_description: 'the password grant is gone' })
    for (const name of ['username', 'password', 'scope']) {
      if (!Object.hasOwn(form, name)) return invalidRequest(`${name} is missing`)
    }
    if (this.#settings.require2faSupport && request.headers['2fa-support'] !== 'true') {
      return invalidRequest('the header 2fa-support is missing')
    }
    const account = this.#accounts.authenticate(form.username, form.password)
    if (!account) return badLogin()
    if (account.twoFactor !== 'none') {
      const code = request.headers['2fa-code'] ?? ''
      if (code === '') {
        if (!this.#accounts.sendCode(account)) return tooManyCodes(this.#settings)
        return json(412, this.#accounts.challenge(account))
      }
      if (!this.#accounts.useCode(account, code)) return wrongCode()
    }
    return this.#tokens(this.#accounts.login(account, request.headers['hardware_id']))
  }

  /** @param {Incoming} request @param {Record<string, string>} form @returns {Answer} */
  #code(request, form) {
    if (!this.#settings.web)
      return json(400, { error: 'unsupported_grant_type', error_description: 'unknown grant_type' })
    // The page names a form for this grant, and nothing else.
    if (request.parsed.kind !== 'form') return invalidRequest('this grant takes a form')
    for (const name of ['code', 'redirect_uri', 'code_verifier']) {
      if (!form[name]) return invalidRequest(`${name} is missing`)
    }
    const account = this.#web.redeem(form)
    if (!account)
      return json(400, { error: 'invalid_grant', error_description: 'the authorization code is invalid or expired' })
    return this.#tokens(this.#accounts.login(account, request.headers['hardware_id'], { fromCode: true }))
  }

  /** @param {import('./accounts.mjs').Pair} pair @returns {Answer} */
  #tokens(pair) {
    return json(
      200,
      {
        access_token: pair.accessToken,
        // JSON drops undefined: the field is then left out.
        expires_in: this.#settings.expiresIn,
        refresh_token: pair.refreshToken,
        scope: 'client',
        token_type: 'Bearer',
      },
      { 'cache-control': 'no-store' },
    )
  }
}
