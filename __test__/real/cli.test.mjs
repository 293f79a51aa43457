// @ts-check
// The command `ring-auth-cli` of ring-client-api, and the package of that name, driven by the same program with pipes: people's scripts
// wait for its questions, answer them, and read the token from its last line.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cpSync, existsSync, symlinkSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Screen, noSecret } from '../support/cli.mjs'
import { EMAIL, PASSWORD, PATIENCE_MS, root, tempDir, unwrap, until } from '../support/index.mjs'
import { startRingCom } from '../support/ring-com.mjs'
import { links } from '../support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const here = dirname(fileURLToPath(import.meta.url))
const theirs = join(here, 'node_modules', 'ring-client-api', 'lib', 'ring-auth-cli.js')
if (!existsSync(theirs)) {
  throw new Error(`ring-client-api is not installed in ${here}: run \`npm ci --ignore-scripts\` there (npm test does).`)
}

/** Our ring-auth-cli as npm installs it: a package beside ring-auth, and a link to its command. @param {TestContext} t */
function ours(t) {
  const modules = join(tempDir(t), 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  cpSync(join(root, 'npm', 'ring-auth-cli'), join(modules, 'ring-auth-cli'), { recursive: true })
  symlinkSync(root, join(modules, 'ring-auth'), 'dir')
  const link = join(modules, '.bin', 'ring-auth-cli')
  symlinkSync(join(modules, 'ring-auth-cli', 'bin', 'ring-auth-cli.js'), link)
  return link
}

/**
 * A command with pipes that is answered as it asks.
 * @param {TestContext} t
 * @param {string} script
 * @param {NodeJS.ProcessEnv} env
 * @param {[string, () => string][]} answers
 */
async function drive(t, script, env, answers) {
  const child = spawn(process.execPath, [script], { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: PATIENCE_MS * 2 })
  t.after(() => child.kill('SIGKILL'))
  let [stdout, stderr, from] = ['', '', 0]
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
  const ended = new Promise((resolve) => child.on('close', resolve))
  for (const [question, answer] of answers) {
    await until(
      () => stdout.slice(from).endsWith(question),
      () => `${question} in ${JSON.stringify(stdout)} ${stderr}`,
    )
    from = stdout.length
    child.stdin.write(`${answer()}\n`)
  }
  const code = await ended
  return { code, stdout, stderr }
}

/** The output that a script sees, without the lines that differ between the two and without the token. @param {string} stdout */
const dialogue = (stdout) =>
  stdout
    .replace(/^This CLI will provide you .*\n/, '')
    .replace(/^Type "resend" .*\n/gm, '')
    .replace(/"refreshToken": "[^"]+"/, '"refreshToken": "…"')

describe('ring-auth-cli', { skip: links() }, () => {
  for (const twoFactor of /** @type {const} */ (['sms', 'totp'])) {
    it(`ring-auth-cli asks, answers and ends as that of ring-client-api, driven by pipes (${twoFactor})`, async (t) => {
      const account = { email: EMAIL, password: PASSWORD, twoFactor, phone: '+1xxxxxxxx89' }
      /** @type {string[]} */
      const seen = []
      for (const [script, more] of /** @type {[string, 'fetchEnv' | undefined][]} */ ([
        [theirs, 'fetchEnv'],
        [ours(t), undefined],
      ])) {
        const { ring, env, fetchEnv } = await startRingCom(t, { accounts: [account], sessionNeedsHeaders: false })
        const all = { ...process.env, ...env, ...(more ? fetchEnv : {}) }
        const end = await drive(t, script, all, [
          ['Email: ', () => EMAIL],
          ['Password: ', () => PASSWORD],
          ['2fa Code: ', () => '000000'],
          ['2fa Code: ', () => String(ring.codeFor(EMAIL))],
        ])
        assert.equal(end.code, 0, end.stderr)
        const last = end.stdout.split('\n').at(-2) ?? ''
        const token = /^"refreshToken": "(\S+)"$/.exec(last)?.[1] ?? assert.fail(end.stdout)
        assert.ok(end.stdout.endsWith('"\n'))
        assert.ok(ring.isLive(unwrap(token).rt))
        seen.push(dialogue(end.stdout))
      }
      assert.equal(String(seen[1]), String(seen[0]))
    })
  }

  it('ring-auth-cli ends a dialogue at a terminal with the token, too', async (t) => {
    const account = { email: EMAIL, password: PASSWORD, twoFactor: /** @type {const} */ ('none') }
    const { ring, env } = await startRingCom(t, { accounts: [account] })
    const screen = new Screen(t, process.execPath, [ours(t)], { env })
    await screen.answers('Email: ', `${EMAIL}\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    assert.equal(await screen.exits(), 0)
    const last = screen.text.trimEnd().split('\n').at(-1) ?? ''
    const token = /^"refreshToken": "(\S+)"$/.exec(last.trim())?.[1] ?? assert.fail(screen.text)
    assert.ok(ring.isLive(unwrap(token).rt))
    assert.ok(screen.text.includes('It is worth as much as your password'))
    noSecret(screen.text)
  })

  it('ring-auth-cli ends with a sentence if a pipe ends before the answers', async (t) => {
    const end = await new Promise((resolve) => {
      const child = spawn(process.execPath, [ours(t)], { stdio: ['pipe', 'pipe', 'pipe'] })
      let stderr = ''
      child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
      child.stdin.end()
      child.on('close', (code) => resolve({ code, stderr }))
    })
    assert.equal(end.code, 3)
    assert.match(end.stderr, /The input ended before the e-mail address was typed\./)
  })
})
