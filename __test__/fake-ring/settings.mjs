// @ts-check
// All settings of the fake in one place, each with its default and the reason for it.

/**
 * How an account answers the first login request.
 * `unknown`: a 412 whose body is `{}`; `no-state`: a 412 without `tsv_state`.
 * @typedef {'sms'|'email'|'totp'|'none'|'unknown'|'no-state'} TwoFactor
 */

/**
 * @typedef {object} AccountInput
 * @property {string} email
 * @property {string} password
 * @property {TwoFactor} [twoFactor]
 * @property {string} [phone] what the 412 shows, already masked
 * @property {Partial<TotpKind>} [totp] how the authenticator of `twoFactor: 'totp'` makes its codes
 */

/** @typedef {{ algorithm: 'SHA1'|'SHA256'|'SHA512', digits: number, period: number }} TotpKind */

/**
 * The step that redirects to another origin: the first authorize, the answer to the sign-in,
 * the `redirect_url` of 2fa/verify, or the final authorize (then with the real code and state).
 * @typedef {{at: 'start'|'signin'|'verify'|'callback', url: string}} ForeignRedirect
 */

/**
 * @typedef {object} Settings
 * @property {unknown} expiresIn served as is in `expires_in`; undefined leaves the field out
 * @property {number} graceMs how long a spent refresh token still works
 * @property {boolean} revokeFamilyOnReuse
 * @property {boolean} accessOutlivesRefresh
 * @property {boolean} codeAccessTokenWorks
 * @property {boolean} web
 * @property {boolean|'blocked'} legacy
 * @property {number} blockedStatus 403 or 406, for `legacy: 'blocked'`
 * @property {'oauth-args'|'next-data'|'input'|'meta'|'cookie'|'none'} csrf
 * @property {string} csrfCookieName
 * @property {string} csrfCookiePath
 * @property {boolean} csrfDecoyCookie with a token in the page: a cookie `csrfCookieName` that is not the token
 * @property {number} nextTimeInSecs
 * @property {number} codeTtlMs
 * @property {boolean} totpCodeWorksOnce an authenticator's code is refused after it has worked once
 * @property {number} maxCodesPerWindow
 * @property {number} codeWindowMs
 * @property {number} codeThrottleStatus
 * @property {'412-json'|'redirect-2fa'|'other-status-json'|'page'|'captcha'} signinAnswer `page`: a page with a form for the code, whose
 *   CSRF token is a new one; `captcha`: a page that asks for that, and no code is sent
 * @property {number} signinOtherStatus the status of 'other-status-json'
 * @property {204|302} signinDoneStatus a sign-in that needs no code
 * @property {200|201} verifyStatus
 * @property {400|401} verifyWrongStatus
 * @property {boolean} rotateSessionCookie a new session cookie after each successful step
 * @property {number} authCodeTtlMs
 * @property {boolean|'missing'} tamperState a wrong (or no) `state` in the callback
 * @property {string|ForeignRedirect|undefined} foreignRedirect a string means `{at: 'start', url}`
 * @property {boolean|'start'|'callback'|number} redirectLoop true or 'start': the first authorize leads to itself;
 *   'callback': the last one does; a number: so many extra hops before the sign-in page
 * @property {boolean} requireSession
 * @property {boolean} sessionNeedsHeaders refuse a session without a hardware id and an app's user agent in its headers
 * @property {boolean} require2faSupport refuse a password grant without `2fa-support: true`
 * @property {RegExp|string} userAgent what the edge lets through
 * @property {string[]} flaggedHardwareIds answered 406, whatever they ask
 * @property {string} canary put inside every secret the fake mints
 * @property {number} latencyMs requests are processed on arrival and answered so much later
 * @property {number} maxRecorded
 * @property {() => number} now
 */

/** @returns {Settings} */
export function defaultSettings() {
  return {
    expiresIn: 14400,
    graceMs: 0,
    revokeFamilyOnReuse: true,
    accessOutlivesRefresh: true,
    codeAccessTokenWorks: false,
    web: true,
    legacy: true,
    blockedStatus: 406,
    csrf: 'oauth-args',
    csrfCookieName: '_csrf',
    csrfCookiePath: '/oauth/v2',
    csrfDecoyCookie: false,
    nextTimeInSecs: 60,
    codeTtlMs: 600_000,
    totpCodeWorksOnce: false,
    maxCodesPerWindow: 10,
    codeWindowMs: 600_000,
    // 400 and not 429: a client has to read the description to know what it means.
    codeThrottleStatus: 400,
    signinAnswer: '412-json',
    signinOtherStatus: 200,
    signinDoneStatus: 204,
    verifyStatus: 200,
    verifyWrongStatus: 400,
    rotateSessionCookie: false,
    authCodeTtlMs: 60_000,
    tamperState: false,
    foreignRedirect: undefined,
    redirectLoop: false,
    requireSession: false,
    sessionNeedsHeaders: true,
    require2faSupport: true,
    userAgent: /^android:com\.ringapp/,
    flaggedHardwareIds: [],
    canary: '',
    latencyMs: 0,
    maxRecorded: 100_000,
    now: () => Date.now(),
  }
}

/** @returns {AccountInput[]} */
export function defaultAccounts() {
  return [{ email: 'person@example.com', password: 'correct horse', twoFactor: 'sms', phone: '+1xxxxxxxx89' }]
}

/**
 * Unknown names are refused: a misspelt setting would silently test nothing.
 * @param {Settings} settings
 * @param {Record<string, unknown>} patch
 */
export function mergeSettings(settings, patch) {
  for (const [name, value] of Object.entries(patch)) {
    if (name === 'tokenPrefix') {
      mergeSettings(settings, { canary: value })
      continue
    }
    if (!Object.hasOwn(settings, name)) throw new TypeError(`fake ring: unknown setting ${JSON.stringify(name)}`)
    if (name === 'canary' && !(typeof value === 'string' && /^[\w-]*$/.test(value))) {
      throw new TypeError('fake ring: a canary consists of letters, digits, _ and -')
    }
    // An undefined option counts as absent, except if undefined itself means something.
    if (value === undefined && name !== 'expiresIn' && name !== 'foreignRedirect') continue
    Object.assign(settings, { [name]: value })
  }
}
