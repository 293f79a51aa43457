// @ts-check
// What builds: Debian's Rust with the sources of its standard library, LLVM's tools of the version that this Rust was made with, and Zig as
// linker and C compiler.
import { writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Failure } from '../command.mjs'
import { crossFolder, installPython, once, unpackDebian } from './fetch.mjs'
import { MACOS } from './platforms.mjs'

const PYTHON_PACKAGES = ['cargo-zigbuild==0.24.0', 'ziglang==0.17.1']

/** The last Zig that has Apple's list for macOS 11; its list for musl is that of musl 1.2.3. */
const OLDER_ZIG = 'ziglang==0.10.1.post1'

/** Cargo's folder for what it builds. */
export const buildFolder = join(crossFolder, 'build')

/** Fetches what is missing, and returns where each part is. */
export function toolchain() {
  const debian = once('debian', (folder) => {
    for (const name of ['rustc-web', 'rust-web-src']) unpackDebian(name, folder)
    const library = found(/libstd-rust-web-[\d.]+/, unpackDebian('libstd-rust-web-dev', folder))
    const llvm = found(/libllvm\d+/, unpackDebian(library, folder))
    unpackDebian(llvm, folder)
    const tools = unpackDebian(llvm.replace('lib', '').replace(/\d+/, '-$&'), folder)
    // The scripts below find these tools by a name without a number.
    const version = found(/\d+/, llvm)
    // Their libraries are found by these scripts alone: the system's own stay as they are.
    const start = `#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nexport LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu"\n`
    const script = (/** @type {string} */ name, /** @type {string} */ program) =>
      writeFileSync(join(folder, name), `${start}exec "$here/${program}" "$@"\n`, { mode: 0o755 })
    script('rustc', 'usr/bin/rustc')
    // By this name Rust calls what strips a Mach-O. LLVM's signs anew what it changes.
    script('rust-objcopy', `usr/lib/llvm-${version}/bin/llvm-objcopy`)
    if (!tools.includes(llvm)) throw new Failure(`LLVM's tools do not depend on ${llvm}`)
  })
  const python = once('python', (folder) => installPython(PYTHON_PACKAGES, folder))
  // napi's build script asks for Node's import library for MinGW. The addon finds Node's functions at run time and takes nothing from it.
  const node = once('empty-libnode', (folder) => {
    writeFileSync(join(folder, 'libnode.dll'), '')
    writeFileSync(join(folder, 'libnode.a'), '!<arch>\n')
  })
  return { debian, python, node }
}

/** @param {RegExp} pattern @param {string} text */
function found(pattern, text) {
  const [match] = pattern.exec(text) ?? []
  if (!match) throw new Failure(`no ${pattern} in: ${text}`)
  return match
}

/** Lists of the functions that the oldest supported systems have: where they lie. */
export function oldestSystems() {
  const folder = once('older-zig', (into) =>
    // Its compiler is not used: the package for any system will do.
    installPython([OLDER_ZIG], into, ['--only-binary=:all:', '--platform', 'manylinux_2_12_x86_64']),
  )
  const libraries = join(folder, 'ziglang', 'lib', 'libc')
  return { macos: join(libraries, 'darwin', 'libSystem.11.tbd'), musl: join(libraries, 'musl', 'libc.S') }
}

/**
 * The environment in which cargo-zigbuild builds.
 * @param {ReturnType<typeof toolchain>} tools
 * @returns {NodeJS.ProcessEnv}
 */
export function environment({ debian, python, node }) {
  return {
    PATH: [join(python, 'bin'), debian, process.env['PATH']].join(delimiter),
    PYTHONPATH: python,
    CARGO_ZIGBUILD_ZIG_PATH: join(python, 'ziglang', 'zig'),
    CARGO_TARGET_DIR: buildFolder,
    // Zig and cargo-zigbuild keep what they made there.
    XDG_CACHE_HOME: join(crossFolder, 'cache'),
    RUSTC: join(debian, 'rustc'),
    // Its standard library has to be built for each target, which stable Rust refuses.
    RUSTC_BOOTSTRAP: '1',
    // It would take the place of the flags in binding/release.toml.
    RUSTFLAGS: undefined,
    MACOSX_DEPLOYMENT_TARGET: MACOS,
    LIBNODE_PATH: node,
  }
}
