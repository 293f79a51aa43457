// @ts-check
// Both packages as they are installed: ours with its files and its platform's package, theirs with all that it depends on.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { binaryOf } from '../scripts/packages.mjs'
import { root, run } from '../scripts/setup.mjs'

const { platformOf, thisHost } = createRequire(import.meta.url)('../lib/load.js')

/** What `npm pack` adds to a package's `files`. */
const ALWAYS = ['package.json', 'README.md', 'LICENSE']

/**
 * Where a package lies, and all that was installed for it.
 * @typedef {object} Installed
 * @property {string} path
 * @property {number} packages
 * @property {number} bytes
 */

/** @param {string} path @returns {any} */
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/**
 * Builds the release addon into a folder of its own: the one in binding/ is for development.
 * @param {string} folder
 */
export function buildRelease(folder) {
  run('npm', ['run', 'build', '--', '--output-dir', folder])
}

/**
 * Installs our package below a folder.
 * @param {string} folder
 * @param {string} built where the addon is
 * @returns {Installed}
 */
export function stageOurs(folder, built) {
  const platform = platformOf(thisHost())
  const addon = binaryOf(platform)
  if (!existsSync(join(built, addon))) throw new Error(`there is no addon in ${built}: run \`npm run build\` first`)
  const { files, version, name } = readJson(join(root, 'package.json'))
  const modules = join(folder, 'node_modules')
  const main = join(modules, name)
  for (const file of [...files, ...ALWAYS]) cpSync(join(root, file), join(main, file), { recursive: true })
  const own = join(modules, `${name}-${platform}`)
  mkdirSync(own)
  copyFileSync(join(built, addon), join(own, addon))
  writeFileSync(
    join(own, 'package.json'),
    `${JSON.stringify({ name: `${name}-${platform}`, version, main: addon }, null, 2)}\n`,
  )
  copyFileSync(join(root, 'LICENSE'), join(own, 'LICENSE'))
  return { path: main, packages: 2, bytes: sizeOf(main) + sizeOf(own) }
}

/**
 * A package of the test-only ones, with all that it depends on and nothing else of what lies beside it.
 * @param {string} name
 * @returns {Installed}
 */
export function installedTheirs(name) {
  const modules = join(root, '__test__', 'real', 'node_modules')
  const path = join(modules, name)
  /** @type {Set<string>} */
  const seen = new Set()
  const visit = (/** @type {string} */ folder) => {
    if (seen.has(folder)) return
    seen.add(folder)
    const { dependencies = {}, optionalDependencies = {} } = readJson(join(folder, 'package.json'))
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = lookUp(folder, dependency)
      if (found) visit(found)
      // Another platform's is not installed; anything else has to be.
      else if (!(dependency in optionalDependencies)) throw new Error(`${dependency} is missing beside ${folder}`)
    }
  }
  visit(path)
  return { path, packages: seen.size, bytes: [...seen].reduce((sum, folder) => sum + sizeOf(folder), 0) }
}

/**
 * Where Node finds a package, seen from another one.
 * @param {string} from
 * @param {string} name
 */
function lookUp(from, name) {
  // Not asked for the name itself: `buffer` is a package as well as a part of Node, and for that one it has no paths.
  const paths = createRequire(join(from, 'package.json')).resolve.paths('a-package') ?? []
  return paths
    .map((path) => join(path, name))
    .find((folder) => folder.startsWith(root) && existsSync(join(folder, 'package.json')))
}

/** The bytes of a package's own files. @param {string} folder @returns {number} */
function sizeOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? sum : sum + sizeOf(path)
    return sum + statSync(path).size
  }, 0)
}
