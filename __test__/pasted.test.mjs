// @ts-check
// Texts from people in the place of a refresh token: each kind, in each place, and what is sent to Ring.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RingRestClient } from '../lib/ring-client-api/rest-client.js'
import { failure as cliFailure, json, run } from './support/cli.mjs'
import {
  EMAIL,
  PASSWORD,
  RingTokenManager,
  failure,
  fileStore,
  open,
  parseRefreshToken,
  rawOf,
  startRing,
  tempDir,
  until,
  wrap,
} from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

const HID = '11111111-2222-5333-8444-555555555555'
const PUSH = { fcm: { token: 'ÿ?>~¿' } }

/** The forms in which people paste a token. @type {Record<string, (token: string) => string>} */
const DRESSES = {
  'as it is': (token) => token,
  'white space': (token) => ` \r\n${token}\t\n`,
  'a byte order mark': (token) => `\ufeff${token}`,
  'zero-width characters': (token) => `\u200b${token}\u2060`,
  'double quotes': (token) => `"${token}"`,
  'single quotes': (token) => `'${token}'`,
  'typographic quotes': (token) => `“${token}”`,
  'German quotes': (token) => `„${token}“`,
  backticks: (token) => `\`${token}\``,
  'angle brackets': (token) => `<${token}>`,
  braces: (token) => `{${token}}`,
  parentheses: (token) => `(${token})`,
  'a comma': (token) => `"${token}",`,
  'a semicolon': (token) => `${token};`,
  'percent-encoding': encodeURIComponent,
  'base64 for URLs': (token) => token.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''),
  'base64 once more': (token) => Buffer.from(token).toString('base64'),
  'a JSON object': (token) => JSON.stringify({ refreshToken: token }),
  'a file of another program': (token) => JSON.stringify({ ring_token: token, more: [1] }, null, 2),
  'the printed line': (token) => `"refreshToken": "${token}"`,
  'a line of a .env file': (token) => `export RING_REFRESH_TOKEN='${token}'`,
  'a line of a YAML file': (token) => `refreshToken: ${token}`,
  'line breaks inside': (token) => token.replace(/.{40}/g, '$&\n'),
  'blanks inside': (token) => `${token.slice(0, 30)}   ${token.slice(30)}`,
}

/** Texts that cannot be a token, and the words that say why. @type {Record<string, [text: string, says: string]>} */
const REFUSED = {
  'a wrapper that is cut off': [wrap({ rt: 'CANARY-of-a-token-0123456789' }).slice(0, 30), 'is cut off'],
  'a two-factor code': ['123456', 'looks like a code for the two-factor prompt'],
  'an e-mail address': ['CANARY@example.com', 'looks like an e-mail address'],
  'a password': ['CANARY-short', 'is shorter than 16 characters inside'],
  'a short inner token': [wrap({ rt: 'CANARY', hid: HID }), 'is shorter than 16 characters inside'],
  undefined: ['undefined', 'is what JavaScript writes for a value that is missing'],
  null: ['null', 'is what JavaScript writes for a value that is missing'],
  'an object': ['[object Object]', 'is what JavaScript writes for a value that is missing'],
  'a placeholder': ['YOUR_REFRESH_TOKEN', 'is a placeholder of an example'],
  changeme: ['changeme', 'is a placeholder of an example'],
  '<token>': ['<token>', 'is a placeholder of an example'],
  'other characters': ['CANARY with blanks and so on', 'has characters in it that no token has'],
  'a long text': ['CANARY0'.repeat(10_000), 'is longer than 64 KiB'],
  'another setting': ['{"CANARY":"x"}', 'looks like a line of a settings file or a JSON object'],
}

/** References to a value that another program puts there. @type {Record<string, [text: string, says: string]>} */
const REFERENCES = {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference in a file
  'a variable in braces': ['${CANARY_TOKEN}', 'is a reference to a variable'],
  'a variable': ['$CANARY_TOKEN', 'is a reference to a variable'],
  'a variable of a program': ['process.env.CANARY_TOKEN', 'is a reference to a variable'],
  'a path': ['/run/secrets/canary_token', 'is the path of a file'],
  'a template': ['{{ CANARY }}', 'is a placeholder of a template'],
  'a secret manager': ['op://CANARY/Ring/token', 'is a reference to an entry of a secret manager'],
  'a tag': ['!secret CANARY', 'is a tag of a YAML file'],
  'a path of a vault': ['vault:secret/CANARY', 'is a reference to an entry of a secret manager'],
  'an encrypted value': ['encrypted:CANARYCANARYCANARY', 'is an encrypted value'],
}

const NO_TOKENS = { ...REFUSED, ...REFERENCES }

/** @param {string} text @param {string} [what] */
const noCanary = (text, what) => assert.ok(!text.includes('CANARY'), `${what}: a refused text is in: ${text}`)

/** @param {FakeRing} ring @param {string} token */
const wrapped = (ring, token = ring.mint()) => wrap({ rt: token, hid: HID, pnc: PUSH, later: 1 })

/** @param {string} text */
const configWith = (text) =>
  `${JSON.stringify({ bridge: { name: 'x' }, platforms: [{ platform: 'Ring', refreshToken: text }] }, null, 4)}\n`
/** @param {string} text */
const dotenvWith = (text) => `A=1\nRING_REFRESH_TOKEN='${text}'\n`

/** @type {{ name: string, file: string, with_: (text: string) => string, shown: (content: string) => string, fits: (text: string) => boolean, store: (path: string) => any, option: string }[]} */
const MIRRORS = [
  {
    name: 'config.json',
    file: 'config.json',
    with_: configWith,
    shown: (content) => JSON.parse(content).platforms[0].refreshToken,
    fits: () => true,
    store: (path) => ({ type: 'homebridge', configPath: path }),
    option: '--homebridge',
  },
  {
    name: '.env',
    file: '.env',
    with_: dotenvWith,
    shown: (content) => String(/RING_REFRESH_TOKEN='([^']*)'/.exec(content)?.[1]),
    fits: (text) => !/['\n\r]/.test(text),
    store: (path) => ({ type: 'dotenv', path }),
    option: '--dotenv',
  },
]

/**
 * The messages about tokens at these levels. The machine of a test may cause other warnings, for example about a variable for certificates.
 * @param {import('../index.js').LogEntry[]} log
 * @param {...string} levels
 */
const ofTokens = (log, ...levels) =>
  log.filter(({ level, message }) => levels.includes(level) && /refresh ?token/i.test(message))

/** A journal with a token in it. @param {FakeRing} ring @param {any} store */
async function keep(ring, store) {
  const { oauthUrl, apiUrl } = ring
  const manager = new RingTokenManager({ oauthUrl, apiUrl, store, refreshToken: wrapped(ring) })
  await manager.getAccessToken()
  await manager.close()
}

describe('a dressed token', { concurrency: 4 }, () => {
  it('a token with other text around it is understood in the options, by setRefreshToken and by parseRefreshToken, with all that is wrapped with it', async (t) => {
    const ring = await startRing(t)
    for (const [name, dress] of Object.entries(DRESSES)) {
      const raw = ring.mint()
      for (const good of [wrapped(ring, raw), raw]) {
        assert.equal(parseRefreshToken(dress(good)).raw, raw, name)
        assert.equal(parseRefreshToken(dress(good)).hardwareId, good === raw ? undefined : HID, name)
      }
      const { manager, updates } = open(t, ring, { refreshToken: dress(wrapped(ring, raw)) })
      assert.equal(manager.refreshToken, wrapped(ring, raw), name)
      await manager.getAccessToken()
      assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], raw, name)
      assert.equal(updates[0]?.oldRefreshToken, dress(wrapped(ring, raw)), `${name}: as it was given`)

      const { manager: other } = open(t, ring)
      const next = ring.mint()
      await other.setRefreshToken(dress(wrapped(ring, next)))
      assert.equal(other.refreshToken, wrapped(ring, next), name)
      await other.close()
      await manager.close()
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('a token with other text around it is understood on standard input', async (t) => {
    const ring = await startRing(t)
    for (const [name, dress] of Object.entries(DRESSES)) {
      const raw = ring.mint()
      const input = dress(wrapped(ring, raw))
      // The command reads one line.
      if (/[\n\r]/.test(input)) continue
      const done = json(await run(['status', '--refresh-token-stdin', '--json'], { ring, input: `${input}\n` }))
      assert.equal(done.hardwareId, HID, name)
    }
    const input = `\ufeff"refreshToken": "${wrapped(ring)}",\r\n`
    assert.equal((await run(['refresh', '--refresh-token-stdin'], { ring, input })).code, 0)
    assert.equal(ring.counts.rotations, 1)
  })

  for (const mirror of MIRRORS) {
    it(`a token with other text around it in ${mirror.name} is used, and rewritten without that text`, async (t) => {
      const ring = await startRing(t)
      for (const [name, dress] of Object.entries(DRESSES)) {
        const [path, raw] = [join(tempDir(t), mirror.file), ring.mint()]
        const text = dress(wrapped(ring, raw))
        if (!mirror.fits(text)) continue
        writeFileSync(path, mirror.with_(text))
        const { manager, updates, said } = open(t, ring, { store: mirror.store(path) })
        assert.equal(manager.refreshToken, wrapped(ring, raw), name)
        await until(() => mirror.shown(readFileSync(path, 'utf8')) === wrapped(ring, raw), `${name}: rewritten clean`)
        await manager.getAccessToken()
        assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], raw, name)
        assert.equal(readFileSync(path, 'utf8'), mirror.with_(String(manager.refreshToken)), name)
        assert.equal(updates[0]?.oldRefreshToken, text, `${name}: as it was given`)
        assert.ok(!said().includes('cannot be a refresh token'), said())
        await manager.close()
      }
    })
  }

  it('a token with other text around it from a custom store and in the drop-in is understood too', async (t) => {
    const ring = await startRing(t)
    for (const [name, dress] of Object.entries(DRESSES)) {
      const raw = ring.mint()
      let kept = dress(wrapped(ring, raw))
      const store = { load: () => kept, save: (/** @type {string} */ token) => void (kept = token) }
      const { manager } = open(t, ring, { store })
      await manager.getAccessToken()
      assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], raw, name)
      assert.equal(kept, manager.refreshToken, name)
      await manager.close()

      const [given, theirs] = [dress(wrapped(ring)), ring.newest()]
      const { oauthUrl, apiUrl } = ring
      const client = new RingRestClient({ refreshToken: given, oauthUrl, apiUrl })
      /** @type {any[]} */
      const updates = []
      client.onRefreshTokenUpdated.subscribe((/** @type {any} */ update) => updates.push(update))
      await client.getCurrentAuth()
      assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], theirs, name)
      assert.equal(updates[0]?.oldRefreshToken, given, name)
      await client.close()
    }
  })
})

describe('what cannot be a token', { concurrency: 4 }, () => {
  it('a text that cannot be a token is refused in the options, by the methods and on standard input, each kind with its own sentence', async (t) => {
    const ring = await startRing(t)
    const { manager, said } = open(t, ring)
    const { oauthUrl, apiUrl } = ring
    for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
      const options = { refreshToken: text, oauthUrl, apiUrl }
      const empty = join(tempDir(t), 'journal.json')
      for (const call of [
        () => new RingTokenManager(options),
        () => new RingTokenManager({ ...options, store: fileStore(empty) }),
        () => manager.setRefreshToken(text),
        async () => parseRefreshToken(text),
      ]) {
        const { message } = await failure(call, 'INVALID_ARGUMENT')
        assert.ok(message.startsWith('The refresh token ') && message.includes(says), `${name}: ${message}`)
        noCanary(message, name)
      }
      assert.deepEqual(readdirSync(join(empty, '..')), [], name)
    }
    for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
      // A run of each command would take long: `status` decides as the others do.
      const done = await run(['status', '--refresh-token-stdin', '--json'], { ring, input: `${text}\n` })
      const { message } = cliFailure(done, 'INVALID_ARGUMENT', 2)
      assert.ok(
        message.startsWith('--refresh-token-stdin got no token. ') && message.includes(says),
        `${name}: ${message}`,
      )
      noCanary(done.stderr + done.stdout, name)
    }
    for (const command of ['refresh', 'token']) {
      const store = command === 'token' ? ['--state-file', join(tempDir(t), 'j.json')] : []
      const done = await run([command, '--refresh-token-stdin', ...store, '--json'], { ring, input: 'undefined\n' })
      cliFailure(done, 'INVALID_ARGUMENT', 2)
    }
    noCanary(said())
    assert.equal(ring.requests.length, 0)
    const { message } = await failure(() => new RingTokenManager({ refreshToken: 'x' }), 'INVALID_ARGUMENT')
    assert.ok(message.includes('A test needs a made-up token of 16 or more characters.'), message)
  })

  it('a text that cannot be a token in the options is ignored beside a journal that holds a token, with a warning', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'journal.json')
    await keep(ring, fileStore(path))
    for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
      const sent = ring.counts.tokenPosts
      const { manager, log, said, updates } = open(t, ring, { refreshToken: text, store: fileStore(path) })
      const before = manager.refreshToken
      await manager.refresh()
      assert.equal(ring.counts.tokenPosts, sent + 1, name)
      assert.equal(ring.tokenRequests.at(-1)?.form['refresh_token'], rawOf(before), name)
      const warnings = ofTokens(log, 'warn')
      assert.deepEqual(warnings.length, 1, said())
      assert.ok(warnings[0]?.message.startsWith('The refreshToken of the options is ignored'), said())
      assert.ok(warnings[0]?.message.includes(says), said())
      assert.ok(
        updates.every(({ oldRefreshToken }) => oldRefreshToken !== text),
        name,
      )
      noCanary(said(), name)
      assert.equal(manager.status.code, undefined)
      await manager.close()
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('a text that cannot be a token in the file of a variable is ignored beside a journal that holds a token, and refused without one', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const [path, file] = [join(folder, 'journal.json'), join(folder, 'token')]
    writeFileSync(file, 'undefined\n')
    const env = { RING_REFRESH_TOKEN_FILE: file }
    for (const command of ['refresh', 'token']) {
      const done = await run([command, '--state-file', path, '--json'], { ring, env })
      const { message } = cliFailure(done, 'INVALID_ARGUMENT', 2)
      assert.ok(message.includes('is what JavaScript writes for a value that is missing'), message)
    }
    assert.equal((await run(['status', '--state-file', path], { ring, env })).code, 3)
    assert.equal(ring.requests.length, 0)
    await keep(ring, fileStore(path))
    for (const command of ['refresh', 'token', 'status']) {
      const done = await run([command, '--state-file', path], { ring, env })
      assert.equal(done.code, 0, done.stderr)
      if (command !== 'status') assert.match(done.stderr, /The refreshToken of the options is ignored/)
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('a text that cannot be a token in the options, with a store that is read later, waits for its answer', async (t) => {
    const ring = await startRing(t)
    for (const [text, says] of [REFUSED['undefined'], REFERENCES['a variable']].flatMap((one) => (one ? [one] : []))) {
      for (const statePath of [undefined, join(tempDir(t), 'state')]) {
        let kept = /** @type {string | null} */ (null)
        const store = { load: () => kept, save: (/** @type {string} */ token) => void (kept = token) }
        const options = { refreshToken: text, store: statePath === undefined ? store : { ...store, statePath } }
        const first = open(t, ring, options)
        const posts = ring.counts.tokenPosts
        const { message } = await failure(first.manager.getAccessToken(), 'INVALID_ARGUMENT')
        assert.ok(message.includes(says), message)
        assert.deepEqual([first.manager.status.state, first.manager.status.code], ['needs-login', 'INVALID_ARGUMENT'])
        assert.equal(ring.counts.tokenPosts, posts)
        // A later token ends that state.
        await first.manager.setRefreshToken(wrapped(ring))
        await first.manager.getAccessToken()
        assert.equal(first.manager.status.state, 'ready')
        await first.manager.close()

        const second = open(t, ring, options)
        await second.manager.refresh()
        assert.match(second.said(), /The refreshToken of the options is ignored/)
        await second.manager.close()
      }
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('a text that cannot be a token in the drop-in does not stop the constructor: the first call reports it', async (t) => {
    const ring = await startRing(t)
    const { oauthUrl, apiUrl } = ring
    const path = join(tempDir(t), 'journal.json')
    await keep(ring, fileStore(path))
    const posts = ring.counts.tokenPosts
    for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
      const client = new RingRestClient({ refreshToken: text, oauthUrl, apiUrl })
      for (const call of [() => client.getAuth(), () => client.getCurrentAuth(), () => client.getSession()]) {
        const { message } = await failure(call, 'INVALID_ARGUMENT')
        assert.ok(message.includes(says), `${name}: ${message}`)
        noCanary(message, name)
      }
      await client.close()
      assert.equal(ring.counts.tokenPosts, posts)
      const healthy = new RingRestClient({ refreshToken: text, oauthUrl, apiUrl, store: fileStore(path) })
      await healthy.getCurrentAuth()
      assert.notEqual(healthy.refreshToken, text, name)
      await healthy.close()
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })

  for (const mirror of MIRRORS) {
    it(`a text that cannot be a token in ${mirror.name} is replaced by the newest token, with a warning that says what was wrong`, async (t) => {
      const ring = await startRing(t)
      const path = join(tempDir(t), mirror.file)
      writeFileSync(path, mirror.with_(''))
      await keep(ring, mirror.store(path))
      for (const [name, [text, says]] of Object.entries(REFUSED)) {
        if (!mirror.fits(text)) continue
        const before = mirror.shown(readFileSync(path, 'utf8'))
        writeFileSync(path, mirror.with_(text))
        const { manager, log, said } = open(t, ring, { store: mirror.store(path) })
        assert.equal(manager.refreshToken, before, name)
        await until(() => mirror.shown(readFileSync(path, 'utf8')) === before, `${name}: replaced`)
        await until(() => ofTokens(log, 'warn').length > 0, `${name}: the warning`)
        const warnings = ofTokens(log, 'warn')
        assert.equal(warnings.length, 1, said())
        assert.ok(warnings[0]?.message.includes('shows something that cannot be a refresh token'), said())
        assert.ok(warnings[0]?.message.includes(says), said())
        noCanary(said(), name)
        await manager.refresh()
        await manager.close()
        assert.equal(manager.status.code, undefined)
      }
      assert.equal(ring.counts.invalidGrants, 0)
    })

    it(`a text that cannot be a token in ${mirror.name}, without any other token, counts as a missing token, and the message says why`, async (t) => {
      const ring = await startRing(t)
      for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
        if (!mirror.fits(text)) continue
        const path = join(tempDir(t), mirror.file)
        writeFileSync(path, mirror.with_(text))
        const { manager, said } = open(t, ring, { store: mirror.store(path) })
        assert.equal(manager.refreshToken, null)
        const { message } = await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
        assert.ok(message.startsWith('There is no refresh token in the store: ') && message.includes(says), message)
        assert.deepEqual([manager.status.state, manager.status.code], ['needs-login', 'NO_REFRESH_TOKEN'])
        noCanary(message + said(), name)
        assert.equal(readFileSync(path, 'utf8'), mirror.with_(text), name)
        await manager.close()
      }
      const path = join(tempDir(t), mirror.file)
      writeFileSync(path, mirror.with_('undefined'))
      for (const command of ['status', 'token', 'refresh']) {
        const done = await run([command, mirror.option, path, '--json'], { ring })
        const { message } = command === 'status' ? json(done) : cliFailure(done, 'NO_REFRESH_TOKEN', 3)
        assert.equal(done.code, 3)
        assert.ok(
          message.startsWith(`There is no refresh token in ${path}: the text there is what JavaScript`),
          message,
        )
        assert.ok(message.endsWith(`Or get one with: ring-auth login ${mirror.option} ${path}`), message)
        assert.ok(!done.stderr.includes('one keeper'), 'nothing is kept')
      }
      assert.equal(ring.requests.length, 0)
    })

    it(`a reference in ${mirror.name} is left alone, and rotations continue in the journal`, async (t) => {
      const ring = await startRing(t)
      const path = join(tempDir(t), mirror.file)
      writeFileSync(path, mirror.with_(''))
      await keep(ring, mirror.store(path))
      for (const [name, [text, says]] of Object.entries(REFERENCES)) {
        const content = mirror.with_(text)
        writeFileSync(path, content)
        const { manager, log, said } = open(t, ring, { store: mirror.store(path) })
        for (let i = 0; i < 3; i++) await manager.refresh()
        assert.deepEqual([manager.status.state, manager.status.code], ['ready', undefined], name)
        await manager.close()
        assert.equal(readFileSync(path, 'utf8'), content, name)
        const lines = log.filter(({ message }) => message.includes(says))
        assert.deepEqual(
          lines.map(({ level }) => level),
          ['info'],
          said(),
        )
        assert.deepEqual(ofTokens(log, 'warn', 'error'), [], name)
        noCanary(said(), name)
      }
      const status = await run(['status', mirror.option, path, '--json'], { ring })
      assert.equal(status.code, 0)
      const { mirror: shown, code, state } = json(status)
      assert.deepEqual([shown.shows, shown.message, code, state], ['reference', null, null, 'ready'])
      const refreshed = await run(['refresh', mirror.option, path], { ring })
      assert.equal(refreshed.code, 0)
      assert.match(
        refreshed.stderr,
        /The new refresh token is stored in the journal .* is left alone, because it is an encrypted value/,
      )
      const out = await run(['logout', mirror.option, path], { ring })
      assert.equal(out.code, 0, out.stderr)
      assert.equal(readFileSync(path, 'utf8'), mirror.with_(String(REFERENCES['an encrypted value']?.[0])))
      assert.equal((await run(['status', mirror.option, path], { ring })).code, 3)
      assert.equal(ring.counts.invalidGrants, 0)
    })

    it(`a reference in ${mirror.name} leaves the token of a login in the journal, and the command reports that`, async (t) => {
      const ring = await startRing(t, { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'none' }] })
      const path = join(tempDir(t), mirror.file)
      const content = mirror.with_('encrypted:CANARYCANARYCANARY')
      writeFileSync(path, content)
      const done = await run(['login', mirror.option, path, '--email', EMAIL, '--password-stdin'], {
        ring,
        input: `${PASSWORD}\n`,
      })
      assert.equal(done.code, 0, done.stderr)
      assert.equal(readFileSync(path, 'utf8'), content)
      assert.match(
        done.stderr,
        /Successfully logged in to Ring\. The refresh token is stored in the journal .*\.ring-auth/,
      )
      assert.ok(
        done.stderr.includes(`the value in ${path} is left alone, because it is an encrypted value`),
        done.stderr,
      )
      noCanary(done.stderr)
      assert.equal((await run(['token', mirror.option, path], { ring })).code, 0)
      const status = json(await run(['status', mirror.option, path, '--json'], { ring }))
      assert.deepEqual([status.state, status.mirror.shows], ['ready', 'reference'])
    })
  }

  it('a text that cannot be a token from a custom store does not count as an empty store', async (t) => {
    const ring = await startRing(t)
    for (const [name, [text, says]] of Object.entries(NO_TOKENS)) {
      for (const statePath of [undefined, join(tempDir(t), 'state')]) {
        let kept = text
        const save = (/** @type {string} */ token) => void (kept = token)
        const store = { load: () => kept, save, ...(statePath === undefined ? {} : { statePath }) }
        const { manager, said } = open(t, ring, { store })
        const posts = ring.counts.tokenPosts
        const { message } = await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
        assert.ok(message.includes(says), `${name}: ${message}`)
        assert.ok(said().includes(says), said())
        noCanary(message + said(), name)
        assert.equal(ring.counts.tokenPosts, posts)
        await manager.setRefreshToken(wrapped(ring))
        await manager.getAccessToken()
        // A reference belongs to another program, if a journal keeps the token.
        if (statePath !== undefined && name in REFERENCES) assert.equal(kept, text, name)
        else await until(() => kept === manager.refreshToken, `${name}: saved`)
        await manager.close()
      }
    }
    assert.equal(ring.counts.invalidGrants, 0)
  })
})

it('a token of Ring that is shorter than a person may give is recognised where the manager keeps it', async (t) => {
  const ring = await startRing(t)
  const path = join(tempDir(t), '.env')
  writeFileSync(path, dotenvWith(wrapped(ring)))
  ring.fault({ kind: 'mutate', fn: (/** @type {any} */ answer) => ({ ...answer, refresh_token: 'short' }) })
  const store = { type: /** @type {const} */ ('dotenv'), path }
  const first = open(t, ring, { store })
  await first.manager.getAccessToken()
  assert.equal(rawOf(wrap({ rt: 'eyJ.long.enough-for-a-person' })), 'eyJ.long.enough-for-a-person')
  const newest = String(first.manager.refreshToken)
  await first.manager.close()
  assert.equal(readFileSync(path, 'utf8'), dotenvWith(newest))
  const second = open(t, ring, { store, refreshToken: newest })
  assert.equal(second.manager.refreshToken, newest)
  await failure(second.manager.refresh(), 'REFRESH_TOKEN_REJECTED')
  assert.equal(ring.tokenRequests.at(1)?.form['refresh_token'], 'short')
  assert.doesNotMatch(second.said(), /ignored|cannot be a refresh token/)
})
