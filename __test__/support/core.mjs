// @ts-check
// The same tests of an installed package for each runtime, and for each platform that can be run here.
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { project, root } from './packages.mjs'
import { FakeRing } from '../fake-ring/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * @typedef {object} Runtime
 * @property {string} name
 * @property {string[]} command runs the script whose path follows it
 * @property {(there: ReturnType<typeof project>) => Promise<unknown>} install brings the package into an empty project
 * @property {number} [patienceMs] for one process
 * @property {NodeJS.ProcessEnv} [env]
 */

const CREDENTIALS = { email: 'person@example.com', password: 'correct horse' }

/**
 * @param {Runtime} runtime
 * @param {() => { url: string, folder: string }} packages
 */
export function core(runtime, packages) {
  const patienceMs = runtime.patienceMs ?? 60_000

  describe(runtime.name, () => {
    /** @type {ReturnType<typeof project>} */
    let there
    /** @type {(() => void)[]} */
    const ends = []
    before(async () => {
      there = project({ after: (end) => ends.push(end) }, packages())
      await runtime.install(there)
      copyFileSync(join(root, '__test__', 'support', 'guest.mjs'), there.path('guest.mjs'))
    })
    after(() => {
      for (const end of ends) end()
    })

    /**
     * A Ring, and a folder for the journal.
     * @param {TestContext} t
     * @param {import('../fake-ring/index.mjs').FakeRingOptions} [settings]
     */
    async function setUp(t, settings = {}) {
      const ring = await FakeRing.start({
        accounts: [{ ...CREDENTIALS, twoFactor: 'sms', phone: '+1xxxxxxxx89' }],
        ...settings,
      })
      const folder = mkdtempSync(there.path('journal-'))
      t.after(async () => {
        await ring.close()
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
        assert.deepEqual(ring.internalErrors, [])
        assert.equal(ring.counts.stalePresentations, 0)
      })
      const path = join(folder, 'ring-auth.json')
      const options = { oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, systemId: 'test', refreshToken: ring.mint() }
      const journal = () => JSON.parse(readFileSync(path, 'utf8'))
      const stored = () => JSON.parse(Buffer.from(journal().current.token, 'base64').toString()).rt
      return { ring, folder, path, options, journal, stored }
    }

    /**
     * Runs a scenario of the guest. It has to end by itself, unless it is killed.
     * @param {string} scenario
     * @param {{ path: string, options: object }} where
     * @param {{ more?: object, onOutput?: (text: string) => void, signal?: AbortSignal }} [how]
     */
    async function guest(scenario, { path, options }, { more = {}, onOutput, signal } = {}) {
      const [command = '', ...args] = runtime.command
      const env = { ...runtime.env, RING_AUTH_GUEST: JSON.stringify({ options, path, more }) }
      const ended = await there.run(command, [...args, 'guest.mjs', scenario], {
        env,
        timeoutMs: patienceMs,
        onOutput,
        signal,
      })
      const said = ended.stdout.split('\n').flatMap((line) => (/^["{]/.test(line) ? [JSON.parse(line)] : []))
      return { ...ended, said }
    }

    /** @param {Awaited<ReturnType<typeof guest>>} ended */
    function well({ code, output, said }) {
      assert.equal(code, 0, output)
      return said
    }

    it(`${runtime.name}: the package has its names, in CommonJS and in ES modules`, async (t) => {
      well(await guest('names', await setUp(t)))
    })

    it(`${runtime.name}: a manager logs in with a code`, async (t) => {
      const where = await setUp(t)
      const codeFile = join(where.folder, 'code')
      const onOutput = (/** @type {string} */ text) =>
        text.includes('"code"') && writeFileSync(codeFile, String(where.ring.codeFor()))
      const { refreshToken: _, ...options } = where.options
      const [, auth] = well(
        await guest('login', { ...where, options }, { more: { credentials: CREDENTIALS, codeFile }, onOutput }),
      )
      assert.ok(where.ring.isAccessLive(auth.accessToken))
      assert.equal(where.stored(), where.ring.newest())
      assert.equal(where.ring.codesSent, 1)
    })

    it(`${runtime.name}: a manager rotates, emits the new token, and keeps it in the file`, async (t) => {
      const where = await setUp(t)
      well(await guest('rotate', where))
      assert.equal(where.ring.counts.rotations, 6)
      assert.equal(where.ring.counts.refreshes, 6)
      assert.equal(where.stored(), where.ring.newest())
    })

    it(`${runtime.name}: calls fail with codes`, async (t) => {
      const where = await setUp(t)
      const server = createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
      await new Promise((resolve) => server.close(resolve))
      well(await guest('errors', where, { more: { credentials: CREDENTIALS, nowhere: `http://127.0.0.1:${port}` } }))
    })

    it(`${runtime.name}: close waits for what is under way`, async (t) => {
      const where = await setUp(t)
      well(await guest('close', where))
      assert.equal(where.stored(), where.ring.newest())
    })

    it(`${runtime.name}: a process ends by itself, and not before a rotation is written`, async (t) => {
      const where = await setUp(t, { latencyMs: 300 })
      well(await guest('ends', where))
      assert.equal(where.ring.counts.rotations, 1)
      assert.equal(where.stored(), where.ring.newest())
    })

    it(`${runtime.name}: a process that exits at the event has written the token`, async (t) => {
      const where = await setUp(t)
      const { code, output } = await guest('exits', where)
      assert.equal(code, 7, output)
      assert.equal(where.stored(), where.ring.newest())
    })

    for (const [when, fault, rotated] of /** @type {const} */ ([
      ['before Ring rotated', { kind: 'hang' }, 0],
      ['after Ring rotated', { kind: 'hang-after' }, 1],
    ])) {
      it(`${runtime.name}: a process killed in mid-refresh ${when} continues at the next start`, async (t) => {
        const where = await setUp(t, { graceMs: Infinity })
        where.ring.fault(fault)
        const kill = new AbortController()
        const hanging = guest('hangs', where, { signal: kill.signal })
        while (where.ring.counts.refreshes === 0) await new Promise((resolve) => setTimeout(resolve, 10))
        kill.abort()
        assert.notEqual((await hanging).code, 0)
        assert.equal(where.ring.counts.rotations, rotated)
        assert.ok(where.journal().mark)
        const [auth] = well(await guest('resumes', where))
        assert.ok(where.ring.isAccessLive(auth.accessToken))
        assert.equal(where.journal().mark, null)
        assert.equal(where.stored(), where.ring.newest())
      })
    }

    it(`${runtime.name}: managers work in worker threads, several on one file`, async (t) => {
      const where = await setUp(t)
      well(await guest('worker', where))
      assert.equal(where.ring.counts.maxConcurrentRefreshes, 1)
      assert.equal(where.ring.counts.rotations, 1)
    })

    it(`${runtime.name}: two copies of the package in one process work on one file`, async (t) => {
      const where = await setUp(t)
      mkdirSync(join(where.folder, 'copy'))
      cpSync(there.path('node_modules'), join(where.folder, 'copy', 'node_modules'), {
        recursive: true,
        dereference: true,
      })
      well(await guest('copies', where, { more: { copy: join(where.folder, 'copy', 'index.js') } }))
      assert.equal(where.ring.counts.maxConcurrentRefreshes, 1)
      assert.equal(where.stored(), where.ring.newest())
    })
  })
}
