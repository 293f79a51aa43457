// @ts-check
// The processes that are measured: short ones from start to end, a terminal to its first words, and workers.
import { fork, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const pty = createRequire(import.meta.url)('@lydell/node-pty')
const worker = join(dirname(fileURLToPath(import.meta.url)), 'worker.mjs')

/** A time limit that only a broken program reaches. */
const DEADLINE_MS = 300_000

/** The environment of a measured process: only the variables that a program needs to start. @param {Record<string, string>} [more] */
export function environment(more = {}) {
  const { PATH, HOME, SystemRoot } = process.env
  return /** @type {Record<string, string>} */ (
    Object.fromEntries(
      Object.entries({ PATH, HOME, SystemRoot, TERM: 'xterm', ...more }).filter(([, value]) => value !== undefined),
    )
  )
}

/**
 * The time that a Node process takes from its start to its end, and its output.
 * @param {string[]} args
 */
export function timeNode(args) {
  const start = performance.now()
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    env: environment(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ms = performance.now() - start
  if (status !== 0) throw new Error(`node ${args.join(' ')} failed:\n${stderr}`)
  return { ms, stdout }
}

/**
 * The time that a Node process in a terminal takes until a text is on its screen.
 * @param {string[]} args
 * @param {string} text
 * @returns {Promise<number>}
 */
export function timeToText(args, text) {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const terminal = pty.spawn(process.execPath, args, { env: environment(), cols: 200, rows: 50 })
    const late = setTimeout(() => terminal.kill('SIGKILL'), DEADLINE_MS)
    let screen = ''
    let ms = 0
    terminal.onData((/** @type {string} */ data) => {
      screen += data
      if (ms > 0 || !screen.includes(text)) return
      ms = performance.now() - start
      terminal.kill('SIGKILL')
    })
    terminal.onExit(() => {
      clearTimeout(late)
      // The last output of a process that ends by itself may come after its end.
      setTimeout(
        () => (ms > 0 ? resolve(ms) : reject(new Error(`node ${args.join(' ')} does not say ${text}: ${screen}`))),
        50,
      )
    })
  })
}

/**
 * @typedef {object} Worker
 * @property {(command: string, args?: unknown) => Promise<any>} ask
 * @property {() => Promise<void>} end
 */

/**
 * Starts a worker for one of the two packages, as a process.
 * @param {'ours' | 'theirs'} side
 * @param {string} path of its package
 * @param {{ roots: string, under?: string[] }} how `under`: a program that starts it, with its arguments
 * @returns {Promise<Worker>}
 */
export async function startWorker(side, path, { roots, under = [] }) {
  const [program, ...programArgs] = [...under, process.execPath]
  const child = fork(worker, [side, path], {
    execPath: /** @type {string} */ (program),
    execArgv: [...programArgs, '--expose-gc'],
    env: environment({ NODE_EXTRA_CA_CERTS: roots }),
    // ring-client-api prints much about requests that fail.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map()
  let last = 0
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => child.once('exit', () => resolve()))
  const gone = ended.then(() => {
    for (const { reject } of waiting.values()) reject(new Error(`the worker (${side}) has ended`))
  })
  await /** @type {Promise<void>} */ (
    new Promise((resolve, reject) => {
      child.once('message', () => resolve())
      child.once('error', reject)
      void ended.then(() => reject(new Error(`the worker (${side}) does not start`)))
    })
  )
  child.on('message', (/** @type {{ id: number, value: unknown, error?: string }} */ { id, value, error }) => {
    const answer = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) answer?.resolve(value)
    else answer?.reject(new Error(`${side}: ${error}`))
  })
  return {
    ask(command, args = {}) {
      const id = ++last
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        child.send({ id, command, args })
      })
    },
    async end() {
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
      if (child.connected) child.disconnect()
      await gone
      clearTimeout(late)
    },
  }
}
