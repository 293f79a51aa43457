// `ring-auth/stores/check`: a test for shared stores of your own.

import type { SharedStore } from '../index.js'

export type { SharedStore } from '../index.js'

/** What {@link checkStore} takes: a shared store that can perhaps remove what was written. */
export interface CheckedStore extends SharedStore {
  /** Removes the value of a version. Only `checkStore` calls it, to clean up. */
  remove?(version: string): Promise<void>
}

/**
 * Checks that a store keeps the rules of shared stores. Each call of `makeStore` makes a store of its own for the same account, as if
 * it were on another host. Nothing may be kept for that account yet. A check makes about a hundred commits, and removes at its end what
 * it has written if the store has a method `remove`.
 *
 * Not everything can be seen from outside: that a failure of the network makes `commit` reject, that a commit is on the disk when it
 * resolves, and that the engine forgets nothing at a failover.
 *
 * @throws {RingAuthError} `STORE`: the message says which rule is broken. `INVALID_ARGUMENT`: `makeStore` does not make a store, or the
 * store holds a value already, which is left as it is.
 *
 * @example
 * await checkStore(() => myStore({ account: 'check', statePath: null }))
 */
export function checkStore(makeStore: () => CheckedStore | Promise<CheckedStore>): Promise<void>
