// @ts-check
// Prepares a clone for its tests: installs its packages and the test-only packages, and builds the addon. It does only what is missing or
// older than its sources, so that a second run costs nothing.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const { platformOf, thisHost } = createRequire(import.meta.url)('../lib/load.js')

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Whether a module is the script that Node was started with, also by a path with links. @param {string} url its `import.meta.url` */
export function isMain(url) {
  const script = process.argv[1]
  return script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(url)
}

/** An error whose sentence says all. */
export class Failure extends Error {}

/**
 * Runs what a script of this folder does. A failure, or an error of the system (such as a file that is not there), ends it with its sentence
 * and exit code 1. An error of the script itself shows its stack.
 * @param {() => void | Promise<void>} script
 */
export async function asCommand(script) {
  try {
    await script()
  } catch (error) {
    if (!(error instanceof Failure) && !(error instanceof Error && 'syscall' in error)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

/**
 * Runs a command with its output shown, and ends this process if the command fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
export function run(command, args, options = {}) {
  console.log(`\n$ ${command} ${args.join(' ')}`)
  const { status, error } = spawnSync(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'inherit', 'inherit'],
    // On Windows npm is a script, which needs a shell. Other programs do not, and their paths may have spaces.
    shell: process.platform === 'win32' && command === 'npm',
  })
  if (error) {
    console.error(`\n${command} cannot be started: ${error.message}`)
    process.exit(1)
  }
  if (status !== 0) {
    console.error(`\n${command} ${args.join(' ')} failed (${status ?? 'killed'})`)
    process.exit(status ?? 1)
  }
}

/**
 * Installs a folder's packages as its lock file says, unless that was done already.
 * @param {string} folder
 */
export function install(folder) {
  const lock = join(folder, 'package-lock.json')
  const installed = join(folder, 'node_modules', '.package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return
  // The tests need no install script of a package, and some of these scripts download files that the tests do not need.
  run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder })
}

/** Builds the addon for development, unless it is newer than everything that it is made of. */
export function build() {
  const addon = join(root, 'binding', `ring-auth.${platformOf(thisHost())}.node`)
  const made = existsSync(addon) ? statSync(addon).mtimeMs : 0
  const sources = ['Cargo.toml', 'Cargo.lock', 'package.json'].map((name) => join(root, name))
  const generated = /\.node$|binding\.d\.ts$/
  for (const folder of ['src', 'access', 'binding'])
    sources.push(...files(join(root, folder)).filter((file) => !generated.test(file)))
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs))
  if (made > newest && existsSync(join(root, 'binding', 'binding.d.ts'))) return
  run('npm', ['run', 'build:debug'])
}

/** @param {string} folder @returns {string[]} */
function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path) : [path]
  })
}

/** Prepares everything that the tests need. */
export function setUp() {
  install(root)
  install(join(root, '__test__', 'real'))
  install(join(root, '__test__', 'packages'))
  install(join(root, '__test__', 'bundlers'))
  install(join(root, '__test__', 'browser'))
  install(join(root, '__test__', 'homebridge-ui'))
  install(join(root, '__test__', 'stores'))
  build()
}

if (isMain(import.meta.url)) setUp()
