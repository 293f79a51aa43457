// @ts-check
// `npm run test:wine`: the Rust library's tests, built for Windows, under Wine. What fails there for a
// reason of Wine's own is in wine-list.mjs, with the reason. The list is compared in both directions: a failure that is not in it fails this
// command, and so does an entry that passed.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../setup.mjs'
import { need } from './fetch.mjs'
import { environment, toolchain } from './toolchain.mjs'
import { RUST } from './wine-list.mjs'
import { windowsNodes, wineServer } from './wine.mjs'

const TARGET = 'x86_64-pc-windows-gnullvm'
const PLATFORM = 'win32-x64-msvc'
const BUILD = ['--locked', '-Zbuild-std=std,panic_unwind,proc_macro,test', '--target', TARGET]
/** Only so that a program that hangs ends at all. */
const FAR_TOO_LONG_MS = 45 * 60_000

/** @typedef {{ name: string, outcome: 'pass' | 'fail' | 'skip' }} Result */

need(['cargo', 'apt-get', 'dpkg-deb', 'python3', 'npm', 'mmdebstrap', 'unshare', 'setpriv', 'chroot'])
const tools = toolchain()
windowsNodes()
wineServer('--persistent')
process.on('exit', () => wineServer('--kill'))

/** @type {string[]} */
const problems = []
await testRust()
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
else console.log('\nEverything passed but for the entries of the list.')

async function testRust() {
  const args = ['test', '--no-run', '--message-format=json', '--package', 'ring-auth', '--package', 'ring-auth-access']
  const built = spawnSync('cargo-zigbuild', [...args, '--tests', ...BUILD], {
    cwd: root,
    env: { ...process.env, ...environment(tools, PLATFORM) },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (built.status !== 0) throw new Error(`cargo-zigbuild ended with ${built.status}`)
  const executables = [...built.stdout.matchAll(/"executable":"([^"]+)"/g)].map(([, path]) => String(path))
  /** @type {Result[]} */
  const results = []
  for (const executable of executables) {
    const { stdout } = await inWine([executable, '--test-threads=2'])
    for (const [, name = '', outcome] of stdout.matchAll(/^test (\S+) \.\.\. (ok|FAILED|ignored)/gm))
      results.push({ name, outcome: outcome === 'ok' ? 'pass' : outcome === 'FAILED' ? 'fail' : 'skip' })
    const [, passed, failed] = /^test result: .* (\d+) passed; (\d+) failed/m.exec(stdout) ?? []
    console.log(`${basename(executable)}: ${passed ?? 'no'} passed, ${failed ?? 'did not end,'} failed`)
    if (!passed) problems.push(`${basename(executable)} did not end:\n${stdout.slice(-2000)}`)
  }
  compare(results)
}

/** Compares what failed with what may fail. @param {Result[]} results */
function compare(results) {
  for (const { name, outcome } of results) if (outcome === 'fail' && !(name in RUST)) problems.push(`${name} failed`)
  for (const name of Object.keys(RUST)) {
    const found = results.filter((result) => result.name === name)
    if (found.length === 0) problems.push(`${name} is in the list, and there is no such test`)
    else if (found.every(({ outcome }) => outcome !== 'fail'))
      problems.push(`${name} is in the list, and did not fail: take it out`)
  }
}

/**
 * Runs a program under Wine, its output in a file.
 * @param {string[]} program
 * @returns {Promise<{ code: number | null, stdout: string }>}
 */
async function inWine(program) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-test-wine-'))
  const path = join(folder, 'output')
  const output = openSync(path, 'w')
  const wine = fileURLToPath(new URL('wine.mjs', import.meta.url))
  const child = spawn(process.execPath, [wine, ...program], {
    cwd: root,
    stdio: ['ignore', output, 'inherit'],
    timeout: FAR_TOO_LONG_MS,
    killSignal: 'SIGKILL',
  })
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve))
  closeSync(output)
  const stdout = readFileSync(path, 'utf8')
  rmSync(folder, { recursive: true })
  return { code, stdout }
}
