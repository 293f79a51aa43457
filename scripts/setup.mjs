// @ts-check
// Prepares a clone for its tests: installs its packages and the test-only packages, and builds the addon. It does only what is missing or
// older than its sources, so that a second run costs nothing.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isMain, root, run } from './command.mjs'

const { platformOf, thisHost } = createRequire(import.meta.url)('../lib/load.js')

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
