// @ts-check
// What is published: the main package and one for each platform.
//   node scripts/packages.mjs create [FROM]   makes npm/, with each binary that lies in FROM (by default binding/, where a build puts it)
//   node scripts/packages.mjs pack TO         packs the platforms in npm/ that have their binary, and the main package
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from './setup.mjs'

/** @type {{ PLATFORMS: string[] }} */
export const { PLATFORMS } = createRequire(import.meta.url)('../lib/load.js')

/** The binary's name in its package, and in binding/ of a clone. @param {string} platform */
export const binaryOf = (platform) => `ring-auth.${platform}.node`

/** @param {string} path @returns {any} */
export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** The files of the main package, which `files` of package.json names by their folders. */
export function publishedFiles() {
  return /** @type {string[]} */ (readJson(join(root, 'package.json')).files).flatMap(filesBelow)
}

/** @param {string} path from the root, with slashes @returns {string[]} */
function filesBelow(path) {
  if (!statSync(join(root, path)).isDirectory()) return [path]
  return readdirSync(join(root, path)).flatMap((name) => filesBelow(`${path}/${name}`))
}

/**
 * Makes the platforms' folders in npm/, each with its package.json, read-me and licence, and leaves the binaries that are there.
 * @param {string} [folder] where npm/ is to be
 */
export function create(folder = root) {
  if (folder !== root) copyFileSync(join(root, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'npm'), { recursive: true })
  run(process.execPath, [join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js'), 'create-npm-dirs'], folder)
  for (const platform of PLATFORMS) copyFileSync(join(root, 'LICENSE'), join(folder, 'npm', platform, 'LICENSE'))
}

/**
 * Copies the binaries of a folder to where they are packed from.
 * @param {string} from
 * @param {string} [folder] where npm/ is
 */
export function place(from, folder = root) {
  const names = readdirSync(from)
  for (const platform of PLATFORMS) {
    const name = binaryOf(platform)
    if (names.includes(name)) copyFileSync(join(from, name), join(folder, 'npm', platform, name))
  }
}

/**
 * Packs the platforms that have their binary.
 * @param {string} destination
 * @param {string} [folder] where npm/ is
 */
export function packPlatforms(destination, folder = root) {
  const there = PLATFORMS.filter((platform) => existsSync(join(folder, 'npm', platform, binaryOf(platform))))
  return there.length > 0
    ? pack(
        there.map((platform) => `./npm/${platform}`),
        folder,
        destination,
      )
    : []
}

/**
 * Packs the main package, in a copy: its scripts change package.json for a moment, and others may be reading it.
 * @param {string} destination
 */
export function packMain(destination) {
  const copy = mkdtempSync(join(tmpdir(), 'ring-auth-pack-'))
  try {
    const { files } = readJson(join(root, 'package.json'))
    for (const file of [...files, 'package.json', 'README.md', 'LICENSE', 'scripts/pack.mjs'])
      cpSync(join(root, file), join(copy, file), { recursive: true })
    return /** @type {string} */ (pack(['.'], copy, destination)[0])
  } finally {
    rmSync(copy, { recursive: true })
  }
}

/**
 * Packs folders as `npm publish` does, and says where the tarballs are.
 * @param {string[]} folders
 * @param {string} cwd
 * @param {string} destination
 */
export function pack(folders, cwd, destination) {
  mkdirSync(destination, { recursive: true })
  /** @type {{ filename: string }[]} */
  const made = Object.values(
    JSON.parse(run('npm', ['pack', '--json', '--pack-destination', destination, ...folders], cwd)),
  )
  return made.map(({ filename }) => join(destination, filename))
}

/** @param {string} command @param {string[]} args @param {string} [cwd] */
function run(command, args, cwd = root) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed in ${cwd}:\n${stderr}`)
  return stdout
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [command, folder] = process.argv.slice(2)
  if (command === 'create') {
    create()
    place(resolve(folder ?? join(root, 'binding')))
  } else if (command === 'pack' && folder) {
    for (const tarball of [...packPlatforms(resolve(folder)), packMain(resolve(folder))]) console.log(tarball)
  } else {
    console.error('usage: node scripts/packages.mjs create [FROM] | pack TO')
    process.exitCode = 2
  }
}
