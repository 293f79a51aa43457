// @ts-check
// The systems on which a test can run. Each test that cannot run on all of them takes its `skip` from here, with the reason and with
// its replacement elsewhere. In the gate, on Linux, no test is skipped: a missing tool is an error there.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** @typedef {'linux' | 'unix'} On Linux alone, or also macOS and its like: everything but Windows */
/** @typedef {{ platform: string, gate: boolean }} Here */

/** Whether the tests run in Wine, in which everything takes many times as long. */
export const inWine = Boolean(process.env['RING_AUTH_WINE'])

/** @type {Here} */
const here = { platform: process.platform, gate: Boolean(process.env['RING_AUTH_GATE']) }

/**
 * The `skip` of a test that can run on some systems: false there.
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
 * The `skip` of a test that needs a tool that not every machine has: false if the machine has it.
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

/** For tests about the modes of files. */
export const modes = only(
  'unix',
  'Windows has access lists in place of modes',
  'src/journal/file/tests.rs and access/lib.rs look at the lists',
)

/** For tests with a file whose mode forbids writing: on Windows a read-only file is something else, and root may write it. */
export const readOnly = only(
  'unix',
  'on Windows a file that is read-only cannot be replaced or removed either',
  'the tests of faults in src/mirror/file.rs, by errors of the disk that are made up',
)

/** For tests that need a POSIX shell. */
export const shell = only('unix', 'it runs a POSIX shell', 'the same program is run without a shell by the other tests')

/** For tests that send signals. */
export const signals = only(
  'unix',
  'Windows has no signals, and a program that is ended from outside says nothing of how',
  'the tests of a process that is killed or ends by itself',
)

/** For tests about all signals that end a program. */
export const linuxSignals = only(
  'linux',
  'which signals there are, and which of them end a program, is another matter on each system',
  'the tests of Ctrl-C and of SIGTERM in cli.test.mjs and watch.test.mjs',
)

/** For tests about the certificates of the system. */
export const systemCertificates = only(
  'linux',
  'elsewhere Node takes them from a key chain or a registry, which a test does not change',
  'the test of certificates that cannot be read, with a Node that is made up',
)

/** For tests that end a program with all processes that it has started. */
export const groups = only(
  'unix',
  'it ends a group of processes by a signal',
  'mirrors.test.mjs, and for the page homebridge-wire.test.mjs',
)

/** For tests that exchange two files atomically. */
export const exchange = only(
  'unix',
  'Windows has no call by which two files change places',
  'the tests in src/files/foreign/tests.rs of a last look before the rename',
)

/** For tests with devices that have a path. */
export const devices = only('unix', 'Windows has no such device', 'the tests of pipes, and src/cli/stdout.rs')

/** For tests with the device that is always full. */
export const fullDevice = only(
  'linux',
  'no other of these systems has /dev/full',
  'the tests of the null device and of a closed pipe',
)

/** For tests with a pipe without a reader. */
export const closedPipes = only(
  'unix',
  'Windows does not say before a write whether a pipe has a reader',
  'the tests of a pipe that is closed during the request',
)

/** For tests that read /proc. */
export const proc = only('linux', 'it looks into /proc', 'nothing, as no other system shows it to a program')

/** For tests that need namespaces and mounts. */
export const mounts = only('linux', 'it makes a mount namespace', 'the tests of a folder that is renamed or removed')

/** For tests with file names that are not UTF-8. */
export const rawNames = only(
  'linux',
  'other systems refuse such names themselves',
  'the tests of U+FFFD in a path in src/files',
)

/** For tests that need a terminal: the package that makes one is tried once. */
export const terminal = only(
  'unix',
  'it types into a terminal of Unix, and reads its escape sequences',
  'the same commands without a terminal',
)

/** For tests with symbolic links, which need a special right on Windows. */
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

/** For tests with files of other users. */
export const asRoot = () =>
  only('unix', 'Windows has no root', 'nothing, as files are given to nobody there') ||
  needs('the rights of root', () => process.getuid?.() === 0)

/** For tests in which root works for another user, with calls of Linux. */
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
 * Checks that only its owner can use a file or folder, or that it has another mode. On a system without modes it has to exist; the tests in
 * src/journal/file/tests.rs check the access lists.
 * @param {string} path
 * @param {number} mode
 */
export function assertMode(path, mode) {
  const found = statSync(path).mode & 0o777
  if (!modes) assert.equal(found, mode, path)
}
