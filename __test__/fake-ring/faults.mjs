// @ts-check
// Which request fails, and how. wire.mjs sends the wrong bytes.

/** @typedef {'refresh_token'|'password'|'authorization_code'} Grant */

/**
 * `status` and the kinds in -before answer without processing; the others process for real first (a refresh rotates).
 * @typedef {'status'|'answer-after'|'hang'|'hang-after'|'reset-before'|'reset-after'|'fin-before'|'fin-after'|'slow'|'delay-before'
 *   |'truncate'|'dribble'|'redirect'|'mutate'} FaultKind
 */

/**
 * @typedef {object} FaultSpec
 * @property {FaultKind} kind
 * @property {string | RegExp} [path] default '/oauth/token'; a string is the whole path
 * @property {string} [method]
 * @property {Grant} [grant]
 * @property {boolean} [reused] only on a connection that carried a request before (true), or did not (false)
 * @property {number} [times] default 1
 * @property {number} [skip] matching requests let through first
 * @property {number} [status]
 * @property {Record<string, string | number | string[]>} [headers]
 * @property {unknown} [body] a string or Buffer is sent as is, anything else as JSON; left out: an empty body
 * @property {number} [delayMs] for slow, delay-before
 * @property {Promise<unknown>} [until] in place of delayMs: the answer is held until this has settled
 * @property {'status-line'|'headers'|'between'|'body'|number} [at] for truncate: in the middle of the status line, in the middle of the
 *   headers, after the empty line, in the middle of the body; or after so many bytes
 * @property {boolean} [reset] truncate ends with RST instead of FIN
 * @property {number} [bytesPerTick]
 * @property {number} [tickMs]
 * @property {string} [location] for redirect
 * @property {(json: any) => unknown} [fn] for mutate: gets the decoded body (text when it is not JSON); a string is sent as is
 * @property {Record<string, unknown>} [set] for mutate, where no function can be given: keys to set
 * @property {string[]} [remove] and keys to remove
 */

const KINDS = new Set([
  'status',
  'answer-after',
  'hang',
  'hang-after',
  'reset-before',
  'reset-after',
  'fin-before',
  'fin-after',
  'slow',
  'delay-before',
  'truncate',
  'dribble',
  'redirect',
  'mutate',
])
const NAMES = new Set([
  'kind',
  'path',
  'method',
  'grant',
  'reused',
  'times',
  'skip',
  'status',
  'headers',
  'body',
  'delayMs',
  'until',
  'at',
  'reset',
  'bytesPerTick',
  'tickMs',
  'location',
  'fn',
  'set',
  'remove',
])

export class Fault {
  /** How many requests it was applied to. */
  hits = 0
  #left
  #skip
  #dispose

  /** @param {FaultSpec} spec @param {(fault: Fault) => void} dispose */
  constructor(spec, dispose) {
    // A misspelt fault would let the test pass for the wrong reason.
    if (!KINDS.has(spec.kind)) throw new TypeError(`fake ring: unknown kind of fault ${JSON.stringify(spec.kind)}`)
    for (const name of Object.keys(spec))
      if (!NAMES.has(name)) throw new TypeError(`fake ring: unknown field of a fault ${JSON.stringify(name)}`)
    if ((spec.kind === 'status' || spec.kind === 'answer-after') && typeof spec.status !== 'number') {
      throw new TypeError(`fake ring: a fault ${spec.kind} needs a status`)
    }
    if ((spec.kind === 'slow' || spec.kind === 'delay-before') && typeof spec.delayMs !== 'number' && !spec.until) {
      throw new TypeError(`fake ring: a fault ${spec.kind} needs delayMs or until`)
    }
    if (spec.kind === 'redirect' && spec.location === undefined)
      throw new TypeError('fake ring: a fault redirect needs a location')
    if (spec.kind === 'truncate' && spec.at === undefined) throw new TypeError('fake ring: a fault truncate needs at')
    this.spec = spec
    this.#left = spec.times ?? 1
    this.#skip = spec.skip ?? 0
    this.#dispose = dispose
  }

  /**
   * @param {import('./answers.mjs').Incoming} request
   * @param {string | undefined} grant
   */
  matches(request, grant) {
    const { path = '/oauth/token', method, grant: wanted, reused } = this.spec
    if (typeof path === 'string' ? path !== request.path : request.path.search(path) < 0) return false
    if (method !== undefined && method !== request.method) return false
    if (wanted !== undefined && wanted !== grant) return false
    return reused === undefined || reused === request.reused
  }

  /** @returns {boolean} false: this one is let through */
  take() {
    if (this.#skip > 0) {
      this.#skip -= 1
      return false
    }
    if (this.#left <= 0) return false
    this.#left -= 1
    this.hits += 1
    if (this.#left <= 0) this.#dispose(this)
    return true
  }

  remove() {
    this.#left = 0
    this.#dispose(this)
  }
}

export class Faults {
  /** @type {Fault[]} */
  #list = []

  /** @param {FaultSpec} spec */
  add(spec) {
    const fault = new Fault(spec, (gone) => {
      this.#list = this.#list.filter((other) => other !== gone)
    })
    this.#list.push(fault)
    return fault
  }

  /**
   * The oldest fault that applies. Those still skipping count every request they match.
   * @param {import('./answers.mjs').Incoming} request
   * @param {string | undefined} grant
   * @returns {FaultSpec | undefined}
   */
  take(request, grant) {
    for (const fault of this.#list) if (fault.matches(request, grant) && fault.take()) return fault.spec
    return undefined
  }

  clear() {
    for (const fault of this.#list) fault.remove()
  }
}
