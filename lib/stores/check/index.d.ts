// `ring-auth/stores/check`: a test for shared stores of your own.

import type { SharedStore } from '../index.js'

export type { SharedStore } from '../index.js'

/** A shared store for {@link checkStore}. It may have a method that removes a value. */
export interface CheckedStore extends SharedStore {
  /** Removes the value if it has this version. Only `checkStore` calls this method, to clean up. */
  remove?(version: string): Promise<void>
}

/**
 * Checks that a store follows the rules of shared stores. Each call of `makeStore` must return a new store for the same account, as if it
 * were on another host. The account must have no value yet. A check makes about a hundred commits. If the store has a method `remove`, the
 * check removes its value at the end.
 *
 * Three rules cannot be checked: `commit` rejects if the network fails, a commit is on the disk when it resolves, and the engine forgets
 * no commit at a failover.
 *
 * @throws {RingAuthError} `STORE`: the store breaks a rule, and the message says which one. `INVALID_ARGUMENT`: `makeStore` does not return
 * a store, or the store has a value already, which stays as it is.
 *
 * @example
 * await checkStore(() => myStore({ account: 'check', statePath: null }))
 */
export function checkStore(makeStore: () => CheckedStore | Promise<CheckedStore>): Promise<void>
