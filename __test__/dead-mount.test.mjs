// @ts-check
// A file that never answers, as on a mount whose server has gone: a FIFO without a writer. Neither the
// runtime's only worker nor a refresh that has written its mark may wait for it.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { certificateFor } from './support/certificate.mjs'
import { fileStore, optionsFor, rawOf, readJournal, runScript, startRing, tempDir } from './support/index.mjs'
import { devices } from './support/systems.mjs'

describe('a file of certificates that never answers', { skip: devices }, () => {
  for (const host of /** @type {const} */ (['127.0.0.1', 'localhost'])) {
    it(`a file of certificates that never answers does not stop a rotation, a time-out or the end of a process (${host})`, async (t) => {
      const dir = tempDir(t)
      const tls = host === 'localhost' ? certificateFor(host) : undefined
      const ring = await startRing(t, tls ? { tls } : {})
      const fifo = join(dir, 'never.pem')
      const roots = join(dir, 'roots.pem')
      const path = join(dir, 'journal.json')
      execFileSync('mkfifo', [fifo])
      if (tls) writeFileSync(roots, tls.cert)
      const config = optionsFor(ring, {
        oauthUrl: ring.oauthUrl.replace('127.0.0.1', host),
        refreshToken: ring.mint(),
        store: fileStore(path),
        requestTimeoutMs: 60_000,
      })
      const script = `
        const manager = new RingTokenManager(config)
        const others = Array.from({ length: 40 }, () => new RingTokenManager({ ...config, store: { type: 'memory' }, oauthUrl: config.oauthUrl }))
        const other = new RingTokenManager({ ...config, store: { type: 'memory' } })
        const began = Date.now()
        const first = manager.getAccessToken()
        // The worker is free during that time.
        await other.setRefreshToken('another-token-of-this-test')
        say('free')
        say('token ' + await first)
        await manager.refresh()
        await manager.refresh()
        say('took ' + (Date.now() - began))
        await Promise.all([manager, other, ...others].map((one) => one.close()))
        say('closed')
      `
      const env = { ...process.env, SSL_CERT_FILE: fifo, ...(tls ? { NODE_EXTRA_CA_CERTS: roots } : {}) }
      const child = await runScript(t, script, config, { env }).ended
      assert.equal(child.code, 0, child.stderr)
      assert.match(child.stdout, /^free\ntoken \S+\ntook \d+\nclosed\n$/)
      const took = Number(/took (\d+)/.exec(child.stdout)?.[1])
      assert.ok(took < 60_000, `${took} ms`)
      assert.deepEqual([ring.counts.rotations, ring.counts.stalePresentations], [3, 0])
      assert.equal(rawOf(readJournal(path).current.token), ring.newest())
      assert.equal(readJournal(path).mark, null)
    })
  }
})
