// @ts-check
// A whole pair of tokens is a grant, however its transfer ended. Ring rotates each time, gives no grace and revokes the family on reuse: a token
// that is thrown away here locks the account out.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { EMAIL, PASSWORD, fileStore, open, rawOf, startRing, tempDir } from './support/index.mjs'
import { certificateFor } from './support/certificate.mjs'
import { startGateway } from './support/gateway.mjs'
import { only } from './support/systems.mjs'

/** @typedef {import('./support/gateway.mjs').Spoil} Spoil */

const JSON_TYPE = 'content-type: application/json\r\n'
const HANG_MS = 60_000
const RESET = only(
  'unix',
  'Windows throws away what arrived before a reset and was not read yet',
  'an answer whose connection ends without a reset, or not at all',
)
/** How a connection ends that cuts off an answer whose bytes have to arrive. */
const CUT = RESET ? 'fin' : 'reset'

/** @param {string} status @param {string} headers @param {(string | Buffer)[]} body @param {'fin' | 'reset' | 'hang'} [end] */
const answered = (status, headers, body, end = 'fin') => ({
  parts: [`HTTP/1.1 ${status}\r\n${JSON_TYPE}${headers}\r\n`, ...body],
  end,
})

/** @param {string | Buffer} body */
const sized = (body) => `content-length: ${Buffer.byteLength(body)}\r\n`

/** @param {string} text */
const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** @param {string} body @param {string} member */
const withMember = (body, member) => body.replace('{', `{${member},`)

/** @param {string} body @param {(body: string) => string | Buffer} change */
const whole = (body, change) => {
  const changed = change(body)
  return answered('200 OK', sized(changed), [changed])
}

/** @type {Record<string, Spoil>} */
const CASES = {
  'without the last chunk, then FIN': ({ body }) => answered('200 OK', 'transfer-encoding: chunked\r\n', [chunk(body)]),
  'without the last chunk, then a reset': ({ body }) =>
    answered('200 OK', 'transfer-encoding: chunked\r\n', [chunk(body)], 'reset'),
  'without the last chunk, then nothing': ({ body }) =>
    answered('200 OK', 'transfer-encoding: chunked\r\n', [chunk(body)], 'hang'),
  'with half of the last chunk': ({ body }) =>
    answered('200 OK', 'transfer-encoding: chunked\r\n', [chunk(body), '0\r\n'], 'fin'),
  'in many chunks without the last': ({ body }) =>
    answered('200 OK', 'transfer-encoding: chunked\r\n', [...(body.match(/[^]{1,100}/g) ?? [])].map(chunk), 'reset'),
  'of unknown length, then a reset': ({ body }) => answered('200 OK', '', [body], 'reset'),
  'of unknown length, then nothing': ({ body }) => answered('200 OK', '', [body], 'hang'),
  'with a length that is too large, then FIN': ({ body }) =>
    answered('200 OK', `content-length: ${body.length + 5}\r\n`, [body]),
  'with a length that is too large, then a reset': ({ body }) =>
    answered('200 OK', `content-length: ${body.length + 1}\r\n`, [body], 'reset'),
  'with a length that is too large, then nothing': ({ body }) =>
    answered('200 OK', `content-length: ${body.length * 2}\r\n`, [body], 'hang'),
  'with a length beyond any limit': ({ body }) => answered('200 OK', 'content-length: 99999999999\r\n', [body], 'hang'),
  'with a length that is too small': ({ body }) =>
    answered('200 OK', `content-length: ${body.length - 40}\r\n`, [body]),
  'with a length of 0': ({ body }) => answered('200 OK', 'content-length: 0\r\n', [body]),
  'with a length that is too small, in segments': ({ body }) =>
    answered('200 OK', 'content-length: 20\r\n', [body.slice(0, 20), body.slice(20, 90), body.slice(90)]),
  'with two lengths': ({ body }) => answered('200 OK', `content-length: 7\r\n${sized(body)}`, [body]),
  'with a length that is no number': ({ body }) => answered('200 OK', 'content-length: many\r\n', [body]),
  'said to be chunked and not': ({ body }) => answered('200 OK', 'transfer-encoding: chunked\r\n', [body]),
  'in a chunk whose length is too short': ({ body }) =>
    answered('200 OK', 'transfer-encoding: chunked\r\n', ['10\r\n', body, '\r\n0\r\n\r\n']),
  'chunked in HTTP/1.0': ({ body }) => ({
    parts: [`HTTP/1.0 200 OK\r\n${JSON_TYPE}transfer-encoding: chunked\r\n\r\n`, chunk(body), '0\r\n\r\n'],
    end: 'fin',
  }),
  'as a 201': ({ body }) => answered('201 Created', sized(body), [body]),
  'as a 202': ({ body }) => answered('202 Accepted', sized(body), [body]),
  'as a 203': ({ body }) => answered('203 Non-Authoritative Information', sized(body), [body]),
  'as a 206': ({ body }) => answered('206 Partial Content', sized(body), [body]),
  'as a 299': ({ body }) => answered('299 Odd', sized(body), [body]),
  'after an early hint': ({ body }) => ({
    parts: ['HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n', ...answered('200 OK', sized(body), [body]).parts],
    end: 'fin',
  }),
  'behind a byte order mark': ({ body }) => whole(body, (text) => `\ufeff${text}`),
  'behind a guard against scripts': ({ body }) => whole(body, (text) => `)]}',\n${text}`),
  'before a line of something else': ({ body }) => whole(body, (text) => `${text}\n<!-- served by a proxy -->`),
  'in a list': ({ body }) => whole(body, (text) => `[${text}]`),
  'with half a character in another member': ({ body }) => whole(body, (text) => withMember(text, '"x":"\\ud800"')),
  'with a member nested 200 deep': ({ body }) =>
    whole(body, (text) => withMember(text, `"x":${'['.repeat(200)}${']'.repeat(200)}`)),
  'with a member nested 100,000 deep': ({ body }) =>
    whole(body, (text) => withMember(text, `"x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)),
  'with a member that is no UTF-8': ({ body }) =>
    whole(body, (text) =>
      Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xff, 0xfe, 0xc3]), Buffer.from(`",${text.slice(1)}`)]),
    ),
  'with a member that is no JSON': ({ body }) => whole(body, (text) => withMember(text, '"x":NaN')),
  'with a number beyond any other': ({ body }) => whole(body, (text) => withMember(text, `"x":1e${'9'.repeat(400)}`)),
  'with a comma too many': ({ body }) => whole(body, (text) => text.replace(/\}$/, ',}')),
  'with an odd lifetime': ({ body }) =>
    whole(body, (text) => text.replace(/"expires_in":\d+/, '"expires_in":{"s":[1e999]}')),
  'with 150 headers': ({ body }) =>
    answered('200 OK', Array.from({ length: 150 }, (_, n) => `x-${n}: ${n}\r\n`).join('') + sized(body), [body]),
  'with 3,000 headers': ({ body }) =>
    answered('200 OK', Array.from({ length: 3_000 }, (_, n) => `x-${n}: ${n}\r\n`).join('') + sized(body), [body]),
  'with a header of 300 KB': ({ body }) =>
    answered('200 OK', `x-long: ${'x'.repeat(300_000)}\r\n${sized(body)}`, [body]),
  'with headers that no header can be': ({ body }) =>
    answered('200 OK', `bad header: 1\r\n: 2\r\nnone\r\n folded\r\nx-\u00e9: \u0001\r\n${sized(body)}`, [body]),
  'gzipped unasked': ({ body }) =>
    answered('200 OK', `content-encoding: gzip\r\n${sized(gzipSync(body))}`, [gzipSync(body)]),
  'gzipped unasked, without its end': ({ body }) =>
    answered('200 OK', 'content-encoding: gzip\r\n', [gzipSync(body).subarray(0, -8)], 'reset'),
  'gzipped and not said so': ({ body }) => whole(body, (text) => gzipSync(text)),
  'deflated unasked': ({ body }) =>
    answered('200 OK', `content-encoding: deflate\r\n${sized(deflateSync(body))}`, [deflateSync(body)]),
  'deflated without its wrapper': ({ body }) =>
    answered('200 OK', `content-encoding: deflate\r\n${sized(deflateRawSync(body))}`, [deflateRawSync(body)]),
  'said to be gzipped and not': ({ body }) => answered('200 OK', `content-encoding: gzip\r\n${sized(body)}`, [body]),
  'byte by byte, then a reset': ({ body }) => answered('200 OK', '', [...(body.match(/[^]{1,40}/g) ?? [])], 'reset'),
  'without its last brace, then a reset': ({ body }) => answered('200 OK', sized(body), [body.slice(0, -1)], 'reset'),
}

describe('a whole grant', () => {
  for (const [name, spoil] of Object.entries(CASES)) {
    const skip = spoil({ status: 200, body: '{}' }).end === 'reset' && RESET
    it(`a whole grant is taken ${name}`, { skip }, async (t) => {
      const ring = await startRing(t, { graceMs: 0 })
      const gateway = await startGateway(t, ring)
      const path = join(tempDir(t), 'journal.json')
      const options = {
        oauthUrl: gateway.oauthUrl,
        refreshToken: ring.mint(),
        store: fileStore(path),
        requestTimeoutMs: HANG_MS,
      }
      const { manager } = open(t, ring, options)
      gateway.spoil(spoil)
      await manager.getAccessToken()
      // The next refresh proves that the manager has kept the token of this answer.
      gateway.spoil(spoil)
      await manager.refresh()
      await manager.refresh()
      assert.equal(gateway.left(), 0)
      assert.equal(manager.status.state, 'ready')
      assert.equal(rawOf(manager.refreshToken), ring.newest(EMAIL) ?? ring.newest())
      assert.deepEqual([ring.counts.stalePresentations, ring.counts.refreshes], [0, 3])
    })
  }

  for (const flow of /** @type {const} */ (['password', 'pkce'])) {
    it(`a whole grant is taken at the end of a login, flow ${flow}`, async (t) => {
      const ring = await startRing(t, { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'sms' }] })
      const gateway = await startGateway(t, ring)
      const { manager } = open(t, ring, { oauthUrl: gateway.oauthUrl, loginFlow: flow, requestTimeoutMs: HANG_MS })
      // The answer that asks for the code is torn as well: the code is on its way, and the login must not ask for another one.
      gateway.spoilAt(flow === 'password' ? '/oauth/token' : '/oauth/v2/signin', ({ body }) =>
        answered('412 Precondition Failed', `content-length: ${body.length + 9}\r\n`, [body], CUT),
      )
      if (flow === 'pkce') {
        gateway.spoilAt('/oauth/v2/2fa/verify', ({ body }) => answered('200 OK', '', [body], CUT))
      }
      const step = await manager.login({ email: EMAIL, password: PASSWORD })
      assert.equal(step.twoFactor?.method, 'sms')
      gateway.spoil(({ body }) =>
        answered('201 Created', 'transfer-encoding: chunked\r\n', [chunk(`\ufeff${body}`)], CUT),
      )
      assert.equal((await manager.submitTwoFactorCode(ring.codeFor(EMAIL) ?? '')).authenticated, true)
      await manager.refresh()
      assert.deepEqual([gateway.left(), ring.counts.codesSent, ring.counts.stalePresentations], [0, 1, 0])
    })
  }

  for (const end of /** @type {const} */ (['destroy', 'reset', 'hang'])) {
    it(`a whole grant is taken over TLS without a close_notify behind a body of unknown length, end ${end}`, {
      skip: end === 'reset' && RESET,
    }, async (t) => {
      const ring = await startRing(t, { graceMs: 0 })
      const tls = certificateFor('localhost')
      const gateway = await startGateway(t, ring, tls)
      const roots = join(tempDir(t), 'roots.pem')
      writeFileSync(roots, tls.cert)
      const before = process.env.SSL_CERT_FILE
      process.env.SSL_CERT_FILE = roots
      const { manager } = open(t, ring, {
        oauthUrl: gateway.oauthUrl,
        refreshToken: ring.mint(),
        requestTimeoutMs: HANG_MS,
      })
      if (before === undefined) delete process.env.SSL_CERT_FILE
      else process.env.SSL_CERT_FILE = before
      for (let round = 0; round < 3; round += 1) {
        gateway.spoil(({ body }) => ({ ...answered('200 OK', '', [body]), end }))
        await manager.refresh()
      }
      assert.deepEqual([gateway.left(), ring.counts.stalePresentations, ring.counts.rotations], [0, 0, 3])
    })
  }

  it('a pair of tokens that was cut within a token is not taken', async (t) => {
    const ring = await startRing(t, { graceMs: 60_000 })
    const gateway = await startGateway(t, ring)
    const { manager } = open(t, ring, { oauthUrl: gateway.oauthUrl, refreshToken: ring.mint() })
    for (const spoil of /** @type {Spoil[]} */ ([
      ({ body }) => answered('200 OK', sized(body), [body.slice(0, body.indexOf('"refresh_token"') + 40)], 'reset'),
      ({ body }) => answered('200 OK', '', [body.slice(0, body.indexOf('"refresh_token"') + 40)]),
      ({ body }) => whole(body, (text) => text.replace('"refresh_token":"', '"refresh_token":"\\ud800')),
      () => whole('', () => '<html><script>({"access_token":1})</script></html>'),
    ])) {
      const before = rawOf(manager.refreshToken)
      gateway.spoil(spoil)
      await manager.refresh({ force: true })
      assert.notEqual(rawOf(manager.refreshToken), before)
      assert.equal(ring.inspect(rawOf(manager.refreshToken)).live, true)
    }
    assert.equal(ring.counts.graceUses, 4)
  })

  it('a whole grant is asked for without compression', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    await manager.getAccessToken()
    assert.equal(ring.tokenRequests[0]?.headers['accept-encoding'], 'identity')
  })

  it('a rejection that was cut is not believed', async (t) => {
    const ring = await startRing(t, { graceMs: 60_000 })
    const gateway = await startGateway(t, ring)
    const { manager } = open(t, ring, { oauthUrl: gateway.oauthUrl, refreshToken: ring.mint() })
    const cut = '{"error":"invalid_grant","error_description":"tok'
    gateway.spoil(() => answered('401 Unauthorized', 'content-length: 90\r\n', [cut], 'reset'))
    await manager.getAccessToken()
    assert.equal(ring.counts.refreshes, 2, 'it was asked once more')
  })
})
