// @ts-check
// Services, containers and cron jobs, with real processes.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { CANARY, LOGIN, Screen, account, failure, json, noSecret, printed, run, setUp, start } from './support/cli.mjs'
import { EMAIL, OUTAGE, PASSWORD, editJournal, readJournal, unwrap, until, wrap } from './support/index.mjs'
import { commandLineOf, devices, links, terminal } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** A journal with a token in it, as a login leaves it. @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function loggedIn(t, settings = {}) {
  const all = await setUp(t, { ...account('none'), ...settings })
  const done = await run([...LOGIN, '--state-file', all.journal], { ring: all.ring, input: `${PASSWORD}\n` })
  assert.equal(done.code, 0, done.stderr)
  all.ring.clearRequests()
  all.ring.clearCounts()
  return all
}

const HOUR = 3_600_000

describe('status --max-age', { concurrency: 4 }, () => {
  it('status reports the last success: the login, and then each rotation', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const status = async () => json(await run(['status', '--state-file', journal, '--json'], { ring }))
    const first = (await status()).lastSuccessAt
    assert.ok(Math.abs(Date.now() - first) < 600_000)
    editJournal(journal, (state) => (state.lastSuccessAt -= HOUR))
    assert.equal((await status()).lastSuccessAt, first - HOUR)
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 0)
    const second = (await status()).lastSuccessAt
    assert.ok(second >= first, 'a rotation is a success')
    ring.fault(OUTAGE)
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 5)
    assert.equal((await status()).lastSuccessAt, second, 'a failure is none')
    assert.match((await run(['status', '--state-file', journal], { ring })).stdout, /^Last success: \d+ s ago$/m)
  })

  it('status --max-age ends with 5 beyond that age, and with 3 if a login is needed', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const check = (/** @type {string[]} */ ...args) => run(['status', '--state-file', journal, ...args], { ring })
    editJournal(journal, (state) => (state.lastSuccessAt = Date.now() - 27 * HOUR))
    assert.equal((await check('--max-age', '28h')).code, 0)
    const old = await check('--max-age', '26h', '--json')
    assert.equal(old.code, 5)
    assert.equal(json(old).state, 'ready', 'the status is shown all the same')
    assert.equal(old.stderr, 'ring-auth: The last success was 1 d 3 h ago, and --max-age allows 1 d 2 h.\n')
    assert.equal((await check('--max-age', '1d', '--quiet')).code, 5)

    editJournal(journal, (state) => (state.lastSuccessAt = Date.now() + 99 * HOUR))
    const future = await check('--max-age', '1s')
    assert.equal(future.code, 0, future.stderr)
    assert.match(future.stdout, /Last success: 0 s ago/)

    editJournal(journal, (state) => delete state.lastSuccessAt)
    const never = await check('--max-age', '3650d')
    assert.equal(never.code, 5)
    assert.match(never.stderr, /There was no success yet, and --max-age allows 3650 d 0 h/)

    ring.revokeAll()
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).code, 4)
    const dead = await check('--max-age', '1s')
    assert.equal(dead.code, 3, 'a login comes first')
    noSecret(dead.stdout + dead.stderr)
    assert.equal(readJournal(journal).lastSuccessAt, null)
  })

  it('status --max-age refuses an age without a unit', async (t) => {
    const { ring, journal } = await setUp(t)
    const done = await run(['status', '--state-file', journal, '--max-age', '26'], { ring })
    assert.equal(done.code, 2)
    assert.match(
      done.stderr,
      /^ring-auth: --max-age is a whole number above 0 with one of the units s, m, h and d, as in 26h/,
    )
  })
})

/** Writes a file, and returns its path. @param {string} folder @param {string} name @param {string | Buffer} content */
function put(folder, name, content) {
  const path = join(folder, name)
  writeFileSync(path, content, { mode: 0o600 })
  return path
}

describe('secrets from files', { concurrency: 4 }, () => {
  const login = (/** @type {string} */ journal) => ['login', '--state-file', journal, '--json']

  it('a login takes everything from files, as Docker and Kubernetes mount them', { skip: links() }, async (t) => {
    const { ring, folder, journal } = await setUp(t, { ...account('totp'), web: false })
    const mounted = join(folder, '..data')
    mkdirSync(mounted)
    put(mounted, 'password', `\u{feff}${PASSWORD}\r\n`)
    symlinkSync(join('..data', 'password'), join(folder, 'password'))
    const env = {
      RING_EMAIL_FILE: put(folder, 'email', `${EMAIL}\n`),
      RING_PASSWORD_FILE: join(folder, 'password'),
      RING_TOTP_SECRET_FILE: put(folder, 'totp', `${ring.totpAddress()}\n`),
    }
    const done = await run(login(journal), { ring, env })
    assert.equal(done.code, 0, done.stderr)
    assert.equal(unwrap(json(done).refreshToken).rt, ring.newest())
    noSecret(done.stderr, String(new URL(ring.totpAddress()).searchParams.get('secret')))
  })

  it("a login takes everything from systemd's credentials, as the last resort", async (t) => {
    const { ring, folder, journal } = await setUp(t, account('totp'))
    put(folder, 'ring-email', EMAIL)
    put(folder, 'ring-password', `${PASSWORD}\n`)
    put(folder, 'ring-totp-secret', `${new URL(ring.totpAddress()).searchParams.get('secret')}\n`)
    const env = { CREDENTIALS_DIRECTORY: folder }
    const done = await run(login(journal), { ring, env })
    assert.equal(done.code, 0, done.stderr)
    // Every other source takes precedence.
    for (const [args, more, code] of /** @type {[string[], Record<string, string>, string][]} */ ([
      [['--email', 'other@example.com'], {}, 'INVALID_CREDENTIALS'],
      [[], { RING_PASSWORD: 'other' }, 'INVALID_CREDENTIALS'],
      [[], { RING_PASSWORD_FILE: put(folder, 'other', 'other') }, 'INVALID_CREDENTIALS'],
      [['--code', '000000000'], {}, 'TWO_FACTOR_INVALID'],
    ])) {
      failure(await run([...login(journal), ...args], { ring, env: { ...env, ...more } }), code, 4)
    }
  })

  it('--totp-secret-file and RING_TOTP_SECRET make the code of a login', async (t) => {
    const { ring, folder, journal } = await setUp(t, account('totp'))
    const secret = String(new URL(ring.totpAddress()).searchParams.get('secret')).toLowerCase()
    const path = put(folder, 'totp', secret.replace(/.{4}/g, '$& '))
    const input = `${PASSWORD}\n`
    for (const [args, env] of /** @type {[string[], Record<string, string>][]} */ ([
      [['--totp-secret-file', path], { RING_TOTP_SECRET: 'not looked at' }],
      [[], { RING_TOTP_SECRET: secret }],
    ])) {
      const done = await run([...LOGIN, '--state-file', journal, ...args], { ring, env, input })
      assert.equal(done.code, 0, done.stderr)
      noSecret(done.stderr + done.stdout, secret)
    }
  })

  it("two wrong codes from an authenticator's secret are exit 4, and the message says what to check", async (t) => {
    const { ring, folder, journal } = await setUp(t, account('totp'))
    const secret = 'JBSWY3DPEHPK3PXPJBSWY3DP'
    const path = put(folder, 'totp', `otpauth://totp/Ring?secret=${secret}&period=6`)
    const args = [...LOGIN, '--state-file', journal, '--json', '--verbose', '--totp-secret-file', path]
    const running = start(args, { ring })
    running.child.stdin.end(`${PASSWORD}\n`)
    const pid = Number(running.child.pid)
    await until(() => commandLineOf(pid).includes('--totp-secret-file') || running.code !== undefined, 'the process')
    noSecret(commandLineOf(pid), secret)
    const done = await running.ended
    const { message } = failure(done, 'TWO_FACTOR_INVALID', 4)
    assert.match(message, /check the secret, and the clock of this machine/)
    noSecret(done.stderr + done.stdout, secret)
  })

  it("a person at a terminal with an authenticator's secret is asked for no code", { skip: terminal }, async (t) => {
    const { ring, folder } = await setUp(t, account('totp'))
    const path = put(folder, 'totp', ring.totpAddress())
    const screen = Screen.login(t, ['--email', EMAIL, '--totp-secret-file', path], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
    assert.ok(!screen.text.includes('2fa Code'))
    assert.equal(unwrap(printed(screen.text)).rt, ring.newest())
  })

  it('a variable together with its _FILE is refused, before anything is sent', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    for (const name of ['RING_EMAIL', 'RING_PASSWORD', 'RING_2FA_CODE', 'RING_TOTP_SECRET']) {
      const env = { [name]: 'value', [`${name}_FILE`]: put(folder, name, 'value') }
      const { message } = failure(await run(login(journal), { ring, env }), 'INVALID_ARGUMENT', 2)
      assert.equal(message, `${name} and ${name}_FILE are both set. Take one of them away.`)
    }
    assert.equal(ring.requests.length, 0)
  })

  it('a command reads only the secrets that it needs', async (t) => {
    const { ring, folder, journal } = await loggedIn(t)
    const missing = join(folder, 'missing')
    const all = Object.fromEntries(
      ['RING_EMAIL', 'RING_PASSWORD', 'RING_2FA_CODE', 'RING_TOTP_SECRET'].map((name) => [`${name}_FILE`, missing]),
    )
    for (const command of ['token', 'refresh', 'status', 'logout']) {
      const done = await run([command, '--state-file', journal], { ring, env: all })
      assert.equal(done.code, 0, done.stderr)
    }
    const env = { ...all, RING_REFRESH_TOKEN_FILE: missing }
    const args = ['--email', EMAIL, '--password-stdin', '--code', '1', '--state-file', journal]
    const done = await run(['login', ...args], { ring, env, input: `${PASSWORD}\n` })
    assert.equal(done.code, 0, done.stderr)
  })

  it('a file that cannot be a secret is refused by its name', { skip: devices }, async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const fifo = join(folder, 'fifo')
    execFileSync('mkfifo', [fifo])
    const closed = put(folder, 'closed', 'x')
    chmodSync(closed, 0)
    for (const [path, says] of /** @type {[string, RegExp][]} */ ([
      [join(folder, 'missing'), /which does not exist/],
      [folder, /which is a folder/],
      [fifo, /which is a device, a FIFO or a socket/],
      ['/dev/null', /which is a device/],
      [put(folder, 'empty', '\n'), /nothing/],
      [put(folder, 'huge', 'x'.repeat(65_537)), /larger than 64 KiB/],
      [put(folder, 'utf16', Buffer.from('\u{feff}secret', 'utf16le')), /not valid UTF-8/],
      ...(process.getuid?.() === 0 ? [] : [/** @type {[string, RegExp]} */ ([closed, /cannot be read/])]),
    ])) {
      for (const name of ['RING_EMAIL_FILE', 'RING_PASSWORD_FILE', 'RING_2FA_CODE_FILE', 'RING_TOTP_SECRET_FILE']) {
        const done = await run(login(journal), { ring, env: { [name]: path } })
        const { message } = failure(done, 'INVALID_ARGUMENT', 2)
        assert.match(message, says, name)
        assert.ok(message.includes(name), message)
      }
      const done = await run([...login(journal), '--totp-secret-file', path], { ring })
      assert.match(failure(done, 'INVALID_ARGUMENT', 2).message, says)
    }
    // A user has put the password in the place of the path of its file.
    const done = await run(login(journal), { ring, env: { RING_PASSWORD_FILE: PASSWORD } })
    assert.match(failure(done, 'INVALID_ARGUMENT', 2).message, /^RING_PASSWORD_FILE names a file, not shown here/)
    assert.equal(ring.requests.length, 0)
  })

  it('a first token in a file is an old copy from the first rotation on', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const env = { RING_REFRESH_TOKEN_FILE: put(folder, 'token', `${ring.mint()}\n`) }
    const store = ['--state-file', journal]
    const before = json(await run(['status', ...store, '--json'], { ring, env }))
    assert.deepEqual([before.state, before.code], ['idle', null], 'it is begun with')
    for (let time = 0; time < 3; time++) {
      const done = await run(['refresh', ...store], { ring, env })
      assert.equal(done.code, 0, done.stderr)
    }
    assert.equal((await run(['token', ...store], { ring, env })).code, 0)
    assert.equal((await run(['status', ...store, '--max-age', '1h'], { ring, env })).code, 0)
    assert.equal(ring.counts.rotations, 3)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
    // A token that the journal knows does not replace a login that is needed.
    ring.revokeAll()
    assert.equal((await run(['refresh', ...store], { ring, env })).code, 4)
    assert.equal((await run(['status', ...store], { ring, env })).code, 3)
  })

  it('a first token in a file is not sent again after a logout, and the newest one can be given again', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const env = { RING_REFRESH_TOKEN_FILE: put(folder, 'token', `${ring.mint()}\n`) }
    const store = ['--state-file', journal]
    for (let time = 0; time < 2; time++) assert.equal((await run(['refresh', ...store], { ring, env })).code, 0)
    const newest = String(ring.newest())
    assert.equal((await run(['logout', ...store], { ring, env })).code, 0)
    assert.ok(!readFileSync(journal, 'utf8').includes(wrap({ rt: newest }).slice(0, 40)))
    for (const command of ['token', 'refresh']) {
      failure(await run([command, ...store, '--json'], { ring, env }), 'NO_REFRESH_TOKEN', 3)
    }
    assert.equal((await run(['status', ...store], { ring, env })).code, 3)
    assert.deepEqual([ring.counts.tokenPosts, ring.counts.stalePresentations], [2, 0])
    const again = await run(['refresh', ...store, '--refresh-token-stdin'], { ring, input: `${newest}\n` })
    assert.equal(again.code, 0, again.stderr)
    assert.deepEqual([ring.counts.rotations, ring.counts.stalePresentations], [3, 0])
  })

  it('a text in a file that is no token does not stop a working journal', async (t) => {
    const { ring, folder, journal } = await loggedIn(t)
    for (const [text, isEmpty] of /** @type {[string, boolean][]} */ ([
      [`two words ${CANARY}`, false],
      ['$RING_TOKEN', false],
      ['123456', false],
      ['\n', true],
    ])) {
      const env = { RING_REFRESH_TOKEN_FILE: put(folder, 'wrong', text) }
      const done = await run(['refresh', '--state-file', journal], { ring, env })
      assert.equal(done.code, 0, done.stderr)
      const other = join(folder, 'other.json')
      const refused = await run(['refresh', '--state-file', other, '--json'], { ring, env })
      failure(refused, isEmpty ? 'NO_REFRESH_TOKEN' : 'INVALID_ARGUMENT', isEmpty ? 3 : 2)
    }
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
  })

  it('a token in a file counts as one from standard input, and excludes it', async (t) => {
    const { ring, folder } = await setUp(t)
    const env = { RING_REFRESH_TOKEN_FILE: put(folder, 'token', ring.mint()), RING_REFRESH_TOKEN: 'not looked at' }
    assert.equal(json(await run(['status', '--json'], { ring, env })).state, 'idle')
    const rotated = await run(['refresh', '--json'], { ring, env })
    assert.equal(unwrap(json(rotated).refreshToken).rt, ring.newest())
    const twice = await run(['refresh', '--refresh-token-stdin', '--json'], { ring, env, input: 'x\n' })
    assert.match(
      failure(twice, 'INVALID_ARGUMENT', 2).message,
      /^--refresh-token-stdin and RING_REFRESH_TOKEN_FILE exclude/,
    )
    const wrong = { RING_REFRESH_TOKEN_FILE: put(folder, 'wrong', 'two words') }
    const refused = await run(['refresh', '--json'], { ring, env: wrong })
    assert.match(failure(refused, 'INVALID_ARGUMENT', 2).message, /^RING_REFRESH_TOKEN_FILE got no token/)
    failure(await run(['token', '--json'], { ring, env }), 'INVALID_ARGUMENT', 2)
    assert.equal(ring.counts.tokenPosts, 1)
  })
})
