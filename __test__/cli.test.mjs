// @ts-check
// The command line as people and scripts use it: the real program, a real terminal, a fake Ring.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { devNull } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  CANARY,
  LOGIN,
  Screen,
  ShellScreen,
  account,
  bin,
  environment,
  failure,
  json,
  noSecret,
  printed,
  run,
  setUp,
  start,
} from './support/cli.mjs'
import { EMAIL, PASSWORD, root, unwrap, until, wrap, writeJournal } from './support/index.mjs'
import { assertMode, commandLineOf, fullDevice, links, modes, shell, terminal } from './support/systems.mjs'

const { version, bin: bins } = createRequire(import.meta.url)('../package.json')

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {import('./fake-ring/settings.mjs').TwoFactor} TwoFactor */

const FLOWS = { web: {}, legacy: { web: false } }

/**
 * A login with pipes. If a code is needed, the test answers with the one that the fake Ring has sent.
 * @param {FakeRing} ring
 * @param {string[]} [args]
 * @param {import('./support/cli.mjs').RunOptions & { password?: string }} [options]
 */
async function logIn(ring, args = [], options = {}) {
  const login = start([...LOGIN, ...args], { ring, ...options })
  login.child.stdin.write(`${options.password ?? PASSWORD}\n`)
  if (ring.accounts.get(EMAIL).twoFactor !== 'none') {
    await until(() => ring.codesSent > 0 || login.child.exitCode !== null, 'the code')
    if (login.child.exitCode === null) login.child.stdin.write(`${ring.codeFor()}\n`)
  }
  login.child.stdin.end()
  return login.ended
}

/** A journal with a token in it, as a login leaves it. @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function loggedIn(t, settings = {}) {
  const all = await setUp(t, { ...account('none'), ...settings })
  const done = await logIn(all.ring, ['--state-file', all.journal])
  assert.equal(done.code, 0, done.stderr)
  all.ring.clearRequests()
  all.ring.clearCounts()
  return all
}

/** @param {string} journal */
const held = (journal) => JSON.parse(readFileSync(journal, 'utf8'))
/** @param {string} journal */
const newest = (journal) => {
  const { current } = held(journal)
  return unwrap(current.token ?? current).rt
}

describe('a person at a terminal', { concurrency: 4, skip: terminal }, () => {
  for (const [flow, settings] of Object.entries(FLOWS)) {
    for (const [method, prompt] of /** @type {[TwoFactor, string | undefined][]} */ ([
      ['sms', 'Please enter the code sent to +1xxxxxxxx89 via sms'],
      ['email', 'Please enter the code sent to p****@example.com via email'],
      ['totp', 'Please enter the code from your authenticator app'],
      ['unknown', 'Please enter the code sent to your text/email'],
      ['none', undefined],
    ])) {
      it(`a person at a terminal logs in with ${method}, ${flow} login`, async (t) => {
        const { ring } = await setUp(t, { ...settings, ...account(method) })
        const screen = Screen.login(t, [], { ring })
        await screen.answers('Email: ', `${EMAIL}\r`)
        await screen.answers('Password: ', `${PASSWORD}\r`)
        if (prompt) {
          await screen.sees(prompt)
          if (method === 'totp') assert.ok(!screen.text.includes('resend'))
          else await screen.sees('Type "resend" for another one')
          await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
        }
        await screen.sees('Please add the following to your config:')
        await screen.sees(/^"refreshToken": "[^"\s]+"\r?$/m)
        await screen.sees('worth as much as your password')
        assert.equal(await screen.exits(), 0)
        const token = printed(screen.text)
        assert.equal(unwrap(token).rt, ring.newest())
        assert.ok(ring.isLive(unwrap(token).rt))
        assert.match(unwrap(token).hid, UUID)
        assert.ok(!screen.text.includes(PASSWORD))
        assert.ok(ring.codesSent <= 1)
      })
    }
  }

  for (const password of ['  both ends  ', `+&=%"'\\`, 'пароль-ß-密码-😀', 'tab\u00a0nbsp']) {
    it(`a person at a terminal types the password ${JSON.stringify(password)}, which reaches Ring and never the screen`, async (t) => {
      for (const settings of Object.values(FLOWS)) {
        const { ring } = await setUp(t, { ...settings, ...account('none', password) })
        const screen = Screen.login(t, ['--email', EMAIL], { ring })
        // Corrections: a character of several bytes is one character, and Ctrl-U deletes the whole line.
        await screen.answers('Password: ', `wrong\x15x${password}é\x7f\x1b[A\x1b[3~\r`.replace('x', 'x\x7f'))
        await screen.sees('"refreshToken"')
        assert.equal(await screen.exits(), 0)
        assert.ok(!screen.text.includes(password) && !screen.text.includes('wrong'))
      }
    })
  }

  it('the prompt shows the e-mail address while a person corrects it', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const screen = Screen.login(t, [], { ring })
    await screen.answers('Email: ', `nobody\x15persön\x7f\x7fon@example.comm\x7f\r`)
    await screen.sees(EMAIL)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
  })

  it('a person at a terminal who types nothing is asked again, three times', async (t) => {
    const { ring } = await setUp(t)
    const screen = Screen.login(t, [], { ring })
    for (let i = 0; i < 3; i++) await screen.answers('Email: ', ' \r')
    assert.equal(await screen.exits(), 2)
    assert.match(screen.text, /e-mail address is empty.*INVALID_ARGUMENT/)
    assert.equal(ring.requests.length, 0)
  })

  it('a person at a terminal can ask for another code after the waiting time, within the same login', async (t) => {
    for (const settings of Object.values(FLOWS)) {
      const { ring } = await setUp(t, { ...settings, nextTimeInSecs: 60 })
      const early = Screen.login(t, ['--email', EMAIL], { ring })
      await early.answers('Password: ', `${PASSWORD}\r`)
      await early.sees('(after 60 seconds)')
      await early.answers('2fa Code: ', 'resend\r')
      await early.sees(/Ring sends no other code yet.* seconds/)
      assert.equal(ring.codesSent, 1)
      await early.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
      await early.sees('"refreshToken"')
      assert.equal(await early.exits(), 0)

      ring.settings.nextTimeInSecs = 0
      const late = Screen.login(t, ['--email', EMAIL], { ring })
      await late.answers('Password: ', `${PASSWORD}\r`)
      await late.sees('Type "resend" for another one.')
      await late.answers('2fa Code: ', 'resend\r')
      await late.sees('Another code is on its way.')
      assert.equal(ring.codesSent, 3)
      await late.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
      await late.sees('"refreshToken"')
      assert.equal(await late.exits(), 0)
      assert.equal(new Set(ring.requests.map(({ headers }) => headers['hardware_id']).filter(Boolean)).size, 1)
    }
  })

  it('a person at a terminal may still use the first code when Ring refuses to send another', async (t) => {
    const { ring } = await setUp(t, { maxCodesPerWindow: 1, nextTimeInSecs: 0 })
    const screen = Screen.login(t, ['--email', EMAIL], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.answers('2fa Code: ', 'resend\r')
    await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
  })

  it('a person at a terminal has three tries for a code, and an empty one does not count', async (t) => {
    for (const settings of Object.values(FLOWS)) {
      const { ring } = await setUp(t, settings)
      const screen = Screen.login(t, ['--email', EMAIL], { ring })
      await screen.answers('Password: ', `${PASSWORD}\r`)
      await screen.answers('2fa Code: ', '\r')
      await screen.sees('The code is empty')
      for (let i = 0; i < 2; i++) {
        await screen.answers('2fa Code: ', 'wrong\r')
        await screen.sees('Incorrect 2fa code')
      }
      await screen.answers('2fa Code: ', 'wrong\r')
      await screen.sees('(TWO_FACTOR_INVALID)')
      assert.equal(await screen.exits(), 4)
      assert.equal(ring.codesSent, 1)
    }
  })

  it('the dialogue ends when the login is over, and does not ask for a code that no login waits for', async (t) => {
    const { ring } = await setUp(t, { tamperState: true })
    const screen = Screen.login(t, ['--email', EMAIL, '--login-flow', 'pkce'], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('via sms')
    await screen.answers('2fa Code: ', `${ring.codeFor()}\r`)
    await screen.sees('answered for another login')
    assert.equal(await screen.exits(), 5)
    assert.equal(ring.codesSent, 1)
  })

  it('a person at a terminal succeeds with the third code', async (t) => {
    const { ring } = await setUp(t)
    const screen = Screen.login(t, ['--email', EMAIL, '--code', 'wrong1'], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('Incorrect 2fa code')
    await screen.answers('2fa Code: ', 'wrong2\r')
    await screen.sees('Incorrect 2fa code')
    await screen.answers('2fa Code: ', ` ${String(ring.codeFor()).replace(/^.../, '$&-')} \r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
  })

  it('a person at a terminal gives the code again after the network failed', async (t) => {
    const { ring } = await setUp(t, { web: false })
    const screen = Screen.login(t, ['--email', EMAIL], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await until(() => ring.codesSent, 'the code')
    ring.fault({ kind: 'status', status: 503, grant: 'password' })
    await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
    await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
    assert.equal(ring.codesSent, 1)
  })

  it('a person at a terminal is told at once of a wrong password', async (t) => {
    for (const settings of Object.values(FLOWS)) {
      const { ring, folder } = await setUp(t, settings)
      const screen = new ShellScreen(t, folder, ['--email', EMAIL], { ring })
      await screen.answers('Password: ', 'not-the-pass\r')
      await screen.sees('(INVALID_CREDENTIALS)')
      await screen.leavesSane(4)
      assert.ok(!screen.text.includes('not-the-pass'))
      assert.equal(ring.codesSent, 0)
    }
  })

  it('a person at a terminal sees that the command waits for Ring', async (t) => {
    const { ring } = await setUp(t, account('none'))
    ring.fault({ kind: 'slow', delayMs: 3000, path: /authorize/ })
    const screen = Screen.login(t, ['--email', EMAIL], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('Waiting for Ring')
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
  })

  for (const [key, name, exit] of /** @type {[string, string, number][]} */ ([
    ['\x03', 'Ctrl-C', 130],
    ['\x1c', 'Ctrl-\\', 130],
    ['\x04', 'Ctrl-D', 3],
  ])) {
    it(`${name} ends the command at each prompt, and the terminal is as before`, async (t) => {
      const { ring, folder } = await setUp(t)
      for (const prompt of ['Email: ', 'Password: ', '2fa Code: ']) {
        const screen = new ShellScreen(t, folder, [], { ring })
        if (prompt !== 'Email: ') await screen.answers('Email: ', `${EMAIL}\r`)
        if (prompt === '2fa Code: ') await screen.answers('Password: ', `${PASSWORD}\r`)
        await screen.answers(prompt, `${key === '\x04' ? '' : 'half'}${key}`)
        await screen.leavesSane(exit)
        assert.ok(!screen.text.includes(PASSWORD))
        if (prompt === 'Password: ') assert.ok(!screen.text.includes('half'))
        if (exit === 3) assert.match(screen.text, /(NO_REFRESH_TOKEN|TWO_FACTOR_REQUIRED)\)/)
      }
    })
  }

  it('Ctrl-C ends a login while Ring hangs', async (t) => {
    const { ring, folder, journal } = await setUp(t, account('none'))
    ring.fault({ kind: 'hang', path: /authorize/ })
    const screen = new ShellScreen(t, folder, ['--email', EMAIL, '--state-file', journal], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await until(() => ring.requests.length > 0, 'the request')
    screen.pty.write('\x03')
    await screen.leavesSane(130)
    assert.ok(!readFileSync(journal, 'utf8').includes(CANARY))
  })

  it('a second Ctrl-C ends a refresh that hangs, and its token is kept', async (t) => {
    const { ring, folder, journal } = await setUp(t, account('none'))
    ring.fault({ kind: 'hang', grant: 'refresh_token', times: 9 })
    const screen = new ShellScreen(t, folder, ['--email', EMAIL, '--state-file', journal], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await until(() => ring.counts.refreshes > 0, 'the refresh')
    screen.pty.write('\x03')
    await screen.sees('Ctrl-C again')
    screen.pty.write('\x03')
    await screen.leavesSane(130)
    assert.equal(newest(journal), ring.newest())
  })

  it('Ctrl-Z pauses a login, which then continues', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const screen = new Screen(t, 'bash', ['--norc', '--noprofile', '-i'], { ring, env: { PS1: '$ ' }, cwd: folder })
    await screen.answers('$ ', `stty -a >before; '${process.execPath}' '${bin}' --email ${EMAIL}\r`)
    await screen.answers('Password: ', 'correct \x1a')
    await screen.sees('Stopped')
    screen.pty.write('stty -a >stopped; fg\r')
    await screen.answers('Password: ', 'horse\r')
    await screen.sees('"refreshToken"')
    await screen.sees('$ ')
    screen.pty.write('exit\r')
    await screen.exits()
    for (const mode of [/ icanon/, / echo /, / isig/])
      assert.match(readFileSync(join(folder, 'stopped'), 'utf8').replace(/^/gm, ' '), mode)
    assert.ok(!screen.text.includes('horse'))
  })

  it('the terminal is as before if the program is terminated at the password', async (t) => {
    const { ring, folder } = await setUp(t)
    const screen = new ShellScreen(t, folder, ['--email', EMAIL], { ring })
    await screen.sees('Password: ')
    process.kill(await screen.child(), 'SIGTERM')
    await screen.leavesSane(143)
  })

  it('the list of processes shows no secret of a login', async (t) => {
    const { ring, folder } = await setUp(t)
    const screen = new ShellScreen(t, folder, ['--email', EMAIL], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('2fa Code: ')
    noSecret(commandLineOf(await screen.child()))
    screen.pty.write(`${ring.codeFor()}\r`)
    await screen.leavesSane(0)
  })

  it('the terminal shows neither the password of --password-stdin nor the token of --refresh-token-stdin', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const login = new ShellScreen(t, folder, LOGIN, { ring })
    await login.answers('Password: ', `${PASSWORD}\r`)
    await login.leavesSane(0)
    assert.ok(!login.text.includes(PASSWORD))
    const token = String(printed(login.text))
    const refresh = new ShellScreen(t, folder, ['refresh', '--refresh-token-stdin'], { ring })
    await refresh.answers('Refresh token: ', `${token}\r`)
    await refresh.leavesSane(0)
    assert.ok(!refresh.text.includes(token))
    assert.ok(refresh.text.includes(wrap({ rt: ring.newest() }).slice(0, 20)))
  })

  it('with --json only JSON is on standard output, and the dialogue is on standard error', async (t) => {
    const { ring, folder } = await setUp(t)
    const screen = new Screen(t, 'sh', ['-c', `'${process.execPath}' '${bin}' --json >'${folder}/out'`], { ring })
    await screen.answers('Email: ', `${EMAIL}\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
    assert.equal(await screen.exits(), 0)
    noSecret(screen.text)
    const result = JSON.parse(readFileSync(join(folder, 'out'), 'utf8'))
    assert.equal(unwrap(result.refreshToken).rt, ring.newest())
  })
})

describe('login in a script', { concurrency: 4 }, () => {
  it('a login in a script never hangs if there is no terminal', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const nothing = openSync(devNull, 'r')
    t.after(() => closeSync(nothing))
    for (const options of /** @type {import('./support/cli.mjs').RunOptions[]} */ ([
      { input: '' },
      { stdin: nothing },
      { stdin: 'ignore' },
      { input: null },
    ])) {
      for (const args of [[], ['--email', EMAIL], ['--json'], ['--state-file', journal]]) {
        const done = await run(args, { ring, ...options })
        assert.equal(done.code, 3)
        assert.match(done.stderr, /There is no terminal to ask for the (e-mail address|password)/)
        if (args.includes('--json')) failure(done, 'NO_REFRESH_TOKEN', 3)
        else assert.equal(done.stdout, '')
      }
    }
    assert.equal(ring.requests.length, 0)
    assert.deepEqual(readdirSync(folder), [])
  })

  it('a login in a script never hangs if standard input is not open', { skip: shell }, async (t) => {
    const { ring } = await setUp(t)
    const closed = spawn('sh', ['-c', `exec '${process.execPath}' '${bin}' <&-`], {
      env: environment(ring),
      stdio: 'ignore',
    })
    assert.equal(await new Promise((resolve) => closed.on('close', resolve)), 3)
    assert.equal(ring.requests.length, 0)
  })

  it('a login in a script takes password and code from standard input', async (t) => {
    for (const settings of Object.values(FLOWS)) {
      for (const [method, password] of /** @type {[TwoFactor, string][]} */ ([
        ['sms', ` +&=%"'\\ß `],
        ['none', 'plain'],
      ])) {
        const { ring } = await setUp(t, { ...settings, ...account(method, password) })
        const done = await logIn(ring, [], { password })
        assert.equal(done.code, 0, done.stderr)
        assert.equal(unwrap(printed(done.stdout)).rt, ring.newest())
        assert.match(done.stdout, /^"refreshToken": "[^"\s]+"$/m)
        noSecret(done.stderr, password, String(ring.codeFor()))
        if (method === 'sms') assert.match(done.stderr, /Please enter the code sent to \+1xxxxxxxx89 via sms/)
      }
    }
  })

  it('a login in a script exits with 3 if the code does not come, and says what helps', async (t) => {
    const { ring } = await setUp(t)
    const done = await run([...LOGIN, '--json'], { ring, input: `${PASSWORD}\r\n` })
    assert.match(failure(done, 'TWO_FACTOR_REQUIRED', 3).message, /--code/)
    const none = await run(LOGIN, { ring, input: '' })
    assert.equal(none.code, 3)
    assert.match(none.stderr, /--password-stdin/)
    assert.equal(ring.codesSent, 1)
  })

  it('a login in a script takes everything from the environment', async (t) => {
    const { ring } = await setUp(t, account('totp'))
    const env = { RING_EMAIL: EMAIL, RING_PASSWORD: PASSWORD, RING_2FA_CODE: ring.codeFor() }
    const done = await run(['--quiet'], { ring, env })
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stdout, /^"refreshToken": "[^"\s]+"\n$/)
    assert.equal(done.stderr, '')
    // An option takes precedence over its variable.
    const option = await run(['--email', EMAIL, '--code', String(ring.codeFor())], {
      ring,
      env: { ...env, RING_EMAIL: 'x@y', RING_2FA_CODE: '000000' },
    })
    assert.equal(option.code, 0, option.stderr)
  })

  it('a login in a script distinguishes the refusals', async (t) => {
    for (const settings of Object.values(FLOWS)) {
      const wrong = await setUp(t, settings)
      failure(await logIn(wrong.ring, ['--json'], { password: 'nope' }), 'INVALID_CREDENTIALS', 4)
      const code = await setUp(t, settings)
      failure(
        await run([...LOGIN, '--json', '--code', 'wrong1'], { ring: code.ring, input: `${PASSWORD}\n` }),
        'TWO_FACTOR_INVALID',
        4,
      )
      const many = await setUp(t, { ...settings, maxCodesPerWindow: 0 })
      failure(
        await run([...LOGIN, '--json'], { ring: many.ring, input: `${PASSWORD}\n` }),
        'TWO_FACTOR_RATE_LIMITED',
        4,
      )
    }
    const blocked = await setUp(t, { userAgent: /^nobody/ })
    failure(await run([...LOGIN, '--json'], { ring: blocked.ring, input: `${PASSWORD}\n` }), 'BLOCKED', 4)
    const down = await setUp(t)
    await down.ring.close()
    failure(await run([...LOGIN, '--json'], { ring: down.ring, input: `${PASSWORD}\n` }), 'NETWORK', 5)
    const ill = await setUp(t)
    ill.ring.fault({ kind: 'status', status: 503, path: /./, times: 99 })
    failure(await run([...LOGIN, '--json'], { ring: ill.ring, input: `${PASSWORD}\n` }), 'SERVER_ERROR', 5)
  })

  it('a login in a script has a fixed shape in JSON', async (t) => {
    const { ring, journal } = await setUp(t)
    const plain = json(await logIn(ring, ['--json']))
    assert.deepEqual(Object.keys(plain), ['refreshToken', 'hardwareId', 'expiresAt', 'persisted'])
    assert.equal(plain.persisted, false)
    assert.equal(plain.hardwareId, unwrap(plain.refreshToken).hid)
    assert.ok(plain.expiresAt > Date.now() && plain.expiresAt < Date.now() + 14_500_000)
    ring.clearCounts()
    const stored = json(await logIn(ring, ['--json', '--state-file', journal]))
    assert.equal(stored.persisted, true)
    assert.equal(unwrap(stored.refreshToken).rt, newest(journal))
  })

  it('a login in a script stores the token and does not show it', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const done = await logIn(ring, ['--state-file', journal])
    assert.equal(done.code, 0, done.stderr)
    assert.equal(done.stdout, '')
    assert.ok(done.stderr.includes(journal))
    assert.equal(newest(journal), ring.newest())
    assert.ok(ring.isLive(newest(journal)))
    for (const name of readdirSync(folder)) assertMode(join(folder, name), 0o600)
  })

  it('a login in a script prints the token if it cannot be stored after all', async (t) => {
    for (const how of [[], ['--json']]) {
      const { ring, folder } = await setUp(t)
      const place = join(folder, 'state')
      mkdirSync(place)
      const login = start([...LOGIN, ...how, '--state-file', join(place, 'j')], { ring })
      login.child.stdin.write(`${PASSWORD}\n`)
      await until(() => ring.codesSent, 'the code')
      // By now the login has proved that it can write. A file in the place of the folder stops even root.
      renameSync(place, join(folder, 'away'))
      writeFileSync(place, '')
      login.child.stdin.end(`${ring.codeFor()}\n`)
      const done = await login.ended
      assert.equal(done.code, 6, done.stderr)
      const token = how.length ? json(done).refreshToken : printed(done.stdout)
      assert.ok(ring.isLive(unwrap(token).rt))
      if (how.length) assert.equal(json(done).persisted, false)
      assert.match(done.stderr, /could not be stored/)
      assert.match(done.stderr, /\(STORE\)/)
      noSecret(done.stderr)
    }
  })

  it('a login in a script sends nothing to Ring if nothing can be stored', async (t) => {
    const { ring, folder } = await setUp(t)
    writeFileSync(join(folder, 'file'), '')
    failure(
      await run([...LOGIN, '--json', '--state-file', join(folder, 'file', 'j')], { ring, input: `${PASSWORD}\n` }),
      'STORE',
      6,
    )
    assert.equal(ring.requests.length, 0)
  })

  it('a login in a script fails if the only copy of a token cannot be printed', { skip: fullDevice }, async (t) => {
    const { ring } = await setUp(t, account('none'))
    const full = openSync('/dev/full', 'w')
    t.after(() => closeSync(full))
    const child = /** @type {import('node:child_process').ChildProcessWithoutNullStreams} */ (
      spawn(process.execPath, [bin, ...LOGIN], { env: environment(ring), stdio: ['pipe', full, 'pipe'] })
    )
    child.stdin.end(`${PASSWORD}\n`)
    let said = ''
    child.stderr.on('data', (text) => (said += text))
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 1)
    assert.match(said, /could not be written to standard output/)
    noSecret(said)
  })

  it('a login in a script uses the flow that --login-flow names', async (t) => {
    const { ring } = await setUp(t, account('none'))
    /** @param {string} flow */
    const paths = async (flow) => {
      ring.clearRequests()
      const done = await logIn(ring, ['--login-flow', flow])
      assert.equal(done.code, 0, done.stderr)
      return ring.requests.map(({ path, grant }) => grant ?? path)
    }
    assert.ok((await paths('pkce')).includes('/oauth/v2/authorize'))
    assert.ok((await paths('auto')).includes('/oauth/v2/authorize'))
    const password = await paths('password')
    assert.ok(password.includes('password') && !password.includes('/oauth/v2/authorize'))
    ring.settings.web = false
    ring.clearRequests()
    assert.notEqual((await run([...LOGIN, '--login-flow', 'pkce'], { ring, input: `${PASSWORD}\n` })).code, 0)
    assert.ok(ring.requests.length > 0 && ring.requests.every(({ grant }) => grant !== 'password'))
  })

  it('a login in a script has the hardware id of --system-id or the journal, and a new one with --new-device', async (t) => {
    const { ring, journal } = await setUp(t, account('none'))
    const ids = () => [...new Set(ring.requests.map(({ headers }) => headers['hardware_id']).filter(Boolean))]
    // As the package uuid derives it from ring-client-api's namespace.
    const named = json(await logIn(ring, ['--json', '--state-file', journal, '--system-id', 'my-system']))
    assert.equal(named.hardwareId, '1fd67c26-1c8d-580d-adb2-768b61351a1d')
    assert.deepEqual(ids(), [named.hardwareId])
    // The journal keeps it from then on, also with another --system-id.
    const again = json(await logIn(ring, ['--json', '--state-file', journal, '--system-id', 'other']))
    assert.equal(again.hardwareId, named.hardwareId)
    ring.clearRequests()
    const fresh = json(await logIn(ring, ['--json', '--state-file', journal, '--new-device']))
    assert.notEqual(fresh.hardwareId, named.hardwareId)
    assert.match(fresh.hardwareId, UUID)
    assert.deepEqual(ids(), [fresh.hardwareId])
    assert.equal(unwrap(fresh.refreshToken).hid, fresh.hardwareId)
    assert.equal(json(await run(['status', '--state-file', journal, '--json'], { ring })).hardwareId, fresh.hardwareId)
  })

  it('a login in a script sends its --device-name and its --user-agent', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const agent = 'android:com.ringapp:9.9.9(1)'
    const done = await logIn(ring, ['--user-agent', agent, '--device-name', 'Kitchen & Co'])
    assert.equal(done.code, 0, done.stderr)
    assert.deepEqual([...new Set(ring.requests.map(({ headers }) => headers['user-agent']))], [agent])
    assert.ok(
      ring.requests.some(({ body, search }) =>
        decodeURIComponent(`${body}${search}`.replaceAll('+', ' ')).includes('Kitchen & Co'),
      ),
    )
  })
})

describe('a journal', { concurrency: 4 }, () => {
  it('a journal gives its access token without a request, and with one after that token has expired', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const first = await run(['token', '--state-file', journal], { ring })
    assert.equal(first.code, 0, first.stderr)
    assert.ok(ring.isAccessLive(first.stdout.trim()))
    assert.equal(first.stderr, '')
    const again = json(await run(['token', '--state-file', journal, '--json'], { ring }))
    assert.deepEqual(Object.keys(again), ['accessToken', 'expiresAt'])
    assert.equal(again.accessToken, first.stdout.trim())
    assert.equal(ring.requests.length, 0)
    // As if four hours had passed.
    const state = held(journal)
    /** @param {any} value @returns {any} */
    const shift = (value) =>
      value && typeof value === 'object'
        ? Object.fromEntries(
            Object.entries(value).map(([key, inner]) => [
              key,
              /obtained/i.test(key) ? inner - 15_000_000 : shift(inner),
            ]),
          )
        : value
    writeJournal(journal, { ...state, access: shift(state.access) })
    const later = await run(['token', '--state-file', journal], { ring })
    assert.equal(later.code, 0, later.stderr)
    assert.notEqual(later.stdout, first.stdout)
    assert.equal(ring.counts.tokenPosts, 1)
    assert.equal(newest(journal), ring.newest())
  })

  it('token finishes the rotation that it begins in the last tenth of the lifetime', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const state = held(journal)
    const aged = JSON.parse(JSON.stringify(state), (key, value) => (/obtained/i.test(key) ? value - 14_000_000 : value))
    writeJournal(journal, aged)
    ring.fault({ kind: 'slow', delayMs: 700, grant: 'refresh_token' })
    const done = await run(['token', '--state-file', journal], { ring })
    assert.equal(done.code, 0, done.stderr)
    assert.ok(ring.isAccessLive(done.stdout.trim()))
    assert.equal(ring.counts.rotations, 1)
    assert.equal(newest(journal), ring.newest())
    assert.ok(ring.isLive(newest(journal)))
  })

  it('refresh rotates the token of a journal', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const before = newest(journal)
    const done = await run(['refresh', '--state-file', journal], { ring })
    assert.equal(done.code, 0, done.stderr)
    assert.equal(done.stdout, '')
    assert.ok(done.stderr.includes(journal))
    assert.notEqual(newest(journal), before)
    const result = json(await run(['refresh', '--state-file', journal, '--json'], { ring }))
    assert.deepEqual(Object.keys(result), ['refreshToken', 'hardwareId', 'expiresAt', 'persisted'])
    assert.equal(result.persisted, true)
    assert.equal(unwrap(result.refreshToken).rt, ring.newest())
    assert.equal(newest(journal), ring.newest())
    assert.equal(ring.counts.rotations, 2)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('refresh respects the cool-down of a journal, unless it is forced', async (t) => {
    const { ring, journal } = await loggedIn(t)
    ring.fault({ kind: 'status', status: 429, headers: { 'retry-after': '3600' } })
    const first = failure(await run(['refresh', '--state-file', journal, '--json'], { ring }), 'RATE_LIMITED', 5)
    assert.equal(first.transient, true)
    assert.ok(first.retryAfterMs > 3_500_000)
    failure(await run(['refresh', '--state-file', journal, '--json'], { ring }), 'RATE_LIMITED', 5)
    assert.equal(ring.counts.tokenPosts, 1)
    const status = await run(['status', '--state-file', journal, '--json'], { ring })
    assert.equal(status.code, 0)
    assert.equal(json(status).state, 'waiting')
    assert.equal(json(status).code, 'RATE_LIMITED')
    assert.ok(json(status).retryAt > Date.now() + 3_000_000)
    assert.equal((await run(['refresh', '--force', '--state-file', journal], { ring })).code, 0)
    assert.equal(ring.counts.tokenPosts, 2)
  })

  it('a journal limits the requests of fifty starts in an outage', async (t) => {
    const { ring, journal } = await setUp(t)
    const token = ring.mint()
    ring.fault({ kind: 'status', status: 503, times: 999 })
    const began = Date.now()
    const seen = await run(['token', '--state-file', journal, '--refresh-token-stdin'], { ring, input: token })
    assert.equal(seen.code, 5)
    for (let i = 0; i < 49; i += 7) {
      const starts = await Promise.all(
        Array.from({ length: 7 }, () => run(['token', '--state-file', journal, '--json'], { ring })),
      )
      for (const start of starts) failure(start, 'SERVER_ERROR', 5)
    }
    // Four at first, and one after each cool-down, of which each lasts 4 s at least.
    const bound = 4 + Math.ceil((Date.now() - began) / 4000)
    assert.ok(ring.counts.tokenPosts <= Math.min(bound, 20), `${ring.counts.tokenPosts} requests`)
    assert.ok(ring.isLive(token))
  })

  it('a journal takes a token from standard input', async (t) => {
    const { ring, journal } = await setUp(t)
    const token = ring.mint()
    const done = await run(['token', '--state-file', journal, '--refresh-token-stdin'], { ring, input: `${token}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.ok(ring.isAccessLive(done.stdout.trim()))
    assert.equal(newest(journal), ring.newest())
    // The next time it is an old copy, as in a script that never changes; or standard input is empty.
    for (const input of [`${token}\n`, '\n']) {
      const again = await run(['token', '--state-file', journal, '--refresh-token-stdin'], { ring, input })
      assert.equal(again.stdout, done.stdout)
    }
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('status shows a journal without a request and without a secret', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const bytes = readFileSync(journal)
    const text = await run(['status', '--state-file', journal], { ring })
    assert.equal(text.code, 0, text.stderr)
    assert.match(text.stdout, /State: +ready/)
    assert.match(text.stdout, /Hardware id: +[0-9a-f-]{36}/)
    assert.match(text.stdout, /Token age: +\d+ /)
    assert.match(text.stdout, /Access token: valid for another 3 h/)
    const status = await run(['status', '--state-file', journal, '--json'], { ring })
    const result = json(status)
    assert.deepEqual(Object.keys(result), [
      'state',
      'code',
      'message',
      'retryAt',
      'persisted',
      'hardwareId',
      'ageSeconds',
      'expiresAt',
      'lastSuccessAt',
    ])
    assert.deepEqual(
      [result.state, result.code, result.message, result.retryAt, result.persisted],
      ['ready', null, null, null, true],
    )
    assert.match(result.hardwareId, UUID)
    assert.ok(Number.isInteger(result.ageSeconds) && result.ageSeconds >= 0)
    assert.ok(result.expiresAt > Date.now())
    noSecret(text.stdout + status.stdout)
    assert.equal(ring.requests.length, 0)
    assert.deepEqual(readFileSync(journal), bytes)
  })

  it('an empty journal reports that a login is needed', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const status = await run(['status', '--state-file', journal, '--json'], { ring })
    assert.equal(status.code, 3)
    assert.equal(json(status).state, 'needs-login')
    assert.equal(json(status).code, 'NO_REFRESH_TOKEN')
    assert.deepEqual(readdirSync(folder), [])
    for (const command of ['token', 'refresh']) {
      const error = failure(await run([command, '--state-file', journal, '--json'], { ring }), 'NO_REFRESH_TOKEN', 3)
      assert.ok(error.message.includes(`ring-auth login --state-file ${journal}`))
    }
    assert.equal(ring.requests.length, 0)
  })

  it('a journal reports that its token was rejected, and the token is sent again only if forced', async (t) => {
    const { ring, journal } = await loggedIn(t)
    ring.revokeAll()
    failure(await run(['refresh', '--state-file', journal, '--json'], { ring }), 'REFRESH_TOKEN_REJECTED', 4)
    const posts = ring.counts.tokenPosts
    const status = await run(['status', '--state-file', journal, '--json'], { ring })
    assert.equal(status.code, 3)
    assert.equal(json(status).code, 'REFRESH_TOKEN_REJECTED')
    failure(await run(['refresh', '--state-file', journal, '--json'], { ring }), 'REFRESH_TOKEN_REJECTED', 4)
    assert.equal(ring.counts.tokenPosts, posts)
    failure(await run(['refresh', '--state-file', journal, '--json', '--force'], { ring }), 'REFRESH_TOKEN_REJECTED', 4)
    assert.equal(ring.counts.tokenPosts, posts + 1)
  })

  it('a journal that can no longer be written does not cost the new token', async (t) => {
    for (const command of ['token', 'refresh']) {
      for (const how of [[], ['--json']]) {
        const { ring, folder } = await setUp(t)
        const place = join(folder, 'state')
        mkdirSync(place)
        const journal = join(place, 'j')
        ring.fault({ kind: 'slow', delayMs: 1000, grant: 'refresh_token' })
        const rotation = start([command, ...how, '--refresh-token-stdin', '--state-file', journal], { ring })
        rotation.child.stdin.end(ring.mint())
        await until(() => ring.counts.rotations, 'the rotation')
        renameSync(place, join(folder, 'away'))
        writeFileSync(place, '')
        const done = await rotation.ended
        assert.equal(done.code, 6, done.stderr)
        assert.match(done.stderr, /could not be stored/)
        noSecret(done.stderr)
        const result = how.length
          ? json(done)
          : { refreshToken: printed(done.stdout) ?? done.stdout.trim(), accessToken: done.stdout.split('\n')[0] }
        assert.ok(ring.isLive(unwrap(result.refreshToken).rt))
        if (command === 'token') assert.ok(ring.isAccessLive(result.accessToken))
        else if (how.length) assert.equal(result.persisted, false)
      }
    }
  })

  it('logout empties a journal, removes all files beside it but the lock, and reports that', async (t) => {
    for (const how of [[], ['--json']]) {
      const { ring, folder, journal } = await loggedIn(t)
      writeFileSync(join(folder, 'other'), 'kept')
      const damaged = createHash('sha256').update(CANARY).digest('hex').slice(0, 32)
      writeFileSync(`${journal}.damaged-${damaged}`, CANARY)
      const done = await run(['logout', '--state-file', journal, ...how], { ring })
      assert.equal(done.code, 0, done.stderr)
      if (how.length) assert.deepEqual(json(done), {})
      else assert.equal(done.stdout, '')
      assert.match(done.stderr, /Control Center/)
      assert.deepEqual(readdirSync(folder).sort(), ['journal.json', 'journal.json.lock', 'other'])
      const left = held(journal)
      assert.equal(left.current, null)
      assert.ok(Math.abs(Date.now() - left.loggedOutAt) < 600_000, 'it says when')
      assert.equal((await run(['status', '--state-file', journal], { ring })).code, 3)
      assert.equal((await run(['logout', '--state-file', journal], { ring })).code, 0)
      assert.equal(ring.requests.length, 0)
    }
  })

  it('a journal of another issuer is not changed, and nothing is sent', async (t) => {
    const { ring, journal } = await loggedIn(t)
    const other = await setUp(t)
    const bytes = readFileSync(journal)
    for (const args of [[...LOGIN], ['token'], ['refresh'], ['refresh', '--force'], ['status'], ['logout']]) {
      const done = await run([...args, '--state-file', journal, '--json'], { ring: other.ring, input: `${PASSWORD}\n` })
      assert.match(failure(done, 'INVALID_ARGUMENT', 2).message, /RING_AUTH_OAUTH_URL/)
    }
    assert.equal(other.ring.requests.length + ring.requests.length, 0)
    assert.deepEqual(readFileSync(journal), bytes)
  })

  it('a journal whose folder is a file is a failure of the store', async (t) => {
    const { ring, folder } = await setUp(t)
    writeFileSync(join(folder, 'file'), '')
    for (const command of ['token', 'refresh', 'status', 'logout']) {
      const done = await run([command, '--state-file', join(folder, 'file', 'j'), '--json'], { ring })
      failure(done, 'STORE', 6)
      assert.equal(done.stderr.match(/\(STORE\)/g)?.length, 1, done.stderr)
    }
  })
})

describe('without a journal', { concurrency: 4 }, () => {
  it('refresh without a journal prints the new token', async (t) => {
    const { ring } = await setUp(t)
    const token = ring.mint()
    const done = await run(['refresh', '--refresh-token-stdin'], { ring, input: `${token}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.equal(unwrap(done.stdout.trim()).rt, ring.newest())
    const result = json(await run(['refresh', '--refresh-token-stdin', '--json'], { ring, input: done.stdout }))
    assert.deepEqual(Object.keys(result), ['refreshToken', 'hardwareId', 'expiresAt', 'persisted'])
    assert.equal(result.persisted, false)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('status without a journal decodes the token', async (t) => {
    const { ring } = await setUp(t)
    const wrapped = wrap({ rt: ring.mint(), hid: 'some-device' })
    const done = await run(['status', '--refresh-token-stdin', '--json'], { ring, input: `${wrapped}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.deepEqual(json(done), {
      state: 'idle',
      code: null,
      message: null,
      retryAt: null,
      persisted: false,
      hardwareId: 'some-device',
      ageSeconds: null,
      expiresAt: null,
      lastSuccessAt: null,
    })
    noSecret(done.stdout)
    assert.equal(ring.requests.length, 0)
  })

  it('a token on standard input may have broken lines and a blank line before it', async (t) => {
    const { ring } = await setUp(t)
    const inLines = (/** @type {string} */ text) => `${text.replace(/.{76}/g, '$&\n')}\n`
    const printed = (/** @type {string} */ text) => `\n"refreshToken": "${text}"\n`
    for (const dress of [inLines, printed, (/** @type {string} */ text) => inLines(printed(text))]) {
      const token = wrap({ rt: ring.mint() })
      const done = await run(['refresh', '--refresh-token-stdin'], { ring, input: dress(token) })
      assert.equal(done.code, 0, done.stderr)
    }
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.invalidGrants, 0)
  })

  it('a first line that is no token is reported although standard input stays open', async (t) => {
    const { ring } = await setUp(t)
    const refused = start(['refresh', '--refresh-token-stdin', '--json'], { ring })
    refused.child.stdin.write('123456\n')
    failure(await refused.ended, 'INVALID_ARGUMENT', 2)
    assert.equal(ring.requests.length, 0)
  })

  it('a text on standard input that is no token is refused', async (t) => {
    const { ring } = await setUp(t)
    for (const input of ['\n', `${CANARY} with spaces\u0001\n`, `${'x'.repeat(70_000)}\n`, Buffer.from([0xff, 10])]) {
      for (const command of ['refresh', 'status']) {
        failure(await run([command, '--refresh-token-stdin', '--json'], { ring, input }), 'INVALID_ARGUMENT', 2)
      }
    }
    for (const command of ['refresh', 'status']) {
      const done = await run([command, '--refresh-token-stdin', '--json'], { ring, input: '' })
      assert.match(failure(done, 'NO_REFRESH_TOKEN', 3).message, /--refresh-token-stdin/)
    }
    assert.equal(ring.requests.length, 0)
  })
})

describe('wrong usage', { concurrency: 4 }, () => {
  const S = 'hunter2-secret'
  for (const [args, name] of /** @type {[string[], string][]} */ ([
    [['--nope'], '--nope'],
    [[`--nope=${S}`], '--nope'],
    [['-x'], '-x'],
    [['--env-key', S], '--env-key'],
    [['--state-dir', S], '--state-dir'],
    [['--platform', S], '--platform'],
    [['--name', S], '--name'],
    [['--password', S], '--password'],
    [[`--password=${S}`], '--password'],
    [['frobnicate'], 'frobnicate'],
    [[S], 'login, token, refresh, status, watch, doctor and logout'],
    [['login', S], 'word too many'],
    [[`--json=${S}`], '--json'],
    [['--email'], '--email'],
    [['--email', ' '], '--email'],
    [['--code', ''], '--code'],
    [['--code', 'ü'], '--code'],
    [['--login-flow', S], '--login-flow'],
    [['--user-agent', `${S}ü`], '--user-agent'],
    [['--user-agent', `${S}\n`], '--user-agent'],
    [['--state-file', ''], '--state-file'],
    [['--force'], '--force'],
    [['--refresh-token-stdin'], '--refresh-token-stdin'],
    [['token'], '--state-file'],
    [['refresh'], '--state-file'],
    [['status'], '--state-file'],
    [['logout'], '--state-file'],
    [['token', '--refresh-token-stdin'], '--state-file'],
    [['token', '--email', S, '--state-file', 'j'], '--email'],
    [['logout', '--new-device', '--state-file', 'j'], '--new-device'],
  ])) {
    it(`wrong usage is refused by name: ${args.join(' ').replace(S, '…')}`, async (t) => {
      const { ring, folder } = await setUp(t)
      const done = await run(args, { ring, input: null, cwd: folder })
      assert.equal(done.code, 2, done.stderr)
      assert.equal(done.stdout, '')
      assert.ok(done.stderr.includes(name) && done.stderr.includes('INVALID_ARGUMENT'), done.stderr)
      noSecret(done.stderr, S)
      const inJson = failure(await run(['--json', ...args], { ring, input: null, cwd: folder }), 'INVALID_ARGUMENT', 2)
      assert.ok(inJson.message.includes(name))
      assert.equal(ring.requests.length, 0)
      assert.deepEqual(readdirSync(folder), [])
    })
  }

  it('a variable that cannot be used is refused by name', async (t) => {
    const { ring } = await setUp(t)
    for (const [name, value] of /** @type {[string, string][]} */ ([
      ['RING_AUTH_OAUTH_URL', 'http://example.com'],
      ['RING_AUTH_API_URL', `https://me:${S}@example.com`],
      ['RING_2FA_CODE', 'ü'],
      ['RING_EMAIL', ' '],
    ])) {
      const done = await run(['login', '--json'], { ring, env: { [name]: value } })
      assert.ok(failure(done, 'INVALID_ARGUMENT', 2).message.includes(name))
      noSecret(done.stderr, S)
    }
    assert.equal(ring.requests.length, 0)
  })
})

it('the next start of the command line finishes the rotation that a killed one began', async (t) => {
  const { ring, journal } = await loggedIn(t)
  ring.fault({ kind: 'hang-after', grant: 'refresh_token' })
  ring.settings.graceMs = 60_000
  const killed = start(['refresh', '--state-file', journal], { ring })
  await until(() => ring.counts.rotations, 'the rotation')
  killed.child.kill('SIGKILL')
  await killed.ended
  // Commands that read or forget the token need no request; a refresh does.
  const copy = `${journal}-copy`
  copyFileSync(journal, copy)
  assert.equal((await run(['status', '--state-file', journal], { ring })).code, 0)
  assert.equal((await run(['logout', '--state-file', copy], { ring })).code, 0)
  assert.equal(ring.counts.tokenPosts, 1)
  const refresh = await run(['refresh', '--state-file', journal], { ring })
  assert.equal(refresh.code, 0, refresh.stderr)
  assert.ok(ring.isLive(newest(journal)))
})

describe('the program', { concurrency: 4 }, () => {
  it('the command line prints its version and its help', async () => {
    assert.equal((await run(['--version'])).stdout, `${version}\n`)
    assert.equal((await run(['-V', '--json'])).stdout, `${version}\n`)
    for (const args of [['--help'], ['-h'], ['help'], ['token', '--help'], ['login', '--help', '--quiet']]) {
      const done = await run(args)
      assert.equal(done.code, 0)
      assert.equal(done.stderr, '')
      for (const option of [
        '--email',
        '--password-stdin',
        '--code',
        '--state-file',
        '--login-flow',
        '--user-agent',
        '--system-id',
        '--device-name',
        '--new-device',
        '--force',
        '--refresh-token-stdin',
        '--json',
        '--quiet',
        '--verbose',
        'RING_PASSWORD',
        '--homebridge',
        '--platform',
        '--name',
        '--env-file',
        '--dotenv',
        '--env-key',
        '--state-dir',
      ]) {
        assert.ok(done.stdout.includes(option), option)
      }
    }
  })

  it('the command line works through the link that npm makes', { skip: modes || links() }, async (t) => {
    const { ring, folder, journal } = await loggedIn(t)
    assert.deepEqual(Object.keys(bins), ['ring-auth'])
    for (const [name, path] of Object.entries(bins)) {
      const link = join(folder, name)
      symlinkSync(join(root, path), link)
      assert.ok(statSync(join(root, path)).mode & 0o100, 'it can be run')
      const done = start(['--state-file', journal], { ring, command: link, script: 'status' })
      done.child.stdin.end()
      assert.equal((await done.ended).code, 0, done.stderr)
    }
  })

  it('the command line ends without an error if its output is not read to the end', async (t) => {
    const { ring, journal } = await loggedIn(t)
    for (const args of [['status', '--json'], ['token'], ['refresh']]) {
      const child = spawn(process.execPath, [bin, ...args, '--state-file', journal], {
        env: environment(ring),
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child.stdout.destroy()
      let said = ''
      child.stderr.on('data', (text) => (said += text))
      const ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })))
      assert.deepEqual(ended, { code: 0, signal: null }, said)
    }
    const both = spawn(process.execPath, [bin, 'refresh', '--state-file', journal], {
      env: environment(ring),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    both.stdout.destroy()
    both.stderr.destroy()
    assert.equal(await new Promise((resolve) => both.on('exit', resolve)), 0)
    assert.equal(newest(journal), ring.newest())
  })

  it('the command line is quiet with --quiet and verbose with --verbose', async (t) => {
    const { ring, journal } = await loggedIn(t)
    /** @param {string[]} args */
    const loudness = async (...args) => (await run(['refresh', '--state-file', journal, ...args], { ring })).stderr
    assert.equal(await loudness('--quiet'), '')
    const [normal, verbose] = [await loudness(), await loudness('-v')]
    assert.match(normal, /^Rotated\.[^\n]*\n$/)
    assert.match(verbose, /The refresh token was rotated\./)
    rmSync(journal)
    assert.match(await loudness('-q'), /^ring-auth: There is no refresh token[^\n]*\(NO_REFRESH_TOKEN\)\n$/)
  })

  it('the command line reports a failure once, and that it waits', async (t) => {
    const { ring, journal } = await loggedIn(t)
    ring.fault({ kind: 'slow', delayMs: 3000, grant: 'refresh_token' })
    assert.equal((await run(['refresh', '--state-file', journal], { ring })).waits[0], 'Waiting for Ring … 1 s\n')
    ring.fault({ kind: 'status', status: 429, body: { error: CANARY } })
    const done = await run(['refresh', '--state-file', journal], { ring })
    assert.equal(done.code, 5)
    assert.equal(done.stderr.match(/\(RATE_LIMITED\)/g)?.length, 1, done.stderr)
  })

  it('the command line ends at once if it is terminated while it waits for a line', async (t) => {
    const { ring } = await setUp(t)
    const login = start(LOGIN, { ring })
    login.child.stdin.write(`${PASSWORD}\n`)
    await until(() => ring.codesSent, 'the code')
    login.child.kill('SIGTERM')
    assert.equal((await login.ended).signal, 'SIGTERM')
    noSecret(login.stderr)
  })
})
