// @ts-check
// What can be said of a macOS binary without running it.
import { createHash } from 'node:crypto'
import { ENTRY, MACOS_LIBRARIES, isOlderOrSame } from './lists.mjs'
import { MACOS } from './platforms.mjs'
import { Damaged, entries, inFile, textAt } from './tables.mjs'

const PROCESSORS = /** @type {Record<string, number>} */ ({ x64: 0x01000007, arm64: 0x0100000c })

const MAGIC = 0xfeedfacf
const DYNAMIC_LIBRARY = 6
const COMMAND = {
  symbols: 0x2,
  segment: 0x19,
  signature: 0x1d,
  oldest: 0x24,
  build: 0x32,
  rpath: 0x8000001c,
  libraries: [0xc, 0x80000018, 0x8000001f],
}
const PLATFORM_MACOS = 1
/** Of a symbol: for debuggers; visible to others; may be missing at run time; may be replaced by another of its name. */
const [DEBUG, EXTERNAL, WEAK_REFERENCE, WEAK_DEFINITION] = [0xe0, 0x01, 0x40, 0x80]
const SIGNATURE = 0xfade0cc0
const CODE_DIRECTORY = 0xfade0c02
const SHA256 = 2

/**
 * @param {Buffer} bytes
 * @param {{ arch: string, system: ReadonlySet<string> }} wanted `system`: the functions of the oldest macOS
 * @returns {{ problems: string[], notes: string[] }}
 */
export function checkMacho(bytes, { arch, system }) {
  /** @type {string[]} */
  const problems = []
  const u32 = (/** @type {number} */ at) => bytes.readUInt32LE(at)
  const u64 = (/** @type {number} */ at) => Number(bytes.readBigUInt64LE(at))
  const text = (/** @type {number} */ at) => textAt(bytes, at)
  const fixed = (/** @type {number} */ at) => bytes.toString('latin1', at, at + 16).replace(/\0+$/, '')

  if (u32(0) !== MAGIC) return { problems: ['it is no Mach-O file of 64 bits'], notes: [] }
  const processor = u32(4)
  if (processor !== PROCESSORS[arch]) {
    const wanted = PROCESSORS[arch]?.toString(16)
    return { problems: [`it is for processor ${processor.toString(16)}, not ${wanted} (${arch})`], notes: [] }
  }
  if (u32(12) !== DYNAMIC_LIBRARY) problems.push('it is no dynamic library')

  /** @type {string[]} */
  const libraries = []
  /** @type {{ at: number, size: number } | undefined} */
  let signature
  let oldest = ''
  let functions = 0
  let symbols = 0
  for (let [left, at] = [u32(16), 32]; left > 0; left -= 1, at += u32(at + 4)) {
    const command = u32(at)
    if (u32(at + 4) < 8) throw new Damaged('a load command without a length')
    if (COMMAND.libraries.includes(command)) libraries.push(text(at + u32(at + 8)))
    if (command === COMMAND.rpath) problems.push(`it looks for libraries in ${text(at + u32(at + 8))}`)
    if (command === COMMAND.oldest) oldest = versionOf(u32(at + 8))
    if (command === COMMAND.build) {
      if (u32(at + 8) !== PLATFORM_MACOS) problems.push(`it is for Apple's platform ${u32(at + 8)}, not macOS`)
      oldest = versionOf(u32(at + 12))
    }
    if (command === COMMAND.signature) signature = { at: u32(at + 8), size: u32(at + 12) }
    if (command === COMMAND.symbols) symbols = at
    if (command === COMMAND.segment) {
      inFile(bytes, u64(at + 40), u64(at + 48))
      for (const section of entries(bytes, { count: u32(at + 64), offset: at + 72, size: 80 })) {
        if (fixed(section) === '__unwind_info') functions = unwindPages(bytes, u32(section + 48), u64(section + 40))
      }
    }
  }

  if (!oldest) problems.push('it does not say for which macOS it is')
  else if (!isOlderOrSame(oldest, MACOS)) problems.push(`it asks for macOS ${oldest}, newer than ${MACOS}`)
  for (const library of libraries)
    if (!MACOS_LIBRARIES.includes(library)) problems.push(`it needs the library ${library}`)
  if (functions === 0) problems.push('it has no unwind tables: a panic would end the process')

  /** @type {{ name: string, isWeak: boolean }[]} */
  const exported = []
  /** @type {string[]} */
  const imported = []
  if (symbols > 0) {
    const [first, count, names] = [u32(symbols + 8), u32(symbols + 12), u32(symbols + 16)]
    inFile(bytes, names, u32(symbols + 20))
    for (const at of entries(bytes, { count, offset: first, size: 16 })) {
      const [kind, name] = [bytes[at + 4] ?? 0, text(names + u32(at))]
      if (kind & DEBUG || !(kind & EXTERNAL)) continue
      if (kind & 0x0e) exported.push({ name, isWeak: (bytes.readUInt16LE(at + 6) & WEAK_DEFINITION) !== 0 })
      else if (bytes.readUInt16LE(at + 6) & WEAK_REFERENCE) continue
      else imported.push(name)
    }
  }
  // Zig exports some names more. Nobody takes them: on macOS a name belongs to its library, unless it is a weak one.
  if (!exported.some(({ name }) => name === `_${ENTRY}`)) problems.push(`it does not export _${ENTRY}`)
  for (const { name, isWeak } of exported)
    if (isWeak) problems.push(`it exports ${name}, for which another library may stand in`)
  // Node's linker flags let an unknown name pass until the addon calls it.
  for (const name of imported)
    if (!system.has(name)) problems.push(`it takes ${name}, which macOS ${MACOS} does not have`)

  if (signature) problems.push(...wrongInSignature(bytes, signature))
  // A Mac with Apple's processor runs nothing without one; a signature of nobody ("ad hoc") is enough.
  else if (arch === 'arm64') problems.push('it is not signed')

  const signed = signature ? 'signed ad hoc' : 'not signed'
  return {
    problems,
    notes: [`macOS ${oldest}`, `${imported.length} imports`, `${functions} pages of unwind tables`, signed],
  }
}

/** @param {number} packed */
const versionOf = (packed) => `${packed >> 16}.${(packed >> 8) & 255}`

/** The pages of the compact unwind table, without the one that ends it. @param {Buffer} bytes @param {number} at @param {number} size */
function unwindPages(bytes, at, size) {
  if (size < 28 || bytes.readUInt32LE(at) !== 1) return 0
  return Math.max(0, bytes.readUInt32LE(at + 24) - 1)
}

/**
 * What is wrong with the signature: a Mac compares the hash of each page when it is first used, and ends the process where it differs.
 * @param {Buffer} bytes
 * @param {{ at: number, size: number }} signature
 */
function wrongInSignature(bytes, { at, size }) {
  if (at + size !== bytes.length) return ['its signature is not at its end']
  const u32 = (/** @type {number} */ place) => bytes.readUInt32BE(place)
  if (u32(at) !== SIGNATURE) return ['its signature cannot be read']
  const directory = entries(bytes, { count: u32(at + 8), offset: at + 12, size: 8 })
    .filter((entry) => u32(entry) === 0)
    .map((entry) => at + u32(entry + 4))[0]
  if (directory === undefined || u32(directory) !== CODE_DIRECTORY) return ['its signature has no list of hashes']
  const [hashes, count, limit] = [directory + u32(directory + 16), u32(directory + 28), u32(directory + 32)]
  const [length, type, pageBits] = [bytes[directory + 36] ?? 0, bytes[directory + 37], bytes[directory + 39] ?? 0]
  if (type !== SHA256 || length !== 32) return ['the hashes of its signature are not SHA-256']
  if (limit !== at) return ['its signature does not cover it as a whole']
  const page = 2 ** pageBits
  if (count !== Math.ceil(limit / page)) return ['its signature has not one hash for each page']
  const wrong = Array.from({ length: count }, (_, index) => index).filter((index) => {
    const content = bytes.subarray(index * page, Math.min((index + 1) * page, limit))
    const expected = bytes.subarray(hashes + index * length, hashes + (index + 1) * length)
    return !createHash('sha256').update(content).digest().equals(expected)
  })
  return wrong.length > 0 ? [`${wrong.length} of the ${count} hashes of its signature are wrong`] : []
}

/**
 * The names that Apple's list (a .tbd file) has for a processor.
 * @param {string} list
 * @param {string} arch
 */
export function namesInList(list, arch) {
  const target = { x64: 'x86_64-macos', arm64: 'arm64-macos' }[arch] ?? ''
  const [names, block] = [new Set(), /- targets: +\[([^\]]*)\]((?:\s+[\w-]+: +\[[^\]]*\])+)/g]
  for (const [, targets = '', lists = ''] of list.matchAll(block)) {
    if (!targets.split(/[\s,]+/).includes(target)) continue
    for (const [, kind, content = ''] of lists.matchAll(/([\w-]+): +\[([^\]]*)\]/g)) {
      if (kind !== 'symbols' && kind !== 'weak-symbols' && kind !== 'thread-local-symbols') continue
      for (const name of content.split(',')) names.add(name.trim().replace(/^'(.*)'$/, '$1'))
    }
  }
  return /** @type {Set<string>} */ (names)
}
