// @ts-check
'use strict'

// The observables: those of a manager, and those of the replacement for ring-client-api's rest client. They are the small part of
// RxJS that programs use: `subscribe`, and `pipe` with the operators of the program's own RxJS, 6 or 7. An operator gets an
// observable with `lift` and a subscriber with `add` and `remove`, and needs no more, so this package does not depend on RxJS.

/** @typedef {InstanceType<typeof import('./manager.js').ManagerEvents>} ManagerEvents */
/** @typedef {{ unsubscribe(): void } | (() => void)} Teardown */
/** @typedef {{ next(value: any): void, error(error?: unknown): void, complete(): void, isClosed(): boolean }} Observer */

const { describeThrown, isGiven, pick, wrongType } = require('./checks.js')
const { ignoreRejection } = require('./errors.js')

const INSPECT = Symbol.for('nodejs.util.inspect.custom')

/** One listener of one observable. */
class Subscriber {
  closed = false
  /** @type {Observer} */
  #listener
  /** @type {(error: unknown) => void} */
  #report
  /** @type {Set<Teardown> | undefined} */
  #teardowns

  /**
   * @param {Observer} listener
   * @param {(error: unknown) => void} report
   */
  constructor(listener, report) {
    this.#listener = listener
    this.#report = report
  }

  /** @param {unknown} value */
  next(value) {
    if (!this.closed) this.#notify('next', value)
  }

  /** @param {unknown} error */
  error(error) {
    if (this.closed) return
    this.#notify('error', error)
    this.unsubscribe()
  }

  complete() {
    if (this.closed) return
    this.#notify('complete')
    this.unsubscribe()
  }

  /** @param {Teardown | undefined | void} teardown */
  add(teardown) {
    if (teardown == null || /** @type {unknown} */ (teardown) === this) return
    if (this.closed) run(teardown)
    else (this.#teardowns ??= new Set()).add(teardown)
  }

  /** @param {Teardown} teardown */
  remove(teardown) {
    this.#teardowns?.delete(teardown)
  }

  unsubscribe() {
    if (this.closed) return
    this.closed = true
    const teardowns = this.#teardowns
    this.#teardowns = undefined
    for (const teardown of teardowns ?? []) run(teardown)
  }

  /**
   * @param {'next' | 'error' | 'complete'} what
   * @param {unknown} [value]
   */
  #notify(what, value) {
    try {
      this.#listener[what](value)
      // A subscriber of RxJS closes itself: firstValueFrom() never calls our unsubscribe().
      if (this.#listener.isClosed()) this.unsubscribe()
    } catch (error) {
      this.#report(error)
    }
  }
}

class Observable {
  /** @type {(subscriber: any) => Teardown | undefined | void} */
  #onSubscribe
  /** @type {(error: unknown) => void} */
  #report

  /**
   * @param {(subscriber: any) => Teardown | undefined | void} onSubscribe
   * @param {(error: unknown) => void} report Gets each error that a listener throws.
   */
  constructor(onSubscribe, report) {
    this.#onSubscribe = onSubscribe
    this.#report = report
    // RxJS calls this method if a polyfill has defined the symbol, and '@@observable' otherwise.
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
    const subscriber = isSubscriber(listener) ? listener : new Subscriber(listenerOf(listener), this.#report)
    subscriber.add(this.#onSubscribe(subscriber))
    return subscriber
  }

  /** The method that the operators of RxJS call. @param {any} operator */
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

/** An observable that emits the values given to `next`, and gives a late subscriber the last one. */
class ReplaySubject extends Observable {
  /** @type {Set<any>} */
  #subscribers
  /** @type {{ value: unknown } | undefined} */
  #last

  /** @param {(error: unknown) => void} report Gets each error that a listener throws. */
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
    emit(this.#subscribers, value)
  }

  get observed() {
    return this.#subscribers.size > 0
  }
}

/** An observable of a manager. Its events give the values. */
class ManagerObservable extends Observable {
  /** @type {'onRefreshTokenUpdated' | 'onStatus'} */
  #name
  /** @type {(error: unknown) => void} */
  #reportOne

  /**
   * @param {ManagerEvents} events
   * @param {'onRefreshTokenUpdated' | 'onStatus'} name
   */
  constructor(events, name) {
    const report = reportOf(events, name)
    super((subscriber) => {
      const set =
        name === 'onStatus' ? (events.statusSubscribers ??= new Set()) : (events.updateSubscribers ??= new Set())
      set.add(subscriber)
      if (name === 'onRefreshTokenUpdated' && events.lastUpdate !== undefined) subscriber.next(events.lastUpdate)
      return () => set.delete(subscriber)
    }, report)
    this.#name = name
    this.#reportOne = report
  }

  /**
   * @override
   * @param {any} [listener]
   * @returns {any}
   */
  subscribe(listener) {
    const name = this.#name
    if (typeof listener !== 'function') {
      if (typeof listener !== 'object' || listener === null) {
        throw wrongType(`the listener of ${name}`, 'a function or an object with next', listener)
      }
      const { next } = pick(listener, ['next'])
      if (next != null && typeof next !== 'function')
        throw wrongType(`next of the listener of ${name}`, 'a function', next)
    }
    const given = typeof listener === 'function' ? { next: listener } : listener
    const subscriber = super.subscribe(new Subscriber(listenerOf(given, this.#reportOne), this.#reportOne))
    return { unsubscribe: () => subscriber.unsubscribe() }
  }

  [INSPECT]() {
    return `Observable { ${this.#name} }`
  }
}

/**
 * The report for the listeners of a manager. It does not show the thrown value: what a listener was doing with a token may be in it.
 * @param {ManagerEvents} events
 * @param {string} name
 */
function reportOf(events, name) {
  return (/** @type {unknown} */ error) => {
    const message = `A listener of ${name} failed (${describeThrown(error)}). It must handle its own errors: they are not shown here, because a token may be in them.`
    if (!events.log('error', message)) warnOnce(message)
  }
}

/**
 * @template T
 * @param {ManagerEvents} events
 * @param {'onRefreshTokenUpdated' | 'onStatus'} name
 * @returns {import('../index.js').Observable<T>} whose type always has `Symbol.observable`, as RxJS's own types do
 */
function makeObservable(events, name) {
  return /** @type {any} */ (new ManagerObservable(events, name))
}

/**
 * Gives a value to all subscribers.
 * @param {Set<any>} subscribers
 * @param {unknown} value
 */
function emit(subscribers, value) {
  // A listener may subscribe and unsubscribe others in the meantime.
  for (const subscriber of [...subscribers]) {
    if (subscribers.has(subscriber)) subscriber.next(value)
  }
}

/** @param {any} value */
function isSubscriber(value) {
  return ['next', 'error', 'complete', 'add', 'remove', 'unsubscribe'].every(
    (name) => isGiven(value, name) && typeof value[name] === 'function',
  )
}

/**
 * @param {any} listener
 * @param {(error: unknown) => void} [onRejected] Gets the reason if a listener returns a promise that rejects.
 * @returns {Observer}
 */
function listenerOf(listener, onRejected) {
  /** @param {string} name @returns {(value?: unknown) => void} */
  const call = (name) => (value) => {
    // A method that only Object.prototype has is not the listener's: it would get the token.
    if (!isGiven(listener, name) || typeof listener[name] !== 'function') return
    const result = listener[name](value)
    if (onRejected !== undefined) ignoreRejection(result, onRejected)
  }
  const isClosed = () => isGiven(listener, 'closed') && listener.closed === true
  return { next: call('next'), error: call('error'), complete: call('complete'), isClosed }
}

/** @param {Teardown} teardown */
function run(teardown) {
  if (typeof teardown === 'function') teardown()
  else teardown.unsubscribe()
}

let warned = false

/** @param {string} message */
function warnOnce(message) {
  if (warned) return
  warned = true
  process.emitWarning(`${message} Give the manager a logger to see each of these.`, 'RingAuthWarning')
}

module.exports = { ReplaySubject, Subscriber, emit, makeObservable }
