// @ts-check
// Invalid options and arguments are refused at once, by name, before anything is written or sent.
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RingTokenManager, failure, fileStore, open, parseRefreshToken, startRing, tempDir } from './support/index.mjs'

const BINARY = '\0\u0001\u0002\ud800ÿ'
const LONG = 'x'.repeat(10 * 1024 * 1024)

/**
 * @param {import('node:test').TestContext} t
 * @param {(where: { dir: string, path: string }) => Record<string, unknown>} options
 * @param {string} name what the message must name
 */
async function refused(t, options, name) {
  const dir = tempDir(t)
  const path = join(dir, 'journal.json')
  const given = options({ dir, path })
  const before = readdirSync(dir)
  const error = await failure(
    () => new RingTokenManager(/** @type {any} */ ({ store: fileStore(path), ...given })),
    'INVALID_ARGUMENT',
  )
  assert.ok(error.message.includes(name), error.message)
  assert.ok(error.message.length < 500, 'what was given is not repeated at length')
  assert.equal(error.transient, false)
  assert.deepEqual(readdirSync(dir), before, 'nothing was written')
}

describe('an option', { concurrency: true }, () => {
  /** @type {[string, unknown, string][]} */
  const cases = [
    ['refreshToken', 42, 'options.refreshToken'],
    ['refreshToken', null, 'options.refreshToken'],
    ['refreshToken', {}, 'options.refreshToken'],
    ['refreshToken', ['x'], 'options.refreshToken'],
    ['refreshToken', Buffer.from('x'), 'options.refreshToken'],
    ['refreshToken', LONG, 'refresh token'],
    ['refreshToken', 'x'.repeat(65_537), 'refresh token'],
    ['refreshToken', 'ä'.repeat(32_769), 'refresh token'],
    ['refreshToken', BINARY, 'refresh token'],
    ['refreshToken', 'two words', 'refresh token'],
    ['refreshToken', 'two\nlines', 'refresh token'],
    ['refreshtoken', 'x', 'refreshtoken'],
    ['refresh_token', 'x', 'refresh_token'],
    ['requestTimeout', 1, 'requestTimeout'],
    ['oauthURL', 'x', 'oauthURL'],
    ['', 'x', 'options.'],
    ['store', null, 'options.store'],
    ['store', 'file', 'options.store'],
    ['store', [], 'options.store'],
    ['store', {}, 'options.store.type'],
    ['store', { type: 'disk' }, 'options.store.type'],
    ['store', { type: 1 }, 'options.store.type'],
    ['store', { type: 'memory', path: 'x' }, 'options.store.path'],
    ['store', { type: 'file' }, 'options.store.path'],
    ['store', { type: 'file', path: '' }, 'options.store.path'],
    ['store', { type: 'file', path: 7 }, 'options.store.path'],
    ['store', { type: 'file', path: 'a\0b' }, 'options.store.path'],
    ['store', { type: 'file', file: 'x', path: 'x' }, 'options.store.file'],
    ['systemId', 7, 'options.systemId'],
    ['systemId', '', 'options.systemId'],
    ['controlCenterDisplayName', false, 'options.controlCenterDisplayName'],
    ['loginFlow', 'oauth', 'options.loginFlow'],
    ['loginFlow', 1, 'options.loginFlow'],
    ['userAgent', {}, 'options.userAgent'],
    ['userAgent', 'a\r\nX-Evil: 1', 'userAgent'],
    ['userAgent', 'a\0', 'userAgent'],
    ['autoRefresh', 'yes', 'options.autoRefresh'],
    ['autoRefresh', 1, 'options.autoRefresh'],
    ['logger', { error() {}, warn() {} }, 'options.logger'],
    ['logger', { error() {}, warn() {}, info: 'x' }, 'options.logger'],
    ['logger', {}, 'options.logger'],
    ['logger', [], 'options.logger'],
    ['logger', null, 'options.logger'],
    ['logger', 'x', 'options.logger'],
    ['requestTimeoutMs', NaN, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', Infinity, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', -1, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', 0, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', 0.5, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', 2 ** 31, 'options.requestTimeoutMs'],
    ['requestTimeoutMs', '20', 'options.requestTimeoutMs'],
    ['requestTimeoutMs', 20n, 'options.requestTimeoutMs'],
    ...['oauthUrl', 'apiUrl'].flatMap((name) =>
      [
        7,
        '',
        'nonsense',
        'oauth.ring.com',
        'ftp://oauth.ring.com',
        'file:///etc/passwd',
        'javascript:1',
        'http://oauth.ring.com',
        'http://192.168.1.1',
        'http://127.0.0.1.example.com',
        'http://localhost.example.com',
        'http://127.0.0.1@example.com/',
        'https://me:secret@oauth.ring.com',
        'https://',
        'https://[::1',
        'https://oauth.ring.com:99999',
      ].map((value) => /** @type {[string, unknown, string]} */ ([name, value, name])),
    ),
  ]
  for (const [name, value, named] of cases) {
    const shown = typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value))
    it(`the option ${name || 'without a name'} of ${shown.slice(0, 40)} is INVALID_ARGUMENT at once, with its name, and writes nothing`, (t) =>
      refused(t, () => ({ [name]: value }), named))
  }

  it('a store path that is a folder is refused with the path in the message', async (t) => {
    await refused(
      t,
      ({ dir }) => {
        mkdirSync(join(dir, 'folder'))
        return { store: fileStore(join(dir, 'folder')) }
      },
      'path',
    )
    await refused(t, ({ dir }) => ({ store: fileStore(`${dir}/new/`) }), 'path')
  })

  it('a misspelt option is refused with the name that was probably meant', async () => {
    const error = await failure(
      () => new RingTokenManager(/** @type {any} */ ({ refreshTokne: 'x' })),
      'INVALID_ARGUMENT',
    )
    assert.match(error.message, /did you mean refreshToken\?/)
  })

  it('an option that throws when it is read is refused', async () => {
    const options = {
      get refreshToken() {
        throw new Error('mine')
      },
    }
    await failure(() => new RingTokenManager(/** @type {any} */ (options)), 'INVALID_ARGUMENT')
    for (const value of [null, 7, 'x', []])
      await failure(() => new RingTokenManager(/** @type {any} */ (value)), 'INVALID_ARGUMENT')
  })

  it('the message that refuses an option does not show its value', async () => {
    for (const options of [
      { refreshToken: 'canary with blanks' },
      { oauthUrl: 'https://me:canary@oauth.ring.com' },
      { oauthUrl: 'http://example.com/?token=canary' },
    ]) {
      const error = await failure(() => new RingTokenManager(options), 'INVALID_ARGUMENT')
      assert.ok(!`${error.stack}${JSON.stringify(error)}${error.cause}`.includes('canary'), error.message)
    }
  })

  it('an empty refreshToken in the options counts as absent', async (t) => {
    const ring = await startRing(t)
    for (const refreshToken of ['', ' \n']) {
      const { manager } = open(t, ring, { refreshToken })
      assert.equal(manager.refreshToken, null)
      await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    }
    assert.equal(ring.requests.length, 0)
  })
})

describe('an argument', { concurrency: true }, () => {
  it("a call with an invalid argument rejects with the argument's name, and causes no request", async (t) => {
    const ring = await startRing(t)
    const dir = tempDir(t)
    const { manager } = open(t, ring, { store: fileStore(join(dir, 'journal.json')) })
    const any = /** @type {any} */ (manager)
    /** @type {[string, () => unknown][]} */
    const cases = [
      ['credentials', () => any.login()],
      ['credentials', () => any.login('me')],
      ['credentials.email', () => any.login({ password: 'x' })],
      ['credentials.email', () => any.login({ email: ' ', password: 'x' })],
      ['credentials.password', () => any.login({ email: 'x', password: 7 })],
      ['credentials.password', () => any.login({ email: 'x', password: '' })],
      ['code', () => any.submitTwoFactorCode()],
      ['code', () => any.submitTwoFactorCode(123456)],
      ['code', () => any.submitTwoFactorCode(' ')],
      ['options.signal', () => any.getAccessToken({ signal: {} })],
      ['options.force', () => any.refresh({ force: 1 })],
      ['options.forced', () => any.refresh({ forced: true })],
      ['options', () => any.getAuth(7)],
      ['accessToken', () => any.invalidateAccessToken()],
      ['accessToken', () => any.invalidateAccessToken('')],
      ['refreshToken', () => any.setRefreshToken()],
      ['refreshToken', () => any.setRefreshToken('')],
      ['refreshToken', () => any.setRefreshToken(LONG)],
      ['refresh token', () => any.setRefreshToken(BINARY)],
      ['pnc', () => any.setPushCredentials()],
      ['pnc', () => any.setPushCredentials(7)],
      ['pnc', () => any.setPushCredentials([])],
      ['pnc', () => any.setPushCredentials({ big: 1n })],
      ['pnc', () => any.setPushCredentials(new Date())],
      ['onStatus', () => any.onStatus.subscribe()],
      ['onRefreshTokenUpdated', () => any.onRefreshTokenUpdated.subscribe({ next: 7 })],
    ]
    for (const [name, call] of cases) {
      const error = await failure(call, 'INVALID_ARGUMENT')
      assert.ok(error.message.includes(name), `${name}: ${error.message}`)
    }
    assert.equal(ring.requests.length, 0)
    assert.deepEqual(readdirSync(dir), [])
  })

  it('parseRefreshToken refuses a text that is no token', async () => {
    for (const value of [undefined, null, 7, {}, '', ' ', BINARY, LONG, 'two words']) {
      await failure(() => parseRefreshToken(/** @type {any} */ (value)), 'INVALID_ARGUMENT')
    }
  })
})
