// @ts-check
// The checks of a published binary that do not run it. Each binary here is made for its test, with one defect.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { check } from '../../scripts/cross/check.mjs'
import { namesInMusl } from '../../scripts/cross/elf.mjs'
import { isOlderOrSame } from '../../scripts/cross/lists.mjs'
import { namesInList } from '../../scripts/cross/macho.mjs'
import { MAX_BYTES, TARGETS } from '../../scripts/cross/platforms.mjs'
import { NOT_RUN, RUNTIMES } from '../../scripts/cross/runtimes.mjs'
import { PLATFORMS, binaryOf, readJson, root } from '../support/packages.mjs'
import { elf, macho, pe } from '../support/binaries.mjs'

/** A list as Apple writes it, for two processors that do not have the same. */
const APPLE_LIST = `--- !tapi-tbd
tbd-version:     4
targets:         [ x86_64-macos, arm64-macos, arm64e-macos ]
install-name:    '/usr/lib/system/libsystem_c.dylib'
exports:
  - targets:         [ x86_64-macos ]
    symbols:         [ '_stat$INODE64', _only_intel ]
  - targets:         [ x86_64-macos, arm64-macos ]
    symbols:         [ _malloc, _free,
                       ___error ]
    weak-symbols:    [ _weak_one ]
  - targets:         [ arm64e-macos ]
    symbols:         [ _only_arm64e ]
...
`

/** A part of Zig's list for musl. */
const MUSL_LIST = `#ifdef PTR64
#define WEAK64 .weak
.globl free
.type free, %function;
free:
WEAK64 fstatat
.weak malloc
`

/** @param {string} platform @param {Buffer} bytes */
function problemsOf(platform, bytes) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-check-'))
  try {
    const lists = { macos: join(folder, 'macos'), musl: join(folder, 'musl') }
    writeFileSync(lists.macos, APPLE_LIST)
    writeFileSync(lists.musl, MUSL_LIST)
    return check(platform, bytes, () => lists).problems
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const ALONE = ', not napi_register_module_v1 alone'
const NO_TABLES = 'it has no unwind tables: a panic would end the process'
const musl = { libraries: ['libc.so'], imports: [{ name: 'malloc' }] }

describe('a sound binary', () => {
  it('a sound binary of each platform passes', () => {
    const sound = /** @type {Record<string, Buffer>} */ ({
      'darwin-arm64': macho(),
      'darwin-x64': macho({ arch: 'x64' }),
      'linux-arm-gnueabihf': elf({ arch: 'arm' }),
      'linux-arm64-gnu': elf({ arch: 'arm64' }),
      'linux-arm64-musl': elf({ arch: 'arm64', ...musl }),
      'linux-riscv64-gnu': elf({ arch: 'riscv64' }),
      'linux-s390x-gnu': elf({ arch: 's390x' }),
      'linux-x64-gnu': elf(),
      'linux-x64-musl': elf(musl),
      'win32-arm64-msvc': pe({ arch: 'arm64' }),
      'win32-x64-msvc': pe(),
    })
    for (const platform of PLATFORMS) {
      assert.deepEqual(problemsOf(platform, sound[platform] ?? assert.fail(`no binary for ${platform}`)), [], platform)
    }
  })

  it('a sound binary of one platform does not pass as that of another', () => {
    for (const [made, platform, words] of /** @type {const} */ ([
      [elf({ arch: 'arm64' }), 'linux-x64-gnu', 'it is for processor 183, not 62 (x64)'],
      [elf({ arch: 'arm' }), 'linux-x64-gnu', 'its words or its byte order are those of another processor'],
      [elf({ arch: 'riscv64' }), 'linux-x64-gnu', 'it is for processor 243, not 62 (x64)'],
      [elf({ arch: 'riscv64' }), 'linux-s390x-gnu', 'its words or its byte order are those of another processor'],
      [elf({ arch: 's390x' }), 'linux-x64-gnu', 'its words or its byte order are those of another processor'],
      [elf(), 'linux-x64-musl', 'it needs the library libc.so.6'],
      [elf(musl), 'linux-x64-gnu', 'it needs the library libc.so'],
      [pe({ arch: 'arm64' }), 'win32-x64-msvc', 'it is for processor aa64, not 8664 (x64)'],
      [macho({ arch: 'x64' }), 'darwin-arm64', 'it is for processor 1000007, not 100000c (arm64)'],
      [elf(), 'darwin-x64', 'it is no Mach-O file of 64 bits'],
      [elf(), 'win32-x64-msvc', 'it is no PE file'],
      [pe(), 'linux-x64-gnu', 'it is no ELF file'],
    ])) {
      assert.equal(problemsOf(platform, made)[0], words, platform)
    }
  })
})

/** @param {string} platform @param {readonly (readonly [Buffer, readonly string[]])[]} cases */
function eachFails(platform, cases) {
  for (const [bytes, words] of cases) assert.deepEqual(problemsOf(platform, bytes), words)
}

describe('a Linux binary fails', () => {
  it('the check refuses a Linux binary that takes what an older system does not have', () => {
    const weak = { name: 'statx', version: 'GLIBC_2.28', isWeak: true }
    eachFails('linux-x64-gnu', [
      [elf({ imports: [{ name: 'stat64', version: 'GLIBC_2.33' }] }), ['it needs glibc 2.33, newer than 2.17']],
      // The version is needed, though the function may be missing.
      [elf({ imports: [weak] }), ['it needs glibc 2.28, newer than 2.17']],
      [elf({ imports: [{ name: 'nowhere' }] }), ['it takes nowhere from no library that is known to have it']],
      [elf({ imports: [{ name: 'nowhere', isWeak: true }] }), []],
      [elf({ libraries: ['libc.so.6', 'libssl.so.3'] }), ['it needs the library libssl.so.3']],
    ])
    // In the other byte order, too.
    eachFails('linux-s390x-gnu', [
      [
        elf({ arch: 's390x', imports: [{ name: 'stat64', version: 'GLIBC_2.33' }] }),
        ['it needs glibc 2.33, newer than 2.17'],
      ],
    ])
    eachFails('linux-x64-musl', [
      [
        elf({ ...musl, imports: [{ name: 'strlcpy_chk' }] }),
        ['it takes strlcpy_chk from no library that is known to have it'],
      ],
      [elf({ ...musl, libraries: ['libc.musl-x86_64.so.1'] }), []],
    ])
  })

  it('the check refuses a Linux binary without unwind tables', () => {
    eachFails('linux-x64-gnu', [[elf({ functions: 0 }), [NO_TABLES]]])
    eachFails('linux-arm-gnueabihf', [
      [elf({ arch: 'arm', functions: 0 }), [NO_TABLES]],
      [elf({ arch: 'arm', functions: 1 }), [NO_TABLES]],
    ])
  })

  it('the check refuses a Linux binary that a kernel with large pages cannot load', () => {
    const words = 'a part is aligned to 4096 bytes, fewer than a page of 65536'
    eachFails('linux-arm64-gnu', [[elf({ arch: 'arm64', align: 4096 }), [words]]])
    eachFails('linux-x64-gnu', [[elf({ align: 4096 }), []]])
  })

  it('the check refuses a Linux binary that asks for more than it should, or shows more', () => {
    eachFails('linux-x64-gnu', [
      [elf({ isStackExecutable: true }), ['it asks for a stack whose content can be executed']],
      [elf({ runpath: '/home/somebody' }), ['it looks for libraries in /home/somebody']],
      [elf({ exports: ['napi_register_module_v1', 'malloc'] }), [`it exports napi_register_module_v1, malloc${ALONE}`]],
      [elf({ exports: [] }), [`it exports nothing${ALONE}`]],
    ])
  })
})

describe('a Windows binary fails', () => {
  it('the check refuses a Windows binary that needs what Windows 10 does not bring', () => {
    eachFails('win32-x64-msvc', [
      [pe({ libraries: ['kernel32.dll', 'VCRUNTIME140.dll'] }), ['it needs the library vcruntime140.dll']],
      [pe({ libraries: ['node.exe'] }), ['it needs the library node.exe']],
      [pe({ libraries: [] }), ['it names no libraries']],
      [
        pe({ system: '10.1' }),
        ['it asks for system 10.1, newer than Windows 10.0', 'it asks for subsystem 10.1, newer than Windows 10.0'],
      ],
      [pe({ system: '6.0' }), []],
    ])
  })

  it('the check refuses a Windows binary whose unwind tables are missing or of no use', () => {
    for (const [platform, arch] of /** @type {const} */ ([
      ['win32-x64-msvc', 'x64'],
      ['win32-arm64-msvc', 'arm64'],
    ])) {
      eachFails(platform, [
        [pe({ arch, functions: [] }), [NO_TABLES]],
        [pe({ arch, functions: [0x1010, 0x1000, 0x1020] }), ['its unwind table is not sorted']],
        [pe({ arch, functions: [0x1000, 0x900000] }), ['its unwind table points outside the file']],
      ])
    }
  })

  it('the check refuses a Windows binary that does not show its entry, or is easier to attack', () => {
    eachFails('win32-x64-msvc', [
      [pe({ exports: ['DllMain'] }), ['it does not export napi_register_module_v1']],
      [pe({ exports: [] }), ['it does not export napi_register_module_v1']],
      [pe({ flags: 0x60 }), ['it has not the flag for: no execution of data']],
      [pe({ isMovable: false }), ['it cannot be moved to another address']],
    ])
  })
})

describe('a macOS binary fails', () => {
  it('the check refuses a macOS binary that takes what an older system does not have', () => {
    eachFails('darwin-arm64', [
      [macho({ oldest: '12.3' }), ['it asks for macOS 12.3, newer than 11.0']],
      [macho({ platform: 6 }), ["it is for Apple's platform 6, not macOS"]],
      [
        macho({ imports: [{ name: '_malloc_type_malloc' }] }),
        ['it takes _malloc_type_malloc, which macOS 11.0 does not have'],
      ],
      [macho({ imports: [{ name: '_malloc_type_malloc', isWeak: true }] }), []],
      [macho({ imports: [{ name: '_only_intel' }] }), ['it takes _only_intel, which macOS 11.0 does not have']],
      [
        macho({ libraries: ['/opt/homebrew/lib/libssl.dylib'] }),
        ['it needs the library /opt/homebrew/lib/libssl.dylib'],
      ],
      [macho({ rpath: '/opt/homebrew/lib' }), ['it looks for libraries in /opt/homebrew/lib']],
    ])
    eachFails('darwin-x64', [[macho({ arch: 'x64', imports: [{ name: '_only_intel' }] }), []]])
  })

  it('the check refuses a macOS binary without unwind tables', () => {
    eachFails('darwin-x64', [[macho({ arch: 'x64', functions: 0 }), [NO_TABLES]]])
  })

  it('the check refuses a macOS binary that does not show its entry, or shows what another may replace', () => {
    const entry = { name: '_napi_register_module_v1' }
    eachFails('darwin-arm64', [
      [macho({ exports: [{ name: '_main' }] }), ['it does not export _napi_register_module_v1']],
      [macho({ exports: [entry, { name: '_free' }] }), []],
      [
        macho({ exports: [entry, { name: '_free', isWeak: true }] }),
        ['it exports _free, for which another library may stand in'],
      ],
    ])
  })

  it('the check refuses a macOS binary that is not signed, if it is for Apple’s processor', () => {
    eachFails('darwin-arm64', [[macho({ isSigned: false }), ['it is not signed']]])
    eachFails('darwin-x64', [[macho({ arch: 'x64', isSigned: false }), []]])
  })

  it('the check refuses a macOS binary whose signature does not fit', () => {
    const changed = macho()
    changed[5000] = (changed[5000] ?? 0) ^ 1
    const twice = macho()
    for (const at of [4500, 8200]) twice[at] = (twice[at] ?? 0) ^ 1
    const longer = Buffer.concat([macho(), Buffer.alloc(1)])
    // The beginning of the signature, and of the list of hashes in it, after 20 bytes.
    const at = (/** @type {Buffer} */ bytes) => bytes.indexOf(Buffer.from('fade0cc0', 'hex'))
    const spoiled = (/** @type {(bytes: Buffer, at: number) => void} */ spoil) => {
      const bytes = macho()
      spoil(bytes, at(bytes))
      return bytes
    }
    eachFails('darwin-arm64', [
      [changed, ['1 of the 3 hashes of its signature are wrong']],
      [twice, ['2 of the 3 hashes of its signature are wrong']],
      [longer, ['its signature is not at its end']],
      [spoiled((bytes, start) => bytes.writeUInt32BE(0, start)), ['its signature cannot be read']],
      [spoiled((bytes, start) => bytes.writeUInt32BE(0, start + 20)), ['its signature has no list of hashes']],
      [
        spoiled((bytes, start) => bytes.writeUInt8(1, start + 20 + 37)),
        ['the hashes of its signature are not SHA-256'],
      ],
      [
        spoiled((bytes, start) => bytes.writeUInt32BE(4096, start + 20 + 32)),
        ['its signature does not cover it as a whole'],
      ],
      [
        spoiled((bytes, start) => bytes.writeUInt32BE(1, start + 20 + 28)),
        ['its signature has not one hash for each page'],
      ],
    ])
  })
})

describe('the checks', () => {
  const whole = /** @type {const} */ ([
    ['linux-x64-gnu', elf()],
    ['linux-arm-gnueabihf', elf({ arch: 'arm' })],
    ['linux-s390x-gnu', elf({ arch: 's390x' })],
    ['win32-x64-msvc', pe()],
    ['win32-arm64-msvc', pe({ arch: 'arm64' })],
    ['darwin-x64', macho({ arch: 'x64' })],
    ['darwin-arm64', macho()],
    ['darwin-x64', macho({ arch: 'x64', isSigned: false })],
  ])

  it('the checks refuse a file that is cut off anywhere, with a sentence', () => {
    for (const [platform, bytes] of whole) {
      const lengths = Array.from({ length: Math.ceil(bytes.length / 61) }, (_, index) => 61 * index)
      for (const length of [...lengths, bytes.length - 4, bytes.length - 1]) {
        const found = problemsOf(platform, bytes.subarray(0, length))
        assert.ok(found.length > 0, `${platform}, ${length} of ${bytes.length} bytes`)
        for (const words of found) assert.doesNotMatch(words, /"offset"|buffer/)
      }
    }
  })

  it('the checks of a damaged file end, whichever of its numbers is wrong', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-check-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const lists = { macos: join(folder, 'macos'), musl: join(folder, 'musl') }
    writeFileSync(lists.macos, APPLE_LIST)
    writeFileSync(lists.musl, MUSL_LIST)
    let refused = 0
    for (const [platform, bytes] of whole) {
      // A page of code says nothing, and each check of a signed file takes all hashes.
      const places = Array.from({ length: bytes.length / 4 }, (_, index) => 4 * index)
      for (const at of places.filter((place) => bytes.readUInt32LE(place) !== 0)) {
        for (const value of [0, 1, 0xff, 0x10000000, 0x7fffffff, 0xfffffff0, 0xffffffff]) {
          const damaged = Buffer.from(bytes)
          damaged.writeUInt32LE(value, at)
          if (check(platform, damaged, () => lists).problems.length > 0) refused += 1
        }
      }
    }
    assert.ok(refused > 1000, String(refused))
  })

  it('the checks refuse a list of more entries than the file has room for, before they go through it', () => {
    // The number of needed versions, of symbols, and of sections.
    const versions = elf()
    const header = Number(versions.readBigUInt64LE(40)) + 64 * 4
    assert.equal(versions.readUInt32LE(header + 4), 0x6ffffffe)
    versions.writeUInt32LE(0xffffffff, header + 44)
    const symbols = elf()
    assert.equal(symbols.readUInt32LE(header - 2 * 64 + 4), 11)
    symbols.writeBigUInt64LE(0xfffffff0n, header - 2 * 64 + 32)
    const sections = macho()
    sections.writeUInt32LE(0xffffffff, 32 + 64)
    const blobs = macho()
    blobs.writeUInt32BE(0xffffffff, blobs.indexOf(Buffer.from('fade0cc0', 'hex')) + 8)
    for (const [platform, bytes] of /** @type {const} */ ([
      ['linux-x64-gnu', versions],
      ['linux-x64-gnu', symbols],
      ['darwin-arm64', sections],
      ['darwin-arm64', blobs],
    ])) {
      assert.match(problemsOf(platform, bytes)[0] ?? '', /^it is cut off or damaged: /)
    }
  })

  it('the checks refuse a file whose loader and whose tools find other tables', () => {
    const moved = elf()
    const dynamic = 64 + 56
    assert.equal(moved.readUInt32LE(dynamic), 2)
    moved.writeBigUInt64LE(moved.readBigUInt64LE(dynamic + 8) + 16n, dynamic + 8)
    // A part that is loaded elsewhere, that is not loaded at all, and of which only the beginning is loaded.
    const load = 64
    const [elsewhere, unloaded, cut] = [elf(), elf(), elf()]
    elsewhere.writeBigUInt64LE(0x10000n, load + 16)
    unloaded.writeUInt32LE(4, load)
    cut.writeBigUInt64LE(100n, load + 32)
    for (const bytes of [moved, elsewhere, unloaded, cut])
      eachFails('linux-x64-gnu', [[bytes, ['it is cut off or damaged: its segments and its sections differ']]])
  })

  it('the checks do not loop if a length is zero', () => {
    const bytes = macho()
    bytes.writeUInt32LE(0xffffffff, 16)
    bytes.writeUInt32LE(0, 32 + 4)
    assert.deepEqual(problemsOf('darwin-arm64', bytes), ['it is cut off or damaged: a load command without a length'])
  })

  it('the checks refuse a binary that is too large', () => {
    const large = (/** @type {number} */ size) => Buffer.concat([elf(), Buffer.alloc(size - elf().length)])
    eachFails('linux-x64-gnu', [
      [large(MAX_BYTES), []],
      [large(MAX_BYTES + 1), ['it has 3670017 bytes, more than 3670016']],
    ])
  })

  it('the checks read the lists of Apple and of Zig as they are written', () => {
    assert.deepEqual([...namesInMusl(MUSL_LIST)], ['free', 'fstatat', 'malloc'])
    assert.deepEqual(
      [...namesInList(APPLE_LIST, 'x64')],
      ['_stat$INODE64', '_only_intel', '_malloc', '_free', '___error', '_weak_one'],
    )
    assert.deepEqual([...namesInList(APPLE_LIST, 'arm64')], ['_malloc', '_free', '___error', '_weak_one'])
  })

  it('the checks compare versions by their numbers', () => {
    assert.ok(isOlderOrSame('2.4', '2.17') && isOlderOrSame('2.2.5', '2.17') && isOlderOrSame('11.0', '11.0'))
    assert.ok(!isOlderOrSame('2.18', '2.17') && !isOlderOrSame('11.1', '11.0'))
  })

  it('the checks exist for each platform that has a package', () => {
    assert.deepEqual(Object.keys(TARGETS).sort(), PLATFORMS)
    const targets = Object.values(TARGETS).map(({ target }) => target.replace('gnullvm', 'msvc'))
    assert.deepEqual(targets.sort(), [...readJson(join(root, 'package.json')).napi.targets].sort())
  })

  it('the checks are followed by a run, or there is a reason why not', () => {
    assert.deepEqual([...Object.keys(RUNTIMES), ...Object.keys(NOT_RUN)].sort(), PLATFORMS)
  })

  it('the checks stop the script that calls them, with the reason', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-check-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, binaryOf('linux-x64-gnu'))
    const run = (/** @type {string[]} */ ...args) =>
      spawnSync(process.execPath, [join(root, 'scripts', 'cross', 'check.mjs'), ...args], { encoding: 'utf8' })
    writeFileSync(path, elf())
    const sound = run(path)
    assert.deepEqual({ status: sound.status, stderr: sound.stderr }, { status: 0, stderr: '' })
    assert.match(
      sound.stdout,
      /^ring-auth\.linux-x64-gnu\.node: \d+ bytes; glibc 2\.17, 1 imports, 10 functions with unwind tables\n$/,
    )
    writeFileSync(path, elf({ functions: 0 }))
    const broken = run(path)
    assert.deepEqual(
      { status: broken.status, stderr: broken.stderr },
      { status: 1, stderr: `${binaryOf('linux-x64-gnu')}: ${NO_TABLES}\n` },
    )
    assert.equal(run().status, 2)
    for (const name of ['ring-auth.amiga.node', 'ring-auth.constructor.node', 'README.md'])
      assert.equal(run(join(folder, name)).status, 2, name)
  })

  it('the checks end with a sentence for a file that is missing, empty or a folder', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ring-auth-check-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const name = binaryOf('linux-x64-gnu')
    const run = () => {
      const script = join(root, 'scripts', 'cross', 'check.mjs')
      const { status, stderr } = spawnSync(process.execPath, [script, join(folder, name)], { encoding: 'utf8' })
      assert.equal(status, 1)
      return stderr
    }
    assert.match(run(), /^ENOENT: no such file or directory, .*\n$/)
    writeFileSync(join(folder, name), '')
    assert.equal(run(), `${name}: it is cut off or damaged: a part of it is not there\n`)
    rmSync(join(folder, name))
    mkdirSync(join(folder, name))
    assert.equal(run(), `${join(folder, name)} is a folder\n`)
  })
})
