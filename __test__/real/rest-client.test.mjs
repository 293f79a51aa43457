// @ts-check
// The behaviour that ring-client-api expects of its rest client, tested for its class and for ours, on the same fake Ring, under
// Ring's own names. And what each of them sends, field by field.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import * as ours from '../../lib/ring-client-api/rest-client.js'
import {
  atEnd,
  EMAIL,
  fileStore,
  linkPackage,
  PASSWORD,
  readJournal,
  root,
  runProcess,
  tempDir,
  until,
  unwrap,
  wrap,
} from '../support/index.mjs'
import { here, hurry, rxjs, startNamedRing, theirs } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {{ name: string, RingRestClient: new (options: any) => any }} Side */

/** @type {Side[]} */
const SIDES = [
  { name: 'ring-client-api', RingRestClient: theirs.RingRestClient },
  { name: 'ring-auth', RingRestClient: ours.RingRestClient },
]
const SYSTEM = 'test-system'
const NEEDS_CODE =
  'Your Ring account is configured to use 2-factor authentication (2fa).  See https://github.com/dgreif/ring/wiki/Refresh-Tokens for details.'
const NO_TOKEN =
  'Refresh token is not valid.  Unable to authenticate with Ring servers.  See https://github.com/dgreif/ring/wiki/Refresh-Tokens'

after(() => theirs.util.clearTimeouts())

/**
 * @param {TestContext} t
 * @param {Side} side
 * @param {Record<string, unknown>} options
 */
function make(t, { RingRestClient }, options) {
  // The older login, because ring-client-api knows no other one.
  const client = new RingRestClient({
    systemId: SYSTEM,
    loginFlow: 'password',
    debug: true,
    ffmpegPath: 'x',
    ...options,
  })
  atEnd(t, 'manager', async () => {
    client.clearTimeouts()
    await client.close?.()
  })
  return client
}

const credentials = { email: EMAIL, password: PASSWORD }
/** @param {unknown} value @param {string} message */
const says = (value, message) => value instanceof Error && value.message === message

for (const side of SIDES) {
  describe(`the rest client of ${side.name}`, () => {
    it(`the rest client of ${side.name} reports that a code is needed, and for what`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, credentials)
      assert.equal(client.using2fa, false)
      assert.equal(client.promptFor2fa, undefined)
      await assert.rejects(client.getAuth(), (error) => says(error, NEEDS_CODE))
      assert.equal(client.promptFor2fa, 'Please enter the code sent to +1xxxxxxxx89 via sms')
      assert.equal(client.using2fa, true)
      assert.equal(ring.codesSent, 1)
    })

    for (const [twoFactor, prompt] of [
      ['totp', 'Please enter the code from your authenticator app'],
      ['unknown', 'Please enter the code sent to your text/email'],
    ]) {
      it(`the rest client of ${side.name} asks for a code of ${twoFactor} in its words`, async (t) => {
        await startNamedRing(t, { accounts: [{ ...credentials, twoFactor: /** @type {any} */ (twoFactor) }] })
        const client = make(t, side, credentials)
        await assert.rejects(client.getCurrentAuth(), (error) => says(error, NEEDS_CODE))
        assert.equal(client.promptFor2fa, prompt)
      })
    }

    it(`the rest client of ${side.name} takes the code, and gives tokens with the names of the wire`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, credentials)
      await assert.rejects(client.getCurrentAuth())
      // A second call sends no other code.
      await assert.rejects(client.getCurrentAuth(), (error) => says(error, NEEDS_CODE))
      const auth = await client.getAuth(ring.codeFor())
      assert.equal(ring.codesSent, 1)
      assert.ok(ring.isAccessLive(auth.access_token))
      assert.deepEqual([auth.token_type, auth.scope, auth.expires_in], ['Bearer', 'client', 14400])
      assert.equal(auth.refresh_token, wrap({ rt: ring.newest(), hid: await theirs.util.getHardwareId(SYSTEM) }))
      assert.equal(client.refreshToken, auth.refresh_token)
    })

    it(`the rest client of ${side.name} takes a code that another client has asked for, and no other one is sent`, async (t) => {
      const ring = await startNamedRing(t)
      await assert.rejects(make(t, side, credentials).getAuth())
      const auth = await make(t, side, credentials).getAuth(ring.codeFor())
      assert.ok(ring.isAccessLive(auth.access_token))
      assert.equal(ring.codesSent, 1)
    })

    it(`the rest client of ${side.name} tells wrong credentials from a wrong code`, async (t) => {
      const ring = await startNamedRing(t)
      await assert.rejects(make(t, side, { email: EMAIL, password: 'wrong' }).getAuth(), (error) =>
        says(
          error,
          'Failed to fetch oauth token from Ring. Verify that your email and password are correct. (error: access_denied)',
        ),
      )
      const client = make(t, side, credentials)
      await assert.rejects(client.getAuth())
      await assert.rejects(client.getAuth('not-it'), (error) => says(error, 'Verification Code is invalid or expired'))
      assert.equal(client.promptFor2fa, 'Invalid 2fa code entered.  Please try again.')
      assert.equal(client.using2fa, true)
      assert.ok((await client.getAuth(ring.codeFor())).access_token)
      assert.equal(ring.codesSent, 1)
    })

    it(`the rest client of ${side.name} reports that too many codes were requested`, async (t) => {
      await startNamedRing(t, { maxCodesPerWindow: 0 })
      await assert.rejects(make(t, side, credentials).getAuth(), (/** @type {Error} */ error) =>
        error.message.startsWith(
          'Failed to fetch oauth token from Ring. You have requested too many 2fa codes.  Ring limits 2fa to 10 codes within 10 minutes.  Please try again in 10 minutes. (error: ',
        ),
      )
    })

    it(`the rest client of ${side.name} starts with a refresh token, raw or wrapped, and makes one token request for it`, async (t) => {
      const ring = await startNamedRing(t)
      for (const given of [ring.mint(), wrap({ rt: ring.mint() })]) {
        ring.clearCounts()
        const client = make(t, side, { refreshToken: given })
        assert.equal(client.refreshToken, given)
        const auth = await client.getCurrentAuth()
        assert.ok(ring.isAccessLive(auth.access_token))
        assert.equal(auth.refresh_token, wrap({ rt: ring.newest(), hid: await theirs.util.getHardwareId(SYSTEM) }))
        assert.equal(client.refreshToken, auth.refresh_token)
        assert.equal((await client.getCurrentAuth()).access_token, auth.access_token)
        await Promise.all([1, 2, 3].map(() => client.getCurrentAuth()))
        assert.equal(ring.counts.tokenPosts, 1)
      }
    })

    it(`the rest client of ${side.name} announces a rotation to subscribers early and late, through operators of RxJS`, async (t) => {
      const ring = await startNamedRing(t)
      const given = ring.mint()
      const client = make(t, side, { refreshToken: given })
      const early = rxjs.firstValueFrom(client.onRefreshTokenUpdated)
      /** @type {string[]} */
      const mapped = []
      const subscription = client.onRefreshTokenUpdated
        .pipe(
          rxjs.filter((/** @type {any} */ update) => update.oldRefreshToken),
          rxjs.map((/** @type {any} */ update) => update.newRefreshToken),
        )
        .subscribe((/** @type {string} */ token) => mapped.push(token))
      const auth = await client.getAuth()
      assert.deepEqual(mapped, [auth.refresh_token], 'told before the call ends')
      assert.deepEqual(await early, { oldRefreshToken: given, newRefreshToken: auth.refresh_token })
      assert.deepEqual(await rxjs.firstValueFrom(client.onRefreshTokenUpdated), await early)
      const next = rxjs.firstValueFrom(client.onRefreshTokenUpdated.pipe(rxjs.skip(1), rxjs.take(1)))
      const second = await client.getAuth()
      assert.deepEqual(await next, { oldRefreshToken: auth.refresh_token, newRefreshToken: second.refresh_token })
      subscription.unsubscribe()
      await client.getAuth()
      assert.deepEqual(mapped, [auth.refresh_token, second.refresh_token])
    })

    it(`the rest client of ${side.name} says what a token that Ring rejects needs`, async (t) => {
      const ring = await startNamedRing(t)
      const token = ring.mint()
      ring.revokeAll()
      await assert.rejects(make(t, side, { refreshToken: token }).getCurrentAuth(), (error) => says(error, NO_TOKEN))
      await assert.rejects(make(t, side, { refreshToken: '' }).getAuth(), (error) => says(error, NO_TOKEN))
      await assert.rejects(make(t, side, { refreshToken: ring.mint() }).getAuth('123456'), (error) =>
        says(error, NO_TOKEN),
      )
    })

    it(`the rest client of ${side.name} logs in if the token is dead and there is a password`, async (t) => {
      const ring = await startNamedRing(t, { accounts: [{ ...credentials, twoFactor: 'none' }] })
      const token = ring.mint()
      ring.revokeAll()
      const client = make(t, side, { ...credentials, refreshToken: token })
      assert.ok(ring.isAccessLive((await client.getCurrentAuth()).access_token))
      assert.deepEqual(
        ring.tokenRequests.map((request) => request.grant),
        ['refresh_token', 'password'],
      )
    })

    it(`the rest client of ${side.name} sends the access token, and makes and announces a session when Ring wants one`, async (t) => {
      const ring = await startNamedRing(t, { requireSession: true })
      const client = make(t, side, { refreshToken: ring.mint(), controlCenterDisplayName: 'Hall' })
      assert.deepEqual(client.baseSessionMetadata, { api_version: 11, device_model: 'Hall' })
      const session = rxjs.firstValueFrom(client.onSession)
      const data = await client.request({ url: ours.clientApi('anything') })
      assert.equal(data.path, '/clients_api/anything')
      assert.equal((await session).profile.email, EMAIL)
      assert.equal((await session).timeMillis > 0, true)
      assert.deepEqual(
        [...ring.sessions.values()].map(({ deviceModel, times }) => [deviceModel, times]),
        [['Hall', 1]],
      )
      ring.sessions.clear()
      await client.request({ url: ours.clientApi('anything') })
      assert.equal(ring.sessions.size, 1)
      assert.equal(ring.counts.tokenPosts, 1)
    })

    it(`the rest client of ${side.name} makes a session when asked to, under its own name by default`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      const session = await client.getSession()
      assert.equal(session.profile.email, EMAIL)
      assert.ok(session.responseTimestamp > 0 && session.timeMillis > 0)
      assert.deepEqual(await rxjs.firstValueFrom(client.onSession.pipe(rxjs.take(1))), session)
      assert.equal([...ring.sessions.values()][0]?.deviceModel, 'ring-client-api')
      assert.equal(client.baseSessionMetadata.device_model, 'ring-client-api')
    })

    it(`the rest client of ${side.name} gets another access token if the first one is dead`, async (t) => {
      const ring = await startNamedRing(t, { requireSession: true })
      const client = make(t, side, { refreshToken: ring.mint() })
      await client.getCurrentAuth()
      ring.expireAccessTokens()
      assert.ok(await client.request({ url: ours.clientApi('anything') }))
      ring.expireAccessTokens()
      assert.ok(await client.getSession())
      assert.equal(ring.counts.rotations, 3)
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`the rest client of ${side.name} gives JSON, text, nothing and buffers, with the time of the answer`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      const locations = await client.request({ url: ours.deviceApi('locations') })
      const { headers } = /** @type {any} */ (ring.requests.at(-1))
      assert.equal(headers.accept, '*/*')
      assert.equal(locations.user_locations.length, 2)
      assert.equal(locations.responseTimestamp % 1000, 0)
      assert.ok(Math.abs(locations.responseTimestamp - locations.timeMillis) <= 2000)
      const picture = await client.request({
        url: 'https://app-snaps.ring.com/snapshots/next/1',
        responseType: 'buffer',
        headers: { accept: 'image/jpeg' },
      })
      assert.ok(Buffer.isBuffer(picture) && picture[0] === 0xff && picture.length === 29)
      assert.ok(/** @type {any} */ (picture).responseTimestamp > 0)
      assert.equal(ring.requests.at(-1)?.headers.accept, 'image/jpeg')
      assert.equal(await client.request({ method: 'POST', url: ours.clientApi('doorbots/1/subscribe') }), '')
      ring.fault({ kind: 'status', path: '/clients_api/x', status: 200, body: 'plain – text' })
      assert.equal(await client.request({ url: ours.clientApi('x') }), 'plain – text')
      ring.fault({
        kind: 'status',
        path: '/clients_api/x',
        status: 200,
        body: [1],
        headers: { date: '', 'x-time-millis': '7' },
      })
      const list = await client.request({ url: ours.clientApi('x') })
      assert.deepEqual([...list], [1])
      assert.equal(list.timeMillis, 7)
      ring.fault({
        kind: 'status',
        path: '/clients_api/x',
        status: 200,
        body: 'null',
        headers: { 'content-type': 'application/json' },
      })
      assert.equal(await client.request({ url: ours.clientApi('x') }), null)
    })

    it(`the rest client of ${side.name} sends JSON`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      const mode = await client.request({
        method: 'POST',
        url: ours.appApi('mode/location/location-1'),
        json: { mode: 'away', ü: '"' },
      })
      assert.equal(mode.mode, 'away')
      const sent = ring.requests.at(-1)
      assert.deepEqual(sent?.form, { mode: 'away', ü: '"' })
      assert.equal(sent?.headers['content-type'], 'application/json')
      assert.equal(sent?.headers.accept, 'application/json')
    })

    it(`the rest client of ${side.name} rejects with the answer if that is an error`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      for (const [status, body] of /** @type {[number, unknown][]} */ ([
        [500, { why: 1 }],
        [403, 'text'],
        [400, ''],
        [404, { error: 'x' }],
      ])) {
        ring.fault({ kind: 'status', path: '/devices/v1/x', status, body, headers: { 'x-mine': 'y' } })
        const error = await client.request({ url: ours.deviceApi('x') }).catch((/** @type {any} */ error) => error)
        assert.ok(error instanceof Error)
        const { response } = /** @type {any} */ (error)
        assert.equal(response.status, status)
        assert.deepEqual(response.body, body)
        assert.equal(response.headers.get('X-Mine'), 'y')
      }
      ring.fault({ kind: 'status', path: '/clients_api/x', status: 404, body: { error: 'nothing here' } })
      await assert.rejects(client.request({ url: ours.clientApi('x') }), (error) =>
        says(error, 'Not found with response: {"error":"nothing here"}'),
      )
    })

    it(`the rest client of ${side.name} waits for a device that is busy and for an edge that waited in vain`, async (t) => {
      const ring = await startNamedRing(t)
      // Our client really waits five seconds here. src/api/tests.rs tests the longer waits with a clock of its own.
      const waits = hurry(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      ring.fault({ kind: 'status', path: '/devices/v1/x', status: 504 })
      if (side.name === 'ring-client-api')
        ring.fault({ kind: 'status', path: '/devices/v1/x', status: 404, body: { errors: [7050] } })
      assert.equal((await client.request({ url: ours.deviceApi('x') })).path, '/devices/v1/x')
      if (side.name === 'ring-client-api') assert.deepEqual(waits, [5000, 20_000])
    })

    it(`the rest client of ${side.name} tries again after no answer, unless none is needed`, async (t) => {
      const ring = await startNamedRing(t)
      hurry(t)
      const client = make(t, side, { refreshToken: ring.mint() })
      await client.getCurrentAuth()
      ring.fault({ kind: 'reset-before', path: '/devices/v1/x' })
      await assert.rejects(client.request({ url: ours.deviceApi('x'), allowNoResponse: true }))
      ring.fault({ kind: 'reset-before', path: '/devices/v1/x' })
      assert.equal((await client.request({ url: ours.deviceApi('x') })).path, '/devices/v1/x')
    })

    it(`the rest client of ${side.name} keeps push credentials in the token, and announces that`, async (t) => {
      const ring = await startNamedRing(t)
      const client = make(t, side, {
        refreshToken: wrap({ rt: ring.mint(), hid: await theirs.util.getHardwareId(SYSTEM) }),
      })
      assert.equal(client._internalOnly_pushNotificationCredentials, undefined)
      const before = client.refreshToken
      const update = rxjs.firstValueFrom(client.onRefreshTokenUpdated)
      const pnc = { fcm: { token: 'push' }, config: { a: 1 } }
      client._internalOnly_pushNotificationCredentials = pnc
      assert.deepEqual(client._internalOnly_pushNotificationCredentials, pnc)
      const after = wrap({ ...unwrap(before), pnc })
      assert.deepEqual(await update, { oldRefreshToken: before, newRefreshToken: after })
      assert.equal(client.refreshToken, after)
      const auth = await client.getAuth()
      assert.deepEqual(unwrap(auth.refresh_token).pnc, pnc)
      assert.deepEqual(client._internalOnly_pushNotificationCredentials, pnc)
      assert.throws(
        () => (make(t, side, credentials)._internalOnly_pushNotificationCredentials = pnc),
        (error) => says(error, 'Cannot set push notification credentials without a refresh token'),
      )
    })
  })
}

describe('tokens of the one and of the other', () => {
  it('tokens of ring-client-api and ring-auth are read by each other, push credentials included', async (t) => {
    const ring = await startNamedRing(t)
    const pnc = { fcm: { token: 'push' }, keys: { privateKey: 'b', authSecret: 'a==' } }
    let token = ring.mint()
    for (let i = 0; i < 3; i++) {
      for (const side of SIDES) {
        const client = make(t, side, { refreshToken: token })
        await client.request({ url: ours.clientApi('ring_devices') })
        if (i === 0) {
          const updated = rxjs.firstValueFrom(client.onRefreshTokenUpdated.pipe(rxjs.skip(1)))
          client._internalOnly_pushNotificationCredentials = { ...pnc, from: side.name }
          await updated
        }
        token = client.refreshToken
        client.clearTimeouts()
        await client.close?.()
      }
    }
    assert.deepEqual(unwrap(token), {
      rt: ring.newest(),
      hid: await theirs.util.getHardwareId(SYSTEM),
      pnc: { ...pnc, from: 'ring-auth' },
    })
    assert.equal(ring.counts.rotations, 6)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('tokens survive a restart of our rest client with a store and the token of the first day', async (t) => {
    const ring = await startNamedRing(t)
    const side = /** @type {Side} */ (SIDES[1])
    const given = ring.mint()
    const store = fileStore(join(tempDir(t), 'journal.json'))
    for (let i = 0; i < 3; i++) {
      const client = make(t, side, { refreshToken: given, store })
      const [last] = await Promise.all([client.getAuth(), client.request({ url: ours.clientApi('x') })])
      assert.equal(unwrap(last.refresh_token).rt, ring.newest())
      await client.close()
    }
    assert.equal(ring.counts.stalePresentations, 0)
  })
})

/** @typedef {Record<string, [theirs: string | RegExp | undefined, ours: string | RegExp | undefined]>} Differences */

/** @type {Differences} */
const ANY = {
  'user-agent': [/^android:com\.ringapp$/, /^android:com\.ringapp:3\.113\.0\(70497080\)$/],
  'accept-language': ['*', undefined],
  'sec-fetch-mode': ['cors', undefined],
  'accept-encoding': [/gzip/, 'identity'],
  connection: [/keep-alive/, undefined],
}
/** @type {Differences} */
const FORM = { 'content-type': ['application/json', 'application/x-www-form-urlencoded'], 'content-length': [/./, /./] }
/**
 * The differences on the wire, by the kind of request. Each has its line in docs/migrating.md.
 * @type {Record<string, Differences>}
 */
const DIFFERENCES = {
  token: { ...ANY, ...FORM },
  session: {
    ...ANY,
    'user-agent': [/^(node|undici)$/, /^android:com\.ringapp:/],
    hardware_id: [undefined, /^[0-9a-f-]{36}$/],
  },
  api: { ...ANY },
}

describe('what the one and the other send', () => {
  it('the requests of both rest clients are the same, but for what docs/migrating.md lists', async (t) => {
    const sent = []
    for (const side of SIDES) {
      const ring = await startNamedRing(t, { requireSession: true })
      const login = make(t, side, credentials)
      await login.getCurrentAuth().catch(() => {})
      await login.getAuth(ring.codeFor())
      const client = make(t, side, { refreshToken: ring.mint() })
      await client.request({ url: ours.clientApi('ring_devices?x=a%20b') })
      await client.request({ url: ours.deviceApi('locations'), responseType: 'json' })
      await client.request({ url: ours.appApi('mode/location/location-1'), method: 'POST', json: { mode: 'away' } })
      await client.request({ url: ours.clientApi('doorbots/2/siren_on'), method: 'PUT' })
      await client.request({
        url: ours.commandsApi('devices/4/device_rpc'),
        method: 'PUT',
        json: { command_name: 'x' },
      })
      await client.request({ url: ours.appApi('mode/location/location-1/settings'), method: 'DELETE' })
      await client.request({
        url: 'https://app-snaps.ring.com/snapshots/next/1?max-wait-ms=5',
        responseType: 'buffer',
        headers: { accept: 'image/jpeg', 'X-Own': 'y' },
      })
      await client.getAuth()
      sent.push(ring.requests)
      client.clearTimeouts()
    }
    const [one, other] = /** @type {[any[], any[]]} */ (sent)
    const line = (/** @type {any} */ request) =>
      `${request.method} ${request.headers.host} ${request.path}${request.search} ${request.status}`
    assert.deepEqual(other.map(line), one.map(line))

    const page = readFileSync(join(root, 'docs', 'migrating.md'), 'utf8')
    /** @type {Set<string>} */
    const seen = new Set()
    one.forEach((request, i) => {
      const kind = request.path === '/oauth/token' ? 'token' : request.path.endsWith('/session') ? 'session' : 'api'
      const expected = /** @type {Differences} */ (DIFFERENCES[kind])
      const names = new Set([...Object.keys(request.headers), ...Object.keys(other[i].headers)])
      for (const name of names) {
        const pair = [withoutTokens(name, request.headers[name]), withoutTokens(name, other[i].headers[name])]
        if (pair[0] === pair[1]) continue
        const difference = expected[name]
        assert.ok(difference, `${line(request)}: ${name} is ${pair.join(' and ')}`)
        pair.forEach((value, j) => {
          const wanted = difference[j]
          if (wanted instanceof RegExp) assert.match(String(value), wanted, `${line(request)}: ${name}`)
          else assert.equal(value, wanted, `${line(request)}: ${name}`)
        })
        seen.add(name)
        assert.ok(page.includes(`\`${name}\``), `docs/migrating.md says nothing of ${name}`)
      }
      // The bodies have the same fields with the same values, in any encoding.
      const fields = (/** @type {any} */ form) =>
        Object.fromEntries(Object.entries(form).map(([name, value]) => [name, withoutTokens(name, value)]))
      assert.deepEqual(fields(other[i].form), fields(request.form), line(request))
    })
    t.diagnostic(`${one.length} requests of each compared; differing headers: ${[...seen].sort().join(', ')}`)
    for (const name of Object.values(DIFFERENCES).flatMap(Object.keys))
      assert.ok(seen.has(name), `${name} does not differ`)
  })
})

/** Each ring has its own tokens and codes. @param {string} name @param {any} value */
function withoutTokens(name, value) {
  if (name === 'authorization') return String(value).replace(/Bearer eyJ\S+$/, 'Bearer …')
  if (name === 'refresh_token') return /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(value) ? '…' : value
  if (name === '2fa-code') return String(value).replace(/^\d{6}$/, '…')
  return value
}

describe('the login page of homebridge-ring', () => {
  it('the login page of homebridge-ring works with our client in place of theirs, with either login', async (t) => {
    for (const loginFlow of /** @type {const} */ (['auto', 'password'])) {
      const ring = await startNamedRing(t)
      // The two handlers of homebridge-ring, with the import changed.
      /** @type {any} */
      let restClient
      const sendCode = async (/** @type {{ email: string, password: string }} */ { email, password }) => {
        restClient = new ours.RingRestClient({
          email,
          password,
          controlCenterDisplayName: 'homebridge-ring',
          systemId: 'x',
          loginFlow,
        })
        atEnd(t, 'manager', () => restClient.close())
        try {
          const { refresh_token: refreshToken } = await restClient.getCurrentAuth()
          return { refreshToken }
        } catch (error) {
          if (restClient.promptFor2fa) return { codePrompt: restClient.promptFor2fa }
          throw error
        }
      }
      const token = async (/** @type {string} */ code) => ({
        refreshToken: (await restClient.getAuth(code)).refresh_token,
      })

      assert.deepEqual(await sendCode(credentials), {
        codePrompt: 'Please enter the code sent to +1xxxxxxxx89 via sms',
      })
      await assert.rejects(token('000'), /Verification Code/)
      const { refreshToken } = await token(` ${ring.codeFor()} `)
      assert.equal(ring.codesSent, 1)
      assert.equal(unwrap(refreshToken).rt, ring.newest())
      // What homebridge-ring does with it next.
      const client = make(t, /** @type {Side} */ (SIDES[0]), { refreshToken })
      assert.ok(await client.request({ url: ours.clientApi('ring_devices') }))
      await until(() => ring.counts.stalePresentations === 0, 'nothing stale')
    }
  })
})

describe('docs/migrating.md', () => {
  it('docs/migrating.md shows programs that run unchanged', async (t) => {
    const page = readFileSync(join(root, 'docs', 'migrating.md'), 'utf8')
    const programs = [...page.matchAll(/^```js\n\/\/ ([\w-]+\.mjs)\n([^]*?)^```$/gm)].map(([, name, text]) => [
      String(name),
      String(text),
    ])
    assert.deepEqual(
      programs.map(([name]) => name),
      ['cameras.mjs', 'devices.mjs'],
    )
    const ring = await startNamedRing(t)
    const folder = tempDir(t)
    mkdirSync(join(folder, 'node_modules'))
    linkPackage(root, join(folder, 'node_modules'), 'ring-auth')
    linkPackage(join(here, 'node_modules', 'ring-client-api'), join(folder, 'node_modules'))
    // Its push receiver asks Google.
    const preload = join(folder, 'preload.mjs')
    writeFileSync(
      preload,
      `import { RingApi } from 'ring-client-api'\nRingApi.prototype.registerPushReceiver = async () => {}\n`,
    )
    for (const [name, text] of /** @type {[string, string][]} */ (programs)) {
      writeFileSync(join(folder, name), text)
      const env = { ...process.env, RING_REFRESH_TOKEN: ring.mint() }
      const end = await runProcess(t, ['--import', pathToFileURL(preload).href, name], { cwd: folder, env }).ended
      assert.equal(end.code, 0, end.stderr)
      assert.equal(end.stdout, name === 'cameras.mjs' ? 'Front Door\nYard\n' : 'Front Door\n', end.stderr)
      if (name === 'devices.mjs') assert.match(end.stderr, /^Save this: \d+ characters$/m)
    }
    assert.equal(unwrap(readJournal(join(folder, 'ring-auth.json')).current.token).hid?.length, 36)
    assert.equal(ring.counts.rotations, 2)
  })
})
