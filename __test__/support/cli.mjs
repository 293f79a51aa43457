// The command line as a process: with pipes, and with a person at a pseudo-terminal.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FakeRing } from '../fake-ring/index.mjs'

const pty = createRequire(import.meta.url)('@lydell/node-pty')

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const bin = join(root, 'bin', 'ring-auth.js')

/** In every token and cookie that the fake Ring mints. */
export const CANARY = 'cNaRy7f3a'
export const EMAIL = 'person@example.com'
export const PASSWORD = 'correct horse'

/** How long a condition may take: only a broken program takes that long, however slow the machine. */
const DEADLINE = 30_000

/** A fake Ring and a folder, both gone after the test. */
export async function setUp(t, settings = {}) {
  const ring = await FakeRing.start({ canary: CANARY, ...settings })
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-cli-'))
  t.after(async () => {
    await ring.close()
    rmSync(folder, { recursive: true, force: true })
    assert.deepEqual(ring.internalErrors, [])
  })
  return { ring, folder, journal: join(folder, 'journal.json') }
}

export function account(twoFactor, password = PASSWORD) {
  return { accounts: [{ email: EMAIL, password, twoFactor, phone: '+1xxxxxxxx89' }] }
}

/** Nothing of whoever runs the tests but what a program needs to start. */
export function environment(ring, extra = {}) {
  const { PATH, HOME, SystemRoot } = process.env
  const servers = ring && { RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl }
  const all = { PATH, HOME, SystemRoot, LANG: 'C.UTF-8', TERM: 'xterm', ...servers, ...extra }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

/** Starts it with pipes. */
export function start(args, { ring, env, stdin = 'pipe', command = process.execPath, script = bin, cwd } = {}) {
  const child = spawn(command, [script, ...args], { env: environment(ring, env), stdio: [stdin, 'pipe', 'pipe'], cwd })
  const run = { child, stdout: '', stderr: '' }
  child.stdin?.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text) => (run.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (run.stderr += text))
  run.ended = new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`ring-auth ${args.join(' ')} does not end:\n${run.stdout}\n${run.stderr}`))
    }, DEADLINE * 2)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      resolve(Object.assign(run, { code, signal }))
    })
  })
  return run
}

/** Runs it with pipes. No run ever shows a secret on standard error. */
export async function run(args, options = {}) {
  const run = start(args, options)
  if (options.input !== null) run.child.stdin?.end(options.input ?? '')
  await run.ended
  noSecret(run.stderr)
  return run
}

export function noSecret(text, ...more) {
  for (const secret of [CANARY, PASSWORD, ...more]) assert.ok(!text.includes(secret), `a secret is in:\n${text}`)
}

/** What one JSON line on standard output says. */
export function json(run) {
  assert.match(run.stdout, /^[^\n]+\n$/, `not one line: ${run.stdout}\n${run.stderr}`)
  return JSON.parse(run.stdout)
}

/** The failure in JSON, whose shape never changes. */
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

export async function until(condition, what, deadline = DEADLINE) {
  const limit = Date.now() + deadline
  for (;;) {
    const result = await condition()
    if (result) return result
    if (Date.now() > limit) throw new Error(`waited in vain for ${typeof what === 'function' ? what() : what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A pseudo-terminal with a program in it. */
export class Screen {
  text = ''
  #from = 0

  constructor(t, file, args, options = {}) {
    this.pty = pty.spawn(file, args, { env: environment(options.ring, options.env), cols: 200, rows: 50, cwd: options.cwd ?? root })
    this.pty.onData((text) => (this.text += text))
    this.ended = new Promise((resolve) => this.pty.onExit(resolve))
    let over = false
    void this.ended.then(() => (over = true))
    t.after(() => {
      if (!over) this.pty.kill('SIGKILL')
    })
  }

  static login(t, args, options) {
    return new Screen(t, process.execPath, [bin, ...args], options)
  }

  /** Waits for a text behind the one that was waited for last. */
  async sees(what) {
    await until(
      () => {
        const rest = this.text.slice(this.#from)
        const found = typeof what === 'string' ? rest.indexOf(what) : rest.search(what)
        if (found < 0) return false
        const length = typeof what === 'string' ? what.length : rest.match(what)[0].length
        this.#from += found + length
        return true
      },
      () => `${what} on the screen, which shows:\n${JSON.stringify(this.text)}`,
    )
  }

  /** `text` may be a function, for what is known only once the prompt is there. */
  async answers(prompt, text) {
    await this.sees(prompt)
    this.pty.write(typeof text === 'function' ? text() : text)
  }

  async exits() {
    let exit
    void this.ended.then((value) => (exit = value))
    await until(() => exit, () => `the end of the program, which shows:\n${JSON.stringify(this.text)}`)
    return exit.exitCode
  }
}

/** The same behind a shell, which says afterwards what became of the program and of the terminal. */
export class ShellScreen extends Screen {
  constructor(t, folder, args, options) {
    const [before, after] = [join(folder, 'before'), join(folder, 'after')]
    const script = `trap : INT; stty -a >'${before}'; "$0" "$@"; echo "exit=$?"; stty -a >'${after}'; echo done`
    super(t, 'sh', ['-c', script, process.execPath, bin, ...args], options)
    Object.assign(this, { before, after })
  }

  /** The program's own id. */
  async child() {
    const children = `/proc/${this.pty.pid}/task/${this.pty.pid}/children`
    return until(() => {
      const ids = readFileSync(children, 'utf8').split(' ').filter(Boolean)
      return ids.map(Number).find((id) => existsSync(`/proc/${id}`) && cmdline(id).includes('ring-auth'))
    }, 'the program')
  }

  async leavesSane(exit) {
    await this.sees(`exit=${exit}`)
    await this.sees('done')
    await this.exits()
    const after = readFileSync(this.after, 'utf8')
    assert.equal(after, readFileSync(this.before, 'utf8'))
    for (const mode of ['echo', 'icanon', 'isig']) assert.match(after, new RegExp(`(^|\\s)${mode}\\b`))
  }
}

export function cmdline(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
