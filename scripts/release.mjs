// @ts-check
// The last check of a release, and its publication:
//   node scripts/release.mjs check FOLDER [TAG]         checks that all tarballs are there, and that each has the content that its name says
//   node scripts/release.mjs publish FOLDER [by-hand]   publishes the platforms, the main package and ring-auth-cli, and continues if it was stopped.
//                                                       by-hand: without a provenance, which npm accepts only from a workflow
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { CLI, PLATFORMS, binaryOf, publishedFiles, readJson } from './packages.mjs'
import { Failure, asCommand, isMain, root } from './command.mjs'
import { unpack } from './tar.mjs'

/** The placeholder in package.json for an address that is not known yet. */
const PLACEHOLDER = 'https://example.invalid/'

/** @typedef {{ path: string, manifest: any, files: Map<string, { bytes: Buffer }> }} Package */

/**
 * The problems of the tarballs in a folder.
 * @param {string} folder
 * @param {string} [tag] of the release
 * @returns {string[]}
 */
export function problems(folder, tag) {
  const { name, version } = readJson(join(root, 'package.json'))
  const packages = read(folder)
  /** @type {string[]} */
  const found = []
  const wrong = (/** @type {string} */ words) => found.push(words)
  if (tag !== undefined && tag !== `v${version}`) wrong(`the tag is ${tag}, but package.json says ${version}`)

  const main = packages.get(name)
  if (!main) wrong(`${name} is missing`)
  else {
    const pinned = Object.fromEntries(PLATFORMS.map((platform) => [`${name}-${platform}`, version]))
    if (JSON.stringify(main.manifest.optionalDependencies) !== JSON.stringify(pinned))
      wrong(`${name} does not name each platform of its own version`)
    for (const file of publishedFiles()) if (!main.files.has(file)) wrong(`${name} lacks ${file}`)
  }
  const cli = packages.get(CLI)
  if (!cli) wrong(`${CLI} is missing`)
  else if (cli.manifest.dependencies?.[name] !== version) wrong(`${CLI} does not depend on ${name} ${version}`)
  if (tag !== undefined) {
    // npm compares the repository with that of the workflow, and accepts no provenance if they differ.
    const { homepage, bugs, repository } = readJson(join(root, 'package.json'))
    for (const [field, value] of Object.entries({ homepage, bugs, repository })) {
      if (JSON.stringify(value ?? PLACEHOLDER).includes(PLACEHOLDER))
        wrong(`package.json has no ${field} yet: ${PLACEHOLDER} is a placeholder`)
    }
  }
  for (const platform of PLATFORMS) {
    const each = packages.get(`${name}-${platform}`)
    const binary = each?.files.get(binaryOf(platform))?.bytes
    if (!each || !binary) wrong(`${name}-${platform} is missing`)
    else if (systemOf(binary) !== platform) wrong(`the binary of ${name}-${platform} is for ${systemOf(binary)}`)
  }
  for (const [each, { manifest }] of packages) {
    if (manifest.version !== version) wrong(`${each} is of version ${manifest.version}, not ${version}`)
    if (each !== name && each !== CLI && !PLATFORMS.includes(each.slice(name.length + 1)))
      wrong(`${each} is none of ours`)
  }
  return found
}

/** The tarballs by their package's name. @param {string} folder @returns {Map<string, Package>} */
function read(folder) {
  const packages = readdirSync(folder)
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => {
      const path = join(folder, name)
      const files = unpack(path)
      const manifest = files.get('package.json')?.bytes
      if (!manifest) throw new Failure(`${path} has no package.json`)
      return { path, files, manifest: JSON.parse(String(manifest)) }
    })
  return new Map(packages.map((each) => [each.manifest.name, each]))
}

/**
 * The platform that a binary was made for, by its first bytes.
 * @param {Buffer} bytes
 */
export function systemOf(bytes) {
  const unknown = 'no system that is known'
  if (bytes.length < 64) return unknown
  if (bytes.readUInt32BE(0) === 0x7f454c46) {
    const machine = bytes[5] === 1 ? bytes.readUInt16LE(18) : bytes.readUInt16BE(18)
    const arch = { 0x3e: 'x64', 0xb7: 'arm64', 0x28: 'arm', 0xf3: 'riscv64', 0x16: 's390x' }[machine]
    if (!arch) return unknown
    const gnu = bytes.includes('\0libc.so.6\0')
    return arch === 'arm'
      ? gnu
        ? 'linux-arm-gnueabihf'
        : 'linux-arm-musleabihf'
      : `linux-${arch}-${gnu ? 'gnu' : 'musl'}`
  }
  if (bytes.readUInt32LE(0) === 0xfeedfacf) {
    const arch = { 0x01000007: 'x64', 0x0100000c: 'arm64' }[bytes.readUInt32LE(4)]
    return arch ? `darwin-${arch}` : unknown
  }
  if (bytes.readUInt16BE(0) === 0x4d5a) {
    const header = bytes.readUInt32LE(0x3c)
    if (header + 6 > bytes.length) return unknown
    const arch = { 0x8664: 'x64', 0xaa64: 'arm64' }[bytes.readUInt16LE(header + 4)]
    return arch ? `win32-${arch}-msvc` : unknown
  }
  return unknown
}

/**
 * Publishes the packages that are not published yet, and stops at the first failure.
 * @param {string} folder
 * @param {boolean} isByHand
 */
function publish(folder, isByHand) {
  const { name } = readJson(join(root, 'package.json'))
  const packages = read(folder)
  // A user who installs one of them in between must find all that it needs.
  for (const each of [...PLATFORMS.map((platform) => `${name}-${platform}`), name, CLI]) {
    const { path, manifest } = packages.get(each) ?? { path: '', manifest: {} }
    if (npm(['view', `${each}@${manifest.version}`, 'version'], 'pipe').stdout?.trim() === manifest.version) {
      console.log(`${each} ${manifest.version} is published already`)
      continue
    }
    const { status } = npm(['publish', path, ...(isByHand ? [] : ['--provenance']), '--access', 'public'], 'inherit')
    if (status !== 0) {
      console.error(`${each} was not published; nothing after it was tried`)
      return 1
    }
  }
  return 0
}

/** @param {string[]} args @param {'pipe' | 'inherit'} stdio */
function npm(args, stdio) {
  return spawnSync('npm', args, { stdio, encoding: 'utf8', shell: process.platform === 'win32' })
}

if (isMain(import.meta.url)) {
  const [command, given = '', last] = process.argv.slice(2)
  const folder = resolve(given)
  const isKnown = command === 'check' || (command === 'publish' && (last === undefined || last === 'by-hand'))
  if (!given || !isKnown) {
    console.error('usage: node scripts/release.mjs check FOLDER [TAG] | publish FOLDER [by-hand]')
    process.exit(2)
  }
  await asCommand(() => {
    const found = problems(folder, command === 'check' ? last : undefined)
    for (const words of found) console.error(words)
    if (found.length > 0) process.exitCode = 1
    else if (command === 'publish') process.exitCode = publish(folder, last === 'by-hand')
    else console.log(`${PLATFORMS.length + 2} packages, each what it says`)
  })
}
