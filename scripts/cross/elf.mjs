// @ts-check
// What can be said of a Linux binary without running it.
import { ENTRY, GLIBC_LIBRARIES, MUSL_LIBRARIES, isOlderOrSame } from './lists.mjs'
import { Damaged, entries, inFile, textAt } from './tables.mjs'

/**
 * ELF's number of a processor; its word, its byte order, and the largest page of the kernels that run on it: an addon whose parts are aligned to
 * less does not load there. A Raspberry Pi 5 has pages of 16 KiB, some servers of 64.
 * @type {Record<string, { machine: number, is64: boolean, little: boolean, page: number }>}
 */
const PROCESSORS = {
  x64: { machine: 0x3e, is64: true, little: true, page: 4096 },
  arm64: { machine: 0xb7, is64: true, little: true, page: 65_536 },
  arm: { machine: 0x28, is64: false, little: true, page: 4096 },
  riscv64: { machine: 0xf3, is64: true, little: true, page: 4096 },
  s390x: { machine: 0x16, is64: true, little: false, page: 4096 },
}

const SHARED_OBJECT = 3
const SEGMENT = { load: 1, dynamic: 2, ehFrame: 0x6474e550, stack: 0x6474e551, armExidx: 0x70000001 }
const SECTION = { dynamic: 6, symbols: 11, versionsNeeded: 0x6ffffffe, versions: 0x6fffffff }
/** A section without bytes in the file; the flag of one that is loaded. */
const [WITHOUT_BYTES, LOADED] = [8, 2]
const TAG = { needed: 1, rpath: 15, textrel: 22, runpath: 29 }
const WEAK = 2
/** The bytes of an entry in the list of needed versions. */
const VERSION = 16

/**
 * @param {Buffer} bytes
 * @param {{ arch: string, glibc?: string | undefined, musl: ReadonlySet<string> }} wanted `glibc`: the oldest; without it, the binary is for
 *   musl, and `musl` has the functions that it may take from there
 * @returns {{ problems: string[], notes: string[] }}
 */
export function checkElf(bytes, { arch, glibc, musl }) {
  /** @type {string[]} */
  const problems = []
  const processor = PROCESSORS[arch]
  if (!processor) throw new Error(`no processor ${arch}`)
  const { machine, is64, little, page } = processor
  if (bytes.readUInt32BE(0) !== 0x7f454c46) return { problems: ['it is no ELF file'], notes: [] }
  if (bytes[4] !== (is64 ? 2 : 1) || bytes[5] !== (little ? 1 : 2)) {
    return { problems: ['its words or its byte order are those of another processor'], notes: [] }
  }
  const u16 = (/** @type {number} */ at) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at))
  const u32 = (/** @type {number} */ at) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  const word = (/** @type {number} */ at) =>
    is64 ? Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at)) : u32(at)
  const text = (/** @type {number} */ at) => textAt(bytes, at)
  const each = (/** @type {number} */ count, /** @type {number} */ offset, /** @type {number} */ size) =>
    entries(bytes, { count, offset, size })

  if (u16(16) !== SHARED_OBJECT) problems.push('it is no shared library')
  if (u16(18) !== machine) problems.push(`it is for processor ${u16(18)}, not ${machine} (${arch})`)

  const width = is64 ? 8 : 4
  const segments = each(u16(is64 ? 56 : 44), word(is64 ? 32 : 28), u16(is64 ? 54 : 42)).map((at) => ({
    type: u32(at),
    flags: u32(is64 ? at + 4 : at + 24),
    offset: word(is64 ? at + 8 : at + 4),
    address: word(is64 ? at + 16 : at + 8),
    size: word(is64 ? at + 32 : at + 16),
    align: word(is64 ? at + 48 : at + 28),
  }))
  const sections = each(u16(is64 ? 60 : 48), word(is64 ? 40 : 32), u16(is64 ? 58 : 46)).map((at) => ({
    type: u32(at + 4),
    isLoaded: (word(at + 8) & LOADED) !== 0,
    address: word(at + 8 + width),
    offset: word(at + 8 + 2 * width),
    size: word(at + 8 + 3 * width),
    link: u32(at + 8 + 4 * width),
    info: u32(at + 12 + 4 * width),
  }))
  const section = (/** @type {number} */ type) => sections.find((one) => one.type === type)
  const namesOf = (/** @type {{ link: number }} */ one) => sections[one.link]?.offset ?? 0

  for (const { type, align, offset, size } of segments) {
    if (type !== SEGMENT.load) continue
    inFile(bytes, offset, size)
    if (align < page) problems.push(`a part is aligned to ${align} bytes, fewer than a page of ${page}`)
  }
  // The loader reads the segments, and what follows here the sections.
  const isWithin = (/** @type {(typeof sections)[0]} */ one, /** @type {(typeof segments)[0]} */ part) =>
    part.type === SEGMENT.load &&
    one.offset >= part.offset &&
    one.offset + one.size <= part.offset + part.size &&
    one.address - part.address === one.offset - part.offset
  for (const one of sections) {
    const isThere = !one.isLoaded || one.type === WITHOUT_BYTES || segments.some((part) => isWithin(one, part))
    if (!isThere) throw new Damaged('its segments and its sections differ')
  }
  const stack = segments.find(({ type }) => type === SEGMENT.stack)
  if (!stack || stack.flags & 1) problems.push('it asks for a stack whose content can be executed')

  // On 32-bit ARM there are eight bytes for each function; elsewhere .eh_frame_hdr counts them.
  const tables = segments.find(({ type }) => type === (arch === 'arm' ? SEGMENT.armExidx : SEGMENT.ehFrame))
  const functions = !tables ? 0 : arch === 'arm' ? tables.size / 8 : u32(tables.offset + 8)
  if (functions < 2) problems.push('it has no unwind tables: a panic would end the process')

  const dynamic = section(SECTION.dynamic)
  /** @type {string[]} */
  const libraries = []
  if (!dynamic) problems.push('it names no libraries')
  else {
    if (segments.find(({ type }) => type === SEGMENT.dynamic)?.offset !== dynamic.offset)
      throw new Damaged('its segments and its sections differ')
    for (const at of each(dynamic.size / (2 * width), dynamic.offset, 2 * width)) {
      const tag = word(at)
      if (tag === TAG.needed) libraries.push(text(namesOf(dynamic) + word(at + width)))
      if (tag === TAG.rpath || tag === TAG.runpath)
        problems.push(`it looks for libraries in ${text(namesOf(dynamic) + word(at + width))}`)
      if (tag === TAG.textrel) problems.push('its code is changed while it is loaded')
    }
  }
  for (const library of libraries) {
    if (!(glibc ? GLIBC_LIBRARIES : MUSL_LIBRARIES).test(library)) problems.push(`it needs the library ${library}`)
  }

  const needed = section(SECTION.versionsNeeded)
  /** @type {string[]} */
  const versions = []
  if (needed) {
    inFile(bytes, needed.offset, needed.size)
    const end = needed.offset + needed.size
    for (const at of chain(needed.info, needed.offset, (one) => u32(one + 12), end)) {
      for (const one of chain(u16(at + 2), at + u32(at + 8), (one) => u32(one + 12), end)) {
        const version = text(namesOf(needed) + u32(one + 8))
        if (version.startsWith('GLIBC_') && !(u16(one + 4) & WEAK)) versions.push(version.slice('GLIBC_'.length))
      }
    }
  }
  const newest = versions.reduce((most, one) => (isOlderOrSame(one, most) ? most : one), '0')
  if (glibc && !isOlderOrSame(newest, glibc)) problems.push(`it needs glibc ${newest}, newer than ${glibc}`)

  const symbols = section(SECTION.symbols)
  const versionOf = section(SECTION.versions)
  /** @type {string[]} */
  const exported = []
  let imported = 0
  if (symbols) {
    const size = is64 ? 24 : 16
    // The first is empty.
    for (const [index, at] of each(symbols.size / size, symbols.offset, size).entries()) {
      if (index === 0) continue
      const name = text(namesOf(symbols) + u32(at))
      const binding = (bytes[is64 ? at + 4 : at + 12] ?? 0) >> 4
      const isDefined = u16(is64 ? at + 6 : at + 14) !== 0
      if (isDefined) {
        if (binding !== 0) exported.push(name)
        continue
      }
      imported += 1
      if (binding === WEAK) continue
      // What glibc has carries a version. A name without one is in no library that the linker saw.
      const isVersioned = versionOf !== undefined && u16(versionOf.offset + 2 * index) > 1
      if (glibc ? !isVersioned : !musl.has(name))
        problems.push(`it takes ${name} from no library that is known to have it`)
    }
  }
  if (exported.join() !== ENTRY) problems.push(`it exports ${exported.join(', ') || 'nothing'}, not ${ENTRY} alone`)

  const libc = glibc ? `glibc ${newest}` : 'musl'
  return { problems, notes: [libc, `${imported} imports`, `${functions} functions with unwind tables`] }
}

/** The names in Zig's list of what musl has, which is written in assembly. @param {string} list */
export function namesInMusl(list) {
  return new Set([...list.matchAll(/^\s*(?:\.globl|\.weak|WEAK64) (\w+)$/gm)].map((match) => match[1] ?? ''))
}

/**
 * Where each entry of a list begins, each of which says how far it is to the next one.
 * @param {number} count
 * @param {number} first
 * @param {(at: number) => number} next
 * @param {number} end of the list
 */
function* chain(count, first, next, end) {
  for (let [left, at] = [count, first]; left > 0; left -= 1, at += next(at)) {
    if (at + VERSION > end) throw new Damaged('a list goes beyond its end')
    yield at
    if (left > 1 && next(at) < VERSION) throw new Damaged('an entry of a list points to itself')
  }
}
