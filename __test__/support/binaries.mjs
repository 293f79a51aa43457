// @ts-check
// Small binaries of each system, made here: they have the tables of a real one and no code. Each option spoils one thing.
import { createHash } from 'node:crypto'

export const ENTRY = 'napi_register_module_v1'

/** A buffer that grows as it is written, and knows the offset of each part. */
class Writer {
  bytes = Buffer.alloc(0)

  /** @param {Buffer} part @param {number} [align] @returns {number} where it lies */
  add(part, align = 8) {
    const at = Math.ceil(this.bytes.length / align) * align
    this.bytes = Buffer.concat([this.bytes, Buffer.alloc(at - this.bytes.length), part])
    return at
  }
}

/** Texts, each ended by a zero, and the offset of each. @param {string[]} texts */
function textTable(texts) {
  const places = /** @type {Record<string, number>} */ ({})
  let content = '\0'
  for (const text of texts) {
    places[text] ??= content.length
    content += `${text}\0`
  }
  return { places, bytes: Buffer.from(content, 'latin1') }
}

/** Writes numbers, [bytes, value] each, in a byte order. @param {boolean} isLittle */
const writerOf =
  (isLittle) =>
  (/** @type {[1 | 2 | 4 | 8, number][]} */ ...fields) =>
    Buffer.concat(
      fields.map(([size, value]) => {
        const field = Buffer.alloc(8)
        field.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
        return isLittle ? field.subarray(0, size) : field.subarray(0, size).reverse()
      }),
    )

const numbers = writerOf(true)

const MACHINES = { x64: 0x3e, arm64: 0xb7, arm: 0x28, riscv64: 0xf3, s390x: 0x16 }

/**
 * @param {object} [options]
 * @param {keyof typeof MACHINES} [options.arch]
 * @param {string[]} [options.libraries]
 * @param {{ name: string, version?: string, isWeak?: boolean }[]} [options.imports]
 * @param {string[]} [options.exports]
 * @param {number} [options.functions] with unwind tables
 * @param {number} [options.align] of its parts
 * @param {boolean} [options.isStackExecutable]
 * @param {string} [options.runpath]
 */
export function elf({
  arch = 'x64',
  libraries = ['libc.so.6'],
  imports = [{ name: 'malloc', version: 'GLIBC_2.17' }],
  exports = [ENTRY],
  functions = 10,
  align = 65_536,
  isStackExecutable = false,
  runpath,
} = {}) {
  const is64 = arch !== 'arm'
  const isLittle = arch !== 's390x'
  const numbers = writerOf(isLittle)
  const word = is64 ? 8 : 4
  const versions = [...new Set(imports.flatMap(({ version }) => version ?? []))]
  const names = textTable([
    ...libraries,
    ...imports.map(({ name }) => name),
    ...exports,
    ...versions,
    ...(runpath ? [runpath] : []),
  ])
  const place = (/** @type {string} */ name) => names.places[name] ?? 0
  const file = new Writer()
  const header = is64 ? 64 : 52
  file.add(Buffer.alloc(header + 4 * (is64 ? 56 : 32)))
  const strings = file.add(names.bytes)

  const symbol = (/** @type {string} */ name, /** @type {number} */ binding, /** @type {number} */ section) =>
    is64
      ? numbers([4, place(name)], [1, binding << 4], [1, 0], [2, section], [8, 0], [8, 0])
      : numbers([4, place(name)], [4, 0], [4, 0], [1, binding << 4], [1, 0], [2, section])
  const symbols = Buffer.concat([
    Buffer.alloc(is64 ? 24 : 16),
    ...imports.map(({ name, isWeak }) => symbol(name, isWeak ? 2 : 1, 0)),
    ...exports.map((name) => symbol(name, 1, 1)),
  ])
  const symbolsAt = file.add(symbols)
  const indices = numbers(
    [2, 0],
    ...imports.map(({ version }) => /** @type {[2, number]} */ ([2, version ? 2 + versions.indexOf(version) : 1])),
    ...exports.map(() => /** @type {[2, number]} */ ([2, 1])),
  )
  const indicesAt = file.add(indices)
  const needed = Buffer.concat([
    numbers([2, 1], [2, versions.length], [4, place(libraries[0] ?? '')], [4, 16], [4, 0]),
    ...versions.map((version, index) =>
      numbers([4, 0], [2, 0], [2, 2 + index], [4, place(version)], [4, index < versions.length - 1 ? 16 : 0]),
    ),
  ])
  const neededAt = file.add(needed)
  const dynamic = numbers(
    .../** @type {[4 | 8, number][]} */ ([
      ...libraries.flatMap((name) => [
        [word, 1],
        [word, place(name)],
      ]),
      ...(runpath
        ? [
            [word, 29],
            [word, place(runpath)],
          ]
        : []),
      [word, 0],
      [word, 0],
    ]),
  )
  const dynamicAt = file.add(dynamic)
  const unwind = arch === 'arm' ? Buffer.alloc(8 * functions) : numbers([4, 0x3b031b01], [4, 0], [4, functions])
  const unwindAt = file.add(unwind)

  const section = (/** @type {number} */ type, /** @type {number} */ at, /** @type {Buffer} */ part, info = 0) =>
    numbers(
      [4, 0],
      [4, type],
      // It is loaded, at the same address.
      [word, type === 0 ? 0 : 2],
      [word, at],
      [word, at],
      [word, part.length],
      [4, 1],
      [4, info],
      [word, 0],
      [word, 0],
    )
  const sections = [
    section(0, 0, Buffer.alloc(0)),
    section(3, strings, names.bytes),
    section(11, symbolsAt, symbols),
    section(0x6fffffff, indicesAt, indices),
    ...(versions.length > 0 ? [section(0x6ffffffe, neededAt, needed, 1)] : []),
    section(6, dynamicAt, dynamic),
  ]
  const sectionsAt = file.add(Buffer.concat(sections))

  const segment = (
    /** @type {number} */ type,
    /** @type {number} */ flags,
    /** @type {number} */ at,
    /** @type {number} */ size,
  ) =>
    is64
      ? numbers([4, type], [4, flags], [8, at], [8, at], [8, at], [8, size], [8, size], [8, align])
      : numbers([4, type], [4, at], [4, at], [4, at], [4, size], [4, size], [4, flags], [4, align])
  const segments = [
    segment(1, 5, 0, file.bytes.length),
    segment(2, 6, dynamicAt, dynamic.length),
    segment(0x6474e551, isStackExecutable ? 7 : 6, 0, 0),
    functions > 0 ? segment(arch === 'arm' ? 0x70000001 : 0x6474e550, 4, unwindAt, unwind.length) : Buffer.alloc(0),
  ].filter(({ length }) => length > 0)
  Buffer.concat([
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, isLittle ? 1 : 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    numbers([2, 3], [2, MACHINES[arch]], [4, 1], [word, 0], [word, header], [word, sectionsAt], [4, 0], [2, header]),
    numbers([2, is64 ? 56 : 32], [2, segments.length], [2, is64 ? 64 : 40], [2, sections.length], [2, 1]),
    ...segments,
  ]).copy(file.bytes)
  return file.bytes
}

/**
 * @param {object} [options]
 * @param {'x64' | 'arm64'} [options.arch]
 * @param {string[]} [options.libraries]
 * @param {string[]} [options.exports]
 * @param {number[]} [options.functions] where each with an unwind entry begins
 * @param {string} [options.system] the version that it asks for
 * @param {number} [options.flags]
 * @param {boolean} [options.isMovable]
 */
export function pe({
  arch = 'x64',
  libraries = ['KERNEL32.dll', 'api-ms-win-crt-heap-l1-1-0.dll'],
  exports = [ENTRY],
  functions = [0x1000, 0x1010, 0x1020],
  system = '10.0',
  flags = 0x160,
  isMovable = true,
} = {}) {
  // One section, which lies in the file as it does in memory, but for this difference.
  const base = 0x1000 - 0x400
  const file = new Writer()
  file.add(Buffer.alloc(0x400))
  const put = (/** @type {Buffer} */ part) => file.add(part) + base
  put(Buffer.alloc(64))
  const names = Object.fromEntries(
    [...libraries, ...exports].map((name) => [name, put(Buffer.from(`${name}\0`, 'latin1'))]),
  )
  const imports = Buffer.concat([
    ...libraries.map((name) => numbers([4, 0x1000], [4, 0], [4, 0], [4, names[name] ?? 0], [4, 0x1000])),
    Buffer.alloc(20),
  ])
  const importsAt = put(imports)
  const pointers = put(numbers(...exports.map((name) => /** @type {[4, number]} */ ([4, names[name] ?? 0]))))
  const exported = numbers(
    [4, 0],
    [4, 0],
    [4, 0],
    [4, 0],
    [4, 1],
    [4, exports.length],
    [4, exports.length],
    [4, 0],
    [4, pointers],
    [4, 0],
  )
  const exportsAt = put(exported)
  const unwind = Buffer.concat(
    functions.map((at) =>
      arch === 'x64' ? numbers([4, at], [4, at + 16], [4, 0x1000]) : numbers([4, at], [4, 0x1000]),
    ),
  )
  const unwindAt = put(unwind)
  const relocations = put(Buffer.alloc(12))
  const end = file.bytes.length

  const directory = (/** @type {number} */ at, /** @type {number} */ size) => numbers([4, size > 0 ? at : 0], [4, size])
  const directories = Array.from({ length: 16 }, () => Buffer.alloc(8))
  directories[0] = directory(exportsAt, exports.length > 0 ? exported.length : 0)
  directories[1] = directory(importsAt, imports.length)
  directories[3] = directory(unwindAt, unwind.length)
  directories[5] = directory(relocations, isMovable ? 12 : 0)
  const [major = 0, minor = 0] = system.split('.').map(Number)
  Buffer.concat([
    Buffer.from('MZ'.padEnd(0x3c, '\0'), 'latin1'),
    numbers([4, 0x40]),
    Buffer.from('PE\0\0', 'latin1'),
    numbers([2, { x64: 0x8664, arm64: 0xaa64 }[arch]], [2, 1], [4, 0], [4, 0], [4, 0], [2, 112 + 128], [2, 0x2022]),
    numbers([2, 0x20b], [2, 0], [4, 0], [4, 0], [4, 0], [4, 0], [4, 0], [8, 0x180000000], [4, 0x1000], [4, 0x200]),
    numbers(
      [2, major],
      [2, minor],
      [4, 0],
      [2, major],
      [2, minor],
      [4, 0],
      [4, 0x10000],
      [4, 0x400],
      [4, 0],
      [2, 2],
      [2, flags],
    ),
    numbers([8, 0], [8, 0], [8, 0], [8, 0], [4, 0], [4, 16]),
    ...directories,
    Buffer.from('.text\0\0\0', 'latin1'),
    numbers([4, end - 0x400], [4, 0x1000], [4, end - 0x400], [4, 0x400]),
  ]).copy(file.bytes)
  return file.bytes
}

/**
 * @param {object} [options]
 * @param {'x64' | 'arm64'} [options.arch]
 * @param {string[]} [options.libraries]
 * @param {{ name: string, isWeak?: boolean }[]} [options.imports]
 * @param {{ name: string, isWeak?: boolean }[]} [options.exports]
 * @param {string} [options.oldest] macOS
 * @param {number} [options.platform] in Apple's numbers
 * @param {number} [options.functions] pages of the unwind table
 * @param {string} [options.rpath]
 * @param {boolean} [options.isSigned]
 */
export function macho({
  arch = 'arm64',
  libraries = ['/usr/lib/libSystem.B.dylib'],
  imports = [{ name: '_malloc' }],
  exports = [{ name: `_${ENTRY}` }],
  oldest = '11.0',
  platform = 1,
  functions = 2,
  rpath,
  isSigned = true,
} = {}) {
  const names = textTable([...imports, ...exports].map(({ name }) => name))
  const symbol = (
    /** @type {{ name: string, isWeak?: boolean }} */ one,
    /** @type {number} */ kind,
    /** @type {number} */ weak,
  ) => numbers([4, names.places[one.name] ?? 0], [1, kind], [1, kind === 1 ? 0 : 1], [2, one.isWeak ? weak : 0], [8, 0])
  const symbols = Buffer.concat([
    ...imports.map((one) => symbol(one, 0x01, 0x40)),
    ...exports.map((one) => symbol(one, 0x0f, 0x80)),
  ])
  const unwind = numbers(
    [4, 1],
    [4, 28],
    [4, 0],
    [4, 28],
    [4, 0],
    [4, 28],
    [4, functions > 0 ? functions + 1 : 0],
    [8, 0],
    [8, 0],
  )
  const file = new Writer()
  file.add(Buffer.alloc(4096))
  const [unwindAt, namesAt, symbolsAt] = [file.add(unwind), file.add(names.bytes), file.add(symbols)]
  file.add(Buffer.alloc(4096))
  const limit = Math.ceil(file.bytes.length / 16) * 16
  file.add(Buffer.alloc(limit - file.bytes.length), 1)
  const count = Math.ceil(limit / 4096)
  const signatureSize = 20 + 88 + 32 * count

  const fixed = (/** @type {string} */ name) => Buffer.from(name.padEnd(16, '\0'), 'latin1')
  const path = (/** @type {number} */ kind, /** @type {string} */ text) => {
    const name = Buffer.from(text.padEnd(Math.ceil((text.length + 1) / 8) * 8, '\0'), 'latin1')
    return kind === 0x8000001c
      ? Buffer.concat([
          numbers([4, kind], [4, 16 + name.length], [4, 12], [4, 0]).subarray(0, 12),
          name,
          Buffer.alloc(4),
        ])
      : Buffer.concat([numbers([4, kind], [4, 24 + name.length], [4, 24], [4, 0], [4, 0], [4, 0]), name])
  }
  const [major = 0, minor = 0] = oldest.split('.').map(Number)
  const commands = [
    Buffer.concat([
      numbers([4, 0x19], [4, 72 + 80]),
      fixed('__TEXT'),
      numbers([8, 0], [8, limit], [8, 0], [8, limit], [4, 5], [4, 5], [4, 1], [4, 0]),
      fixed('__unwind_info'),
      fixed('__TEXT'),
      numbers(
        [8, unwindAt],
        [8, functions > 0 ? unwind.length : 0],
        [4, unwindAt],
        [4, 2],
        [4, 0],
        [4, 0],
        [4, 0],
        [4, 0],
        [4, 0],
        [4, 0],
      ),
    ]),
    ...libraries.map((name) => path(0xc, name)),
    ...(rpath ? [path(0x8000001c, rpath)] : []),
    numbers([4, 0x32], [4, 24], [4, platform], [4, (major << 16) | (minor << 8)], [4, 0], [4, 0]),
    numbers(
      [4, 0x2],
      [4, 24],
      [4, symbolsAt],
      [4, imports.length + exports.length],
      [4, namesAt],
      [4, names.bytes.length],
    ),
    ...(isSigned ? [numbers([4, 0x1d], [4, 16], [4, limit], [4, signatureSize])] : []),
  ]
  const all = Buffer.concat(commands)
  const processor = { x64: 0x01000007, arm64: 0x0100000c }[arch]
  const header = numbers(
    [4, 0xfeedfacf],
    [4, processor],
    [4, 0],
    [4, 6],
    [4, commands.length],
    [4, all.length],
    [4, 0],
    [4, 0],
  )
  Buffer.concat([header, all]).copy(file.bytes)
  if (isSigned) file.add(signature(file.bytes, count), 1)
  return file.bytes
}

/** An ad-hoc signature, whose numbers are big-endian. @param {Buffer} bytes @param {number} count of pages */
function signature(bytes, count) {
  const hashes = Array.from({ length: count }, (_, page) =>
    createHash('sha256')
      .update(bytes.subarray(page * 4096, (page + 1) * 4096))
      .digest(),
  )
  const directory = Buffer.alloc(88)
  const fields = [0xfade0c02, 88 + 32 * count, 0x20400, 2, 88, 0, 0, count, bytes.length]
  for (const [index, value] of fields.entries()) directory.writeUInt32BE(value, 4 * index)
  directory.set([32, 2, 0, 12], 36)
  const start = Buffer.alloc(20)
  for (const [index, value] of [0xfade0cc0, 20 + 88 + 32 * count, 1, 0, 20].entries())
    start.writeUInt32BE(value, 4 * index)
  return Buffer.concat([start, directory, ...hashes])
}
