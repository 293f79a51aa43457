// @ts-check
// Compiles the Mach-O loader of loader/ for a processor: an addon for Linux's Node.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure } from '../command.mjs'
import { crossFolder, output } from './fetch.mjs'
import { toolchain } from './toolchain.mjs'

const sources = fileURLToPath(new URL('loader/', import.meta.url))

/**
 * Where Zig's libunwind is told of the loader's dylibs, and what is put there. It asks each system for the tables of an address; on Linux it
 * does not expect the compact ones of macOS.
 */
const CHANGES = [
  [
    'namespace libunwind {\n\n/// Used by findUnwindSections()',
    '#include "loader.h"\nextern "C" bool find_image(uintptr_t, struct image *);\n\n$&',
  ],
  [
    'UnwindInfoSections &info) {\n#ifdef __APPLE__\n',
    `UnwindInfoSections &info) {
  struct image image;
  if (find_image(targetAddr, &image)) {
    info.dso_base = image.begin;
    info.text_segment_length = image.end - image.begin;
    info.dwarf_section = image.eh_frame;
    info.dwarf_section_length = image.eh_frame_size;
    info.dwarf_index_section = 0;
    info.compact_unwind_section = image.compact;
    info.compact_unwind_section_length = image.compact_size;
    return true;
  }
#ifdef __APPLE__
`,
  ],
]

/** @param {'x64' | 'arm64'} arch @returns {string} the addon's path */
export function machoLoader(arch) {
  const { python } = toolchain()
  const zig = join(python, 'ziglang')
  const into = join(crossFolder, `macho-loader-${arch}`)
  rmSync(into, { recursive: true, force: true })
  const unwind = join(into, 'libunwind')
  cpSync(join(zig, 'lib', 'libunwind'), unwind, { recursive: true })
  const file = join(unwind, 'src', 'AddressSpace.hpp')
  let text = readFileSync(file, 'utf8')
  for (const [place = '', change = ''] of CHANGES) {
    if (text.split(place).length !== 2) throw new Failure(`${file} of this version of Zig has not once: ${place}`)
    text = text.replace(place, change)
  }
  writeFileSync(file, text)
  const ours = ['loader.c', 'system.c', 'unwind.c'].map((name) => join(sources, name))
  const theirs = [
    'libunwind.cpp',
    'UnwindLevel1.c',
    'UnwindLevel1-gcc-ext.c',
    'UnwindRegistersRestore.S',
    'UnwindRegistersSave.S',
  ]
  const target = { x64: 'x86_64', arm64: 'aarch64' }[arch]
  output(join(zig, 'zig'), [
    'cc',
    `--target=${target}-linux-gnu.2.30`,
    '-shared',
    '-fPIC',
    '-O1',
    '-fno-sanitize=all',
    '-funwind-tables',
    '-fvisibility=hidden',
    '-fno-rtti',
    '-fno-exceptions',
    '-D_LIBUNWIND_HIDE_SYMBOLS',
    '-D_LIBUNWIND_SUPPORT_COMPACT_UNWIND=1',
    `-I${sources}`,
    `-I${join(unwind, 'include')}`,
    ...ours,
    ...theirs.map((name) => join(unwind, 'src', name)),
    '-o',
    join(into, 'loader.node'),
  ])
  return join(into, 'loader.node')
}
