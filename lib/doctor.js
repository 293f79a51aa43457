// @ts-check
'use strict'

// The parts of `ring-auth doctor` that need JavaScript: the runtime, the C library, other copies of the package, and the output if
// the core cannot be loaded. Only that command reads this file.

const { existsSync, readFileSync, readdirSync, realpathSync } = require('node:fs')
const { basename, dirname, join } = require('node:path')
const { VERSION, libcOf, platformOf, reportWithoutNetwork, thisHost } = require('./load.js')

/** The largest number of `node_modules` folders that are searched. */
const MOST_FOLDERS = 20_000

/** The checks of the core, in their order. Without the core they are skipped. */
const CHECKS = [
  'copies',
  'store',
  'lock',
  'folder',
  'space',
  'file-system',
  'mirror',
  'same-token',
  'keeper',
  'journal',
  'last-success',
  'cool-down',
  'hardware-id',
  'sealed',
  'clock',
  'name-resolution',
  'ipv4',
  'ipv6',
  'proxy',
  'tls',
  'oauth',
  'api',
]

/** What the core needs to know of the runtime and the package, as JSON. */
function surroundings() {
  const own = dirname(__dirname)
  return JSON.stringify({
    version: VERSION,
    runtime: runtime(),
    node: process.versions.node,
    platform: platformOf(thisHost()),
    libc: libc(),
    folder: own,
    copies: otherCopies(own, [own, process.cwd(), dirname(process.argv[1] ?? own)]),
  })
}

/** The runtime and its version. @param {Record<string, string | undefined>} versions */
function runtime(versions = process.versions) {
  if (versions['bun']) return `Bun ${versions['bun']}`
  if (versions['deno']) return `Deno ${versions['deno']}`
  return `Node.js ${versions['node']}`
}

/** The C library and, if it is known, its version. */
function libc() {
  if (process.platform !== 'linux') return undefined
  const name = libcOf(process.execPath)
  const version = name === 'glibc' ? reportWithoutNetwork().header?.glibcVersionRuntime : undefined
  return version ? `${name} ${version}` : name
}

/**
 * The other folders with this package, searched from some folders.
 * @param {string} own
 * @param {string[]} starts
 */
function otherCopies(own, starts) {
  /** @type {Map<string, { path: string, version: string }>} */
  const found = new Map()
  /** @type {Set<string>} */
  const seen = new Set()
  /** @param {string} folder */
  const visit = (folder) => {
    if (basename(folder) === 'ring-auth') {
      const version = versionIn(folder)
      if (version !== undefined) found.set(real(folder), { path: folder, version })
    }
    walk(join(folder, 'node_modules'))
  }
  /** @param {string} modules a folder `node_modules` */
  const walk = (modules) => {
    if (!existsSync(modules) || seen.size >= MOST_FOLDERS || seen.has(real(modules))) return
    seen.add(real(modules))
    for (const name of names(modules)) {
      const folder = join(modules, name)
      if (name === '.pnpm') for (const each of names(folder)) walk(join(folder, each, 'node_modules'))
      else if (name.startsWith('@')) for (const each of names(folder)) visit(join(folder, each))
      else if (!name.startsWith('.')) visit(folder)
    }
  }
  for (const start of starts) for (const folder of ancestors(start)) walk(join(folder, 'node_modules'))
  found.delete(real(own))
  return [...found.values()]
}

/** A folder and its parents. @param {string} folder @returns {string[]} */
function ancestors(folder) {
  const parent = dirname(folder)
  return parent === folder ? [folder] : [folder, ...ancestors(parent)]
}

/** @param {string} folder */
function names(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** @param {string} path */
function real(path) {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** The version of this package in a folder, if it is there. @param {string} folder @returns {string | undefined} */
function versionIn(folder) {
  try {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return name === 'ring-auth' ? String(version) : undefined
  } catch {
    return undefined
  }
}

/**
 * The output of the command if the binary cannot be loaded: this failure, and all other checks as skipped. The exit code is 1.
 * @param {readonly string[]} args
 * @param {{ code: string, message: string }} error
 */
function withoutBinary(args, { code, message }) {
  const rest = CHECKS.map((id) => ({ id, state: 'skipped', message: 'This check needs the binary.' }))
  /** @type {{ id: string, state: string, message: string, code?: string }[]} */
  const checks = [{ id: 'binary', state: 'failed', message, code }, ...rest]
  if (args.includes('--json')) return JSON.stringify({ checks })
  return checks
    .map(({ id, state, message, code }) => `${state.padEnd(8)} ${id.padEnd(15)} ${message}${code ? ` (${code})` : ''}`)
    .join('\n')
}

module.exports = { otherCopies, runtime, surroundings, withoutBinary }
