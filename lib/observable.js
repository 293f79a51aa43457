// @ts-check
'use strict'

// What a program subscribes to.

/** @typedef {InstanceType<typeof import('./manager.js').Hub>} Hub */

const { describeThrown, isGiven, pick, wrongType } = require('./checks.js')
const { ignoreRejection } = require('./errors.js')

const INSPECT = Symbol.for('nodejs.util.inspect.custom')

/** One listener of one observable. */
class Subscriber {
  /** @type {Hub} */
  #hub
  /** @type {string} */
  #observable
  /** @type {Set<Subscriber>} */
  #set
  /** @type {any} */
  #listener

  /**
   * @param {Hub} hub
   * @param {string} observable
   * @param {Set<Subscriber>} set
   * @param {unknown} listener
   */
  constructor(hub, observable, set, listener) {
    this.#hub = hub
    this.#observable = observable
    this.#set = set
    this.#listener = listener
    set.add(this)
  }

  /** @param {unknown} value */
  deliver(value) {
    const listener = this.#listener
    try {
      let result
      if (typeof listener === 'function') result = listener(value)
      else if (isGiven(listener, 'next')) result = listener.next?.(value)
      ignoreRejection(result, (error) => this.#report(error))
      // RxJS's subscribers say so when they are done: firstValueFrom() never calls our unsubscribe().
      if (isGiven(listener, 'closed') && listener.closed === true) this.unsubscribe()
    } catch (error) {
      this.#report(error)
    }
  }

  unsubscribe() {
    this.#set.delete(this)
  }

  /**
   * The thrown value itself is not shown: what a listener was doing with a token may be in it.
   * @param {unknown} error
   */
  #report(error) {
    const message = `A listener of ${this.#observable} failed (${describeThrown(error)}). It must handle its own errors: they are not shown here, because a token may be in them.`
    if (!this.#hub.log('error', message)) warnOnce(message)
  }
}

class Observable {
  /** @type {Hub} */
  #hub
  /** @type {'onRefreshTokenUpdated' | 'onStatus'} */
  #name

  /**
   * @param {Hub} hub
   * @param {'onRefreshTokenUpdated' | 'onStatus'} name
   */
  constructor(hub, name) {
    this.#hub = hub
    this.#name = name
  }

  /** @param {unknown} [listener] */
  subscribe(listener) {
    const name = this.#name
    const hub = this.#hub
    if (typeof listener !== 'function') {
      if (typeof listener !== 'object' || listener === null) {
        throw wrongType(`the listener of ${name}`, 'a function or an object with next', listener)
      }
      const { next } = pick(listener, ['next'])
      if (next != null && typeof next !== 'function')
        throw wrongType(`next of the listener of ${name}`, 'a function', next)
    }
    const set = name === 'onStatus' ? (hub.statusSubscribers ??= new Set()) : (hub.updateSubscribers ??= new Set())
    const subscriber = new Subscriber(hub, name, set, listener)
    if (name === 'onRefreshTokenUpdated' && hub.lastUpdate !== undefined) subscriber.deliver(hub.lastUpdate)
    return { unsubscribe: () => subscriber.unsubscribe() }
  }

  // What RxJS's from() looks for, where nobody has defined Symbol.observable.
  ['@@observable']() {
    return this
  }

  [INSPECT]() {
    return `Observable { ${this.#name} }`
  }
}

/**
 * An observable, with Symbol.observable too where a polyfill has defined it by now. The declared type always has it, as
 * RxJS's own do.
 * @template T
 * @param {Hub} hub
 * @param {'onRefreshTokenUpdated' | 'onStatus'} name
 * @returns {import('../index.js').Observable<T>}
 */
function makeObservable(hub, name) {
  const symbol = /** @type {any} */ (Symbol).observable
  if (typeof symbol === 'symbol' && !(symbol in Observable.prototype)) {
    const value = Observable.prototype['@@observable']
    Object.defineProperty(Observable.prototype, symbol, { value, writable: true, configurable: true })
  }
  return /** @type {any} */ (new Observable(hub, name))
}

let warned = false

/** @param {string} message */
function warnOnce(message) {
  if (warned) return
  warned = true
  process.emitWarning(`${message} Give the manager a logger to see each of these.`, 'RingAuthWarning')
}

module.exports = { Subscriber, makeObservable }
