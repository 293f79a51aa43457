// @ts-check
// An engine in a file, which processes share: it compares and sets under a lock. What stands beside the file makes it fail:
// `.down` each call, and `.budget` each commit after that number of commits.
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

/** @param {string} path */
export function fileEngine(path) {
  const answers = () => {
    if (existsSync(`${path}.down`)) throw new Error('connection refused')
  }
  const read = () => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null)

  /** @template T @param {() => T} work */
  const locked = async (work) => {
    for (;;) {
      try {
        closeSync(openSync(`${path}.lock`, 'wx'))
        break
      } catch (error) {
        if (/** @type {any} */ (error).code !== 'EEXIST') throw error
        await sleep(1)
      }
    }
    try {
      return work()
    } finally {
      rmSync(`${path}.lock`)
    }
  }

  return {
    /** @returns {Promise<{ value: string, version: string } | null>} */
    load: async () => {
      answers()
      return locked(read)
    },
    /** @param {string} value @param {string | null} version @returns {Promise<string | null>} */
    commit: async (value, version) => {
      answers()
      return locked(() => {
        const budget = existsSync(`${path}.budget`) ? Number(readFileSync(`${path}.budget`, 'utf8')) : undefined
        if (budget === 0) throw new Error('connection lost')
        if (budget !== undefined) writeFileSync(`${path}.budget`, String(budget - 1))
        if ((read()?.version ?? null) !== version) return null
        const next = randomUUID()
        writeFileSync(`${path}.new`, JSON.stringify({ value, version: next }))
        renameSync(`${path}.new`, path)
        return next
      })
    },
  }
}
