// @ts-check
// A token from Ring that is longer than a text from a person may be: the manager shows its wrapper, stores it and passes it to programs, and
// accepts it again from each of them.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileStore, open, parseRefreshToken, rawOf, startRing, tempDir } from './support/index.mjs'

/** @typedef {import('../index.js').Store} Store */

describe('a token of 60 KiB from Ring', { concurrency: true }, () => {
  /** @type {Record<string, (dir: string, first: string) => Store | undefined>} */
  const stores = {
    memory: () => undefined,
    file: (dir) => fileStore(join(dir, 'journal.json')),
    homebridge: (dir, first) => {
      const configPath = join(dir, 'config.json')
      writeFileSync(configPath, JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken: first }] }))
      return { type: 'homebridge', configPath }
    },
    dotenv: (dir, first) => {
      const path = join(dir, '.env')
      writeFileSync(path, `RING_REFRESH_TOKEN=${first}\n`)
      return { type: 'dotenv', path }
    },
    custom: (_, first) => {
      let kept = first
      return {
        load: () => kept,
        save: (token) => {
          kept = token
        },
      }
    },
  }
  for (const [name, make] of Object.entries(stores)) {
    it(`a token of 60 KiB from Ring is accepted again at the next start (${name})`, async (t) => {
      const ring = await startRing(t, { graceMs: 0 })
      const first = ring.mint()
      const store = make(tempDir(t), first)
      const kept = store ? { store } : {}
      ring.settings.canary = 'x'.repeat(60 * 1024)
      const { manager } = open(t, ring, { refreshToken: first, ...kept })
      await manager.refresh()
      const shown = String(manager.refreshToken)
      assert.ok(shown.length > 80_000)
      await manager.close()
      assert.equal(parseRefreshToken(shown).raw, rawOf(shown))
      // The token is in the options of the next start, as in a program that saves it.
      const { manager: next } = open(t, ring, { refreshToken: shown, ...kept })
      await next.refresh()
      await next.setRefreshToken(String(next.refreshToken))
      assert.equal(rawOf(next.refreshToken), ring.newest())
      await next.close()
      if (store) {
        const { manager: last } = open(t, ring, { store })
        await last.refresh()
      }
      assert.deepEqual([ring.counts.stalePresentations, ring.counts.rotations], [0, store ? 3 : 2])
    })
  }
})
