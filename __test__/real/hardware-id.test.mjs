// @ts-check
// The same hardware id and the same token strings as the real ring-client-api: people change back and forth between the two.
// `npm ci --ignore-scripts` in this folder installs it.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { FakeRing, open, parseRefreshToken, startRing, unwrap, wrap } from '../support/index.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const installed = join(here, 'node_modules', 'ring-client-api', 'lib')
const HID = '11111111-2222-4333-8444-555555555555'

if (!existsSync(installed)) {
  throw new Error(`ring-client-api is not installed in ${here}: run \`npm ci --ignore-scripts\` there (npm test does).`)
}
// Not resolved before the test knows that it exists, and by a name that no type checker follows.
const load = (/** @type {string} */ name) => import(pathToFileURL(join(installed, name)).href)
/** @type {{ getHardwareId(systemId?: string): Promise<string>, clearTimeouts(): void }} */
const util = await load('util.js')
/** @type {{ RingRestClient: new (options: { refreshToken: string, systemId?: string }) => any }} */
const { RingRestClient } = await load('rest-client.js')

/**
 * The rest client of ring-client-api for a token.
 * @param {import('node:test').TestContext} t
 * @param {string} refreshToken
 */
function realClient(t, refreshToken, systemId = 'test-system') {
  const client = new RingRestClient({ refreshToken, systemId })
  t.after(() => client.timeouts.forEach(clearTimeout))
  return client
}

/**
 * Its server is built in, so `fetch` is redirected to the fake during a test.
 * @param {import('node:test').TestContext} t
 * @param {FakeRing} ring
 */
function leadFetchTo(t, ring) {
  const original = globalThis.fetch
  globalThis.fetch = (url, options) => {
    assert.equal(String(url), 'https://oauth.ring.com/oauth/token')
    // Its own agent belongs to another undici than Node's.
    const { dispatcher: _agent, ...rest } = /** @type {any} */ (options)
    return original(`${ring.oauthUrl}/oauth/token`, rest)
  }
  t.after(() => {
    globalThis.fetch = original
  })
}

// Its own timers would keep this process alive.
after(() => util.clearTimeouts())

describe('the real ring-client-api', () => {
  it('the real ring-client-api derives the same hardware id from a systemId', async (t) => {
    const ring = await startRing(t)
    for (const systemId of ['a', 'my-system', 'Homebridge ÄÖ 🔑', ' blanks ', 'x'.repeat(5000), HID]) {
      const { manager } = open(t, ring, { refreshToken: ring.mint(), systemId })
      await manager.getAccessToken()
      assert.equal(manager.hardwareId, await util.getHardwareId(systemId))
    }
  })

  it('the real ring-client-api derives the same hardware id from this machine', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint(), systemId: undefined })
    await manager.getAccessToken()
    const real = await util.getHardwareId()
    const again = await util.getHardwareId()
    assert.equal(real, again, 'this machine has no id of its own (/etc/machine-id), so nothing can be compared')
    assert.equal(manager.hardwareId, real)
  })

  it('the real ring-client-api writes the same string, byte for byte, around a rotated token', async (t) => {
    const ring = await startRing(t)
    leadFetchTo(t, ring)
    // ASCII only: ring-client-api decodes the wrapper as such, and cannot read what it wrote itself of anything else.
    const rests = [
      {},
      { hid: HID },
      {
        hid: HID,
        pnc: {
          gcm: { androidId: '1', securityToken: '2' },
          fcm: {
            token: 'x/+=',
            n: 1.5,
            big: 1e21,
            nothing: null,
            list: [1, 1e-7, '\u0007', '\u007f', '\n', '/', '"', '\\', '<'],
          },
        },
      },
      { pnc: { a: {} }, hid: HID },
      { hid: HID, later: { deep: [{}] }, z: -0.5, a: false },
    ]
    for (const rest of rests) {
      const given = wrap({ rt: ring.mint(), ...rest })
      const { manager } = open(t, ring, { refreshToken: given })
      await manager.getAccessToken()
      const ours = String(manager.refreshToken)

      const client = realClient(t, wrap({ rt: ring.mint(), ...rest }))
      const theirs = (await client.getAuth()).refresh_token
      // Both with the same inner token: nothing else may differ.
      const inner = unwrap(theirs).rt
      const asTheirs = Buffer.from(Buffer.from(ours, 'base64').toString().replace(unwrap(ours).rt, inner)).toString(
        'base64',
      )
      assert.equal(asTheirs, theirs)
    }
  })

  it('the real ring-client-api writes the same string around a raw token', async (t) => {
    const ring = await startRing(t)
    leadFetchTo(t, ring)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await manager.getAccessToken()
    const theirs = (await realClient(t, ring.mint()).getAuth()).refresh_token
    assert.deepEqual(Object.keys(unwrap(manager.refreshToken)), Object.keys(unwrap(theirs)))
    assert.equal(unwrap(manager.refreshToken).hid, unwrap(theirs).hid)
  })

  it('the real ring-client-api reads our tokens as we wrote them, and we read its own, back and forth', async (t) => {
    const ring = await startRing(t)
    leadFetchTo(t, ring)
    let token = wrap({ rt: ring.mint(), hid: HID, pnc: { fcm: { token: 'push' } }, later: ['kept'] })
    for (let i = 0; i < 5; i++) {
      const { manager } = open(t, ring, { refreshToken: token })
      token = (await manager.refresh()).refreshToken
      await manager.close()
      const client = realClient(t, token)
      assert.deepEqual(client.authConfig, unwrap(token))
      assert.equal(await client.hardwareIdPromise, HID)
      token = (await client.getAuth()).refresh_token
      assert.deepEqual(parseRefreshToken(token), { raw: ring.newest(), hardwareId: HID, hasPushCredentials: true })
    }
    assert.deepEqual(unwrap(token), { rt: ring.newest(), hid: HID, pnc: { fcm: { token: 'push' } }, later: ['kept'] })
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.rotations, 10)
    assert.deepEqual([...new Set(ring.tokenRequests.map((request) => request.headers['hardware_id']))], [HID])
  })

  it('the real ring-client-api takes the push credentials that we keep for its own', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: wrap({ rt: ring.mint(), hid: HID }) })
    const pnc = { fcm: { token: 'x' }, keys: { authSecret: 'a==', privateKey: 'b' } }
    await manager.setPushCredentials(pnc)
    const client = realClient(t, String(manager.refreshToken))
    assert.deepEqual(client.authConfig.pnc, pnc)
    // As ring-client-api writes them: a new key goes to the end.
    assert.equal(manager.refreshToken, wrap({ ...unwrap(manager.refreshToken), pnc }))
    assert.deepEqual(Object.keys(client.authConfig), ['rt', 'hid', 'pnc'])
  })
})
