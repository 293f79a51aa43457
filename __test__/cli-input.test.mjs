// @ts-check
// Changes that keyboards, editors, shells and windows make to a person's answers before the command line gets them.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LOGIN, Screen, account, printed, run, setUp } from './support/cli.mjs'
import { EMAIL, PASSWORD, root, unwrap } from './support/index.mjs'
import { terminal } from './support/systems.mjs'

const { standardInput } = createRequire(import.meta.url)('../lib/standard-input.js')
const BOM = '\ufeff'

describe('a byte order mark or a line end of another system', { concurrency: 4 }, () => {
  for (const [what, input] of /** @type {[string, string][]} */ ([
    ['a byte order mark', `${BOM}${PASSWORD}\n`],
    ['CRLF', `${PASSWORD}\r\n`],
    ['both', `${BOM}${PASSWORD}\r\n`],
    ['a doubled carriage return', `${PASSWORD}\r\r\n`],
  ])) {
    it(`a byte order mark or a line end of another system (${what}) is not part of a password on standard input`, async (t) => {
      const { ring } = await setUp(t, account('none'))
      const done = await run([...LOGIN], { ring, input })
      assert.equal(done.code, 0, done.stderr)
      assert.equal(unwrap(printed(done.stdout)).rt, ring.newest())
    })
  }

  it('a byte order mark or a line end of another system is not part of a code on standard input', async (t) => {
    const { ring } = await setUp(t, account('totp'))
    const done = await run([...LOGIN], { ring, input: `${BOM}${PASSWORD}\r\n${BOM}${ring.codeFor()}\r\n` })
    assert.equal(done.code, 0, done.stderr)
  })

  it('a byte order mark or a line end of another system is not part of RING_EMAIL, RING_PASSWORD and RING_2FA_CODE', async (t) => {
    const { ring } = await setUp(t, account('totp', ' pass word '))
    const env = {
      RING_EMAIL: `${BOM}${EMAIL}\r`,
      RING_PASSWORD: ' pass word \r\n',
      RING_2FA_CODE: `${ring.codeFor()}\r`,
    }
    const done = await run(['login'], { ring, env, input: '' })
    assert.equal(done.code, 0, done.stderr)
    assert.equal(unwrap(printed(done.stdout)).rt, ring.newest())
  })

  it('a byte order mark or a line end alone is no password, and nothing is sent', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const done = await run(['login', '--email', EMAIL], { ring, env: { RING_PASSWORD: '\r\n' }, input: '' })
    assert.equal(done.code, 3, done.stderr)
    assert.match(done.stderr, /There is no terminal to ask for the password/)
    assert.equal(ring.requests.length, 0)
  })

  it('standard input in UTF-16 is refused with that name, and nothing is sent', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const done = await run([...LOGIN], { ring, input: Buffer.from(`${BOM}${PASSWORD}\r\n`, 'utf16le') })
    assert.equal(done.code, 2, done.stderr)
    assert.match(done.stderr, /Standard input is UTF-16, as Windows PowerShell writes files\. Save it as UTF-8/)
    assert.equal(ring.requests.length, 0)
  })
})

describe('a TAB of a password manager', { concurrency: 4, skip: terminal }, () => {
  it('a TAB of a password manager ends the e-mail address, and the text after it is the hidden password', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const screen = Screen.login(t, [], { ring })
    await screen.answers('Email: ', `${EMAIL}\t${PASSWORD}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
    assert.match(screen.text, new RegExp(`Email: ${EMAIL}\r*\nPassword: \r*\n`))
    assert.ok(!screen.text.includes(PASSWORD))
  })

  it('a TAB of a password manager does not end an incomplete e-mail address, and does nothing at the other questions', async (t) => {
    const { ring } = await setUp(t, account('sms'))
    const screen = Screen.login(t, [], { ring })
    await screen.answers('Email: ', `\tper\tson@example.com\r`)
    await screen.answers('Password: ', `${PASSWORD}\t\r`)
    await screen.answers('2fa Code: ', () => `\t${ring.codeFor()}\t\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
  })
})

describe('a dumb terminal', { concurrency: 4, skip: terminal }, () => {
  it('a dumb terminal gets no escape sequence, also for a correction and a slow Ring', async (t) => {
    const { ring } = await setUp(t, { ...account('none'), latencyMs: 2500, nextTimeInSecs: 0 })
    const screen = Screen.login(t, [], { ring, env: { TERM: 'dumb' } })
    await screen.answers('Email: ', `${EMAIL}x\x7f\r`)
    await screen.answers('Password: ', `${PASSWORD}x\x7f\r`)
    await screen.sees('Waiting for Ring … 1 s')
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
    assert.ok(!screen.text.includes('\x1b'), JSON.stringify(screen.text))
    assert.match(screen.text, /Waiting for Ring … 1 s\r*\n/)
    assert.match(screen.text, new RegExp(`Email: ${EMAIL}x\r*\nEmail: ${EMAIL}\r*\n`))
  })

  it('a terminal that is not dumb gets escape sequences', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const screen = Screen.login(t, [], { ring, env: { TERM: 'xterm' } })
    await screen.answers('Email: ', `${EMAIL}x\x7f\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    assert.equal(await screen.exits(), 0)
    assert.ok(screen.text.includes(`\r\x1b[KEmail: ${EMAIL}`), JSON.stringify(screen.text))
  })
})

describe('a sign-in that answers with a page', { concurrency: 4 }, () => {
  it('a sign-in that answers with a page for the code asks for the code', { skip: terminal }, async (t) => {
    const { ring } = await setUp(t, { ...account('sms'), signinAnswer: 'page' })
    const screen = Screen.login(t, [], { ring })
    await screen.answers('Email: ', `${EMAIL}\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('Please enter the code sent to your text/email')
    await screen.answers('2fa Code: ', () => `${ring.codeFor()}\r`)
    await screen.sees('"refreshToken"')
    assert.equal(await screen.exits(), 0)
    assert.equal(ring.codesSent, 1)
  })

  it('a sign-in that answers with a captcha reports the captcha, sends no second password, and asks for no code', async (t) => {
    const { ring } = await setUp(t, { ...account('sms'), signinAnswer: 'captcha' })
    const done = await run([...LOGIN], { ring, input: `${PASSWORD}\n` })
    assert.equal(done.code, 4, done.stderr)
    assert.match(
      done.stderr,
      /Ring asks for a captcha, which only a browser can answer; the password is not at fault\. Log in once at ring\.com or in Ring's app on this network, wait a quarter of an hour and try again\./,
    )
    assert.equal(ring.codesSent, 0)
    assert.equal(ring.requests.filter(({ path }) => path.includes('/signin') || path.includes('/token')).length, 2)
  })
})

describe('a window of Git Bash', () => {
  it('a window of Git Bash is named at once if the answer to a question could not be hidden', {
    skip: terminal,
  }, async (t) => {
    const { ring } = await setUp(t)
    const load = JSON.stringify(join(root, 'lib', 'load.js'))
    const source = `require(${load}).load().runCli(process.argv.slice(1), 'mintty').then((code) => { process.exitCode = code })`
    // At a terminal, which mintty is for programs of its own kind.
    const screen = new Screen(t, process.execPath, ['-e', source, '--', 'login', '--email', EMAIL], { ring })
    assert.equal(await screen.exits(), 3)
    assert.match(
      screen.text.replace(/\s+/g, ' '),
      /The password cannot be asked for in this window: Git Bash \(mintty\) gives programs a pipe instead of a terminal\. Put winpty before the command, use Windows Terminal or PowerShell, log in with --web, or give it with --password-stdin or RING_PASSWORD\./,
    )
    assert.equal(ring.requests.length, 0)
  })
})

describe('what standard input is good for', () => {
  const command = 'C:\\Users\\me\\node_modules\\ring-auth\\bin\\ring-auth.js'
  const input = (/** @type {object} */ more) =>
    standardInput({ platform: 'win32', command, env: {}, isPipe: true, ...more })

  it('standard input in a window of Git Bash, MSYS2 or Cygwin counts as a pipe with a person behind it', () => {
    for (const env of [{ TERM_PROGRAM: 'mintty' }, { MSYSTEM: 'MINGW64' }, { TERM: 'cygwin' }]) {
      assert.equal(input({ env }), 'mintty', JSON.stringify(env))
      // With winpty, and with a console of Windows, standard input is no pipe. Other systems have real terminals.
      assert.equal(input({ env, isPipe: false }), undefined)
      assert.equal(input({ env, platform: 'linux' }), undefined)
    }
    assert.equal(input({}), undefined)
    assert.equal(input({ env: { TERM_PROGRAM: 'vscode', TERM: 'xterm-256color' } }), undefined)
  })

  it('standard input under the name of ring-client-api’s command counts as answers', () => {
    const mintty = { TERM_PROGRAM: 'mintty' }
    for (const name of [
      '/home/me/.npm/_npx/1/node_modules/.bin/ring-auth-cli',
      '/usr/lib/node_modules/ring-auth-cli/bin/ring-auth-cli.js',
      'C:\\node_modules\\ring-auth-cli\\bin\\ring-auth-cli.js',
    ]) {
      assert.equal(input({ command: name }), 'answers', name)
      assert.equal(input({ command: name, env: mintty }), 'mintty', name)
    }
    for (const name of ['/usr/bin/ring-auth', '/opt/ring-auth-cli/bin/ring-auth.js', '']) {
      assert.equal(input({ command: name }), undefined, name)
    }
  })
})
