// @ts-check
// checkStore: it accepts a store that is good, and says of each other one which rule it breaks.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { RingAuthError } from '../support/index.mjs'
import { checkStore } from '../../lib/stores/check/index.js'
import { Engine, memoryStore } from './memory-store.mjs'

/** @typedef {import('./memory-store.mjs').SharedStore} SharedStore */
/** @typedef {SharedStore & { remove?: (version: string) => Promise<void> }} Store */

/**
 * The sentence about a store; undefined if it is good.
 * @param {() => any} makeStore
 * @param {import('../support/index.mjs').ErrorCode} [code]
 */
async function verdict(makeStore, code = 'STORE') {
  try {
    await checkStore(makeStore)
    return undefined
  } catch (error) {
    assert.ok(error instanceof RingAuthError, String(error))
    assert.equal(error.code, code, error.message)
    return error.message
  }
}

/**
 * Makes each host's store by changing a good one.
 * @param {(store: Store, engine: Engine) => Partial<Store>} change
 */
function brokenBy(change) {
  const engine = new Engine()
  return () => {
    const store = memoryStore(engine)
    return { ...store, ...change(store, engine) }
  }
}

/** Of a store that writes later: what it will write. */
let isQueued = false

/** @type {{ what: string, change: (store: Store, engine: Engine) => any, sentence: RegExp }[]} */
const BROKEN = [
  {
    what: 'loses an update, because it reads and then writes',
    change: (_, engine) => ({
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        if ((engine.kept?.version ?? null) !== version) return null
        await turn()
        return engine.put(value)
      },
    }),
    sentence: /^8 of 8 first values at the same time won: an update is lost\./,
  },
  {
    what: 'loses an update if the value is there',
    change: (store, engine) => ({
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        if (version === null) return store.commit(value, version)
        if (engine.kept?.version !== version) return null
        await turn()
        return engine.put(value)
      },
    }),
    sentence: /^8 of 8 commits on the same version at the same time won: an update is lost\./,
  },
  {
    what: 'uses a version twice',
    change: (_, engine) => ({
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        if ((engine.kept?.version ?? null) !== version) return null
        return engine.put(value, engine.kept?.version === 'a' ? 'b' : 'a')
      },
    }),
    sentence: /^commit gave a version that was used before/,
  },
  {
    what: 'takes the length of the value for its version',
    change: (_, engine) => ({
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        return (engine.kept?.version ?? null) === version ? engine.put(value, String(value.length)) : null
      },
    }),
    sentence: /^commit gave a version that was used before/,
  },
  {
    what: 'counts from 1 again after its value was removed',
    change: (_, engine) => ({
      /** @param {string} value @param {string | null} version */
      async commit(value, version) {
        if ((engine.kept?.version ?? null) !== version) return null
        return engine.put(value, String(Number(engine.kept?.version ?? 0) + 1))
      },
    }),
    sentence: /^commit gave a version that was used before/,
  },
  {
    what: 'trims the value',
    change: (store) => ({
      commit: (/** @type {string} */ value, /** @type {string | null} */ version) =>
        store.commit(value.trim(), version),
    }),
    // The texts before end with a space.
    sentence:
      /^commit resolved before the value was kept|^load did not give the value as it was committed: it does not keep white space/,
  },
  {
    what: 'keeps ASCII alone',
    change: (store) => ({
      commit: (/** @type {string} */ value, /** @type {string | null} */ version) =>
        store.commit(Buffer.from(value, 'latin1').toString('latin1'), version),
    }),
    sentence: /^load did not give the value as it was committed: it does not keep letters outside of ASCII/,
  },
  {
    what: 'cuts a long value',
    change: (store) => ({
      commit: (/** @type {string} */ value, /** @type {string | null} */ version) =>
        store.commit(value.slice(0, 65_535), version),
    }),
    sentence: /^load did not give the value as it was committed: it does not keep a length of 100,000 characters/,
  },
  {
    what: 'takes a backslash for the beginning of an escape',
    change: (store) => ({
      commit: (/** @type {string} */ value, /** @type {string | null} */ version) =>
        store.commit(value.replaceAll('\\\\', '\\'), version),
    }),
    sentence: /^load did not give the value as it was committed: it does not keep quotation marks, backslashes/,
  },
  {
    what: 'lets the last write win',
    change: (store, engine) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        version === null ? store.commit(value, version) : engine.kept === null ? null : engine.put(value),
    }),
    sentence: /^commit with a version that had been replaced replaced the value: the last write wins/,
  },
  {
    what: 'takes null for any version',
    change: (store, engine) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        version === null && engine.history.length > 1 ? engine.put(value) : store.commit(value, version),
    }),
    sentence: /^commit with null, which means that there is no value, replaced the value/,
  },
  {
    what: 'inserts if there is nothing to update',
    change: (store, engine) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        engine.kept === null ? engine.put(value) : store.commit(value, version),
    }),
    sentence: /^commit with a version kept a value where there was none/,
  },
  {
    what: 'loads from a replica that is behind',
    change: (_, engine) => ({
      load: async () => engine.history.at(-2) ?? null,
    }),
    sentence: /^load gave a value that had been replaced: it reads from a cache or from a replica/,
  },
  {
    what: 'loads from a cache of its own',
    change: (store) => {
      /** @type {Promise<any> | undefined} */
      let cached
      return {
        load: async () => {
          const found = cached ? await cached : null
          return found ?? (cached = store.load())
        },
      }
    },
    sentence: /^load gave a value that had been replaced: it reads from a cache or from a replica/,
  },
  {
    what: 'resolves before the value is kept',
    change: () => ({
      commit: async (/** @type {string} */ _, /** @type {string | null} */ version) =>
        version === null && !isQueued ? ((isQueued = true), crypto.randomUUID()) : null,
    }),
    sentence: /^commit resolved before the value was kept: a load right after it did not find it$/,
  },
  {
    what: 'resolves to null although it has kept the value',
    change: (store) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) => {
        await store.commit(value, version)
        return null
      },
    }),
    sentence: /^commit resolved to null, but it had kept the value: it must reject if it does not know the outcome/,
  },
  {
    what: 'resolves to null for an answer that was lost',
    change: (store, engine) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) => {
        const next = await store.commit(value, version)
        return version !== null && engine.history.length === 2 ? null : next
      },
    }),
    sentence: /^commit resolved to null, but it had kept the value: it must reject if it does not know the outcome/,
  },
  {
    what: 'never keeps anything',
    change: () => ({ commit: async () => null }),
    sentence: /^None of 8 first values at the same time won/,
  },
  {
    what: 'keeps only the first value',
    change: (store) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        version === null ? store.commit(value, version) : null,
    }),
    sentence: /^commit with the current version resolved to null, although no other host had committed/,
  },
  {
    what: 'resolves to a version for a commit that lost',
    change: (store) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        (await store.commit(value, version)) ?? (version === null || version === '1' ? null : crypto.randomUUID()),
    }),
    sentence: /^commit with a version that had been replaced resolved to a version, but kept nothing/,
  },
  {
    what: 'rejects a commit that lost',
    change: (store) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) => {
        const next = await store.commit(value, version)
        if (next === null) throw new Error('ConditionalCheckFailedException')
        return next
      },
    }),
    sentence: /^commit must resolve to null if another host was faster, and rejected: ConditionalCheckFailedException$/,
  },
  {
    what: 'rejects where there is no value',
    change: (store) => ({
      load: async () => {
        const found = await store.load()
        if (found === null) throw new Error('404')
        return found
      },
    }),
    sentence: /^load rejected: 404$/,
  },
  {
    what: 'gives undefined where there is no value',
    change: (store) => ({ load: async () => (await store.load()) ?? undefined }),
    sentence: /^load must resolve to null or to \{ value, version \} with two strings, and resolved to undefined$/,
  },
  {
    what: 'gives undefined for a commit that lost',
    change: (store) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) =>
        (await store.commit(value, version)) ?? undefined,
    }),
    sentence:
      /^commit must resolve to the new version, a string that is not empty, or to null, and resolved to undefined$/,
  },
  {
    what: 'has numbers for versions',
    change: (_, engine) => {
      return {
        load: async () => engine.kept && { ...engine.kept, version: Number(engine.kept.version) },
        commit: async (/** @type {string} */ value, /** @type {any} */ version) =>
          (Number(engine.kept?.version) || null) === version
            ? Number(engine.put(value, String(engine.history.length + 1)))
            : null,
      }
    },
    sentence:
      /^commit must resolve to the new version, a string that is not empty, or to null, and resolved to a number$/,
  },
  {
    what: 'gives another version at each load',
    change: (store) => ({
      load: async () => {
        const found = await store.load()
        return found && { ...found, version: crypto.randomUUID() }
      },
    }),
    sentence: /^load gave another version than the commit that had kept the value$/,
  },
  {
    what: 'is told that it lost, and writes all the same',
    change: (store, engine) => ({
      commit: async (/** @type {string} */ value, /** @type {string | null} */ version) => {
        const next = await store.commit(value, version)
        if (next === null && version !== null && engine.kept !== null && version !== '1') {
          engine.kept = { ...engine.kept, value: `${engine.kept.value}!` }
        }
        return next
      },
    }),
    sentence: /^commit with a version that had been replaced resolved to null, but changed what was kept$/,
  },
  {
    what: 'does not warn in sentences',
    change: () => ({ warnings: async () => 'careful' }),
    sentence: /^warnings must resolve to a list of sentences$/,
  },
]

describe('checkStore', () => {
  for (const removes of [true, false]) {
    it(`accepts a good store that ${removes ? 'can' : 'cannot'} remove what was written`, async () => {
      const engine = new Engine()
      assert.equal(await verdict(() => memoryStore(engine, { removes })), undefined)
      assert.equal(engine.kept === null, removes, 'it cleans up if it can')
      assert.equal(
        new Set(engine.history.map(({ value }) => value)).size,
        engine.history.length,
        'no text is written twice',
      )
      const again = await verdict(() => memoryStore(engine, { removes }), removes ? 'STORE' : 'INVALID_ARGUMENT')
      if (removes) assert.equal(again, undefined, 'a second check finds the account empty')
      else assert.match(String(again), /holds what an earlier check could not remove/)
    })
  }

  for (const { what, change, sentence } of BROKEN) {
    it(`refuses a store that ${what}`, async () => {
      assert.match(String(await verdict(brokenBy(change))), sentence)
    })
  }

  it('has a sentence of its own for each rule', () => {
    assert.ok(new Set(BROKEN.map(({ sentence }) => sentence.source)).size >= 20)
  })

  it('leaves a value that it finds', async () => {
    const engine = new Engine()
    engine.put('somebody’s record', 'v')
    const sentence = await verdict(() => memoryStore(engine), 'INVALID_ARGUMENT')
    assert.match(
      String(sentence),
      /^The store holds a value, and was left as it is: checkStore needs an account of its own$/,
    )
    assert.deepEqual(engine.kept, { value: 'somebody’s record', version: 'v' })
  })

  it('cleans up after a broken rule', async () => {
    const engine = new Engine()
    const makeStore = () => ({ ...memoryStore(engine), warnings: async () => [1] })
    assert.ok(await verdict(makeStore))
    assert.equal(engine.kept, null)
  })

  it('refuses what is no store', async () => {
    const good = memoryStore(new Engine())
    /** @type {[any, RegExp][]} */
    const cases = [
      [undefined, /^makeStore must be a function that makes a store, got undefined$/],
      [() => undefined, /^makeStore must make a store, and gave undefined$/],
      [() => good, /^makeStore must make a new store at each call/],
      [() => ({ ...good, load: 1 }), /^The store must have a function load$/],
      [() => ({ ...good, commit: undefined }), /^The store must have a function commit$/],
      [() => ({ ...good, save() {} }), /^The store has commit and save: a shared store has no save$/],
      [() => ({ ...good, statePath: undefined }), /^The store has no statePath/],
      [() => ({ ...good, statePath: 1 }), /^The statePath of the store must be the path of a folder, or null$/],
      [() => ({ ...good, account: '' }), /^The account of the store must be a string that is not empty$/],
      [() => ({ ...good, name: 1 }), /^The name of the store must be a string that is not empty$/],
      [() => ({ ...good, warnings: [] }), /^The warnings of the store must be a function$/],
    ]
    for (const [makeStore, sentence] of cases) {
      assert.match(String(await verdict(makeStore, 'INVALID_ARGUMENT')), sentence)
    }
  })
})
