// @ts-check
// What can be said of a Windows binary without running it.
import { ENTRY, WINDOWS_LIBRARIES, isOlderOrSame } from './lists.mjs'
import { Damaged, entries, inFile, textAt } from './tables.mjs'

/** The oldest Windows of Node 20, 22 and 24. */
const WINDOWS = '10.0'

/** The number of a processor, and the bytes of one function's entry in its unwind table. @type {Record<string, { machine: number, entry: number }>} */
const PROCESSORS = { x64: { machine: 0x8664, entry: 12 }, arm64: { machine: 0xaa64, entry: 8 } }

const IS_LIBRARY = 0x2000
const PE32_PLUS = 0x20b
const DIRECTORY = { exports: 0, imports: 1, exceptions: 3, relocations: 5, delayed: 13 }
/** What makes an attack harder, and what each compiler sets: addresses beyond 4 GiB, moved at each start, data that cannot be executed. */
const FLAGS = { 'high entropy': 0x20, 'dynamic base': 0x40, 'no execution of data': 0x100 }

/**
 * @param {Buffer} bytes
 * @param {{ arch: string }} wanted
 * @returns {{ problems: string[], notes: string[] }}
 */
export function checkPe(bytes, { arch }) {
  /** @type {string[]} */
  const problems = []
  const processor = PROCESSORS[arch]
  if (!processor) throw new Error(`no processor ${arch}`)
  const header = bytes.readUInt16BE(0) === 0x4d5a ? bytes.readUInt32LE(0x3c) : bytes.length
  if (bytes.toString('latin1', header, header + 4) !== 'PE\0\0') return { problems: ['it is no PE file'], notes: [] }
  const machine = bytes.readUInt16LE(header + 4)
  if (machine !== processor.machine) {
    return {
      problems: [`it is for processor ${machine.toString(16)}, not ${processor.machine.toString(16)} (${arch})`],
      notes: [],
    }
  }
  if (!(bytes.readUInt16LE(header + 22) & IS_LIBRARY)) problems.push('it is no library')

  const optional = header + 24
  if (bytes.readUInt16LE(optional) !== PE32_PLUS)
    return { problems: [...problems, 'its addresses are of 32 bits'], notes: [] }
  for (const [what, at] of /** @type {const} */ ([
    ['system', 40],
    ['subsystem', 48],
  ])) {
    const version = `${bytes.readUInt16LE(optional + at)}.${bytes.readUInt16LE(optional + at + 2)}`
    if (!isOlderOrSame(version, WINDOWS)) problems.push(`it asks for ${what} ${version}, newer than Windows ${WINDOWS}`)
  }
  const flags = bytes.readUInt16LE(optional + 70)
  for (const [words, flag] of Object.entries(FLAGS))
    if (!(flags & flag)) problems.push(`it has not the flag for: ${words}`)

  const first = optional + bytes.readUInt16LE(header + 20)
  const sections = entries(bytes, { count: bytes.readUInt16LE(header + 6), offset: first, size: 40 }).map((at) => ({
    address: bytes.readUInt32LE(at + 12),
    size: bytes.readUInt32LE(at + 16),
    offset: bytes.readUInt32LE(at + 20),
  }))
  for (const { offset, size } of sections) inFile(bytes, offset, size)
  /** Where an address of the loaded file lies in the file; -1 if nowhere. @param {number} address */
  const place = (address) => {
    const section = sections.find((one) => address >= one.address && address < one.address + one.size)
    return section ? address - section.address + section.offset : -1
  }
  const text = (/** @type {number} */ address) => {
    const at = place(address)
    if (at < 0) throw new Damaged('a name of it lies nowhere')
    return textAt(bytes, at)
  }
  const directory = (/** @type {number} */ index) => {
    const [address, size] = [
      bytes.readUInt32LE(optional + 112 + 8 * index),
      bytes.readUInt32LE(optional + 116 + 8 * index),
    ]
    if (size === 0) return undefined
    const at = place(address)
    if (at < 0) throw new Damaged('a table of it lies nowhere')
    return { size, at }
  }

  /** @type {string[]} */
  const libraries = []
  for (const [index, size, name] of /** @type {const} */ ([
    [DIRECTORY.imports, 20, 12],
    [DIRECTORY.delayed, 32, 4],
  ])) {
    const table = directory(index)
    for (let at = table?.at ?? -1; at >= 0 && bytes.readUInt32LE(at + name) !== 0; at += size) {
      libraries.push(text(bytes.readUInt32LE(at + name)).toLowerCase())
    }
  }
  if (libraries.length === 0) problems.push('it names no libraries')
  for (const library of libraries)
    if (!WINDOWS_LIBRARIES.test(library)) problems.push(`it needs the library ${library}`)

  const exports = directory(DIRECTORY.exports)
  const names = exports
    ? entries(bytes, {
        count: bytes.readUInt32LE(exports.at + 24),
        offset: place(bytes.readUInt32LE(exports.at + 32)),
        size: 4,
      }).map((at) => text(bytes.readUInt32LE(at)))
    : []
  // Zig exports what is written in assembly too. Nobody takes it: on Windows a name belongs to the library that it is asked of.
  if (!names.includes(ENTRY)) problems.push(`it does not export ${ENTRY}`)

  if (!directory(DIRECTORY.relocations)) problems.push('it cannot be moved to another address')
  const functions = unwindTable(bytes, directory(DIRECTORY.exceptions), processor.entry, place)
  if (typeof functions === 'string') problems.push(functions)

  return { problems, notes: [`${libraries.length} DLLs of the system`, `${functions} functions with unwind tables`] }
}

/**
 * How many functions the unwind table has, or what is wrong with it. Windows searches it as one that is sorted.
 * @param {Buffer} bytes
 * @param {{ at: number, size: number } | undefined} table
 * @param {number} entry
 * @param {(address: number) => number} place
 */
function unwindTable(bytes, table, entry, place) {
  if (!table || table.size < 2 * entry) return 'it has no unwind tables: a panic would end the process'
  const count = Math.floor(table.size / entry)
  let last = -1
  for (let index = 0; index < count; index += 1) {
    const at = table.at + index * entry
    const begin = bytes.readUInt32LE(at)
    const packed = entry === 8 && (bytes.readUInt32LE(at + 4) & 3) !== 0
    if (begin <= last) return 'its unwind table is not sorted'
    if (place(begin) < 0 || (!packed && place(bytes.readUInt32LE(at + entry - 4)) < 0))
      return 'its unwind table points outside the file'
    last = begin
  }
  return count
}
