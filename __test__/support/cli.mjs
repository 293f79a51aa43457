// @ts-check
// The command line as a process: with pipes, and with a person at a pseudo-terminal.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { EMAIL, PASSWORD, PATIENCE_MS, root, startRing, tempDir, until } from './index.mjs'
import { childrenOf, commandLineOf } from './systems.mjs'

const pty = createRequire(import.meta.url)('@lydell/node-pty')

export const bin = join(root, 'bin', 'ring-auth.js')

/** A text in every token and cookie that the fake Ring mints. */
export const CANARY = 'cNaRy7f3a'
export const LOGIN = ['login', '--email', EMAIL, '--password-stdin']

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {import('../fake-ring/index.mjs').FakeRingOptions} FakeRingOptions */
/** @typedef {import('../fake-ring/settings.mjs').TwoFactor} TwoFactor */
/** @typedef {Record<string, string | undefined>} Env */

/**
 * @typedef {object} RunOptions
 * @property {FakeRing | undefined} [ring]
 * @property {Env} [env]
 * @property {'pipe' | 'ignore' | number} [stdin]
 * @property {string} [command]
 * @property {string} [script]
 * @property {string} [cwd]
 * @property {string | Buffer | null} [input] for `run`: what standard input says; null leaves it open
 */

/**
 * A program with pipes. `code` and `signal` are set when it has ended.
 * @typedef {object} Run
 * @property {import('node:child_process').ChildProcess & { stdin: import('node:stream').Writable }} child
 * @property {string} stdout
 * @property {string} stderr
 * @property {string[]} waits what `run` has taken out of `stderr`: that Ring is being waited for
 * @property {number | null} [code]
 * @property {NodeJS.Signals | null} [signal]
 * @property {Promise<Run>} ended
 */

/** A fake Ring and a folder, which both end with the test. @param {TestContext} t @param {FakeRingOptions} [settings] */
export async function setUp(t, settings = {}) {
  const ring = await startRing(t, { canary: CANARY, ...settings })
  const folder = tempDir(t)
  return { ring, folder, journal: join(folder, 'journal.json') }
}

/** @param {TwoFactor} twoFactor */
export function account(twoFactor, password = PASSWORD) {
  return { accounts: [{ email: EMAIL, password, twoFactor, phone: '+1xxxxxxxx89' }] }
}

/** The environment of a program: of the user's own variables only those that it needs to start. @param {FakeRing} [ring] @param {Env} [extra] */
export function environment(ring, extra = {}) {
  const { PATH, HOME, SystemRoot } = process.env
  const servers = ring && { RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl }
  const all = { PATH, HOME, SystemRoot, LANG: 'C.UTF-8', TERM: 'xterm', ...servers, ...extra }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

/** Starts the command line with pipes. @param {string[]} args @param {RunOptions} [options] @returns {Run} */
export function start(args, { ring, env, stdin = 'pipe', command = process.execPath, script = bin, cwd } = {}) {
  const child = /** @type {import('node:child_process').ChildProcessWithoutNullStreams} */ (
    spawn(command, [script, ...args], { env: environment(ring, env), stdio: [stdin, 'pipe', 'pipe'], cwd })
  )
  const run = /** @type {Run} */ ({ child, stdout: '', stderr: '', waits: /** @type {string[]} */ ([]) })
  child.stdin?.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text) => (run.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (run.stderr += text))
  run.ended = new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`ring-auth ${args.join(' ')} does not end:\n${run.stdout}\n${run.stderr}`))
    }, PATIENCE_MS * 2)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      resolve(Object.assign(run, { code, signal }))
    })
  })
  return run
}

/**
 * Runs the command line with pipes, and checks that standard error shows no secret. On a machine that is busy any of them may say that it waits.
 * @param {string[]} args
 * @param {RunOptions} [options]
 */
export async function run(args, options = {}) {
  const run = start(args, options)
  if (options.input !== null) run.child.stdin?.end(options.input ?? '')
  await run.ended
  noSecret(run.stderr)
  run.stderr = run.stderr.replace(/^Waiting for Ring … \d+ s\n/gm, (line) => {
    run.waits.push(line)
    return ''
  })
  return run
}

/** The token in a configuration as ring-auth prints it, to be pasted. @param {string} text */
export const printed = (text) => /"refreshToken": "([^"\s]+)"/.exec(text)?.[1]

/** @param {string} text @param {string[]} more */
export function noSecret(text, ...more) {
  for (const secret of [CANARY, PASSWORD, ...more]) assert.ok(!text.includes(secret), `a secret is in:\n${text}`)
}

/** The value of the one line of JSON on standard output. @param {Run} run @returns {any} */
export function json(run) {
  assert.match(run.stdout, /^[^\n]+\n$/, `not one line: ${run.stdout}\n${run.stderr}`)
  return JSON.parse(run.stdout)
}

/** The failure in JSON. Checks its shape, which never changes. @param {Run} run @param {string} code @param {number} exit */
export function failure(run, code, exit) {
  assert.equal(run.code, exit, run.stderr)
  const result = json(run)
  assert.deepEqual(Object.keys(result), ['error'])
  assert.deepEqual(Object.keys(result.error), ['code', 'message', 'transient', 'retryAfterMs'])
  assert.equal(result.error.code, code)
  assert.ok(run.stderr.includes(result.error.message))
  noSecret(run.stdout)
  return result.error
}

/**
 * Keeps a terminal open until its program has ended and its output was read: Linux can lose the last line if the last process
 * that has the terminal ends right after it.
 * @param {import('@lydell/node-pty').IPty} terminal
 */
function holdOpen(terminal) {
  const { _pty: path } = /** @type {{ _pty?: string }} */ (/** @type {unknown} */ (terminal))
  if (process.platform === 'win32' || path === undefined) return
  const file = openSync(path, constants.O_RDWR | constants.O_NOCTTY)
  terminal.onExit(() => closeSync(file))
}

/** A pseudo-terminal with a program in it. */
export class Screen {
  text = ''
  #from = 0

  /** @param {TestContext} t @param {string} file @param {string[]} args @param {RunOptions} [options] */
  constructor(t, file, args, options = {}) {
    /** @type {import('@lydell/node-pty').IPty} */
    this.pty = pty.spawn(file, args, {
      env: environment(options.ring, options.env),
      cols: 200,
      rows: 50,
      cwd: options.cwd ?? root,
    })
    this.pty.onData((text) => (this.text += text))
    holdOpen(this.pty)
    /** @type {Promise<{ exitCode: number, signal?: number | undefined }>} */
    this.ended = new Promise((resolve) => this.pty.onExit(resolve))
    let over = false
    void this.ended.then(() => (over = true))
    t.after(() => {
      if (!over) this.pty.kill('SIGKILL')
    })
  }

  /** @param {TestContext} t @param {string[]} args @param {RunOptions} [options] */
  static login(t, args, options) {
    return new Screen(t, process.execPath, [bin, ...args], options)
  }

  /** Waits for a text after the one that was waited for last. @param {string | RegExp} what */
  async sees(what) {
    await until(
      () => {
        const rest = this.text.slice(this.#from)
        const found = typeof what === 'string' ? rest.indexOf(what) : rest.search(what)
        if (found < 0) return false
        const length = typeof what === 'string' ? what.length : String(rest.match(what)?.[0]).length
        this.#from += found + length
        return true
      },
      () => `${what} on the screen, which shows:\n${JSON.stringify(this.text)}`,
    )
  }

  /** Answers a prompt. `text` may be a function, for a text that is known only after the prompt. @param {string | RegExp} prompt @param {string | (() => string)} text */
  async answers(prompt, text) {
    await this.sees(prompt)
    this.pty.write(typeof text === 'function' ? text() : text)
  }

  async exits() {
    /** @type {{ exitCode: number } | undefined} */
    let exit
    void this.ended.then((value) => (exit = value))
    const { exitCode } = await until(
      () => exit,
      () => `the end of the program, which shows:\n${JSON.stringify(this.text)}`,
    )
    return exitCode
  }
}

/** A program in a shell at a terminal. The shell reports afterwards how the program ended, and the state of the terminal. */
export class ShellScreen extends Screen {
  /** @param {TestContext} t @param {string} folder @param {string[]} args @param {RunOptions} [options] */
  constructor(t, folder, args, options) {
    const [before, after] = [join(folder, 'before'), join(folder, 'after')]
    const script = `trap : INT; stty -a >'${before}'; "$0" "$@"; echo "exit=$?"; stty -a >'${after}'; echo done`
    super(t, 'sh', ['-c', script, process.execPath, bin, ...args], options)
    this.before = before
    this.after = after
  }

  /** The process id of the program. */
  async child() {
    return until(() => childrenOf(this.pty.pid).find((id) => commandLineOf(id).includes('ring-auth')), 'the program')
  }

  /** @param {number} exit */
  async leavesSane(exit) {
    await this.sees(`exit=${exit}`)
    await this.sees('done')
    await this.exits()
    const after = readFileSync(this.after, 'utf8')
    assert.equal(after, readFileSync(this.before, 'utf8'))
    for (const mode of ['echo', 'icanon', 'isig']) assert.match(after, new RegExp(`(^|\\s)${mode}\\b`))
  }
}
