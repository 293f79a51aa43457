// @ts-check
// `npm run test:wine`: the Rust library's tests, built for Windows, and then the JavaScript tests in Node for Windows, under Wine. What fails
// there for a reason of Wine's own is in wine-list.mjs, with the reason, and so is each test file that is left out. The list is compared in
// both directions: a failure that is not in it fails this command, and so does an entry that passed.
// `npm run test:wine -- rust` or `-- javascript` runs one half, `-- no-addon.test.mjs` these files of __test__/ alone.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { binaryOf } from '../packages.mjs'
import { Failure, asCommand, root } from '../command.mjs'
import { setUp } from '../setup.mjs'
import { testFiles } from '../test-files.mjs'
import { need } from './fetch.mjs'
import { environment, toolchain } from './toolchain.mjs'
import { ALL_SKIPPED, JAVASCRIPT, LEFT_OUT, RUST } from './wine-list.mjs'
import { onPath, windowsNodes, wineServer } from './wine.mjs'

const TARGET = 'x86_64-pc-windows-gnullvm'
const PLATFORM = 'win32-x64-msvc'
const BUILD = ['--locked', '-Zbuild-std=std,panic_unwind,proc_macro,test', '--target', TARGET]
/** An addon for development exports more names than a DLL can have, unless the code of this project is optimised. */
const SMALL = ['ring-auth', 'ring-auth-binding'].flatMap((name) => [
  '--config',
  `profile.dev.package.${name}.opt-level="s"`,
])
/** The JavaScript tests run in this one; `npm run test:cross` loads the published binary in each. */
const NODE = '22'
/** Only so that a program that hangs ends at all. */
const FAR_TOO_LONG_MS = 45 * 60_000
const FILE_LIMIT_MS = 30 * 60_000

/** @typedef {{ name: string, outcome: 'pass' | 'fail' | 'skip', reason?: string }} Result */

const HALVES = ['rust', 'javascript']
/** Every test file there is, as its path in `__test__`. */
const FILES = testFiles('__test__')
  .map((path) => path.slice('__test__/'.length))
  .sort()
const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !HALVES.includes(name) && !FILES.includes(name))
if (unknown.length > 0) {
  console.error(`${unknown.join(', ')}: not ${HALVES.join(', ')} or a test file below __test__/`)
  process.exit(2)
}
// The longest tests do less there.
process.env['RING_AUTH_WINE'] = '1'
need(['cargo', 'cc', 'apt-get', 'dpkg-deb', 'python3', 'npm', 'mmdebstrap', 'unshare', 'setpriv', 'chroot'])
/** @type {ReturnType<typeof toolchain>} */
let tools
/** @type {ReturnType<typeof windowsNodes>} */
let nodes
/** @type {string[]} */
const problems = []
await asCommand(async () => {
  tools = toolchain()
  nodes = windowsNodes()
  wineServer('--persistent')
  process.on('exit', () => wineServer('--kill'))
  const isAll = (/** @type {string} */ half) => chosen.length === 0 || chosen.includes(half)
  const files = isAll('javascript')
    ? FILES.filter((file) => !(file in LEFT_OUT))
    : chosen.filter((name) => name.endsWith('.mjs'))
  if (isAll('rust')) await testRust()
  if (files.length > 0) await testJavaScript(files)
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else console.log('\nEverything passed but for the entries of the list.')
})

async function testRust() {
  const args = [
    'test',
    '--no-run',
    '--message-format=json-render-diagnostics',
    '--package',
    'ring-auth',
    '--package',
    'ring-auth-access',
  ]
  const executables = built([...args, '--tests', ...BUILD], 'executable')
  /** @type {Result[]} */
  const results = []
  for (const executable of executables) {
    const { stdout } = await inWine([executable, '--test-threads=2'], FAR_TOO_LONG_MS)
    for (const [, name = '', outcome] of stdout.matchAll(/^test (\S+) \.\.\. (ok|FAILED|ignored)/gm))
      results.push({ name, outcome: outcome === 'ok' ? 'pass' : outcome === 'FAILED' ? 'fail' : 'skip' })
    const [, passed, failed] = /^test result: .* (\d+) passed; (\d+) failed/m.exec(stdout) ?? []
    console.log(`${basename(executable)}: ${passed ?? 'no'} passed, ${failed ?? 'did not end,'} failed`)
    if (!passed) problems.push(`${basename(executable)} did not end:\n${stdout.slice(-2000)}`)
  }
  compare(results, RUST, '')
}

/** @param {string[]} files in `__test__` */
async function testJavaScript(files) {
  setUp()
  const addon = join(root, 'binding', binaryOf(PLATFORM))
  const args = [
    'zigbuild',
    '--message-format=json-render-diagnostics',
    '--package',
    'ring-auth-binding',
    ...BUILD,
    ...SMALL,
  ]
  const [dll = ''] = built(args, 'filenames').filter((path) => basename(path) === 'ring_auth_binding.dll')
  copyFileSync(dll, addon)
  process.on('exit', () => rmSync(addon, { force: true }))
  const { command } = nodes.find(({ version }) => version.startsWith(`${NODE}.`)) ?? { command: [] }
  const node = command.at(-1) ?? ''
  onPath(node)
  const counts = { pass: 0, fail: 0, skip: 0 }
  for (const file of files) {
    const begun = Date.now()
    const { results, hasEnded, said } = await testFile(node, file)
    const count = (/** @type {Result['outcome']} */ of) => results.filter(({ outcome }) => outcome === of).length
    const seconds = Math.round((Date.now() - begun) / 1000)
    console.log(`${file}: ${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped (${seconds} s)`)
    for (const of of /** @type {const} */ (['pass', 'fail', 'skip'])) counts[of] += count(of)
    if (!hasEnded) problems.push(`${file} did not end:\n${said.slice(-2000)}`)
    compare(results, JAVASCRIPT[file] ?? {}, `${file}: `)
    const isAllSkipped = count('pass') + count('fail') === 0
    if (hasEnded && isAllSkipped !== file in ALL_SKIPPED)
      problems.push(
        `${file}: ${isAllSkipped ? 'each test was skipped, and the list' : 'a test ran, and the list'} says otherwise`,
      )
  }
  const sum = `${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`
  console.log(`${files.length} JavaScript files: ${sum}; ${Object.keys(LEFT_OUT).length} files are left out`)
}

/** @param {string} node @param {string} file in `__test__` */
async function testFile(node, file) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-test-wine-'))
  const path = join(folder, 'results')
  const { code, stdout } = await inWine(
    [
      node,
      '--import=./scripts/cross/wine-pace.mjs',
      '--test-reporter=./scripts/cross/wine-reporter.mjs',
      `--test-reporter-destination=${path}`,
      `__test__/${file}`,
    ],
    FILE_LIMIT_MS,
  )
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
  rmSync(folder, { recursive: true })
  const told = lines.map((line) => JSON.parse(line))
  const results = /** @type {Result[]} */ (told.filter(({ name }) => name !== undefined))
  const expected = results.some(({ outcome }) => outcome === 'fail') ? 1 : 0
  const hasEnded = told.at(-1)?.ended === true && code === expected
  if (!hasEnded) {
    // What it has started may still run.
    wineServer('--kill')
    wineServer('--persistent')
  }
  return { results, hasEnded, said: `exit code ${code}\n${stdout}` }
}

/**
 * Runs cargo-zigbuild, and returns what it has built.
 * @param {string[]} args
 * @param {'executable' | 'filenames'} which
 * @returns {string[]}
 */
function built(args, which) {
  const { status, stdout } = spawnSync('cargo-zigbuild', args, {
    cwd: root,
    env: { ...process.env, ...environment(tools) },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Failure(`cargo-zigbuild ended with ${status}`)
  const messages = stdout.split('\n').filter((line) => line.startsWith('{'))
  return messages.flatMap((line) => JSON.parse(line)[which] ?? [])
}

/**
 * Compares what failed with what may fail.
 * @param {Result[]} results
 * @param {Record<string, string>} list
 * @param {string} where
 */
function compare(results, list, where) {
  for (const { name, outcome, reason } of results)
    if (outcome === 'fail' && !(name in list)) problems.push(`${where}${name} failed${reason ? `: ${reason}` : ''}`)
  for (const name of Object.keys(list)) {
    const found = results.filter((result) => result.name === name)
    if (found.length === 0) problems.push(`${where}${name} is in the list, and there is no such test`)
    else if (found.every(({ outcome }) => outcome !== 'fail'))
      problems.push(`${where}${name} is in the list, and did not fail: take it out`)
  }
}

/**
 * Runs a program under Wine, its output in a file.
 * @param {string[]} program
 * @param {number} limitMs
 * @returns {Promise<{ code: number | null, stdout: string }>}
 */
async function inWine(program, limitMs) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-test-wine-'))
  const path = join(folder, 'output')
  const output = openSync(path, 'w')
  const wine = fileURLToPath(new URL('wine.mjs', import.meta.url))
  const child = spawn(process.execPath, [wine, ...program], {
    cwd: root,
    stdio: ['ignore', output, 'inherit'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  })
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve))
  closeSync(output)
  const stdout = readFileSync(path, 'utf8')
  rmSync(folder, { recursive: true })
  return { code, stdout }
}
