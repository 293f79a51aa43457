// @ts-check
// The drop-in with e-mail and password, and a store that fails: it never logs in because of that, since Ring would send a code.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import {
  atEnd,
  EMAIL,
  failure,
  fileStore,
  PASSWORD,
  readJournal,
  RingTokenManager,
  startRing,
  tempDir,
} from './support/index.mjs'

const { RingRestClient } = createRequire(import.meta.url)('../lib/ring-client-api/rest-client.js')

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

/**
 * A client that could log in.
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {object} store
 */
function open(t, ring, store) {
  const { oauthUrl, apiUrl } = ring
  const client = new RingRestClient({
    email: EMAIL,
    password: PASSWORD,
    oauthUrl,
    apiUrl,
    systemId: 'test-system',
    store,
  })
  atEnd(t, 'manager', () => client.close())
  return client
}

/** A journal with a token and no access token that is still valid. @param {FakeRing} ring @param {string} path */
async function journalAt(ring, path) {
  const { oauthUrl, apiUrl } = ring
  const manager = new RingTokenManager({ refreshToken: ring.mint(), oauthUrl, apiUrl, store: fileStore(path) })
  await manager.refresh()
  await manager.close()
}

/** Checks that no way to ask for a token makes a login. @param {any} client @param {FakeRing} ring */
async function onlyFails(client, ring) {
  for (const ask of [
    () => client.getCurrentAuth(),
    () => client.getAuth(),
    () => client.getSession(),
    () => client.request({ url: `${ring.apiUrl}/clients_api/x` }),
  ]) {
    const error = await failure(ask(), 'STORE')
    assert.match(error.message, /./)
  }
}

/** @param {FakeRing} ring */
function nobodyLoggedIn(ring) {
  assert.equal(ring.codesSent, 0)
  assert.deepEqual(
    ring.tokenRequests.filter(({ grant }) => grant !== 'refresh_token'),
    [],
  )
}

/**
 * A store that fails from the beginning.
 * @type {Record<string, (path: string, ring: FakeRing) => object | Promise<object>>}
 */
const FAILS_AT_ONCE = {
  'a journal of a later release': (path) => {
    writeFileSync(path, '{"ring-auth-journal":"place","version":9999}', { mode: 0o600 })
    return fileStore(path)
  },
  'a journal below a file': (path) => {
    writeFileSync(path, '')
    return fileStore(join(path, 'journal'))
  },
  'a config.json that is cut off': (path) => {
    writeFileSync(path, '{"platforms":[{"platform":"Ring",')
    return { type: 'homebridge', configPath: path }
  },
  'a load that fails': () => ({
    load: () => {
      throw new Error('the database is away')
    },
    save: () => {},
  }),
  'a load that fails, beside a journal': (path) => ({
    load: () => Promise.reject(new Error('the database is away')),
    save: () => {},
    statePath: path,
  }),
}

describe('the drop-in with e-mail and password', { concurrency: 4 }, () => {
  for (const [name, make] of Object.entries(FAILS_AT_ONCE)) {
    it(`the drop-in with e-mail and password makes no login: ${name}`, async (t) => {
      const ring = await startRing(t)
      const client = open(t, ring, await make(join(tempDir(t), 'place'), ring))
      await onlyFails(client, ring)
      nobodyLoggedIn(ring)
      assert.equal(ring.requests.length, 0)
    })
  }

  it('a journal that goes away with its folder while the drop-in uses it causes no login, and is used again when it is back', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'state', 'journal')
    mkdirSync(dirname(path))
    await journalAt(ring, path)
    const client = open(t, ring, fileStore(path))
    await client.getAuth()
    const away = `${dirname(path)}.away`
    renameSync(dirname(path), away)
    ring.expireAccessTokens()
    client.manager.invalidateAccessToken((await client.manager.getAuth()).accessToken)
    await onlyFails(client, ring)
    nobodyLoggedIn(ring)
    rmSync(dirname(path), { recursive: true, force: true })
    renameSync(away, dirname(path))
    await client.getAuth()
    nobodyLoggedIn(ring)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a copy of a journal whose token the original uses causes no login of the drop-in, and the error names the original', async (t) => {
    const ring = await startRing(t)
    const folder = realpathSync(tempDir(t))
    const [original, copy] = [join(folder, 'original', 'journal'), join(folder, 'copy', 'journal')]
    mkdirSync(dirname(original))
    await journalAt(ring, original)
    cpSync(dirname(original), dirname(copy), { recursive: true })
    const { oauthUrl, apiUrl } = ring
    const keeper = new RingTokenManager({ oauthUrl, apiUrl, store: fileStore(original) })
    await keeper.refresh()
    const client = open(t, ring, fileStore(copy))
    for (const ask of [
      () => client.getAuth(),
      () => client.getAuth(),
      () => client.manager.refresh(),
      () => client.manager.refresh({ force: true }),
    ]) {
      const error = await failure(ask(), 'NO_REFRESH_TOKEN')
      assert.match(error.message, /This journal was copied, and /)
      assert.ok(error.message.includes(original), error.message)
    }
    const { state, code, message } = client.manager.status
    assert.deepEqual([state, code, message?.includes(original)], ['needs-login', 'NO_REFRESH_TOKEN', true])
    nobodyLoggedIn(ring)
    // A login in the copy gives it a token of its own.
    await client.manager.setRefreshToken(ring.mint())
    await Promise.all([client.getAuth(), keeper.refresh()])
    await keeper.close()
    const [one, other] = [readJournal(original), readJournal(copy)]
    assert.notEqual(one.id, other.id)
    assert.equal(other.aside, null)
    assert.equal(ring.counts.stalePresentations, 0)
  })
})
