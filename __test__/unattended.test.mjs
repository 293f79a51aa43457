// @ts-check
// What services, containers and cron jobs need, with real processes.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LOGIN, account, json, noSecret, run, setUp } from './support/cli.mjs'
import { OUTAGE, PASSWORD, editJournal, readJournal } from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** A journal with a token in it, as a login leaves it. @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function loggedIn(t, settings = {}) {
  const all = await setUp(t, { ...account('none'), ...settings })
  const done = await run([...LOGIN, '--state-file', all.journal], { ring: all.ring, input: `${PASSWORD}\n` })
  assert.equal(done.code, 0, done.stderr)
  all.ring.clearRequests()
  all.ring.clearCounts()
  return all
}

const HOUR = 3_600_000

describe('status --max-age', { concurrency: 4 }, () => {
  it('the last success is that of the login, and then of each rotation', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const status = async () => json(await run(['status', '--state-file', journal, '--json'], { ring }))
    const first = (await status()).lastSuccessAt
    assert.ok(Math.abs(Date.now() - first) < 600_000)
    editJournal(journal, (state) => (state.lastSuccessAt -= HOUR))
    assert.equal((await status()).lastSuccessAt, first - HOUR)
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 0)
    const second = (await status()).lastSuccessAt
    assert.ok(second >= first, 'a rotation is a success')
    ring.fault(OUTAGE)
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 5)
    assert.equal((await status()).lastSuccessAt, second, 'a failure is none')
    assert.match((await run(['status', '--state-file', journal], { ring })).stdout, /^Last success: \d+ s ago$/m)
  })

  it('ends with 5 beyond that age, and with 3 where a login is needed', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const check = (/** @type {string[]} */ ...args) => run(['status', '--state-file', journal, ...args], { ring })
    editJournal(journal, (state) => (state.lastSuccessAt = Date.now() - 27 * HOUR))
    assert.equal((await check('--max-age', '28h')).code, 0)
    const old = await check('--max-age', '26h', '--json')
    assert.equal(old.code, 5)
    assert.equal(json(old).state, 'ready', 'the status is shown all the same')
    assert.equal(old.stderr, 'ring-auth: The last success was 1 d 3 h ago, and --max-age allows 1 d 2 h.\n')
    assert.equal((await check('--max-age', '1d', '--quiet')).code, 5)

    editJournal(journal, (state) => (state.lastSuccessAt = Date.now() + 99 * HOUR))
    const future = await check('--max-age', '1s')
    assert.equal(future.code, 0, future.stderr)
    assert.match(future.stdout, /Last success: 0 s ago/)

    editJournal(journal, (state) => delete state.lastSuccessAt)
    const never = await check('--max-age', '3650d')
    assert.equal(never.code, 5)
    assert.match(never.stderr, /There was no success yet, and --max-age allows 3650 d 0 h/)

    ring.revokeAll()
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 4)
    const dead = await check('--max-age', '1s')
    assert.equal(dead.code, 3, 'a login comes first')
    noSecret(dead.stdout + dead.stderr)
    assert.equal(readJournal(journal).lastSuccessAt, null)
  })

  it('an age without a unit is refused', async (t) => {
    const { ring, journal } = await setUp(t)
    const done = await run(['status', '--state-file', journal, '--max-age', '26'], { ring })
    assert.equal(done.code, 2)
    assert.match(
      done.stderr,
      /^ring-auth: --max-age is a whole number above 0 with one of the units s, m, h and d, as in 26h/,
    )
  })
})
