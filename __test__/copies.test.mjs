// @ts-check
// A project folder that was copied with its journal, as the command line sees it.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { account, failure, json, LOGIN, run, setUp } from './support/cli.mjs'
import { PASSWORD, open, startRing, tempDir, wrap } from './support/index.mjs'

/** How a project keeps its token: the option, the file, and the content of the file before the login. */
const KINDS = [
  { option: '--state-file', file: 'ring-auth.json', before: undefined },
  { option: '--homebridge', file: 'config.json', before: '{"bridge": {}, "platforms": []}' },
  { option: '--dotenv', file: '.env', before: 'A=1\n' },
]

describe('a project that was copied with its journal', { concurrency: 3 }, () => {
  for (const { option, file, before } of KINDS) {
    it(`a project that was copied with its journal has one keeper, and the other copy reports where the token is (${option})`, async (t) => {
      const { ring, folder } = await setUp(t, account('none'))
      const [one, two] = [join(realpathSync(folder), 'one'), join(realpathSync(folder), 'two')]
      mkdirSync(one)
      const [original, copy] = [join(one, file), join(two, file)]
      if (before !== undefined) writeFileSync(original, before)
      const login = (/** @type {string} */ path) => run([...LOGIN, option, path], { ring, input: `${PASSWORD}\n` })
      const at = (/** @type {string} */ path, /** @type {string[]} */ ...args) =>
        run([...args, option, path, '--json'], { ring })
      assert.equal((await login(original)).code, 0)
      cpSync(one, two, { recursive: true })
      const untouched = readFileSync(copy, 'utf8')

      // `status` in the copy changes nothing and reports no problem.
      const looked = await at(copy, 'status')
      assert.deepEqual([looked.code, readFileSync(copy, 'utf8')], [0, untouched])
      assert.equal((await at(original, 'refresh')).code, 0)
      for (const args of [['refresh'], ['refresh', '--force'], ['refresh']]) {
        const { message } = failure(await at(copy, ...args), 'NO_REFRESH_TOKEN', 3)
        assert.ok(message.includes(one), message)
      }
      const status = await at(copy, 'status')
      const { state, code, message } = json(status)
      assert.deepEqual([status.code, state, code], [3, 'needs-login', 'NO_REFRESH_TOKEN'])
      assert.match(
        message,
        /^This journal was copied, and .* uses its refresh token now, so nothing is sent from here\. /,
      )
      assert.ok(message.includes(one) && !/\bnpx\b/.test(message), message)
      assert.ok(message.includes(`ring-auth login ${option}`), message)
      assert.equal(ring.counts.stalePresentations, 0)

      // A login there makes the copy a separate project, and a logout there leaves the original alone.
      assert.equal((await login(copy)).code, 0)
      for (const path of [copy, original, copy]) assert.equal((await at(path, 'refresh')).code, 0)
      assert.equal((await run(['logout', option, copy], { ring })).code, 0)
      assert.equal((await at(original, 'refresh')).code, 0)
      assert.equal(ring.counts.stalePresentations, 0)
      rmSync(two, { recursive: true })

      // A journal that was moved works at its new place, and of two copies the one that rotated keeps the token.
      cpSync(one, two, { recursive: true })
      assert.equal((await at(copy, 'refresh')).code, 0)
      failure(await at(original, 'refresh'), 'NO_REFRESH_TOKEN', 3)
      rmSync(one, { recursive: true })
      cpSync(two, one, { recursive: true })
      rmSync(two, { recursive: true })
      const moved = await at(original, 'refresh')
      assert.deepEqual([moved.code, ring.counts.stalePresentations], [0, 0], moved.stderr)
    })
  }
})

it('a journal folder that was copied beside one file sends no token that its copy is sending', async (t) => {
  const ring = await startRing(t, { latencyMs: 20 })
  const folder = realpathSync(tempDir(t))
  const configPath = join(folder, 'config.json')
  const refreshToken = wrap({ rt: ring.mint() })
  writeFileSync(configPath, JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken }] }))
  const [one, two] = [join(folder, 'one'), join(folder, 'two')]
  const manager = (/** @type {string} */ statePath) =>
    open(t, ring, { store: { type: 'homebridge', configPath, statePath } }).manager
  const original = manager(one)
  await original.refresh()
  cpSync(one, two, { recursive: true })
  const both = [original, manager(two)]
  for (let round = 0; round < 6; round++) {
    const results = await Promise.allSettled(both.map((each) => each.refresh()))
    const codes = results.map((result) => (result.status === 'rejected' ? result.reason.code : 'OK'))
    assert.ok(codes.includes('OK'), codes.join())
    for (const code of codes) assert.ok(['OK', 'NO_REFRESH_TOKEN', 'STORE_LOCKED'].includes(code), code)
  }
  await Promise.all(both.map((each) => each.close()))
  assert.deepEqual([ring.counts.stalePresentations, ring.counts.maxConcurrentRefreshes], [0, 1])
})
