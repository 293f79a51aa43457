// @ts-check
// The platforms that `npm run build:cross` builds: all that have a package. A further one is a line here, its target in package.json, its
// name in lib/load.js and, if something here can run it, a line in runtimes.mjs.

/**
 * @typedef {object} Platform
 * @property {string} target for Rust
 * @property {string} [glibc] the oldest that the binary is to run with
 */

/** The oldest macOS that the binaries are to run on. It is also the oldest for Node 20 on arm64. */
export const MACOS = '11.0'

/** A binary may have 3.5 MiB. */
export const MAX_BYTES = 3_670_016

/** @type {Record<string, Platform>} */
export const TARGETS = {
  'darwin-arm64': { target: 'aarch64-apple-darwin' },
  'darwin-x64': { target: 'x86_64-apple-darwin' },
  'linux-arm-gnueabihf': { target: 'armv7-unknown-linux-gnueabihf', glibc: '2.17' },
  'linux-arm64-gnu': { target: 'aarch64-unknown-linux-gnu', glibc: '2.17' },
  'linux-arm64-musl': { target: 'aarch64-unknown-linux-musl' },
  // The oldest glibc that there is for RISC-V.
  'linux-riscv64-gnu': { target: 'riscv64gc-unknown-linux-gnu', glibc: '2.27' },
  'linux-s390x-gnu': { target: 's390x-unknown-linux-gnu', glibc: '2.17' },
  'linux-x64-gnu': { target: 'x86_64-unknown-linux-gnu', glibc: '2.17' },
  'linux-x64-musl': { target: 'x86_64-unknown-linux-musl' },
  // The suffix names the Node that it is for. Node-API is plain C, so an addon of another compiler works in it.
  'win32-arm64-msvc': { target: 'aarch64-pc-windows-gnullvm' },
  'win32-x64-msvc': { target: 'x86_64-pc-windows-gnullvm' },
}

/** The platforms that the arguments of a command name, all if there are none. An unknown name ends the process. @param {string[]} names */
export function chosen(names) {
  const unknown = names.filter((name) => !Object.hasOwn(TARGETS, name))
  if (unknown.length > 0) {
    console.error(`${unknown.join(', ')}: not one of ${Object.keys(TARGETS).join(', ')}`)
    process.exit(2)
  }
  return names.length > 0 ? names : Object.keys(TARGETS)
}
