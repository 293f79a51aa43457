// @ts-check
// A shared store in memory: what an engine is that does everything right. Tests break it in one rule at a time.
import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'

/** @typedef {import('../../lib/stores/index.js').SharedStore} SharedStore */
/** @typedef {{ value: string, version: string }} Kept */

/** An engine that all hosts share. */
export class Engine {
  /** @type {Kept | null} */
  kept = null
  /** Every value that was ever kept, the newest last. @type {Kept[]} */
  history = []

  /**
   * Compares and sets, in one step.
   * @param {string} value
   * @param {string | null} version
   */
  set(value, version) {
    if ((this.kept?.version ?? null) !== version) return null
    return this.put(value)
  }

  /** Sets, whatever there is. @param {string} value @param {string} [version] */
  put(value, version = randomUUID()) {
    this.kept = { value, version }
    this.history.push(this.kept)
    return version
  }
}

/**
 * What one host has of it. Each call takes some turns of the event loop, as one over a network does.
 * @param {Engine} engine
 * @param {{ removes?: boolean }} [how]
 * @returns {SharedStore & { remove?: (version: string) => Promise<void> }}
 */
export function memoryStore(engine, { removes = true } = {}) {
  return {
    name: 'memory',
    account: 'check',
    statePath: null,
    async load() {
      await turn()
      return engine.kept && { ...engine.kept }
    },
    async commit(value, version) {
      await turn()
      const next = engine.set(value, version)
      await turn()
      return next
    },
    ...(removes && {
      async remove(version) {
        await turn()
        if (engine.kept?.version === version) engine.kept = null
      },
    }),
  }
}
