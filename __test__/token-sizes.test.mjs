// @ts-check
// Tokens of 300, 1,500 and 6,000 bytes: through rotations, lost and cut answers, a start that finds a mark, and a file that shows
// them. tests/crash_points.rs tests what a crash leaves of them on the disk.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileStore, open, rawOf, readJournal, startRing, tempDir, wrap } from './support/index.mjs'

/** @typedef {import('./fake-ring/faults.mjs').FaultSpec} FaultSpec */

/** @type {[string, FaultSpec][]} */
const LOSSES = [
  ['a connection that is reset', { kind: 'reset-after' }],
  ['a connection that is closed', { kind: 'fin-after' }],
  ['an answer that is cut in its head', { kind: 'truncate', at: 'headers', reset: true }],
  ['an answer that is cut in its body', { kind: 'truncate', at: 'body', reset: true }],
  ['a 502 of the edge', { kind: 'answer-after', status: 502, body: 'no', headers: { 'content-type': 'text/plain' } }],
]

describe('a token', { concurrency: true }, () => {
  for (const bytes of [300, 1500, 6000]) {
    const canary = 'x'.repeat(bytes)

    it(`a token of ${bytes} bytes goes through every rotation, and through a start in between`, async (t) => {
      const ring = await startRing(t, { canary })
      const path = join(tempDir(t), 'journal.json')
      for (let start = 0; start < 3; start++) {
        const options = start === 0 ? { refreshToken: ring.mint() } : {}
        const { manager } = open(t, ring, { ...options, store: fileStore(path) })
        for (let rotation = 0; rotation < 3; rotation++) await manager.refresh()
        assert.equal(rawOf(manager.refreshToken), ring.newest())
        assert.ok(rawOf(manager.refreshToken).length >= bytes)
        assert.equal(readJournal(path).current.token, manager.refreshToken)
        await manager.close()
      }
      assert.equal(ring.counts.tokenPosts, 9)
      assert.equal(ring.counts.stalePresentations, 0)
    })

    for (const [what, spec] of LOSSES) {
      it(`a token of ${bytes} bytes survives ${what}, within Ring's grace`, async (t) => {
        const ring = await startRing(t, { canary, graceMs: 60_000 })
        const path = join(tempDir(t), '.env')
        writeFileSync(path, `RING_REFRESH_TOKEN=${wrap({ rt: ring.mint() })}\n`)
        const { manager } = open(t, ring, { store: { type: 'dotenv', path } })
        await manager.refresh()
        ring.fault({ ...spec, times: 1 })
        const { refreshToken } = await manager.refresh()
        assert.equal(rawOf(refreshToken), ring.newest())
        await manager.close()
        assert.equal(readFileSync(path, 'utf8'), `RING_REFRESH_TOKEN=${refreshToken}\n`)
        assert.equal(ring.counts.stalePresentations, 0)
        ring.settings.graceMs = 0
        const { manager: next } = open(t, ring, { store: { type: 'dotenv', path } })
        assert.ok(ring.isAccessLive((await next.refresh()).accessToken))
        assert.equal(ring.counts.stalePresentations, 0)
      })
    }
  }
})
