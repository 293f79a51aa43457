// @ts-check
// A shared store with a file beside it that shows the token, and with the drop-in: on each host as with every other store. Managers and
// processes with folders of their own stand for hosts.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { RingRestClient } from '../lib/ring-client-api/rest-client.js'
import { account, json, run } from './support/cli.mjs'
import { fileEngine } from './support/file-engine.mjs'
import { RingTokenManager, atEnd, failure, open, rawOf, root, startRing, tempDir, until } from './support/index.mjs'

const ENGINE = pathToFileURL(join(root, '__test__', 'support', 'file-engine.mjs')).href

const KINDS = /** @type {const} */ ([
  {
    name: 'config.json',
    text: (/** @type {string} */ token) =>
      `{ "bridge": { "pin": "1" }, "platforms": [{ "platform": "Ring", "refreshToken": "${token}" }] }`,
    shown: (/** @type {string} */ text) => JSON.parse(text).platforms[0].refreshToken,
    mirror: (/** @type {string} */ path) => ({ type: 'homebridge', configPath: path }),
  },
  {
    name: 'ring.env',
    text: (/** @type {string} */ token) => `OTHER=1\nMY_TOKEN=${token}\n`,
    shown: (/** @type {string} */ text) => /^MY_TOKEN=(.*)$/m.exec(text)?.[1] ?? '',
    mirror: (/** @type {string} */ path) => ({ type: 'dotenv', path, envKey: 'MY_TOKEN' }),
  },
])

/**
 * @param {import('node:test').TestContext} t
 * @param {typeof KINDS[number]} kind
 */
async function setUp(t, kind) {
  const ring = await startRing(t, account('none'))
  const shared = join(tempDir(t), 'engine.json')
  /** A host with its own disk, and a file with this token on it. @param {string} token @param {boolean} [hasDisk] */
  const host = (token, hasDisk = true) => {
    const folder = tempDir(t)
    const path = join(folder, kind.name)
    writeFileSync(path, kind.text(token))
    const fields = { statePath: hasDisk ? join(folder, 'state') : null, mirror: kind.mirror(path) }
    const store = /** @type {any} */ ({ ...fileEngine(shared), ...fields })
    const start = (/** @type {object} */ more = {}) => open(t, ring, { store, ...more })
    const shown = () => kind.shown(readFileSync(path, 'utf8'))
    return { folder, path, fields, store, start, shown }
  }
  return { ring, shared, host }
}

for (const kind of KINDS) {
  describe(`${kind.name} beside a shared store`, () => {
    it(`${kind.name}: the rotation of another host reaches the file, the events and the status of this one`, async (t) => {
      const { ring, host } = await setUp(t, kind)
      const first = ring.mint()
      const [one, two] = [host(first), host('')]
      const a = one.start()
      const { refreshToken } = await a.manager.getAuth()
      assert.equal(one.shown(), refreshToken)
      assert.equal(a.manager.status.persisted, true)
      const b = two.start()
      assert.equal((await b.manager.getAuth()).refreshToken, refreshToken)
      assert.equal(two.shown(), refreshToken)
      const second = (await a.manager.refresh()).refreshToken
      // The next call that needs the store finds it; it sends nothing.
      await b.manager.refresh()
      await until(() => two.shown() === second, 'the token of the other host')
      assert.equal(b.updates.at(-1)?.newRefreshToken, second)
      assert.equal(b.updates.at(-1)?.oldRefreshToken, refreshToken)
      assert.deepEqual([b.manager.status.state, b.manager.status.persisted], ['ready', true])
      assert.deepEqual([b.manager.stats.rotations, b.manager.stats.adopted > 0], [0, true])
      assert.equal(ring.tokenRequests.length, 2)
      assert.equal(readFileSync(two.path, 'utf8'), kind.text(second), 'every other byte stays')
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name}: an old token never comes back, whatever this host knows, and a pasted one reaches all`, async (t) => {
      const { ring, host } = await setUp(t, kind)
      const first = ring.mint()
      const one = host(first)
      const a = one.start()
      await a.manager.getAuth()
      const old = (await a.manager.refresh()).refreshToken
      const newest = (await a.manager.refresh()).refreshToken
      // A host that was never there before, with a file from a backup: its spool knows nothing, and the record knows the token.
      for (const [token, hasDisk] of /** @type {[string, boolean][]} */ ([
        [first, true],
        [old, true],
        [old, false],
      ])) {
        const two = host(token, hasDisk)
        const b = two.start()
        assert.equal((await b.manager.getAuth()).refreshToken, newest)
        await until(() => two.shown() === newest, 'the newest token')
        await b.manager.close()
        // The backup comes back while no manager runs.
        writeFileSync(two.path, kind.text(first))
        const again = two.start()
        assert.equal((await again.manager.getAuth()).refreshToken, newest)
        await until(() => two.shown() === newest, 'the newest token again')
        await again.manager.close()
      }
      assert.equal(ring.tokenRequests.length, 3)
      const pasted = ring.mint()
      writeFileSync(one.path, kind.text(pasted))
      const after = (await a.manager.refresh()).refreshToken
      assert.equal(rawOf(String(ring.tokenRequests.at(-1)?.form.refresh_token)), rawOf(pasted))
      const three = host(old)
      assert.equal((await three.start().manager.getAuth()).refreshToken, after)
      await until(() => three.shown() === after, 'the token after the pasted one')
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name}: a file that cannot be written is reported, and the token is in the store`, async (t) => {
      const { ring, host } = await setUp(t, kind)
      const one = host(ring.mint())
      const a = one.start()
      await a.manager.getAuth()
      writeFileSync(one.path, '{ half')
      if (kind.name === 'ring.env') mkdirSync(join(one.folder, 'gone'))
      const { refreshToken } = await a.manager.refresh()
      assert.equal(a.manager.status.persisted, true)
      writeFileSync(one.path, kind.text(''))
      await a.manager.refresh()
      await until(() => one.shown() === a.manager.refreshToken, 'the file is right again')
      assert.notEqual(a.manager.refreshToken, refreshToken)
    })

    it(`${kind.name}: a logout of one process empties the file there, and no file of another host undoes it`, async (t) => {
      const { ring, shared, host } = await setUp(t, kind)
      const [one, two] = [host(ring.mint()), host('')]
      writeFileSync(
        join(one.folder, 'store.cjs'),
        `module.exports = import(${JSON.stringify(ENGINE)}).then(({ fileEngine }) => ({
          ...fileEngine(${JSON.stringify(shared)}), ...${JSON.stringify(one.fields)} }))`,
      )
      const command = (/** @type {string[]} */ ...args) =>
        run([...args, '--store-module', 'store.cjs'], { ring, cwd: one.folder })
      const { refreshToken } = json(await command('refresh', '--json'))
      assert.equal(one.shown(), refreshToken)
      const b = two.start()
      await b.manager.getAuth()
      assert.equal(two.shown(), refreshToken)
      const { mirror, state } = json(await command('status', '--json'))
      assert.deepEqual([mirror.shows, state], ['newest', 'ready'])
      assert.equal(
        json(await command('doctor', '--json')).checks.find((/** @type {any} */ { id }) => id === 'mirror').state,
        'ok',
      )
      const logout = await command('logout')
      assert.equal(logout.code, 0, logout.stderr)
      assert.equal(one.shown() ?? '', '')
      await failure(b.manager.refresh(), 'NO_REFRESH_TOKEN')
      assert.equal(b.manager.status.state, 'needs-login')
      assert.equal((await command('status')).code, 3)
      // The copy in the file of the other host is an old one, and brings nothing back.
      await b.manager.close()
      const again = two.start()
      await failure(again.manager.getAuth(), 'NO_REFRESH_TOKEN')
      await until(() => !two.shown(), 'the file of the other host is empty')
      assert.equal(ring.tokenRequests.length, 1)
    })
  })
}

describe('the drop-in with a shared store', () => {
  it('RingRestClient gives the token of another host to its subscribers, and sends nothing', async (t) => {
    const { ring, host } = await setUp(t, KINDS[0])
    const [one, two] = [host(ring.mint()), host('')]
    const a = one.start()
    await a.manager.getAuth()
    const client = new RingRestClient(
      /** @type {any} */ ({ oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, systemId: 'test-system', store: two.store }),
    )
    atEnd(t, 'manager', () => /** @type {any} */ (client).close())
    /** @type {any[]} */
    const updates = []
    client.onRefreshTokenUpdated.subscribe((update) => updates.push(update))
    const before = a.manager.refreshToken
    assert.equal((await client.getCurrentAuth()).refresh_token, before)
    const spent = String((await client.getCurrentAuth()).access_token)
    const { refreshToken, accessToken } = await a.manager.refresh()
    ring.revokeAccessToken(spent)
    await client.request({ url: `${ring.apiUrl}/clients_api/profile` })
    assert.equal((await client.getCurrentAuth()).access_token, accessToken)
    await until(() => updates.at(-1)?.newRefreshToken === refreshToken, 'the token of the other host')
    await until(() => two.shown() === refreshToken, 'the file')
    assert.equal(ring.tokenRequests.length, 2)
  })
})

describe('the option mirror', () => {
  it('refuses what cannot be meant', (t) => {
    const folder = tempDir(t)
    const wrong = /** @type {[unknown, RegExp][]} */ ([
      ['config.json', /mirror must be an object/],
      [{ type: 'file', path: 'a' }, /mirror\.type must be "homebridge" or "dotenv"/],
      [{ type: 'homebridge' }, /mirror\.configPath must be a string/],
      [{ type: 'homebridge', configPath: 'a', statePath: 'b' }, /mirror\.statePath is not an option/],
      [{ type: 'dotenv', path: 'a', key: 'b' }, /mirror\.key is not an option/],
      [{ type: 'dotenv', path: 'a', envKey: 'no name' }, /name of a variable/],
      [{ type: 'dotenv', path: folder }, /is a folder/],
    ])
    for (const [mirror, message] of wrong) {
      const store = /** @type {any} */ ({ ...fileEngine(join(folder, 'e')), statePath: null, mirror })
      assert.throws(
        () => new RingTokenManager({ store }),
        (/** @type {any} */ error) => error.code === 'INVALID_ARGUMENT' && message.test(error.message),
        `${message}`,
      )
    }
  })
})
