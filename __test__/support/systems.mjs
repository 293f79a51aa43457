// @ts-check
// On which systems a test holds. Each test that does not hold on all of them takes its `skip` from here, with the reason and with what
// takes its place elsewhere. In the gate, on Linux, nothing is skipped: what a machine lacks there is an error.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** @typedef {'linux' | 'unix'} On Linux alone, or also macOS and its like: everything but Windows */
/** @typedef {{ platform: string, gate: boolean }} Here */

/** Whether the tests run in Wine, where everything takes many times as long. */
export const inWine = Boolean(process.env['RING_AUTH_WINE'])

/** @type {Here} */
const here = { platform: process.platform, gate: Boolean(process.env['RING_AUTH_GATE']) }

/**
 * The `skip` of a test that holds on some systems: false there.
 * @param {On} on
 * @param {string} because why it does not hold elsewhere
 * @param {string} instead what is tested there in its place
 * @param {Here} [where]
 * @returns {false | string}
 */
export function only(on, because, instead, { platform } = here) {
  const holds = on === 'linux' ? platform === 'linux' : platform !== 'win32'
  return holds ? false : `on ${on === 'linux' ? 'Linux' : 'Unix'} alone: ${because}. In its place: ${instead}`
}

/**
 * The `skip` of a test that needs what not every machine has: false if it is there.
 * @param {string} what
 * @param {() => boolean} isThere
 * @param {Here} [where]
 * @returns {false | string}
 */
export function needs(what, isThere, { platform, gate } = here) {
  if (isThere()) return false
  if (gate && platform === 'linux') throw new Error(`the gate runs every test, and this machine lacks ${what}`)
  return `this machine lacks ${what}`
}

/** Of the modes of files. */
export const modes = only(
  'unix',
  'Windows has access lists in place of modes',
  'src/journal/file/tests.rs and access/lib.rs look at the lists',
)

/** Of a file that its mode keeps from being written: a read-only file is another thing on Windows, and root may write it. */
export const readOnly = only(
  'unix',
  'on Windows a file that is read-only cannot be replaced or removed either',
  'the tests of faults in src/mirror/file.rs, by errors of the disk that are made up',
)

/** Of what a POSIX shell does. */
export const shell = only('unix', 'it runs a POSIX shell', 'the same program is run without a shell by the other tests')

/** Of signals. */
export const signals = only(
  'unix',
  'Windows has no signals, and a program that is ended from outside says nothing of how',
  'the tests of a process that is killed or ends by itself',
)

/** Of all the signals that end a program. */
export const linuxSignals = only(
  'linux',
  'which signals there are, and which of them end a program, is another matter on each system',
  'the tests of Ctrl-C and of SIGTERM in cli.test.mjs and watch.test.mjs',
)

/** Of the certificates of the system. */
export const systemCertificates = only(
  'linux',
  'elsewhere Node takes them from a key chain or a registry, which a test does not change',
  'the test of certificates that cannot be read, with a Node that is made up',
)

/** Of a program that is ended with all that it has started. */
export const groups = only(
  'unix',
  'it ends a group of processes by a signal',
  'mirrors.test.mjs, and for the page homebridge-wire.test.mjs',
)

/** Of files that change places. */
export const exchange = only(
  'unix',
  'Windows has no call by which two files change places',
  'the tests in src/files/foreign/tests.rs of a last look before the rename',
)

/** Of devices with a path. */
export const devices = only('unix', 'Windows has no such device', 'the tests of pipes, and src/cli/stdout.rs')

/** Of a pipe that has no reader. */
export const closedPipes = only(
  'unix',
  'Windows does not say before a write whether a pipe has a reader',
  'the tests of a pipe that is closed during the request',
)

/** Of what is seen through /proc. */
export const proc = only('linux', 'it looks into /proc', 'nothing, as no other system shows it to a program')

/** Of namespaces and mounts. */
export const mounts = only('linux', 'it makes a mount namespace', 'the tests of a folder that is renamed or removed')

/** Of names that are no text. */
export const rawNames = only(
  'linux',
  'other systems refuse such names themselves',
  'the tests of U+FFFD in a path in src/files',
)

/** Of a terminal: the package that makes one is tried once. */
export const terminal = only(
  'unix',
  'it types into a terminal of Unix, and reads its escape sequences',
  'the same commands without a terminal',
)

/** Of symbolic links: on Windows they need a right of their own. */
export const links = () =>
  needs('the right to make symbolic links', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-links-'))
    try {
      symlinkSync('nowhere', join(folder, 'link'))
      return lstatSync(join(folder, 'link')).isSymbolicLink()
    } catch {
      return false
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

/** Of files of other users. */
export const asRoot = () =>
  only('unix', 'Windows has no root', 'nothing, as files are given to nobody there') ||
  needs('the rights of root', () => process.getuid?.() === 0)

/** Of what root does for another user by the means of Linux. */
export const asLinuxRoot = () =>
  only('linux', 'it becomes another user with setpriv', 'the tests as root of the files alone') || asRoot()

/** Whether a program can be run here. @param {string} command @param {string[]} args */
export const canRun = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0

/**
 * The command line of another process, as other users see it. It is empty if the process has ended, and on Windows.
 * @param {number | undefined} pid
 */
export function commandLineOf(pid) {
  try {
    if (!proc) return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return signals ? '' : (/^[^Z]\S* +(.*)$/.exec(ps(['-p', String(pid), '-o', 'stat=', '-o', 'command=']))?.[1] ?? '')
  } catch {
    return ''
  }
}

/**
 * The processes that a process has started, on Unix.
 * @param {number} pid
 * @returns {number[]}
 */
export function childrenOf(pid) {
  if (!proc) return numbers(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'))
  const all = ps(['-A', '-o', 'pid=', '-o', 'ppid=']).split('\n').map(numbers)
  return all.flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []))
}

/** @param {string[]} args */
const ps = (args) => spawnSync('ps', args, { encoding: 'utf8' }).stdout.trim()

/** @param {string} text */
const numbers = (text) => text.split(' ').filter(Boolean).map(Number)

/**
 * Holds that a file or folder is its owner's alone, or has another mode. Where there are no modes it has to be there; the access lists
 * are looked at by the tests in src/journal/file/tests.rs.
 * @param {string} path
 * @param {number} mode
 */
export function assertMode(path, mode) {
  const found = statSync(path).mode & 0o777
  if (!modes) assert.equal(found, mode, path)
}
