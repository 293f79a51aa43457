// @ts-check
// Accounts, codes, token families. No sockets and no timers here; the clock is settings.now().
//
// A token carries its family, its number in the family and a signature, so recognising a spent one needs no memory per token: what was
// minted here verifies, and every number of a family but the newest is spent. A hundred thousand rotations cost nothing.
import { createHmac, randomBytes, randomInt } from 'node:crypto'

/** @typedef {import('./settings.mjs').Settings} Settings */
/** @typedef {import('./settings.mjs').AccountInput} AccountInput */

/**
 * @typedef {object} Counts
 * @property {number} tokenPosts POSTs that reached /oauth/token, faults included
 * @property {number} refreshes those with grant_type=refresh_token
 * @property {number} rotations refreshes that minted a pair
 * @property {number} stalePresentations a spent refresh token, outside its grace
 * @property {number} graceUses a spent refresh token, accepted
 * @property {number} codesSent
 * @property {number} maxConcurrentRefreshes
 * @property {number} invalidGrants
 */

/**
 * @typedef {object} Account
 * @property {string} email
 * @property {string} password
 * @property {import('./settings.mjs').TwoFactor} twoFactor
 * @property {string} phone
 * @property {string | undefined} pendingCode
 * @property {number} pendingSince
 * @property {string | undefined} lastCode
 * @property {number} codesSent
 * @property {number[]} codeTimes
 * @property {Buffer} totpSecret
 * @property {import('./settings.mjs').TotpKind} totp
 * @property {Set<number>} totpSteps time steps whose code has worked
 * @property {string | undefined} newest
 */

/**
 * @typedef {object} Family
 * @property {number} id
 * @property {Account} account
 * @property {string | undefined} hardwareId
 * @property {number} newestNumber
 * @property {string} newest
 * @property {number} accessFloor access tokens of a lower number are dead
 * @property {boolean} revoked
 * @property {Map<number, number>} spentAt
 */

/**
 * @typedef {object} Opened
 * @property {string} kind r: refresh, a: access, c: access that came with an authorization code
 * @property {Family} family
 * @property {number} number in the family
 * @property {number} expiresAt
 * @property {number} serial over all access tokens
 */

/** @typedef {{accessToken: string, refreshToken: string}} Pair */

// {"alg":"HS256","typ":"JWT"}
const JWT_HEADER = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9'
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
// Times of use are only needed for the grace; beyond that a number tells all.
const SPENT_TIMES_KEPT = 4096
const SPENT_TIMES_LIMIT = 65_536

export class Accounts {
  #settings
  #counts
  #onCode
  #secret = randomBytes(32)
  /** @type {Map<string, Account>} */
  #accounts = new Map()
  /** @type {Map<number, Family>} */
  #families = new Map()
  #serial = 0
  #expiredSerial = 0
  /** @type {Set<number>} */
  #revokedSerials = new Set()

  /**
   * @param {Settings} settings
   * @param {Counts} counts
   * @param {AccountInput[]} accounts
   * @param {(email: string, code: string) => void} onCode
   */
  constructor(settings, counts, accounts, onCode) {
    this.#settings = settings
    this.#counts = counts
    this.#onCode = onCode
    for (const account of accounts) this.add(account)
  }

  /** @param {AccountInput} input */
  add(input) {
    this.#accounts.set(input.email, {
      email: input.email,
      password: input.password,
      twoFactor: input.twoFactor ?? 'sms',
      phone: input.phone ?? '+1xxxxxxxx89',
      pendingCode: undefined,
      pendingSince: 0,
      lastCode: undefined,
      codesSent: 0,
      codeTimes: [],
      totpSecret: randomBytes(20),
      totp: { algorithm: 'SHA1', digits: 6, period: 30, ...input.totp },
      totpSteps: new Set(),
      newest: undefined,
    })
  }

  all() {
    return [...this.#accounts.values()]
  }

  /** @param {string} [email] the first account when left out */
  get(email) {
    const account = email === undefined ? this.#accounts.values().next().value : this.#accounts.get(email)
    if (!account) throw new Error(`fake ring: no account ${email}`)
    return account
  }

  /** @param {unknown} email @param {unknown} password @returns {Account | undefined} */
  authenticate(email, password) {
    const account = typeof email === 'string' ? this.#accounts.get(email) : undefined
    return account && account.password === password ? account : undefined
  }

  // ---- codes

  /** @param {Account} account @returns {boolean} false: too many codes asked for */
  sendCode(account) {
    // An authenticator app makes its own codes: nothing is sent, nothing is throttled.
    if (account.twoFactor === 'totp') return true
    const now = this.#settings.now()
    account.codeTimes = account.codeTimes.filter((at) => now - at < this.#settings.codeWindowMs)
    if (account.codeTimes.length >= this.#settings.maxCodesPerWindow) return false
    account.codeTimes.push(now)
    let code
    do {
      code = String(randomInt(1_000_000)).padStart(6, '0')
    } while (code === account.lastCode)
    account.pendingCode = account.lastCode = code
    account.pendingSince = now
    account.codesSent += 1
    this.#counts.codesSent += 1
    this.#onCode(account.email, code)
    return true
  }

  /** @param {Account} account */
  codeFor(account) {
    return account.twoFactor === 'totp' ? this.#totp(account, 0) : account.lastCode
  }

  /** @param {Account} account @param {unknown} code @returns {boolean} a sent code works once */
  useCode(account, code) {
    if (account.twoFactor === 'totp') return this.#useTotp(account, code)
    if (account.pendingCode === undefined || code !== account.pendingCode) return false
    if (this.#settings.now() - account.pendingSince >= this.#settings.codeTtlMs) return false
    account.pendingCode = undefined
    return true
  }

  /** The body of the 412. @param {Account} account @returns {Record<string, unknown>} */
  challenge(account) {
    const wait = this.#settings.nextTimeInSecs
    switch (account.twoFactor) {
      case 'unknown':
        return {}
      case 'no-state':
        return { next_time_in_secs: wait, phone: account.phone }
      case 'totp':
        return { next_time_in_secs: wait, tsv_state: 'totp' }
      case 'email':
        // The field has the same name for each method: clients print `phone` for e-mail as well.
        return { next_time_in_secs: wait, phone: account.email.replace(/^(.).*(?=@)/, '$1****'), tsv_state: 'email' }
      default:
        return { next_time_in_secs: wait, phone: account.phone, tsv_state: 'sms' }
    }
  }

  /** The address in the QR code of the authenticator's set-up. @param {Account} account */
  totpAddress(account) {
    const { algorithm, digits, period } = account.totp
    const query = new URLSearchParams({ secret: base32(account.totpSecret), issuer: 'Ring', algorithm })
    return `otpauth://totp/Ring:${encodeURIComponent(account.email)}?${query}&digits=${digits}&period=${period}`
  }

  /** @param {Account} account @param {unknown} code */
  #useTotp(account, code) {
    const step = this.#totpStep(account)
    const found = [step, step - 1].find((at) => code === this.#totpAt(account, at))
    if (found === undefined || (this.#settings.totpCodeWorksOnce && account.totpSteps.has(found))) return false
    account.totpSteps.add(found)
    return true
  }

  /** @param {Account} account @param {number} stepsAgo */
  #totp(account, stepsAgo) {
    return this.#totpAt(account, this.#totpStep(account) - stepsAgo)
  }

  /** @param {Account} account */
  #totpStep(account) {
    return Math.floor(this.#settings.now() / (account.totp.period * 1000))
  }

  /** RFC 6238. @param {Account} account @param {number} step */
  #totpAt(account, step) {
    const { algorithm, digits } = account.totp
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64BE(BigInt(step))
    const digest = createHmac(algorithm.toLowerCase(), account.totpSecret).update(counter).digest()
    const at = (digest.at(-1) ?? 0) & 0xf
    return String((digest.readUInt32BE(at) & 0x7fffffff) % 10 ** digits).padStart(digits, '0')
  }

  // ---- tokens

  /**
   * @param {Account} account
   * @param {string | undefined} hardwareId
   * @param {{fromCode?: boolean}} [how]
   * @returns {Pair}
   */
  login(account, hardwareId, how = {}) {
    /** @type {Family} */
    const family = {
      id: this.#families.size + 1,
      account,
      hardwareId,
      newestNumber: 0,
      newest: '',
      accessFloor: 0,
      revoked: false,
      spentAt: new Map(),
    }
    this.#families.set(family.id, family)
    return this.#issue(family, how.fromCode ? 'c' : 'a')
  }

  /**
   * Rotates. Within the grace a spent token gets a pair of its own, and the one minted before it is spent from then on:
   * of a family only the newest refresh token is ever unspent.
   * @param {unknown} raw
   * @returns {Pair | undefined} undefined: invalid_grant
   */
  refresh(raw) {
    const opened = this.#open(raw, 'r')
    if (!opened) {
      this.#counts.invalidGrants += 1
      return undefined
    }
    const { family, number } = opened
    const spent = number !== family.newestNumber
    const withinGrace = spent && this.#withinGrace(family, number)
    if (spent && !withinGrace) {
      this.#counts.stalePresentations += 1
      this.#counts.invalidGrants += 1
      if (this.#settings.revokeFamilyOnReuse) this.#revoke(family)
      return undefined
    }
    if (family.revoked) {
      this.#counts.invalidGrants += 1
      return undefined
    }
    if (spent) this.#counts.graceUses += 1
    this.#counts.rotations += 1
    family.spentAt.set(family.newestNumber, this.#settings.now())
    this.#forgetOldUses(family)
    const pair = this.#issue(family, 'a')
    if (!this.#settings.accessOutlivesRefresh) family.accessFloor = family.newestNumber
    return pair
  }

  /** @param {unknown} raw @returns {Account | undefined} the owner of a working access token */
  access(raw) {
    const opened = this.#open(raw, 'a') ?? this.#open(raw, 'c')
    if (!opened) return undefined
    const { kind, family, number, expiresAt, serial } = opened
    if (family.revoked || number < family.accessFloor) return undefined
    if (serial <= this.#expiredSerial || this.#revokedSerials.has(serial)) return undefined
    if (this.#settings.now() >= expiresAt) return undefined
    if (kind === 'c' && !this.#settings.codeAccessTokenWorks) return undefined
    return family.account
  }

  /** @param {unknown} raw */
  inspect(raw) {
    const opened = this.#open(raw, 'r')
    if (!opened) {
      return {
        known: false,
        live: false,
        spent: false,
        withinGrace: false,
        revoked: false,
        email: undefined,
        hardwareId: undefined,
        number: 0,
        newest: undefined,
      }
    }
    const { family, number } = opened
    const spent = number !== family.newestNumber
    const withinGrace = spent && !family.revoked && this.#withinGrace(family, number)
    return {
      known: true,
      live: !family.revoked && (!spent || withinGrace),
      spent,
      withinGrace,
      revoked: family.revoked,
      email: family.account.email,
      hardwareId: family.hardwareId,
      number,
      newest: family.newest,
    }
  }

  /** @param {unknown} raw an access token @returns {boolean} */
  revokeAccess(raw) {
    const opened = this.#open(raw, 'a') ?? this.#open(raw, 'c')
    if (opened) this.#revokedSerials.add(opened.serial)
    return opened !== undefined
  }

  expireAccess() {
    this.#expiredSerial = this.#serial
    this.#revokedSerials.clear()
  }

  /** @param {Account} account */
  revokeAll(account) {
    for (const family of this.#families.values()) if (family.account === account) this.#revoke(family)
  }

  /** @param {Family} family */
  #revoke(family) {
    family.revoked = true
    family.spentAt.clear()
  }

  /** @param {Family} family @param {number} number */
  #withinGrace(family, number) {
    const grace = this.#settings.graceMs
    if (!(grace > 0)) return false
    const at = family.spentAt.get(number)
    return at === undefined ? grace === Infinity : this.#settings.now() - at < grace
  }

  /** @param {Family} family */
  #forgetOldUses(family) {
    if (family.spentAt.size <= SPENT_TIMES_KEPT) return
    const now = this.#settings.now()
    for (const [number, at] of family.spentAt) {
      if (family.spentAt.size <= SPENT_TIMES_KEPT) break
      if (now - at < this.#settings.graceMs && family.spentAt.size <= SPENT_TIMES_LIMIT) break
      family.spentAt.delete(number)
    }
  }

  /** @param {Family} family @param {'a'|'c'} kind @returns {Pair} */
  #issue(family, kind) {
    family.newestNumber += 1
    this.#serial += 1
    const { expiresIn } = this.#settings
    const seconds = typeof expiresIn === 'number' && expiresIn > 0 ? Math.min(expiresIn, 1e10) : 60
    const expiresAt = Math.max(0, Math.ceil(this.#settings.now() + seconds * 1000))
    const refreshToken = this.#seal('r', family.id, family.newestNumber, 0, 0)
    family.newest = family.account.newest = refreshToken
    return { accessToken: this.#seal(kind, family.id, family.newestNumber, expiresAt, this.#serial), refreshToken }
  }

  /** @param {string} kind @param {number[]} numbers */
  #seal(kind, ...numbers) {
    const fields = [kind, ...numbers.map((n) => n.toString(36))].join('-')
    const signed = `${JWT_HEADER}.eyJ${this.#settings.canary}${randomBytes(24).toString('hex')}-${fields}`
    return `${signed}.${this.#sign(signed)}`
  }

  /** @param {string} text */
  #sign(text) {
    return createHmac('sha256', this.#secret).update(text).digest('base64url')
  }

  /** @param {unknown} raw @param {string} wanted @returns {Opened | undefined} */
  #open(raw, wanted) {
    if (typeof raw !== 'string') return undefined
    const dot = raw.lastIndexOf('.')
    const signed = raw.slice(0, Math.max(dot, 0))
    const fields = signed.split('-').slice(-5)
    const kind = fields[0] ?? ''
    if (fields.length !== 5 || kind !== wanted || this.#sign(signed) !== raw.slice(dot + 1)) return undefined
    const [id = 0, number = 0, expiresAt = 0, serial = 0] = fields.slice(1).map((field) => parseInt(field, 36))
    const family = this.#families.get(id)
    return family && { kind, family, number, expiresAt, serial }
  }
}

/** RFC 4648, without padding. @param {Buffer} bytes */
function base32(bytes) {
  let bits = ''
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => BASE32[parseInt(five.padEnd(5, '0'), 2)]).join('')
}
