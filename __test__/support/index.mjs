// @ts-check
// Helpers of the tests that use the built addon. They wait for conditions, never for a fixed time.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { RingAuthError, RingTokenManager, parseRefreshToken } from '../../index.js'
import { FakeRing } from '../fake-ring/index.mjs'
import { inWine } from './systems.mjs'

export { FakeRing, RingAuthError, RingTokenManager, parseRefreshToken, sleep }

/** @typedef {import('../../index.js').RingTokenManagerOptions} ManagerOptions */
/** @typedef {import('../../index.js').ErrorCode} ErrorCode */
/** @typedef {import('node:test').TestContext} TestContext */

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const EMAIL = 'person@example.com'
export const PASSWORD = 'correct horse'

/** Long enough for the slowest machine; only a failing test ever waits so long. */
export const PATIENCE_MS = inWine ? 240_000 : 120_000

/** @type {WeakMap<object, { order: number, end: () => unknown }[]>} */
const ends = new WeakMap()

/**
 * What a test has to end: first its servers, so that no manager waits for them, then its managers, then the folders
 * into which those may still write.
 * @param {{ after(end: () => void | Promise<void>): unknown }} t a test, or what stands for a suite
 * @param {'server' | 'manager' | 'folder'} kind
 * @param {() => unknown} end
 */
export function atEnd(t, kind, end) {
  const order = ['server', 'manager', 'folder'].indexOf(kind)
  const known = ends.get(t)
  if (known) {
    known.push({ order, end })
    return
  }
  const all = [{ order, end }]
  ends.set(t, all)
  t.after(async () => {
    const failures = []
    for (const { end } of all.sort((a, b) => a.order - b.order)) {
      try {
        await end()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  })
}

/**
 * A fake Ring that ends with the test. The test fails if the fake has made a mistake of its own.
 * @param {TestContext} t
 * @param {import('../fake-ring/index.mjs').FakeRingOptions} [options]
 */
export async function startRing(t, options) {
  const ring = await FakeRing.start(options)
  atEnd(t, 'server', async () => {
    await ring.close()
    assert.deepEqual(ring.internalErrors, [], 'the fake Ring made a mistake')
  })
  return ring
}

/**
 * A folder that ends with the test.
 * @param {TestContext} t
 */
export function tempDir(t) {
  const dir = mkdtempSync(join(tmpdir(), 'ring-auth-test-'))
  // On Windows a name exists as long as the file is open in any process, even if only in Wine's server.
  atEnd(t, 'folder', () => rmSync(dir, { recursive: true, force: true, maxRetries: 20 }))
  return dir
}

/**
 * A manager with a fake Ring, and all its messages and events. It is closed with the test.
 * @param {TestContext} t
 * @param {{ oauthUrl: string, apiUrl: string }} ring
 * @param {ManagerOptions} [options]
 */
export function open(t, ring, options = {}) {
  /** @type {import('../../index.js').LogEntry[]} */
  const log = []
  const manager = new RingTokenManager({
    oauthUrl: ring.oauthUrl,
    apiUrl: ring.apiUrl,
    requestTimeoutMs: 10_000,
    systemId: 'test-system',
    logger: (entry) => log.push(entry),
    ...options,
  })
  /** @type {import('../../index.js').RefreshTokenUpdate[]} */
  const updates = []
  /** @type {import('../../index.js').Status[]} */
  const statuses = []
  manager.onRefreshTokenUpdated.subscribe((update) => updates.push(update))
  manager.onStatus.subscribe((status) => statuses.push(status))
  atEnd(t, 'manager', () => manager.close())
  return { manager, log, updates, statuses, said: () => log.map((entry) => entry.message).join('\n') }
}

/** A port on which no server listens, below those that the system assigns by itself. */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = createServer()
    const isFree = await new Promise((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

/** @param {string} path @returns {{ type: 'file', path: string }} */
export const fileStore = (path) => ({ type: 'file', path })

/**
 * Waits until a condition holds.
 * @template T
 * @param {() => T} condition
 * @param {string | (() => string)} what
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const value = condition()
    if (value) return /** @type {NonNullable<T>} */ (value)
    if (Date.now() > deadline) throw new Error(`waited in vain: ${typeof what === 'function' ? what() : what}`)
    await sleep(5)
  }
}

/**
 * The error of a promise, which must be a RingAuthError with this code.
 * @param {Promise<unknown> | (() => unknown)} call
 * @param {ErrorCode} code
 * @returns {Promise<RingAuthError>}
 */
export async function failure(call, code) {
  let value
  try {
    value = await (typeof call === 'function' ? call() : call)
  } catch (error) {
    assert.ok(error instanceof RingAuthError, `not a RingAuthError: ${error}`)
    assert.equal(error.code, code, error.message)
    assert.ok(error.message.length > 10)
    return error
  }
  assert.fail(`expected ${code}, but it gave ${typeof value}`)
}

/** The wrapper around a raw token, as ring-client-api writes it. @param {Record<string, unknown>} fields */
export const wrap = (fields) => Buffer.from(JSON.stringify(fields)).toString('base64')

/** @param {string | null | undefined} token @returns {any} */
export function unwrap(token) {
  return JSON.parse(Buffer.from(String(token), 'base64').toString())
}

/** The inner token. @param {string | null | undefined} token */
export const rawOf = (token) => parseRefreshToken(String(token)).raw

/** @param {string} path @returns {any} */
export const readJournal = (path) => JSON.parse(readFileSync(path, 'utf8'))

/**
 * Changes a journal as time, or another program, might have done.
 * @param {string} path
 * @param {(journal: any) => void} change
 */
export function editJournal(path, change) {
  const journal = readJournal(path)
  change(journal)
  writeJournal(path, journal)
}

/**
 * Writes a journal with a digest that is right.
 * @param {string} path
 * @param {any} journal
 */
export function writeJournal(path, { digest: _, ...journal }) {
  // The digest covers everything before it.
  const text = `${JSON.stringify(journal, null, 2).slice(0, -2)},\n`
  const sum = createHash('sha256').update(text).digest('hex').slice(0, 32)
  writeFileSync(path, `${text}  "digest": "${sum}"\n}\n`, { mode: 0o600 })
}

/**
 * Makes a folder the package of that name in a folder of packages, by a link.
 * @param {string} folder
 * @param {string} modules
 * @param {string} [name]
 */
export function linkPackage(folder, modules, name = basename(folder)) {
  const path = join(modules, name)
  try {
    // On Windows a junction needs no right.
    symlinkSync(folder, path, 'junction')
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOTSUP') throw error
    // Wine has no links: the package consists of files that load the real ones.
    const { main = 'index.js', exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    mkdirSync(path)
    /** @type {Record<string, string>} */
    const entries = {}
    for (const [entry, target] of Object.entries(exports?.['.']?.default ? exports : { '.': { default: main } })) {
      if (!target.default) continue
      entries[entry] = `./${basename(entry === '.' ? 'index' : entry)}.js`
      const real = join(folder, target.default)
      // An ES module that imports it finds only names that stand there.
      const names = Object.keys(createRequire(import.meta.url)(real)).map((name) => `exports.${name} = 0\n`)
      writeFileSync(
        join(path, entries[entry]),
        `${names.join('')}const real = require(${JSON.stringify(real)})\nmodule.exports = real\n`,
      )
    }
    writeFileSync(join(path, 'package.json'), JSON.stringify({ name, exports: entries }))
  }
}

/**
 * Renames a file over another one. On Windows that can be refused while a process has that one open: programs there try again.
 * @param {string} from
 * @param {string} to
 */
export function replace(from, to) {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    try {
      return renameSync(from, to)
    } catch (error) {
      const { code = '' } = /** @type {NodeJS.ErrnoException} */ (error)
      const isInUse = process.platform === 'win32' && ['EPERM', 'EACCES', 'EBUSY'].includes(code)
      if (!isInUse || Date.now() > deadline) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

/**
 * Makes the access token in a journal older than it is.
 * @param {string} path
 * @param {number} ms
 */
export function age(path, ms) {
  editJournal(path, (journal) => {
    journal.access.obtainedAt -= ms
    journal.access.expiresAt -= ms
  })
}

/**
 * An outage in which a failing call does not wait: Ring's Retry-After is longer than a call waits.
 * @type {import('../fake-ring/faults.mjs').FaultSpec}
 */
export const OUTAGE = { kind: 'status', status: 503, times: Infinity, headers: { 'retry-after': '3600' } }

/**
 * @typedef {object} Child
 * @property {import('node:child_process').ChildProcessWithoutNullStreams} process
 * @property {() => string} stdout
 * @property {() => string} stderr
 * @property {(text: string) => void} say a line on its standard input
 * @property {Promise<{ code: number | null, signal: NodeJS.Signals | null, stdout: string, stderr: string }>} ended
 */

/**
 * A Node process that runs a script, with a manager's options in `config`. An unhandled rejection ends it with an error.
 * @param {TestContext} t
 * @param {string} source an ES module; `RingTokenManager`, `config`, `heard(word)` and `say(word)` are there
 * @param {unknown} [config]
 * @param {{ nodeArgs?: string[], cwd?: string, env?: NodeJS.ProcessEnv, limit?: string }} [how] `limit`: for the shell, before it starts
 * @returns {Child}
 */
export function runScript(t, source, config = {}, { nodeArgs = [], cwd = root, env = process.env, limit } = {}) {
  const prelude = `
    import { RingTokenManager, RingAuthError } from ${JSON.stringify(new URL('../../index.js', import.meta.url).href)};
    const config = JSON.parse(process.env.TEST_CONFIG);
    const say = (word) => process.stdout.write(word + '\\n');
    const heard = (word) => new Promise((resolve) => {
      let text = '';
      process.stdin.on('data', (chunk) => {
        text += chunk;
        if (!text.includes(word)) return;
        process.stdin.destroy();
        resolve();
      });
    });
  `
  const args = ['--unhandled-rejections=strict', ...nodeArgs, '--input-type=module', '-e', prelude + source]
  return runProcess(t, args, { cwd, limit, env: { ...env, TEST_CONFIG: JSON.stringify(config) } })
}

/**
 * @param {TestContext} t
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, limit?: string | undefined }} how
 * @returns {Child}
 */
export function runProcess(t, args, { limit, ...how }) {
  // A file that would grow beyond the limit is an error, not the end of the process.
  const shell = ['-c', `trap '' XFSZ; ${limit}; exec "$0" "$@"`, process.execPath, ...args]
  const child = spawn(limit ? 'sh' : process.execPath, limit ? shell : args, { cwd: root, ...how, stdio: 'pipe' })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk))
  // Some tests end a process while they write to it.
  child.stdin.on('error', () => {})
  const hung = setTimeout(() => {
    stderr += '\n[the test lost its patience and killed it]'
    child.kill('SIGKILL')
  }, PATIENCE_MS)
  /** @type {Child['ended']} */
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(hung)
      resolve({ code, signal, stdout, stderr })
    })
  })
  atEnd(t, 'manager', async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })
  return {
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    say: (text) => child.stdin.write(`${text}\n`),
    ended,
  }
}

/** The options of a manager against this Ring, for another process. @param {{ oauthUrl: string, apiUrl: string }} ring */
export const optionsFor = (ring, more = {}) => ({
  oauthUrl: ring.oauthUrl,
  apiUrl: ring.apiUrl,
  systemId: 'test-system',
  requestTimeoutMs: 10_000,
  ...more,
})
