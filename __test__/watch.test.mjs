// @ts-check
// `ring-auth watch` as a service runs it: real processes, real signals, real commands.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LOGIN, Screen, account, noSecret, run, setUp, start } from './support/cli.mjs'
import { OUTAGE, PASSWORD, atEnd, readJournal, unwrap, until } from './support/index.mjs'
import { commandLineOf, shell as posix, signals, terminal } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./support/cli.mjs').Run} Run */

/** @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function house(t, settings = {}) {
  const all = await setUp(t, { ...account('none'), ...settings })
  const { ring, journal } = all
  const store = ['--state-file', journal]
  return {
    ...all,
    store,
    logIn: async () => {
      const done = await run([...LOGIN, ...store], { ring, input: `${PASSWORD}\n` })
      assert.equal(done.code, 0, done.stderr)
    },
    /** @param {string[]} args @param {Record<string, string>} [env] */
    watch: (args, env = {}) => {
      const watching = start(['watch', ...store, ...args], { ring, env })
      atEnd(t, 'manager', async () => {
        watching.child.kill('SIGKILL')
        await watching.ended
      })
      return watching
    },
  }
}

/** @param {Run} watching */
const states = (watching) =>
  watching.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(':')[0])

/** @param {Run} watching @param {string} what */
const says = (watching, what) =>
  until(
    () => watching.stdout.includes(what) || watching.stderr.includes(what),
    () => `${what} in\n${watching.stdout}\n${watching.stderr}`,
  )

/** @param {Run} watching @param {NodeJS.Signals} [signal] */
async function end(watching, signal = 'SIGTERM') {
  watching.child.kill(signal)
  const { code } = await watching.ended
  // On a system without signals, the process was ended from outside.
  assert.equal(code, signals ? null : 0, watching.stderr)
  noSecret(watching.stdout + watching.stderr)
}

/** The files that the runs of a command left in a folder, in their order. @param {string} folder */
const notes = (folder) =>
  readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'))

/** A command for any system's shell that runs a script. @param {string} folder @param {string} script @param {string[]} args */
function command(folder, script, ...args) {
  const path = join(mkdtempSync(join(folder, 'command-')), 'script.cjs')
  writeFileSync(path, script)
  return [process.execPath, path, ...args].map((word) => `"${word}"`).join(' ')
}

/** A command that records its environment. @param {string} folder @param {string} told */
const noting = (folder, told) =>
  command(
    folder,
    `const { readdirSync, renameSync, writeFileSync } = require('node:fs')
     const [, , told] = process.argv
     const lines = Object.entries(process.env).map(([name, value]) => name + '=' + value + '\\n')
     writeFileSync(told + '.new', lines.join(''))
     renameSync(told + '.new', told + '/note-' + readdirSync(told).length)`,
    told,
  )

/** @param {string} note @param {string} name */
const variable = (note, name) => new RegExp(`^${name}=(.*)$`, 'm').exec(note)?.[1]

describe('watch', { concurrency: 4 }, () => {
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) {
    it(`watch keeps the token fresh, reports that once, and ends on ${signal} with 0`, { skip: signals }, async (t) => {
      const { ring, journal, logIn, watch } = await house(t, { expiresIn: 2 })
      await logIn()
      const before = ring.counts.rotations
      const watching = watch([])
      await until(() => ring.counts.rotations >= before + 3, 'three rotations that nobody asked for')
      await end(watching, signal)
      assert.equal(states(watching)[0], 'ready')
      assert.ok(!watching.stdout.includes('refreshing'))
      assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('watch stores a rotation under way before it ends', { skip: signals }, async (t) => {
    const { ring, journal, logIn, watch, store } = await house(t, { expiresIn: 1 })
    await logIn()
    ring.settings.latencyMs = 1500
    const watching = watch([])
    await until(() => ring.tokenRequests.at(-1)?.status === undefined, 'a request without an answer yet')
    await end(watching)
    assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
    assert.equal(readJournal(journal).mark, null)
    ring.settings.latencyMs = 0
    assert.equal((await run(['refresh', ...store], { ring })).code, 0)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it("watch reports a start without a token, and notices another process's login within 15 seconds", async (t) => {
    const { ring, folder, journal, logIn, watch } = await house(t)
    const told = mkdtempSync(join(folder, 'told-'))
    const env = {
      RING_EMAIL: 'secret-email',
      RING_PASSWORD: 'secret-password',
      RING_TOTP_SECRET: 'secret-totp',
      RING_2FA_CODE_FILE: '/secret/file',
      RING_REFRESH_TOKEN: 'secret-token',
      MY_OWN: 'kept',
    }
    const watching = watch(['--exec', noting(folder, told)], env)
    await until(() => notes(told).length === 1, 'the first command')
    const [first = ''] = notes(told)
    assert.equal(variable(first, 'RING_AUTH_STATE'), 'needs-login')
    assert.equal(variable(first, 'RING_AUTH_CODE'), 'NO_REFRESH_TOKEN')
    assert.equal(
      variable(first, 'RING_AUTH_MESSAGE'),
      `There is no refresh token in ${journal} yet. Get one with: ring-auth login --state-file ${journal}`,
    )
    assert.equal(variable(first, 'RING_AUTH_HARDWARE_ID'), '')
    await logIn()
    const loggedIn = Date.now()
    await until(() => notes(told).length === 2, 'the second command')
    // Twice the time, because this machine may be busy.
    assert.ok(Date.now() - loggedIn < 30_000)
    const [, second = ''] = notes(told)
    assert.deepEqual([variable(second, 'RING_AUTH_STATE'), variable(second, 'RING_AUTH_CODE')], ['ready', ''])
    assert.equal(variable(second, 'RING_AUTH_HARDWARE_ID'), readJournal(journal).hardwareId)
    await end(watching)
    assert.deepEqual(states(watching), ['needs-login', 'ready'])
    for (const note of notes(told)) {
      noSecret(note)
      assert.doesNotMatch(note, /secret/)
      assert.equal(variable(note, 'MY_OWN'), 'kept')
      assert.equal(variable(note, 'RING_AUTH_OAUTH_URL'), ring.oauthUrl)
    }
  })

  it('watch reports a token that Ring rejects once', async (t) => {
    const { ring, folder, logIn, watch } = await house(t, { expiresIn: 2 })
    await logIn()
    const told = mkdtempSync(join(folder, 'told-'))
    const watching = watch(['--exec', noting(folder, told), '--json'])
    await says(watching, '"ready"')
    ring.revokeAll()
    await until(() => notes(told).length === 1, 'the command')
    assert.equal(variable(String(notes(told)[0]), 'RING_AUTH_CODE'), 'REFRESH_TOKEN_REJECTED')
    await end(watching)
    assert.equal(notes(told).length, 1)
    const lines = watching.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(Object.keys(lines[0]), ['state', 'code', 'message', 'retryAt', 'persisted', 'hardwareId'])
    const last = lines.at(-1)
    assert.deepEqual([last.state, last.code, last.persisted], ['needs-login', 'REFRESH_TOKEN_REJECTED', true])
    assert.match(last.message, /Log in again with: ring-auth login --state-file /)
  })

  it('watch --on-change reports an outage and its end', async (t) => {
    const { ring, folder, logIn, watch } = await house(t, { expiresIn: 2 })
    await logIn()
    const told = mkdtempSync(join(folder, 'told-'))
    const watching = watch(['--exec', noting(folder, told), '--on-change'])
    const seen = () => notes(told).map((note) => variable(note, 'RING_AUTH_STATE'))
    await until(() => seen()[0] === 'ready', 'ready')
    const fault = ring.fault({ ...OUTAGE, headers: { 'retry-after': '11' } })
    await until(() => seen().includes('waiting'), 'waiting')
    assert.equal(variable(String(notes(told).at(-1)), 'RING_AUTH_CODE'), 'SERVER_ERROR')
    fault.remove()
    await until(() => seen().at(-1) === 'ready' && seen().includes('waiting'), 'ready again')
    await end(watching)
    assert.ok(states(watching).includes('waiting'))
  })

  it('watch reports a command that fails, prints megabytes or does not exist, and continues', async (t) => {
    const { folder, logIn, watch, ring } = await house(t)
    const failed = (/** @type {string} */ code) => `ring-auth: The command of --exec failed with exit code ${code}`
    for (const [line, report] of /** @type {[string, string][]} */ ([
      ['exit 3', failed('3.')],
      [command(folder, "process.stdout.write('x'.repeat(5_000_000), () => process.exit(4))"), failed('4.')],
      // The shell of Windows has other codes for both.
      ['no-such-command-here', posix ? failed('') : 'ring-auth: The command of --exec was not found (exit code 127).'],
      ['kill -9 $$', posix ? failed('') : 'ring-auth: The command of --exec was ended by a signal.'],
    ])) {
      const watching = watch(['--exec', line])
      await says(watching, report)
      await end(watching)
      assert.deepEqual(states(watching), ['needs-login'], 'standard output is for the states alone')
    }
    const talking = command(folder, "console.log('talk'); console.error('talk'); process.exitCode = 5")
    const quiet = watch(['--exec', talking, '--quiet'])
    await says(quiet, 'exit code 5')
    await end(quiet)
    assert.ok(!quiet.stderr.includes('talk'))
    await logIn()
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('watch ends a command that hangs after 30 seconds, with all processes that it has started', async (t) => {
    const { folder, logIn, watch } = await house(t, { expiresIn: 2 })
    // Each process of the command keeps a connection open, which ends with it.
    const connections = new Set()
    const server = createServer((socket) => {
      connections.add(socket.on('error', () => {}).on('close', () => connections.delete(socket)))
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
    atEnd(t, 'server', () => server.close())
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
    const hanging = command(
      folder,
      `const { existsSync, writeFileSync } = require('node:fs')
       const [, script, port, begun, child] = process.argv
       if (!child && existsSync(begun)) return console.log('over')
       for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {})
       require('node:net').connect(Number(port), '127.0.0.1').on('error', () => {})
       if (child) return
       writeFileSync(begun, '')
       require('node:child_process').spawn(process.execPath, [script, port, begun, 'child'], { stdio: 'inherit' })`,
      String(port),
      join(folder, 'begun'),
    )
    const watching = watch(['--exec', hanging])
    await until(() => connections.size === 2, 'its processes')
    // The watch continues during that time, and the next command waits for its turn.
    await logIn()
    await says(watching, 'ready')
    await says(watching, 'ring-auth: The command of --exec was still running after 30 s, and was ended.')
    await until(() => connections.size === 0, 'the end of all of them')
    await says(watching, 'over')
    await end(watching)
  })

  it('watch ends a command that still runs when watch ends', { skip: signals }, async (t) => {
    const { folder, watch } = await house(t)
    const pid = join(folder, 'pid')
    const watching = watch(['--exec', `echo $$ > '${pid}'; exec sleep 987`])
    const number = await until(() => (existsSync(pid) ? Number(readFileSync(pid, 'utf8')) : 0), 'the command')
    await end(watching)
    assert.equal(commandLineOf(number), '')
    assert.match(watching.stderr, /was still running when the watch ended, and was ended with it/)
  })

  it('Ctrl-C at a terminal ends watch, and does not interrupt its command', { skip: terminal }, async (t) => {
    const { ring, folder, store } = await house(t)
    const done = join(folder, 'done')
    const goes = join(folder, 'goes')
    const waits = `until [ -e ${goes} ]; do sleep 0.05; done`
    const command = `trap 'echo interrupted > ${done}' INT; echo begun; ${waits}; [ -e ${done} ] || echo whole > ${done}`
    const screen = Screen.login(t, ['watch', ...store, '--exec', command], { ring })
    await screen.sees('needs-login')
    await screen.answers('begun', '\x03')
    // The terminal shows it and tells the processes at the same time. The command has two seconds from then on.
    await screen.sees('^C')
    writeFileSync(goes, '')
    assert.equal(await screen.exits(), 0)
    assert.equal(readFileSync(done, 'utf8'), 'whole\n')
  })

  it('watch begins with a token from a file, and stores its successors', async (t) => {
    const { ring, folder, journal, watch } = await house(t)
    const token = join(folder, 'token')
    writeFileSync(token, ring.mint())
    const watching = watch([], { RING_REFRESH_TOKEN_FILE: token })
    await says(watching, 'ready')
    await end(watching)
    assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
    assert.equal(ring.counts.rotations, 1)
  })

  it('watch is refused without a place for the token', async (t) => {
    const { ring } = await house(t)
    for (const args of [['watch'], ['watch', '--exec', 'true'], ['watch', '--state-file', 'j', '--on-change']]) {
      assert.equal((await run(args, { ring })).code, 2)
    }
  })
})
