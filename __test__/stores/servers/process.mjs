// @ts-check
// A server of somebody else's, as a process in a temporary folder of its own. It ends with the tests, also when those are killed.
import { spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { once } from 'node:events'
import { PATIENCE_MS, sleep } from '../../support/index.mjs'

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()
/** @type {Set<string>} */
const folders = new Set()

// Nothing may stay behind, however the tests end: what can be done here is synchronous.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(signal, () => process.exit(1))

/** PostgreSQL and pgbouncer refuse to run as root. */
const isRoot = process.getuid?.() === 0
const [NOBODY, NOGROUP] = [65534, 65534]
/** A parent that is killed takes the server with it, where the system has a means for that. */
const SETPRIV = spawnSync('setpriv', ['--version']).status === 0 ? ['setpriv', '--pdeathsig', 'KILL'] : []

/** Where a program is, of these places; undefined if it is nowhere. @param {string} name @param {(string | undefined)[]} places */
export function locate(name, ...places) {
  const path = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))
  return [...places, ...path, `/usr/sbin/${name}`].find((file) => file !== undefined && existsSync(file))
}

/** A folder for one server, which belongs to the user that runs it. @param {{ asNobody?: boolean }} [how] */
export function folder({ asNobody = false } = {}) {
  const path = mkdtempSync(join(tmpdir(), 'ring-auth-server-'))
  folders.add(path)
  if (asNobody && isRoot) chownSync(path, NOBODY, NOGROUP)
  return path
}

/** Removes a folder of a server that has ended. @param {string} path */
export function remove(path) {
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
  folders.delete(path)
}

/** The command, run as nobody if we are root. @param {string[]} command */
const asNobody = (command) =>
  isRoot ? ['setpriv', '--reuid', String(NOBODY), '--regid', String(NOGROUP), '--clear-groups', ...command] : command

/**
 * Runs a program to its end.
 * @param {string[]} command
 * @param {{ asNobody?: boolean, env?: NodeJS.ProcessEnv }} [how]
 */
export function runToEnd(command, how = {}) {
  const [program = '', ...args] = how.asNobody ? asNobody(command) : command
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, ...how.env },
    cwd: tmpdir(),
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command.join(' ')} failed: ${stderr}`)
}

/**
 * Starts a server, and waits until it answers.
 * @param {string[]} command
 * @param {() => Promise<unknown>} answers Rejects until the server answers.
 * @param {{ asNobody?: boolean, env?: NodeJS.ProcessEnv }} [how]
 */
export async function start(command, answers, how = {}) {
  const [program = '', ...args] = [...SETPRIV, ...(how.asNobody ? asNobody(command) : command)]
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...how.env },
    cwd: tmpdir(),
  })
  running.add(child)
  child.on('exit', () => running.delete(child))
  // A test that has failed to end it must not keep the process of the tests.
  child.unref()
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (data) => (said = (said + data).slice(-10_000)))
    const pipe = /** @type {import('node:net').Socket} */ (stream)
    pipe.unref()
  }
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    if (hasEnded()) throw new Error(`${command[0]} ended: ${said}`)
    try {
      await answers()
      break
    } catch (error) {
      if (Date.now() > deadline) {
        child.kill('SIGKILL')
        throw new Error(`${command[0]} does not answer: ${said}`, { cause: error })
      }
      await sleep(20)
    }
  }
  return {
    pid: Number(child.pid),
    output: () => said,
    hasEnded,
    /** @param {NodeJS.Signals} [signal] */
    async end(signal = 'SIGKILL') {
      if (hasEnded()) return
      const exited = once(child, 'exit')
      child.ref()
      child.kill(signal)
      await exited
    },
  }
}
