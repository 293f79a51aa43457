// @ts-check
'use strict'

// The small part of RxJS that programs made for ring-client-api use on `onRefreshTokenUpdated` and `onSession`: `subscribe`,
// and `pipe` with the operators of their own RxJS, 6 or 7. Those are given an observable with `lift` and a subscriber with
// `add` and `remove`, and ask for no more; so this package needs no RxJS itself.

const { isGiven } = require('../checks.js')

/** @typedef {{ unsubscribe(): void } | (() => void)} Teardown */
/** @typedef {{ next?: (value: any) => void, error?: (error: unknown) => void, complete?: () => void }} Listener */

class Subscriber {
  closed = false
  /** @type {Listener} */
  #listener
  /** @type {(error: unknown) => void} */
  #report
  /** @type {Set<Teardown>} */
  #teardowns = new Set()

  /**
   * @param {Listener} listener
   * @param {(error: unknown) => void} report
   */
  constructor(listener, report) {
    this.#listener = listener
    this.#report = report
  }

  /** @param {unknown} value */
  next(value) {
    if (!this.closed) this.#tell('next', value)
  }

  /** @param {unknown} error */
  error(error) {
    if (this.closed) return
    this.#tell('error', error)
    this.unsubscribe()
  }

  complete() {
    if (this.closed) return
    this.#tell('complete')
    this.unsubscribe()
  }

  /** @param {Teardown | undefined | void} teardown */
  add(teardown) {
    if (teardown == null || /** @type {unknown} */ (teardown) === this) return
    if (this.closed) run(teardown)
    else this.#teardowns.add(teardown)
  }

  /** @param {Teardown} teardown */
  remove(teardown) {
    this.#teardowns.delete(teardown)
  }

  unsubscribe() {
    if (this.closed) return
    this.closed = true
    const teardowns = [...this.#teardowns]
    this.#teardowns.clear()
    for (const teardown of teardowns) run(teardown)
  }

  /**
   * @param {'next' | 'error' | 'complete'} what
   * @param {unknown} [value]
   */
  #tell(what, value) {
    try {
      this.#listener[what]?.(value)
    } catch (error) {
      this.#report(error)
    }
  }
}

class Observable {
  /** @type {(subscriber: any) => Teardown | undefined | void} */
  #begin
  /** @type {(error: unknown) => void} */
  #report

  /**
   * @param {(subscriber: any) => Teardown | undefined | void} begin
   * @param {(error: unknown) => void} report Hears of what a listener throws.
   */
  constructor(begin, report) {
    this.#begin = begin
    this.#report = report
    // RxJS asks for it where a polyfill has defined it by now, and else for '@@observable'.
    const symbol = /** @type {any} */ (Symbol).observable
    if (typeof symbol === 'symbol') Object.defineProperty(this, symbol, { value: () => this })
  }

  /**
   * @param {any} [next] A function, or an object with `next`.
   * @param {any} [error]
   * @param {any} [complete]
   */
  subscribe(next, error, complete) {
    const listener = typeof next === 'object' && next !== null ? next : { next, error, complete }
    // A subscriber of RxJS ends by itself, and then wants to take us down.
    const subscriber = isSubscriber(listener) ? listener : new Subscriber(bound(listener), this.#report)
    subscriber.add(this.#begin(subscriber))
    return subscriber
  }

  /** What the operators of RxJS call. @param {any} operator */
  lift(operator) {
    return new Observable((subscriber) => operator.call(subscriber, this), this.#report)
  }

  /** @param {((source: any) => any)[]} operators */
  pipe(...operators) {
    return operators.reduce((source, operator) => operator(source), /** @type {any} */ (this))
  }

  asObservable() {
    return new Observable((subscriber) => this.subscribe(subscriber), this.#report)
  }

  ['@@observable']() {
    return this
  }
}

/** Announces values, and gives a late subscriber the last one. */
class ReplaySubject extends Observable {
  /** @type {Set<any>} */
  #subscribers
  /** @type {{ value: unknown } | undefined} */
  #last

  /** @param {(error: unknown) => void} report Hears of what a listener throws. */
  constructor(report) {
    /** @type {Set<any>} */
    const subscribers = new Set()
    super((subscriber) => {
      subscribers.add(subscriber)
      if (this.#last !== undefined) subscriber.next(this.#last.value)
      return () => subscribers.delete(subscriber)
    }, report)
    this.#subscribers = subscribers
  }

  /** @param {any} value */
  next(value) {
    this.#last = { value }
    // A listener may subscribe and unsubscribe others meanwhile.
    for (const subscriber of [...this.#subscribers]) {
      if (this.#subscribers.has(subscriber)) subscriber.next(value)
    }
  }

  get observed() {
    return this.#subscribers.size > 0
  }
}

/** @param {any} value */
function isSubscriber(value) {
  return ['next', 'error', 'complete', 'add', 'remove', 'unsubscribe'].every(
    (name) => isGiven(value, name) && typeof value[name] === 'function',
  )
}

/** @param {any} listener @returns {Listener} */
function bound(listener) {
  /** @param {string} name @returns {(value?: unknown) => void} */
  const call = (name) => (value) => {
    // What every object has from Object.prototype is not the listener's: it would get the token.
    if (isGiven(listener, name) && typeof listener[name] === 'function') listener[name](value)
  }
  return { next: call('next'), error: call('error'), complete: call('complete') }
}

/** @param {Teardown} teardown */
function run(teardown) {
  if (typeof teardown === 'function') teardown()
  else teardown.unsubscribe()
}

module.exports = { ReplaySubject }
