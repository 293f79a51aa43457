// @ts-check
// The fake is only useful if it refuses what Ring refuses. These tests check each refusal and each fault.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { FakeRing } from './index.mjs'
import { canRun, needs } from '../support/systems.mjs'

const HID = '7c0c1d8e-8f0e-4b5a-9d52-0b0a3e7d1c11'
const AGENT = 'android:com.ringapp:3.113.0(70497080)'
const EMAIL = 'person@example.com'
const PASSWORD = 'correct horse'
const BASE = { 'user-agent': AGENT, hardware_id: HID }
const LOGIN = {
  grant_type: 'password',
  username: EMAIL,
  password: PASSWORD,
  client_id: 'ring_official_android',
  scope: 'client',
}

/** @typedef {{status: number, headers: http.IncomingHttpHeaders, text: string, json: any}} Reply */

/**
 * @param {string} url
 * @param {{method?: string, headers?: Record<string, string>, body?: string, agent?: http.Agent, timeoutMs?: number, ca?: Buffer}} [options]
 * @returns {Promise<Reply>}
 */
function send(url, { method = 'GET', headers = {}, body, agent, timeoutMs = 120_000, ca } = {}) {
  return new Promise((resolve, reject) => {
    const module = url.startsWith('https:') ? https : http
    const req = module.request(url, { method, headers, agent: agent ?? false, ...(ca ? { ca } : {}) }, (res) => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (part) => (text += part))
      res.on('error', reject)
      res.on('end', () => {
        if (!res.complete) return reject(new Error('cut short'))
        let json
        try {
          json = JSON.parse(text)
        } catch {
          // then it is none
        }
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text, json })
      })
    })
    // Not req.setTimeout, which starts again with every byte.
    const timer = setTimeout(() => req.destroy(new Error('timed out')), timeoutMs)
    req.on('close', () => clearTimeout(timer))
    req.on('error', reject)
    req.end(body)
  })
}

/** @param {Record<string, string>} fields */
const form = (fields) => new URLSearchParams(fields).toString()

/** @param {FakeRing} ring @param {Record<string, string>} fields @param {Record<string, string>} [headers] @param {object} [more] */
function token(ring, fields, headers = {}, more = {}) {
  return send(`${ring.oauthUrl}/oauth/token`, {
    method: 'POST',
    headers: { ...BASE, 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: form(fields),
    ...more,
  })
}

/** @param {FakeRing} ring @param {string | undefined} raw @param {Record<string, string>} [headers] @param {object} [more] */
function refresh(ring, raw, headers, more) {
  return token(
    ring,
    { grant_type: 'refresh_token', client_id: 'ring_official_android', scope: 'client', refresh_token: raw ?? '' },
    headers,
    more,
  )
}

/** @param {FakeRing} ring @param {Record<string, string>} [fields] @param {Record<string, string>} [headers] */
function login(ring, fields = {}, headers = {}) {
  return token(ring, { ...LOGIN, ...fields }, { '2fa-support': 'true', '2fa-code': '', ...headers })
}

/** @param {FakeRing} ring @param {string} access @param {string} [path] @param {Record<string, string>} [headers] */
function api(ring, access, path = '/clients_api/ring_devices', headers = {}) {
  return send(ring.apiUrl + path, { headers: { ...BASE, authorization: `Bearer ${access}`, ...headers } })
}

/** @param {import('./index.mjs').FakeRingOptions} options @param {(ring: FakeRing) => Promise<void>} body */
async function withRing(options, body) {
  const ring = await FakeRing.start(options)
  try {
    await body(ring)
    assert.deepEqual(ring.internalErrors, [])
  } finally {
    await ring.close()
  }
}

describe('the edge', () => {
  test('the edge refuses a missing or foreign user agent, and a request without a hardware id, everywhere', () =>
    withRing({}, async (ring) => {
      for (const path of [
        '/oauth/token',
        '/oauth/v2/authorize',
        '/oauth/v2/signin',
        '/clients_api/session',
        '/clients_api/ring_devices',
        '/nothing',
      ]) {
        const url = ring.oauthUrl + path
        const without = await send(url, { headers: { hardware_id: HID } })
        assert.equal(without.status, 403, path)
        assert.match(without.headers['content-type'] ?? '', /html/)
        const foreign = await send(url, { headers: { ...BASE, 'user-agent': 'node' } })
        assert.equal(foreign.status, 406, path)
        assert.match(foreign.text, /openresty/)
        assert.equal((await send(url, { headers: { 'user-agent': AGENT } })).status, 406, path)
        assert.equal((await send(url, { headers: { ...BASE, hardware_id: 'my-device' } })).status, 406, path)
      }
      ring.settings.flaggedHardwareIds = [HID]
      const raw = ring.mint()
      assert.equal((await refresh(ring, raw)).status, 406)
      assert.equal((await refresh(ring, raw, { hardware_id: HID.replace('7', '8') })).status, 200)
      ring.settings.userAgent = '^android:com\\.ringapp:3\\.113\\.0\\(70497080\\)$'
      ring.settings.flaggedHardwareIds = []
      assert.equal((await refresh(ring, ring.mint(), { 'user-agent': 'android:com.ringapp' })).status, 406)
      assert.equal((await refresh(ring, ring.mint())).status, 200)
    }))

  test('the fake Ring listens on loopback only, and refuses unknown settings and faults', async () => {
    await assert.rejects(FakeRing.start({ host: '0.0.0.0' }), /loopback/)
    await assert.rejects(FakeRing.start(/** @type {any} */ ({ graceMS: 1 })), /graceMS/)
    await assert.rejects(FakeRing.start({ canary: 'a b' }), /canary/)
    await withRing({}, async (ring) => {
      assert.throws(() => ring.fault(/** @type {any} */ ({ kind: 'explode' })), /explode/)
      assert.throws(() => ring.fault(/** @type {any} */ ({ kind: 'hang', tiems: 1 })), /tiems/)
      assert.throws(() => ring.fault({ kind: 'status' }), /status/)
    })
  })
})

describe('/oauth/token', () => {
  test('/oauth/token takes POST only, form or JSON only, the client id in the body, and known grants', () =>
    withRing({}, async (ring) => {
      const url = `${ring.oauthUrl}/oauth/token`
      const raw = ring.mint()
      const fields = { grant_type: 'refresh_token', client_id: 'ring_official_android', refresh_token: raw }
      assert.equal((await send(url, { headers: BASE })).status, 405)
      assert.equal((await send(url, { method: 'PUT', headers: BASE })).status, 405)
      assert.equal((await send(url, { method: 'POST', headers: BASE })).status, 400)
      const post = (/** @type {string} */ type, /** @type {string} */ body) =>
        send(url, { method: 'POST', headers: { ...BASE, 'content-type': type }, body })
      assert.equal((await post('text/plain', form(fields))).status, 400)
      assert.equal((await post('application/json', '{"grant_type":')).status, 400)
      assert.equal((await post('application/json', '[1]')).status, 400)
      assert.equal((await post('application/json', JSON.stringify({ ...fields, refresh_token: 7 }))).status, 400)
      assert.equal((await post('application/x-www-form-urlencoded', `${form(fields)}&refresh_token=x`)).status, 400)
      assert.equal((await post('application/x-www-form-urlencoded', `${form(fields)}&x=100%`)).status, 400)
      assert.equal((await post('application/x-www-form-urlencoded', `${form(fields)}&x=ü`)).status, 400)
      assert.equal((await post('application/json', JSON.stringify({ x: 'x'.repeat(1024 * 1024) }))).status, 413)
      for (const client of ['', 'RingAndroid']) {
        const reply = await token(ring, { ...fields, client_id: client })
        assert.equal(reply.status, 401)
        assert.equal(reply.json.error, 'unauthorized_client')
      }
      const inQuery = await send(`${url}?client_id=ring_official_android`, {
        method: 'POST',
        headers: { ...BASE, 'content-type': 'application/x-www-form-urlencoded' },
        body: form({ grant_type: 'refresh_token', refresh_token: raw }),
      })
      assert.equal(inQuery.json.error, 'unauthorized_client')
      assert.equal((await token(ring, { ...fields, scope: 'admin' })).json.error, 'invalid_scope')
      assert.equal(
        (await token(ring, { ...fields, grant_type: 'client_credentials' })).json.error,
        'unsupported_grant_type',
      )
      assert.equal((await token(ring, { client_id: 'ring_official_android' })).json.error, 'invalid_request')
      assert.ok(ring.isLive(raw), 'none of it touched the token')
      const reply = await post('application/json; charset=utf-8', JSON.stringify(fields))
      assert.equal(reply.status, 200)
      assert.equal(ring.tokenRequests.at(-1)?.form.refresh_token, raw)
      assert.equal(ring.tokenRequests.at(-1)?.grant, 'refresh_token')
    }))

  test('a refresh rotates, and answers as docs/protocol.md says', () =>
    withRing({}, async (ring) => {
      const raw = ring.mint(undefined, { hardwareId: HID })
      assert.match(raw, /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/)
      const reply = await refresh(ring, raw)
      assert.equal(reply.status, 200)
      assert.deepEqual(Object.keys(reply.json).sort(), [
        'access_token',
        'expires_in',
        'refresh_token',
        'scope',
        'token_type',
      ])
      assert.equal(reply.json.expires_in, 14400)
      assert.equal(reply.json.scope, 'client')
      assert.equal(reply.json.token_type, 'Bearer')
      assert.match(reply.json.access_token, /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/)
      assert.notEqual(reply.json.refresh_token, raw)
      assert.equal(ring.newest(), reply.json.refresh_token)
      assert.ok(ring.isLive(reply.json.refresh_token))
      assert.equal(ring.isLive(raw), false)
      assert.deepEqual(
        { ...ring.inspect(raw), newest: undefined },
        {
          known: true,
          live: false,
          spent: true,
          withinGrace: false,
          revoked: false,
          email: EMAIL,
          hardwareId: HID,
          number: 1,
          newest: undefined,
        },
      )
      assert.equal((await api(ring, reply.json.access_token)).status, 200)
      // One value cannot replace the other.
      assert.equal((await api(ring, reply.json.refresh_token)).status, 401)
      assert.equal((await refresh(ring, reply.json.access_token)).json.error, 'invalid_grant')
      assert.equal(ring.counts.rotations, 1)
    }))

  test('an unknown, empty, altered or missing refresh token is invalid_grant, and not stale', () =>
    withRing({}, async (ring) => {
      const raw = ring.mint()
      for (const bad of [
        '',
        'nonsense',
        'a.b.c',
        `${raw}x`,
        raw.slice(0, -1),
        raw.replace(/-1-0-0/, '-2-0-0'),
        raw.toUpperCase(),
      ]) {
        const reply = await refresh(ring, bad)
        assert.equal(reply.status, 401)
        assert.equal(reply.json.error, 'invalid_grant')
      }
      const missing = await token(ring, { grant_type: 'refresh_token', client_id: 'ring_official_android' })
      assert.equal(missing.json.error, 'invalid_grant')
      assert.equal(ring.counts.invalidGrants, 8)
      assert.equal(ring.counts.stalePresentations, 0)
      assert.ok(ring.isLive(raw))
    }))

  test('a spent token is stale and takes its whole family down, of one account and login only', () =>
    withRing(
      {
        accounts: [
          { email: 'a@x', password: 'a' },
          { email: 'b@x', password: 'b' },
        ],
      },
      async (ring) => {
        const first = ring.mint('a@x')
        const sibling = ring.mint('a@x')
        const other = ring.mint('b@x')
        const second = (await refresh(ring, first)).json
        assert.equal((await api(ring, second.access_token)).status, 200)
        const stale = await refresh(ring, first)
        assert.equal(stale.status, 401)
        assert.equal(stale.json.error, 'invalid_grant')
        assert.equal(ring.counts.stalePresentations, 1)
        assert.equal((await refresh(ring, second.refresh_token)).json.error, 'invalid_grant')
        assert.equal(ring.counts.stalePresentations, 1, 'the newest of a revoked family is dead, not stale')
        assert.equal((await api(ring, second.access_token)).status, 401)
        assert.ok(ring.isLive(sibling) && ring.isLive(other))
      },
    ))

  test('without revocation a stale token harms only itself', () =>
    withRing({ revokeFamilyOnReuse: false }, async (ring) => {
      const first = ring.mint()
      const second = (await refresh(ring, first)).json
      assert.equal((await refresh(ring, first)).status, 401)
      assert.equal(ring.counts.stalePresentations, 1)
      assert.equal((await api(ring, second.access_token)).status, 200)
      assert.equal((await refresh(ring, second.refresh_token)).status, 200)
    }))

  test('within the grace a spent token gets a new pair, counted from its first use', async () => {
    let now = 1_700_000_000_000
    await withRing({ graceMs: 10_000, now: () => now }, async (ring) => {
      const first = ring.mint()
      const second = (await refresh(ring, first)).json.refresh_token
      now += 6_000
      assert.deepEqual({ ...ring.inspect(first), newest: 0 }.withinGrace, true)
      const third = (await refresh(ring, first)).json.refresh_token
      assert.notEqual(third, second)
      assert.equal(ring.counts.graceUses, 1)
      assert.ok(
        ring.inspect(second).spent && ring.inspect(second).withinGrace,
        'superseded now, with a grace of its own',
      )
      now += 4_000
      assert.equal(ring.isLive(first), false, 'a use within the grace does not extend it')
      assert.ok(ring.isLive(second) && ring.isLive(third))
      assert.equal((await refresh(ring, first)).status, 401)
      assert.equal(ring.counts.stalePresentations, 1)
      assert.equal(ring.isLive(third), false)
    })
  })

  test('expires_in is served as is, and the fake keeps to it', async () => {
    let now = 1_700_000_000_000
    await withRing({ now: () => now }, async (ring) => {
      let raw = ring.mint()
      for (const [value, seconds] of /** @type {[unknown, number][]} */ ([
        [14400, 14400],
        [1, 1],
        [0, 60],
        [-5, 60],
        ['3600', 60],
        [null, 60],
        [undefined, 60],
        [{}, 60],
        [1e300, 1e10],
      ])) {
        ring.settings.expiresIn = value
        const { json } = await refresh(ring, raw)
        raw = json.refresh_token
        assert.deepEqual(json.expires_in, value)
        assert.equal('expires_in' in json, value !== undefined)
        now += seconds * 1000 - 1
        assert.ok(ring.isAccessLive(json.access_token), `${value}`)
        now += 1
        assert.equal(ring.isAccessLive(json.access_token), false, `${value}`)
        now = 1_700_000_000_000
      }
    })
    await withRing({ expiresIn: undefined }, async (ring) => {
      assert.equal('expires_in' in (await refresh(ring, ring.mint())).json, false)
    })
  })

  test('access tokens can die with a refresh, all at once, one by one, or with the password', () =>
    withRing({}, async (ring) => {
      const a = (await refresh(ring, ring.mint())).json
      const b = (await refresh(ring, a.refresh_token)).json
      assert.equal((await api(ring, a.access_token)).status, 200, 'it outlives the refresh by default')
      ring.settings.accessOutlivesRefresh = false
      const c = (await refresh(ring, b.refresh_token)).json
      assert.equal((await api(ring, b.access_token)).status, 401)
      assert.equal((await api(ring, c.access_token)).status, 200)
      assert.ok(ring.revokeAccessToken(c.access_token))
      assert.equal((await api(ring, c.access_token)).status, 401)
      const d = (await refresh(ring, c.refresh_token)).json
      ring.expireAccessTokens()
      assert.equal((await api(ring, d.access_token)).status, 401)
      const e = (await refresh(ring, d.refresh_token)).json
      assert.equal((await api(ring, e.access_token)).status, 200)
      ring.changePassword(EMAIL, 'new')
      assert.equal((await api(ring, e.access_token)).status, 401)
      assert.equal((await refresh(ring, e.refresh_token)).json.error, 'invalid_grant')
      assert.equal((await login(ring)).status, 401)
    }))

  test('the canary is inside every token and cookie', () =>
    withRing({ canary: 'CANARY_one-two' }, async (ring) => {
      const raw = ring.mint()
      const { json } = await refresh(ring, raw)
      for (const text of [raw, json.access_token, json.refresh_token]) assert.ok(text.includes('CANARY_one-two'))
      assert.equal((await refresh(ring, json.refresh_token)).status, 200)
      assert.ok((await authorize(ring)).headers['set-cookie']?.[0]?.includes('CANARY_one-two'))
    }))
})

describe('the password grant', () => {
  test('the password grant sends a code and answers 412; the code works once', () =>
    withRing({}, async (ring) => {
      const asked = await login(ring)
      assert.equal(asked.status, 412)
      assert.deepEqual(asked.json, { next_time_in_secs: 60, phone: '+1xxxxxxxx89', tsv_state: 'sms' })
      assert.equal(ring.codesSent, 1)
      const code = ring.codeFor(EMAIL) ?? ''
      assert.match(code, /^\d{6}$/)
      const wrong = await login(ring, {}, { '2fa-code': code === '000000' ? '000001' : '000000' })
      assert.equal(wrong.status, 400)
      assert.equal(wrong.json.error, 'Verification Code is invalid or expired')
      assert.ok('err_msg' in wrong.json)
      assert.equal(ring.codesSent, 1, 'a wrong code sends no other')
      const done = await login(ring, {}, { '2fa-code': code })
      assert.equal(done.status, 200)
      assert.equal(ring.inspect(done.json.refresh_token).hardwareId, HID)
      assert.equal((await api(ring, done.json.access_token)).status, 200)
      assert.equal((await login(ring, {}, { '2fa-code': code })).status, 400)
    }))

  test('an old code stops working when another is sent, and after its time', async () => {
    let now = 1_700_000_000_000
    await withRing({ now: () => now }, async (ring) => {
      await login(ring)
      const old = ring.codeFor() ?? ''
      await login(ring)
      assert.equal((await login(ring, {}, { '2fa-code': old })).status, 400)
      now += 600_000
      assert.equal((await login(ring, {}, { '2fa-code': ring.codeFor() ?? '' })).status, 400)
    })
  })

  test('the password grant answers 412 for each kind of account', () =>
    withRing(
      {
        accounts: /** @type {const} */ (['sms', 'email', 'totp', 'none', 'unknown', 'no-state']).map((twoFactor) => ({
          email: `${twoFactor}@example.com`,
          password: 'p',
          twoFactor,
          phone: '+49xxx1',
        })),
      },
      async (ring) => {
        const ask = async (/** @type {string} */ kind) =>
          login(ring, { username: `${kind}@example.com`, password: 'p' })
        assert.deepEqual((await ask('sms')).json, { next_time_in_secs: 60, phone: '+49xxx1', tsv_state: 'sms' })
        assert.deepEqual((await ask('email')).json, {
          next_time_in_secs: 60,
          phone: 'e****@example.com',
          tsv_state: 'email',
        })
        assert.deepEqual((await ask('totp')).json, { next_time_in_secs: 60, tsv_state: 'totp' })
        assert.deepEqual((await ask('no-state')).json, { next_time_in_secs: 60, phone: '+49xxx1' })
        assert.deepEqual((await ask('unknown')).json, {})
        assert.equal((await ask('none')).status, 200)
        assert.equal(ring.codesSentTo('totp@example.com'), 0)
        assert.equal(ring.codesSentTo('unknown@example.com'), 1)
        assert.equal(ring.codesSent, 4)
        for (const kind of ['sms', 'email', 'totp', 'unknown', 'no-state']) {
          const reply = await login(
            ring,
            { username: `${kind}@example.com`, password: 'p' },
            { '2fa-code': ring.codeFor(`${kind}@example.com`) ?? '' },
          )
          assert.equal(reply.status, 200, kind)
        }
      },
    ))

  test("an authenticator's codes are those of RFC 6238, by its vectors, and work once if told so", async () => {
    /** @type {[number, 'SHA1' | 'SHA256' | 'SHA512', number, string][]} */
    const vectors = [
      [59, 'SHA1', 20, '94287082'],
      [1111111109, 'SHA256', 32, '68084774'],
      [20000000000, 'SHA512', 64, '47863826'],
    ]
    for (const [seconds, algorithm, length, code] of vectors) {
      const accounts = [
        { email: EMAIL, password: PASSWORD, twoFactor: /** @type {const} */ ('totp'), totp: { algorithm, digits: 8 } },
      ]
      let now = seconds * 1000
      await withRing({ accounts, now: () => now, totpCodeWorksOnce: true }, async (ring) => {
        ring.accounts.get(EMAIL).totpSecret = Buffer.from('1234567890'.repeat(7).slice(0, length))
        assert.equal(ring.codeFor(), code)
        const use = async (/** @type {string} */ text) => (await login(ring, {}, { '2fa-code': text })).status
        assert.equal(await use(code), 200)
        assert.equal(await use(code), 400, 'once')
        now += 30_000
        assert.equal(await use(code), 400)
        assert.equal(await use(ring.codeFor() ?? ''), 200)
        const address = new URL(ring.totpAddress())
        assert.deepEqual(
          [address.protocol, address.host, address.searchParams.get('digits')],
          ['otpauth:', 'totp', '8'],
        )
        assert.match(address.searchParams.get('secret') ?? '', /^[A-Z2-7]+$/)
      })
    }
  })

  test('the password grant refuses missing and wrong values', () =>
    withRing({}, async (ring) => {
      for (const fields of [{ password: 'wrong' }, { username: 'nobody@example.com' }, { password: `${PASSWORD} ` }]) {
        const reply = await login(ring, fields)
        assert.equal(reply.status, 401)
        assert.equal(reply.json.error, 'access_denied')
        assert.equal(reply.json.error_description, 'invalid user credentials')
      }
      assert.equal((await token(ring, LOGIN)).status, 400, '2fa-support')
      const { scope: _scope, ...noScope } = LOGIN
      assert.equal((await token(ring, noScope, { '2fa-support': 'true' })).status, 400)
      assert.equal(ring.codesSent, 0)
    }))

  test('odd passwords compare exactly, form and JSON', async () => {
    for (const password of [' a b ', '+&=%', '%41', `"'\`\\`, 'пароль ü 🔑', 'a+b', '\ttab', '{"a":1}']) {
      await withRing({ accounts: [{ email: EMAIL, password, twoFactor: 'none' }] }, async (ring) => {
        assert.equal((await login(ring, { password })).status, 200, password)
        const asJson = await send(`${ring.oauthUrl}/oauth/token`, {
          method: 'POST',
          headers: { ...BASE, 'content-type': 'application/json', '2fa-support': 'true' },
          body: JSON.stringify({ ...LOGIN, password }),
        })
        assert.equal(asJson.status, 200, password)
        assert.equal(ring.tokenRequests[1]?.form.password, password)
        for (const wrong of [
          password.trim(),
          `${password} `,
          password.replaceAll('+', ' '),
          password.normalize('NFD'),
        ]) {
          assert.equal((await login(ring, { password: wrong })).status, wrong === password ? 200 : 401)
        }
      })
    }
  })

  test('the password grant refuses to send too many codes', async () => {
    let now = 1_700_000_000_000
    await withRing({ now: () => now }, async (ring) => {
      for (let i = 0; i < 10; i++) assert.equal((await login(ring)).status, 412)
      const reply = await login(ring)
      assert.equal(reply.status, 400)
      assert.equal(reply.json.error_description, 'too many requests from dependency service')
      assert.equal(ring.codesSent, 10)
      now += 600_000
      assert.equal((await login(ring)).status, 412)
    })
  })

  test('the password grant can be gone or blocked while refreshes continue', () =>
    withRing({ legacy: 'blocked' }, async (ring) => {
      assert.equal((await login(ring)).status, 406)
      ring.settings.blockedStatus = 403
      const reply = await login(ring)
      assert.equal(reply.status, 403)
      assert.equal(reply.json, undefined)
      ring.settings.legacy = false
      assert.equal((await login(ring)).json.error, 'unsupported_grant_type')
      assert.equal(ring.codesSent, 0)
      assert.equal((await refresh(ring, ring.mint())).status, 200)
    }))
})

// ---- web sign-in

const VERIFIER = randomBytes(32).toString('base64url')
const REDIRECT = 'https://ring.com/signin/callback'
const AUTHORIZE = {
  redirect_uri: REDIRECT,
  client_id: 'ring_official_android',
  response_type: 'code',
  prompt: 'login',
  state: 'the state/+=&',
  scope: 'client',
  code_challenge: createHash('sha256').update(VERIFIER).digest('base64url'),
  code_challenge_method: 'S256',
  device_model: 'ring auth',
  app_version: '3.102.0',
  dark_mode: 'false',
  device_brand: 'x',
  device_os_version: '14',
  app_brand: 'ring',
  hardware_id: HID,
}

/** @param {FakeRing} ring @param {Record<string, string>} [parameters] */
function authorize(ring, parameters = AUTHORIZE) {
  return send(`${ring.oauthUrl}/oauth/v2/authorize?${form(parameters)}`, { headers: BASE })
}

/** @param {Reply} reply @param {Map<string, string>} jar */
function keepCookies(reply, jar) {
  for (const line of reply.headers['set-cookie'] ?? []) {
    const [pair = ''] = line.split(';')
    jar.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
  }
}

/** @param {string} text */
const unescapeHtml = (text) =>
  text
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, n) => String.fromCodePoint(Number(n)))
    .replace(/&lt;/g, '<')
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, '&')

/** @param {string} place @param {string} page @param {Map<string, string>} jar @returns {string | undefined} */
function csrfFrom(place, page, jar) {
  if (place === 'cookie') return jar.get('_csrf')
  if (place === 'oauth-args')
    return JSON.parse(/<script id="oauth-args"[^>]*>(.*?)<\/script>/s.exec(page)?.[1] ?? '{}')['csrf-token']
  if (place === 'next-data') {
    return JSON.parse(/<script id="__NEXT_DATA__"[^>]*>(.*?)<\/script>/s.exec(page)?.[1] ?? '{}').props?.pageProps
      .list[2].security.csrfToken
  }
  const found = (
    place === 'input'
      ? /<input type="hidden" name="csrf-token" value="([^"]*)"/
      : /<meta name="csrf-token" content="([^"]*)"/
  ).exec(page)
  return found?.[1] === undefined ? undefined : unescapeHtml(found[1])
}

/** A browser that got as far as the sign-in page. @param {FakeRing} ring */
async function browse(ring) {
  /** @type {Map<string, string>} */
  const jar = new Map()
  const start = await authorize(ring)
  assert.equal(start.status, 302)
  assert.equal(start.headers.location, '/oauth/v2/signin')
  keepCookies(start, jar)
  assert.match(start.headers['set-cookie']?.[0] ?? '', /^session=[^;]+; Path=\/oauth;/)
  const cookie = () => [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const page = await send(`${ring.oauthUrl}/oauth/v2/signin`, { headers: { ...BASE, cookie: cookie() } })
  assert.equal(page.status, 200)
  keepCookies(page, jar)
  const csrf = csrfFrom(ring.settings.csrf, page.text, jar)
  /** @param {string} path @param {Record<string, string>} fields @param {Record<string, string>} [headers] */
  const post = async (path, fields, headers = {}) => {
    const all = {
      ...BASE,
      'content-type': 'application/x-www-form-urlencoded',
      origin: ring.oauthUrl,
      referer: `${ring.oauthUrl}/oauth/v2/signin`,
      cookie: cookie(),
      ...headers,
    }
    const reply = await send(ring.oauthUrl + path, {
      method: 'POST',
      headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')),
      body: form(fields),
    })
    keepCookies(reply, jar)
    return reply
  }
  return {
    jar,
    page,
    csrf,
    post,
    cookie,
    signin: (fields = {}, headers = {}) =>
      post('/oauth/v2/signin', { username: EMAIL, password: PASSWORD, 'csrf-token': csrf ?? '', ...fields }, headers),
    verify: (/** @type {string | undefined} */ code, fields = {}, headers = {}) =>
      post(
        '/oauth/v2/2fa/verify',
        { '2fa_code': code ?? '', 'csrf-token': csrf ?? '', remember_me: 'false', ...fields },
        headers,
      ),
    callback: () => send(`${ring.oauthUrl}/oauth/v2/authorize`, { headers: { ...BASE, cookie: cookie() } }),
  }
}

/** @param {FakeRing} ring @param {string} code @param {Record<string, string>} [fields] */
function exchange(ring, code, fields = {}) {
  return token(ring, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT,
    code_verifier: VERIFIER,
    client_id: 'ring_official_android',
    ...fields,
  })
}

/** @param {FakeRing} ring */
async function authorizationCode(ring) {
  const browser = await browse(ring)
  await browser.signin()
  assert.equal((await browser.verify(ring.codeFor())).status, 200)
  const reply = await browser.callback()
  return { code: new URL(reply.headers.location ?? '').searchParams.get('code') ?? '', browser }
}

describe('the web sign-in', () => {
  test('authorize names missing values, and takes no wrong one', () =>
    withRing({}, async (ring) => {
      for (const name of Object.keys(AUTHORIZE)) {
        const reply = await authorize(
          ring,
          Object.fromEntries(Object.entries(AUTHORIZE).filter(([key]) => key !== name)),
        )
        assert.equal(reply.status, 400)
        assert.match(reply.text, new RegExp(`\\b${name} is missing`))
        const doubled = await send(`${ring.oauthUrl}/oauth/v2/authorize?${form(AUTHORIZE)}&${name}=x`, {
          headers: BASE,
        })
        assert.match(doubled.text, /given twice/)
      }
      for (const wrong of [
        { redirect_uri: 'https://ring.com/' },
        { code_challenge_method: 'plain' },
        { code_challenge: `${AUTHORIZE.code_challenge}=` },
        { state: '' },
        { hardware_id: 'x' },
        { hardware_id: HID.replace('7', '8') },
        { response_type: 'token' },
        { client_id: 'me' },
        { prompt: 'none' },
        { scope: 'all' },
      ]) {
        assert.equal((await authorize(ring, { ...AUTHORIZE, ...wrong })).status, 400, JSON.stringify(wrong))
      }
      assert.equal((await send(`${ring.oauthUrl}/oauth/v2/authorize`, { method: 'POST', headers: BASE })).status, 405)
    }))

  test('the web sign-in succeeds with the CSRF token in each place', async () => {
    for (const csrf of /** @type {const} */ (['oauth-args', 'next-data', 'input', 'meta', 'cookie'])) {
      await withRing({ csrf, csrfDecoyCookie: true }, async (ring) => {
        const browser = await browse(ring)
        assert.ok(browser.csrf, csrf)
        const asked = await browser.signin()
        assert.equal(asked.status, 412, csrf)
        assert.equal(asked.json.tsv_state, 'sms')
        assert.equal(ring.codesSent, 1)
        assert.equal((await browser.callback()).headers.location, '/oauth/v2/signin', 'not completed yet')
        const wrong = await browser.verify(ring.codeFor() === '000000' ? '000001' : '000000')
        assert.equal(wrong.status, 400)
        assert.equal(wrong.json.error, 'Verification Code is invalid or expired')
        const done = await browser.verify(ring.codeFor())
        assert.deepEqual(done.json, { redirect_url: `${ring.oauthUrl}/oauth/v2/authorize`, status: 'auth-completed' })
        const back = await browser.callback()
        assert.equal(back.status, 302)
        const url = new URL(back.headers.location ?? '')
        assert.equal(url.origin + url.pathname, REDIRECT)
        assert.equal(url.searchParams.get('state'), AUTHORIZE.state)
        const tokens = await exchange(ring, url.searchParams.get('code') ?? '')
        assert.equal(tokens.status, 200)
        assert.equal((await api(ring, tokens.json.access_token)).status, 401, 'works only after a refresh')
        const rotated = await refresh(ring, tokens.json.refresh_token)
        assert.equal((await api(ring, rotated.json.access_token)).status, 200)
        assert.equal(ring.codesSent, 1)
      })
    }
  })

  test('the web sign-in with codeAccessTokenWorks gives an access token that works at once', () =>
    withRing({ codeAccessTokenWorks: true }, async (ring) => {
      const tokens = await exchange(ring, (await authorizationCode(ring)).code)
      assert.equal((await api(ring, tokens.json.access_token)).status, 200)
    }))

  test('the web sign-in requires CSRF token, cookies, Origin, Referer and a form', () =>
    withRing({}, async (ring) => {
      const browser = await browse(ring)
      const [session] = browser.cookie().split('; ')
      for (const [fields, headers] of /** @type {[Record<string, string>, Record<string, string>][]} */ ([
        [{ 'csrf-token': '' }, {}],
        [{ 'csrf-token': 'x' }, {}],
        [{}, { origin: '' }],
        [{}, { origin: 'https://oauth.ring.com' }],
        [{}, { referer: '' }],
        [{}, { referer: 'https://ring.com/' }],
        [{}, { cookie: '' }],
        [{}, { cookie: session ?? '' }],
        [{}, { cookie: browser.cookie().split('; ').slice(1).join('; ') }],
      ])) {
        assert.equal((await browser.signin(fields, headers)).status, 403, JSON.stringify([fields, headers]))
        assert.equal((await browser.verify('1', fields, headers)).status, 403, JSON.stringify([fields, headers]))
      }
      assert.equal((await browser.signin({}, { 'content-type': 'application/json' })).status, 400)
      assert.equal((await browser.verify('1')).status, 400, 'no code was asked for')
      assert.equal(ring.codesSent, 0)
      assert.equal(
        (await send(`${ring.oauthUrl}/oauth/v2/signin`, { headers: BASE })).status,
        400,
        'no page without a session',
      )
      const bad = await browser.signin({ password: 'wrong' })
      assert.equal(bad.status, 401)
      assert.equal(bad.json.error, 'access_denied')
      assert.equal((await browser.signin()).status, 412, 'a second try on the same page')
      assert.equal((await browser.verify(ring.codeFor(), { remember_me: '' })).status, 400)
      ring.settings.verifyWrongStatus = 401
      assert.equal((await browser.verify('')).status, 401)
    }))

  test('the web sign-in cannot continue if the CSRF token is nowhere', () =>
    withRing({ csrf: 'none' }, async (ring) => {
      const browser = await browse(ring)
      for (const place of ['oauth-args', 'next-data', 'input', 'meta', 'cookie'])
        assert.equal(csrfFrom(place, browser.page.text, browser.jar), undefined)
      assert.doesNotMatch(browser.page.text, /csrf-token|csrfToken/)
      assert.equal((await browser.signin()).status, 403)
    }))

  test('the web sign-in can say in other ways that a code is needed, or that none is', () =>
    withRing({ rotateSessionCookie: true }, async (ring) => {
      ring.settings.signinAnswer = 'redirect-2fa'
      let browser = await browse(ring)
      let reply = await browser.signin()
      assert.equal(reply.status, 302)
      assert.equal(reply.headers.location, '/oauth/v2/2fa')
      assert.equal(
        (await send(`${ring.oauthUrl}/oauth/v2/2fa`, { headers: { ...BASE, cookie: browser.cookie() } })).status,
        200,
      )
      ring.settings.verifyStatus = 201
      assert.equal((await browser.verify(ring.codeFor())).status, 201, 'with the renewed cookie')
      ring.settings.signinAnswer = 'other-status-json'
      reply = await (await browse(ring)).signin()
      assert.equal(reply.status, 200)
      assert.equal(reply.json.tsv_state, 'sms')
      ring.settings.signinAnswer = 'page'
      browser = await browse(ring)
      const former = csrfFrom('oauth-args', browser.page.text, browser.jar)
      reply = await browser.signin()
      assert.equal(reply.status, 200)
      assert.match(reply.text, /<input type="text" name="2fa_code"/)
      assert.notEqual(csrfFrom('input', reply.text, browser.jar), former)
      // The form of the page before is no longer taken.
      assert.equal((await browser.verify(ring.codeFor())).status, 403)
      ring.settings.signinAnswer = 'captcha'
      const { codesSent } = ring
      reply = await (await browse(ring)).signin()
      assert.equal(reply.status, 200)
      assert.match(reply.text, /h-captcha/)
      assert.equal(ring.codesSent, codesSent)
      ring.settings.signinAnswer = 'other-status-json'
      ring.accounts.get().twoFactor = 'unknown'
      assert.equal((await (await browse(ring)).signin()).status, 412)
      ring.accounts.get().twoFactor = 'none'
      for (const status of /** @type {const} */ ([204, 302])) {
        ring.settings.signinDoneStatus = status
        browser = await browse(ring)
        assert.equal((await browser.signin()).status, status)
        assert.match((await browser.callback()).headers.location ?? '', /^https:\/\/ring\.com\/signin\/callback\?code=/)
      }
      ring.accounts.get().twoFactor = 'sms'
      ring.settings.maxCodesPerWindow = 0
      assert.match((await (await browse(ring)).signin()).text, /too many requests from dependency service/)
    }))

  test('an authorization code works once, for a minute, with its verifier and redirect_uri', async () => {
    let now = 1_700_000_000_000
    await withRing({ now: () => now, maxCodesPerWindow: 100 }, async (ring) => {
      const fails = async (/** @type {string} */ code, fields = {}, status = 400) => {
        const reply = await exchange(ring, code, fields)
        assert.equal(reply.status, status, JSON.stringify(fields))
        return reply.json.error
      }
      const { code } = await authorizationCode(ring)
      assert.equal(await fails('x'), 'invalid_grant')
      assert.equal(await fails(code, { client_id: 'x' }, 401), 'unauthorized_client')
      assert.equal(await fails(code, { code_verifier: '' }), 'invalid_request')
      assert.equal((await exchange(ring, code)).status, 200)
      assert.equal(await fails(code), 'invalid_grant')
      for (const fields of [
        { code_verifier: randomBytes(32).toString('base64url') },
        { redirect_uri: `${REDIRECT}/` },
        { code_verifier: AUTHORIZE.code_challenge },
      ]) {
        const next = (await authorizationCode(ring)).code
        assert.equal(await fails(next, fields), 'invalid_grant')
        assert.equal(await fails(next), 'invalid_grant', 'gone with the failed try')
      }
      const late = (await authorizationCode(ring)).code
      now += 60_000
      assert.equal(await fails(late), 'invalid_grant')
      const asJson = await send(`${ring.oauthUrl}/oauth/token`, {
        method: 'POST',
        headers: { ...BASE, 'content-type': 'application/json' },
        body: JSON.stringify({
          grant_type: 'authorization_code',
          client_id: 'ring_official_android',
          code: 'x',
          redirect_uri: REDIRECT,
          code_verifier: VERIFIER,
        }),
      })
      assert.equal(asJson.json.error, 'invalid_request')
    })
  })

  test('the web sign-in misbehaves when told to', () =>
    withRing({ maxCodesPerWindow: 100 }, async (ring) => {
      const { browser } = await authorizationCode(ring)
      const state = async () => new URL((await browser.callback()).headers.location ?? '').searchParams.get('state')
      assert.equal(await state(), AUTHORIZE.state)
      ring.settings.tamperState = true
      assert.notEqual(await state(), AUTHORIZE.state)
      ring.settings.tamperState = 'missing'
      assert.equal(await state(), null)
      ring.settings.foreignRedirect = { at: 'callback', url: 'https://evil.example/signin/callback' }
      assert.match(
        (await browser.callback()).headers.location ?? '',
        /^https:\/\/evil\.example\/signin\/callback\?code=/,
      )
      ring.settings.foreignRedirect = 'https://evil.example/'
      assert.equal((await authorize(ring)).headers.location, 'https://evil.example/')
      ring.settings.foreignRedirect = undefined
      ring.settings.redirectLoop = 'callback'
      assert.equal((await browser.callback()).headers.location, '/oauth/v2/authorize')
      ring.settings.redirectLoop = true
      assert.equal((await authorize(ring)).headers.location, `/oauth/v2/authorize?${form(AUTHORIZE)}`)
      ring.settings.redirectLoop = 2
      const locations = []
      let location = (await authorize(ring)).headers.location ?? ''
      while (location !== '/oauth/v2/signin') {
        locations.push(location)
        location = (await send(ring.oauthUrl + location, { headers: BASE })).headers.location ?? ''
      }
      assert.equal(locations.length, 2)
      ring.settings.web = false
      for (const path of ['authorize', 'signin', '2fa', '2fa/verify', 'other']) {
        assert.equal((await send(`${ring.oauthUrl}/oauth/v2/${path}`, { headers: BASE })).status, 404)
      }
    }))
})

describe('session and API', () => {
  const body = { device: { hardware_id: HID, metadata: { api_version: 11, device_model: 'ring-auth' }, os: 'android' } }
  /** @param {FakeRing} ring @param {string} access @param {unknown} value */
  const open = (ring, access, value) =>
    send(`${ring.apiUrl}/clients_api/session`, {
      method: 'POST',
      headers: { ...BASE, authorization: `Bearer ${access}`, 'content-type': 'application/json' },
      body: JSON.stringify(value),
    })

  test('a session takes a bearer and the JSON of docs/protocol.md', () =>
    withRing({ requireSession: true }, async (ring) => {
      const { accessToken } = ring.mintPair()
      assert.equal((await open(ring, 'x', body)).status, 401)
      const { device } = body
      for (const wrong of [
        {},
        { device: null },
        { device: { ...device, hardware_id: 'x' } },
        { device: { ...device, hardware_id: HID.replace('7', '8') } },
        { device: { ...device, os: 'ios' } },
        { device: { ...device, metadata: {} } },
        { device: { ...device, metadata: { ...device.metadata, api_version: '11' } } },
        { device: { ...device, metadata: { api_version: 11 } } },
      ]) {
        assert.equal((await open(ring, accessToken, wrong)).status, 400, JSON.stringify(wrong))
      }
      const gone = await api(ring, accessToken)
      assert.equal(gone.status, 404)
      assert.ok(gone.json.error.includes(HID))
      assert.equal(ring.sessions.size, 0)
      assert.equal((await open(ring, accessToken, body)).status, 200)
      assert.equal(ring.sessions.get(HID)?.deviceModel, 'ring-auth')
      assert.equal((await api(ring, accessToken)).status, 200)
      ring.sessions.clear()
      assert.equal((await api(ring, accessToken)).status, 404)
    }))

  test('a session wants the headers of an app, unless it is told that ring-client-api sends none', () =>
    withRing({ requireSession: true }, async (ring) => {
      const { accessToken } = ring.mintPair()
      const bare = () =>
        send(`${ring.apiUrl}/clients_api/session`, {
          method: 'POST',
          headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      assert.equal((await bare()).status, 403)
      ring.settings.sessionNeedsHeaders = false
      assert.equal((await bare()).status, 200)
      assert.equal(ring.sessions.get(HID)?.deviceModel, 'ring-auth')
      const other = await send(`${ring.apiUrl}/clients_api/ring_devices`, {
        headers: { authorization: `Bearer ${accessToken}` },
      })
      assert.equal(other.status, 403, 'nothing else goes without them')
      ring.settings.flaggedHardwareIds = [HID]
      assert.equal((await open(ring, 'x', body)).status, 401)
    }))

  test('the API has devices, locations, pictures and empty answers, each with its method', () =>
    withRing({}, async (ring) => {
      const { accessToken } = ring.mintPair()
      const headers = { ...BASE, authorization: `Bearer ${accessToken}` }
      const get = (/** @type {string} */ path) => send(ring.apiUrl + path, { headers })
      const put = (/** @type {string} */ path, /** @type {string} */ method, /** @type {unknown} */ value) =>
        send(ring.apiUrl + path, {
          method,
          headers: { ...headers, 'content-type': 'application/json' },
          body: value === undefined ? '' : JSON.stringify(value),
        })
      const devices = (await get('/clients_api/ring_devices')).json
      const { user_locations: locations } = (await get('/devices/v1/locations')).json
      const known = new Set(locations.map((/** @type {any} */ location) => location.location_id))
      for (const device of Object.values(devices).flat()) assert.ok(known.has(/** @type {any} */ (device).location_id))
      assert.match((await get('/snapshots/next/1')).headers['content-type'] ?? '', /jpeg/)
      assert.equal((await get('/clients_api/snapshots/uuid?uuid=x')).status, 200)
      assert.equal((await get('/clients_api/snapshots/uuid')).status, 400)
      assert.equal((await get('/clients_api/doorbots/1/health')).json.device_health.id, 1)
      assert.equal((await put('/clients_api/doorbots/1/subscribe', 'POST', undefined)).status, 204)
      assert.equal((await get('/clients_api/doorbots/1/subscribe')).status, 405)
      assert.equal((await put('/clients_api/doorbots/2/floodlight_light_on', 'PUT', undefined)).status, 204)
      assert.equal((await get('/api/v1/mode/location/location-1')).json.mode, 'home')
      assert.equal((await put('/api/v1/mode/location/location-1', 'POST', { mode: 'odd' })).status, 400)
      assert.equal((await put('/api/v1/mode/location/location-1', 'POST', { mode: 'away' })).json.mode, 'away')
      assert.equal((await get('/api/v1/mode/location/location-1')).json.mode, 'away')
      assert.equal((await put('/clients_api/device', 'PATCH', { device: {} })).status, 400)
      assert.equal(
        (await put('/clients_api/device', 'PATCH', { device: { push_notification_token: 'p' } })).status,
        204,
      )
      assert.equal(ring.pushRegistration.push_notification_token, 'p')
      assert.equal((await put('/clients_api/device', 'PATCH', [])).status, 400)
    }))

  test('the API wants a live access token, and says the time', async () => {
    const now = 1_700_000_000_000
    await withRing({ now: () => now }, async (ring) => {
      const { accessToken } = ring.mintPair()
      for (const path of [
        '/clients_api/ring_devices',
        '/devices/v1/locations',
        '/commands/v1/devices/1/x',
        '/api/v1/anything',
      ]) {
        const reply = await api(ring, accessToken, path)
        assert.equal(reply.status, 200, path)
        assert.equal(reply.headers['x-time-millis'], String(now))
        assert.equal(reply.headers.date, new Date(now).toUTCString())
        assert.ok(reply.json)
        assert.equal((await api(ring, `${accessToken}x`, path)).status, 401)
        assert.equal((await send(ring.apiUrl + path, { headers: BASE })).status, 401)
        assert.equal((await send(ring.apiUrl + path, { headers: { ...BASE, authorization: accessToken } })).status, 401)
      }
      assert.equal((await api(ring, accessToken, '/else')).status, 404)
    })
  })
})

describe('faults', () => {
  test('the faults status and redirect answer without processing; skip, times, path, method and grant select', () =>
    withRing({}, async (ring) => {
      const raw = ring.mint()
      const fault = ring.fault({
        kind: 'status',
        status: 429,
        headers: { 'Retry-After': 5 },
        body: { error: 'slow down' },
        skip: 1,
        times: 2,
        grant: 'refresh_token',
      })
      ring.fault({ kind: 'status', status: 418, method: 'GET', times: Infinity })
      ring.fault({ kind: 'status', status: 504, path: /^\/(clients_api|devices)\//, times: Infinity })
      const next = (await refresh(ring, raw)).json
      assert.equal((await login(ring)).status, 412)
      for (let i = 0; i < 2; i++) {
        const reply = await refresh(ring, next.refresh_token)
        assert.equal(reply.status, 429)
        assert.equal(reply.headers['retry-after'], '5')
        assert.deepEqual(reply.json, { error: 'slow down' })
      }
      assert.equal(fault.hits, 2)
      assert.ok(ring.isLive(next.refresh_token))
      assert.equal((await api(ring, next.access_token)).status, 504)
      ring.clearFaults()
      assert.equal((await api(ring, next.access_token)).status, 200)
      ring.fault({ kind: 'redirect', location: 'http://127.0.0.2:1/' })
      const moved = await refresh(ring, next.refresh_token)
      assert.equal(moved.status, 307)
      assert.equal(moved.headers.location, 'http://127.0.0.2:1/')
      const gone = ring.fault({ kind: 'hang' })
      gone.remove()
      assert.equal((await refresh(ring, next.refresh_token)).status, 200)
      assert.equal(ring.tokenRequests.length, 6)
      assert.deepEqual(
        ring.tokenRequests.map((request) => request.status),
        [200, 412, 429, 429, 307, 200],
      )
      assert.equal(ring.counts.refreshes, 5)
      assert.equal(ring.counts.tokenPosts, 6)
    }))

  test('each kind of fault processes the request or does not, and cuts the answer at the given place', () =>
    withRing({ graceMs: Infinity }, async (ring) => {
      let raw = ring.mint()
      /** @param {import('./index.mjs').FaultSpec} spec @param {boolean} rotates @param {RegExp | ((reply: Reply) => void)} expected */
      const check = async (spec, rotates, expected) => {
        const before = ring.counts.rotations
        const fault = ring.fault(spec)
        // Only where nothing is to come: a machine that is busy takes its time for everything else.
        const isLate = expected instanceof RegExp && expected.source === 'timed out'
        const attempt = refresh(ring, raw, {}, isLate ? { timeoutMs: 1000 } : {})
        if (expected instanceof RegExp) {
          await assert.rejects(
            attempt,
            (/** @type {any} */ error) =>
              expected.test(`${error.code} ${error.message}`) ||
              assert.fail(`${JSON.stringify(spec)}: ${error.code} ${error.message}`),
          )
        } else expected(await attempt)
        assert.equal(fault.hits, 1)
        assert.equal(ring.counts.rotations - before, rotates ? 1 : 0, JSON.stringify(spec))
        raw = ring.newest() ?? ''
        assert.ok(ring.isLive(raw))
      }
      const cut = /ECONNRESET|socket hang up|aborted|cut short|HPE_|Parse Error/
      await check({ kind: 'hang' }, false, /timed out/)
      await check({ kind: 'hang-after' }, true, /timed out/)
      await check({ kind: 'reset-before' }, false, /ECONNRESET/)
      await check({ kind: 'reset-after' }, true, /ECONNRESET/)
      await check({ kind: 'fin-before' }, false, /socket hang up/)
      await check({ kind: 'fin-after' }, true, /socket hang up/)
      for (const at of /** @type {const} */ (['status-line', 'headers', 'between', 'body', 1, 40])) {
        await check({ kind: 'truncate', at }, true, cut)
        await check({ kind: 'truncate', at, reset: true }, true, cut)
      }
      await check({ kind: 'answer-after', status: 502, body: '<html>' }, true, (reply) =>
        assert.equal(reply.status, 502),
      )
      await check({ kind: 'slow', delayMs: 60 }, true, (reply) => assert.equal(reply.status, 200))
      await check({ kind: 'slow', delayMs: 60_000 }, true, /timed out/)
      await check({ kind: 'delay-before', delayMs: 60 }, true, (reply) => assert.equal(reply.status, 200))
      await check({ kind: 'delay-before', delayMs: 60_000 }, false, /timed out/)
      const now = Promise.resolve()
      await check({ kind: 'slow', until: now }, true, (reply) => assert.equal(reply.status, 200))
      await check({ kind: 'delay-before', until: now }, true, (reply) => assert.equal(reply.status, 200))
      const never = new Promise(() => {})
      await check({ kind: 'slow', until: never }, true, /timed out/)
      await check({ kind: 'delay-before', until: never }, false, /timed out/)
      await check({ kind: 'dribble', bytesPerTick: 100, tickMs: 1 }, true, (reply) =>
        assert.equal(reply.json.refresh_token, ring.newest()),
      )
      await check({ kind: 'dribble', bytesPerTick: 1, tickMs: 20 }, true, /timed out/)
      await check({ kind: 'mutate', fn: ({ refresh_token: _, ...json }) => json }, true, (reply) => {
        assert.ok(reply.json.access_token)
        assert.equal('refresh_token' in reply.json, false)
      })
      await check({ kind: 'mutate', fn: () => '' }, true, (reply) => assert.equal(reply.text, ''))
      await check({ kind: 'mutate', fn: () => null }, true, (reply) => assert.equal(reply.text, 'null'))
      await check({ kind: 'mutate', set: { expires_in: 'soon' }, remove: ['scope'] }, true, (reply) => {
        assert.equal(reply.json.expires_in, 'soon')
        assert.equal('scope' in reply.json, false)
      })
    }))

  test('the fault truncate sends exactly as much as it is told', () =>
    withRing({}, async (ring) => {
      const read = (/** @type {import('./faults.mjs').FaultSpec['at']} */ at) =>
        new Promise((/** @type {(text: string) => void} */ resolve, reject) => {
          ring.fault({ kind: 'truncate', at: at ?? 0, path: '/clients_api/x' })
          let text = ''
          const socket = net.connect(Number(new URL(ring.apiUrl).port), '127.0.0.1')
          socket.setEncoding('latin1')
          socket.on('data', (part) => (text += part))
          socket.on('end', () => resolve(text))
          socket.on('error', reject)
          socket.write(`GET /clients_api/x HTTP/1.1\r\nHost: x\r\nUser-Agent: ${AGENT}\r\nhardware_id: ${HID}\r\n\r\n`)
        })
      assert.equal(await read(7), 'HTTP/1.')
      assert.match(await read('status-line'), /^HTTP\/1\.1 [^\r]*$/)
      assert.match(await read('headers'), /^HTTP\/1\.1 401 Unauthorized\r\n(?!.*\r\n\r\n)/s)
      assert.match(await read('between'), /\r\n\r\n$/)
      assert.match(await read('body'), /\r\n\r\n\{"error":[^}]*$/)
    }))

  test('a fault can tell a reused connection, and apply only to it', () =>
    withRing({}, async (ring) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const fault = ring.fault({ kind: 'reset-before', reused: true })
      const first = await refresh(ring, ring.mint(), {}, { agent })
      assert.equal(first.status, 200)
      await assert.rejects(refresh(ring, first.json.refresh_token, {}, { agent }), /ECONNRESET|hang up/)
      assert.equal(fault.hits, 1)
      assert.equal((await refresh(ring, first.json.refresh_token, {}, { agent })).status, 200)
      assert.deepEqual(
        ring.requests.map((request) => request.hadReusedConnection),
        [false, true, false],
      )
      agent.destroy()
    }))

  test('concurrent refreshes are counted while they last', () =>
    withRing({}, async (ring) => {
      let raw = ring.mint()
      for (let i = 0; i < 20; i++) raw = (await refresh(ring, raw)).json.refresh_token
      assert.equal(ring.counts.maxConcurrentRefreshes, 1)
      ring.settings.latencyMs = 50
      await Promise.all([1, 2].map(() => refresh(ring, ring.mint())))
      assert.equal(ring.counts.maxConcurrentRefreshes, 2)
      ring.clearCounts()
      ring.fault({ kind: 'slow', delayMs: 50, times: 3 })
      await Promise.all([1, 2, 3].map(() => refresh(ring, ring.mint())))
      assert.equal(ring.counts.maxConcurrentRefreshes, 3)
    }))
})

describe('the rest', () => {
  test('the fake Ring records the requests', () =>
    withRing({ maxRecorded: 5 }, async (ring) => {
      await send(`${ring.apiUrl}/clients_api/x?a=1&b=%20`, { headers: { ...BASE, 'X-Mixed': 'Y' } })
      const [request] = ring.requests
      assert.equal(request?.method, 'GET')
      assert.equal(request?.path, '/clients_api/x')
      assert.deepEqual(request?.query, { a: '1', b: ' ' })
      assert.equal(request?.headers['x-mixed'], 'Y')
      assert.ok(request?.rawHeaders.includes('X-Mixed'))
      for (let i = 0; i < 12; i++) await send(`${ring.apiUrl}/clients_api/${i}`, { headers: BASE })
      assert.deepEqual(
        ring.requests.map(({ n }) => n),
        [9, 10, 11, 12, 13],
      )
      ring.clearRequests()
      assert.equal(ring.requests.length, 0)
    }))

  test('a hundred thousand rotations use little memory, and the first token is still known as stale', () =>
    withRing({ graceMs: 1 }, async (ring) => {
      setFlagsFromString('--expose-gc')
      const gc = runInNewContext('gc')
      const first = ring.mint()
      let raw = first
      /** @type {number[]} */
      const sizes = []
      for (let i = 0; i <= 100_000; i++) {
        raw = ring.accounts.refresh(raw)?.refreshToken ?? ''
        if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
        if (i === 20_000 || i === 100_000) {
          gc()
          sizes.push(process.memoryUsage().heapUsed)
        }
      }
      assert.ok(ring.isLive(raw))
      assert.ok((sizes[1] ?? 0) - (sizes[0] ?? 0) < 5e6, String(sizes))
      assert.equal((await refresh(ring, first)).status, 401)
      assert.equal(ring.counts.stalePresentations, 1)
    }))

  test('close ends answers that hang, and can be called twice', async () => {
    const ring = await FakeRing.start()
    ring.fault({ kind: 'hang' })
    ring.fault({ kind: 'slow', delayMs: 60_000 })
    const hanging = [refresh(ring, ring.mint()), refresh(ring, ring.mint())].map((attempt) =>
      assert.rejects(attempt, /hang up|ECONNRESET/),
    )
    while (ring.tokenRequests.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    await Promise.all([ring.close(), ring.close()])
    await Promise.all(hanging)
    await assert.rejects(send(ring.oauthUrl), /ECONNREFUSED/)
  })

  test('the fake Ring speaks TLS, resets included', {
    skip: needs('openssl', () => canRun('openssl', ['version'])),
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fake-ring-'))
    try {
      const made = spawnSync('openssl', [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
        '-subj',
        '/CN=fake',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        join(folder, 'key'),
        '-out',
        join(folder, 'cert'),
      ])
      assert.equal(made.status, 0, String(made.stderr))
      const key = readFileSync(join(folder, 'key'))
      const ca = readFileSync(join(folder, 'cert'))
      await withRing({ tls: { key, cert: ca } }, async (ring) => {
        assert.match(ring.oauthUrl, /^https:/)
        const raw = ring.mint()
        assert.equal((await refresh(ring, raw, {}, { ca })).status, 200)
        const start = await send(`${ring.oauthUrl}/oauth/v2/authorize?${form(AUTHORIZE)}`, { headers: BASE, ca })
        assert.match(start.headers['set-cookie']?.[0] ?? '', /; Secure$/)
        for (const kind of /** @type {const} */ (['reset-before', 'reset-after', 'fin-before'])) {
          ring.fault({ kind })
          await assert.rejects(refresh(ring, ring.newest(), {}, { ca }), /ECONNRESET|hang up/)
        }
        ring.fault({ kind: 'truncate', at: 'body', reset: true })
        await assert.rejects(refresh(ring, ring.newest(), {}, { ca }), /ECONNRESET|aborted|cut short/)
        ring.fault({ kind: 'hang' })
        const hanging = assert.rejects(refresh(ring, ring.newest(), {}, { ca }), /hang up|ECONNRESET/)
        while (ring.tokenRequests.length < 6) await new Promise((resolve) => setTimeout(resolve, 5))
        await ring.close()
        await hanging
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('the fake Ring as a process prints one line, is controlled over HTTP, and ends with its standard input', async () => {
    const child = spawn(process.execPath, [
      fileURLToPath(new URL('./cli.mjs', import.meta.url)),
      '--email',
      'cli@example.com',
      '--password',
      '12 34',
      '--expires-in',
      '7',
      '--grace-ms',
      '60000',
      '--canary',
      '123',
      '--exit-with-stdin',
    ])
    let out = ''
    let err = ''
    child.stdout.on('data', (part) => (out += part))
    child.stderr.on('data', (part) => (err += part))
    const ended = new Promise((resolve) => child.on('close', resolve))
    try {
      while (!out.includes('\n') && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 10))
      const { oauthUrl, pid } = JSON.parse(out)
      assert.equal(pid, child.pid)
      const ring = /** @type {any} */ ({ oauthUrl, apiUrl: oauthUrl })
      const call = (/** @type {string} */ method, /** @type {string} */ action, /** @type {unknown} */ input) =>
        send(`${oauthUrl}/__fake/${action}`, {
          method,
          ...(input === undefined ? {} : { body: JSON.stringify(input) }),
        })
      assert.equal((await login(ring, { username: 'cli@example.com', password: '12 34' })).status, 412)
      let state = (await call('GET', 'state', undefined)).json
      assert.equal(state.counts.codesSent, 1)
      const { code } = state.accounts[0]
      while (!err.includes('2fa code')) await new Promise((resolve) => setTimeout(resolve, 10))
      assert.match(err, new RegExp(`2fa code for cli@example.com: ${code}\n`))
      const raw = (await call('POST', 'mint', { email: 'cli@example.com' })).json.refreshToken
      assert.match(raw, /eyJ123/)
      assert.equal(
        (await call('POST', 'fault', { kind: 'status', status: 503, pathRegExp: 'token$', times: 'Infinity' })).status,
        200,
      )
      assert.equal((await refresh(ring, raw)).status, 503)
      await call('DELETE', 'faults', undefined)
      const { json } = await refresh(ring, raw)
      assert.equal(json.expires_in, 7)
      assert.equal((await call('POST', 'inspect', { token: raw })).json.withinGrace, true)
      await call('POST', 'settings', { graceMs: 0, unset: ['expiresIn'] })
      assert.equal((await call('POST', 'inspect', { token: raw })).json.withinGrace, false)
      assert.equal((await call('POST', 'settings', { grace: 0 })).status, 400)
      assert.equal((await api(ring, json.access_token)).status, 200)
      await call('POST', 'expire', {})
      assert.equal((await api(ring, json.access_token)).status, 401)
      assert.equal('expires_in' in (await refresh(ring, json.refresh_token)).json, false)
      const requests = (await call('GET', 'requests', undefined)).json
      assert.equal(requests[0].form.password, '12 34')
      assert.ok(requests.every((/** @type {any} */ request) => !request.path.startsWith('/__fake/')))
      state = (await call('GET', 'state', undefined)).json
      assert.equal(state.accounts[0].newestLive, true)
      assert.deepEqual(state.internalErrors, [])
      child.stdin.end()
      assert.equal(await ended, 0)
      assert.equal(out.trim().split('\n').length, 1)
    } finally {
      child.kill()
    }
  })
})
