// @ts-check
// A login that computes the authenticator's codes itself.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { EMAIL, PASSWORD, failure, open, startRing } from './support/index.mjs'

/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {import('./fake-ring/index.mjs').FakeRingOptions} FakeRingOptions */

const CREDENTIALS = { email: EMAIL, password: PASSWORD }
const FLOWS = /** @type {const} */ (['pkce', 'password'])

/** @param {Partial<import('./fake-ring/settings.mjs').TotpKind>} [totp] @returns {FakeRingOptions} */
const withAuthenticator = (totp) => ({
  accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'totp', ...(totp && { totp }) }],
})

/** @param {FakeRing} ring */
const secretOf = (ring) => String(new URL(ring.totpAddress()).searchParams.get('secret'))

/** That none of them is shown. A code may be a part of a longer number. @param {string} shown @param {unknown[]} all */
function hides(shown, all) {
  for (const hidden of all) assert.doesNotMatch(shown, new RegExp(`(?<!\\d)${hidden}(?!\\d)`))
}

/** The codes that reached Ring, in their order. @param {FakeRing} ring */
const codesSent = (ring) =>
  ring.requests.map(({ form, headers }) => form['2fa_code'] ?? headers['2fa-code']).filter((code) => code)

describe("a login with an authenticator's secret", { concurrency: true }, () => {
  for (const loginFlow of FLOWS) {
    it(`a login with an authenticator's secret by ${loginFlow} needs no person`, async (t) => {
      const ring = await startRing(t, withAuthenticator())
      const { manager, said } = open(t, ring, { loginFlow })
      const secret = secretOf(ring)
      assert.deepEqual(await manager.login({ ...CREDENTIALS, totpSecret: secret }), { authenticated: true })
      assert.ok(ring.isAccessLive(await manager.getAccessToken()))
      assert.equal(codesSent(ring).length, 1)
      const shown = said() + inspect(manager, { depth: 9 }) + JSON.stringify(manager)
      hides(shown, [secret, ...codesSent(ring)])
    })

    it(`a login with an authenticator's secret by ${loginFlow} tries the next code once after a wrong one, and none twice`, async (t) => {
      // A period of a few seconds, so that the test need not wait long for the next code.
      const ring = await startRing(t, { ...withAuthenticator({ period: 10, digits: 8 }), totpCodeWorksOnce: true })
      const address = ring.totpAddress()
      const first = open(t, ring, { loginFlow })
      await first.manager.login({ ...CREDENTIALS, totpSecret: address })
      // The code of this time step was used before, which this manager cannot know.
      const second = open(t, ring, { loginFlow })
      assert.deepEqual(await second.manager.login({ ...CREDENTIALS, totpSecret: address }), { authenticated: true })
      // One manager never sends a code a second time.
      const before = codesSent(ring).length
      ring.clearRequests()
      assert.deepEqual(await second.manager.login({ ...CREDENTIALS, totpSecret: address }), { authenticated: true })
      assert.equal(codesSent(ring).length, 1, `${before} codes before`)
    })

    it(`a login with an authenticator's secret by ${loginFlow} ends with TWO_FACTOR_INVALID after two wrong codes`, async (t) => {
      const ring = await startRing(t, withAuthenticator({ period: 6 }))
      const { manager, said } = open(t, ring, { loginFlow })
      const wrong = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
      const error = await failure(
        manager.login({ ...CREDENTIALS, totpSecret: `otpauth://totp/Ring?secret=${wrong}&period=6` }),
        'TWO_FACTOR_INVALID',
      )
      assert.match(
        error.message,
        /Two codes that were made from the authenticator's secret were refused: check the secret, and the clock/,
      )
      const codes = codesSent(ring)
      assert.equal(codes.length, 2)
      assert.notEqual(codes[0], codes[1])
      const shown = said() + error.stack + inspect(error)
      hides(shown, [wrong, ...codes])
      // The login still waits for a code from a person with the right app.
      assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
    })

    for (const twoFactor of /** @type {const} */ (['sms', 'email', 'unknown', 'no-state'])) {
      it(`a login with an authenticator's secret by ${loginFlow} does not use it if Ring asks for another code (${twoFactor})`, async (t) => {
        const ring = await startRing(t, { accounts: [{ ...CREDENTIALS, twoFactor }] })
        const { manager, said } = open(t, ring, { loginFlow })
        const step = await manager.login({ ...CREDENTIALS, totpSecret: 'JBSWY3DPEHPK3PXP' })
        assert.equal(step.authenticated, false)
        assert.deepEqual(codesSent(ring), [])
        assert.match(
          said(),
          /Ring asks for a code that is not an authenticator's, so the authenticator's secret is not used/,
        )
        assert.deepEqual(await manager.submitTwoFactorCode(String(ring.codeFor())), { authenticated: true })
        assert.equal(ring.codesSent, 1)
      })
    }

    it(`a login with an authenticator's secret by ${loginFlow} does not use it if Ring asks for no code`, async (t) => {
      const ring = await startRing(t, { accounts: [{ ...CREDENTIALS, twoFactor: 'none' }] })
      const { manager } = open(t, ring, { loginFlow })
      assert.deepEqual(await manager.login({ ...CREDENTIALS, totpSecret: 'JBSWY3DPEHPK3PXP' }), { authenticated: true })
      assert.deepEqual(codesSent(ring), [])
    })
  }

  for (const algorithm of /** @type {const} */ (['SHA256', 'SHA512'])) {
    it(`a login with an authenticator's secret takes the algorithm, the digits and the period of its address (${algorithm})`, async (t) => {
      const ring = await startRing(t, withAuthenticator({ algorithm, digits: 8, period: 60 }))
      const { manager } = open(t, ring)
      assert.deepEqual(await manager.login({ ...CREDENTIALS, totpSecret: ring.totpAddress() }), { authenticated: true })
      assert.match(String(codesSent(ring)[0]), /^\d{8}$/)
    })
  }

  it("a login with an authenticator's secret can be closed while it waits for the next code", async (t) => {
    const ring = await startRing(t, { ...withAuthenticator({ period: 3600 }) })
    const { manager, log } = open(t, ring)
    const other = 'otpauth://totp/Ring?secret=JBSWY3DPEHPK3PXP&period=3600'
    const login = failure(manager.login({ ...CREDENTIALS, totpSecret: other }), 'CLOSED')
    while (!log.some(({ message }) => /waits \d+ s for the authenticator's next code/.test(message))) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    await manager.close()
    await login
    assert.ok(codesSent(ring).length <= 1)
  })

  it("an authenticator's secret that cannot be one is refused before anything is sent", async (t) => {
    const ring = await startRing(t, withAuthenticator())
    const { manager } = open(t, ring)
    for (const [totpSecret, says] of /** @type {[unknown, RegExp][]} */ ([
      ['', /^credentials\.totpSecret must not be empty$/],
      [123456, /^credentials\.totpSecret must be a string, got a number$/],
      ['123456', /^credentials\.totpSecret is not in base32/],
      [
        'otpauth://hotp/Ring?secret=JBSWY3DPEHPK3PXP&counter=0',
        /^credentials\.totpSecret is an address of the kind HOTP/,
      ],
    ])) {
      const error = await failure(
        manager.login(/** @type {any} */ ({ ...CREDENTIALS, totpSecret })),
        'INVALID_ARGUMENT',
      )
      assert.match(error.message, says)
    }
    assert.equal(ring.requests.length, 0)
  })
})
