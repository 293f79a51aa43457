// @ts-check
// Both packages as npm installs them: ring-auth with its files and its platform's package, ring-client-api with all its dependencies.
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
import { root, run } from '../scripts/command.mjs'

const { platformOf, thisHost } = createRequire(import.meta.url)('../lib/load.js')

/** The files that `npm pack` adds to a package's `files`. */
const ALWAYS = ['package.json', 'README.md', 'LICENSE']

/**
 * The path of a package, and everything that was installed for it.
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
 * Copies a test-only package with all its dependencies, and nothing else from its `node_modules`.
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
      // An optional package for another platform is not installed; any other dependency must be.
      else if (!(dependency in optionalDependencies)) throw new Error(`${dependency} is missing beside ${folder}`)
    }
  }
  visit(path)
  return { path, packages: seen.size, bytes: [...seen].reduce((sum, folder) => sum + sizeOf(folder), 0) }
}

/**
 * The path at which Node finds a package from another one.
 * @param {string} from
 * @param {string} name
 */
function lookUp(from, name) {
  // Not `require.resolve(name)`: `buffer` is a package and a part of Node, and for a part of Node there is no path.
  const paths = createRequire(join(from, 'package.json')).resolve.paths('a-package') ?? []
  return paths
    .map((path) => join(path, name))
    .find((folder) => folder.startsWith(root) && existsSync(join(folder, 'package.json')))
}

/** The total size of a package's own files, in bytes. @param {string} folder @returns {number} */
function sizeOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? sum : sum + sizeOf(path)
    return sum + statSync(path).size
  }, 0)
}
