// @ts-check
// `npm run build:cross [-- PLATFORM …]`: builds the Linux platforms that are not this one into npm/, with what the package
// registries have: Debian's Rust with the sources of its standard library (unpacked, not installed), and Zig as the linker and C
// compiler. Everything lies in target/cross, which `cargo clean` takes away.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { binaryOf, create } from './packages.mjs'
import { root, run } from './setup.mjs'

const PYTHON_PACKAGES = ['cargo-zigbuild==0.24.0', 'ziglang==0.17.1']

/** The oldest glibc that a binary is to run with is a part of its target for cargo-zigbuild. */
export const TARGETS = /** @type {Record<string, { target: string, glibc?: string }>} */ ({
  'linux-arm64-gnu': { target: 'aarch64-unknown-linux-gnu', glibc: '2.17' },
  'linux-arm-gnueabihf': { target: 'armv7-unknown-linux-gnueabihf', glibc: '2.17' },
  'linux-x64-musl': { target: 'x86_64-unknown-linux-musl' },
  'linux-arm64-musl': { target: 'aarch64-unknown-linux-musl' },
})

export const crossFolder = join(root, 'target', 'cross')
const [downloads, debian, python] = ['downloads', 'debian', 'python'].map((name) => join(crossFolder, name))
const rustc = join(crossFolder, 'rustc')

/** @param {string} command @param {string[]} args @param {string} [cwd] */
function output(command, args, cwd = root) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

/** Says what this machine lacks, and ends there. @param {string[]} commands */
export function need(commands) {
  const lacking = commands.filter((command) => spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0)
  if (process.platform !== 'linux' || process.arch !== 'x64') lacking.unshift('Linux x64')
  if (lacking.length === 0) return
  console.error(
    `This needs ${lacking.join(', ')}, and a Debian or its packages. The release workflow builds every platform.`,
  )
  process.exit(1)
}

/**
 * Downloads a package of Debian and unpacks it, and says what it depends on.
 * @param {string} name
 * @param {string} [into]
 * @param {string[]} [options] of apt
 */
export function unpackDebian(name, into = String(debian), options = []) {
  const folder = join(String(downloads), name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  mkdirSync(into, { recursive: true })
  output('apt-get', [...options, 'download', name], folder)
  const [file = ''] = readdirSync(folder)
  output('dpkg-deb', ['-x', join(folder, file), into])
  const depends = output('dpkg-deb', ['-f', join(folder, file), 'Depends'])
  rmSync(folder, { recursive: true })
  return depends
}

/** Packages of PyPI. @param {string[]} names @param {string} into @param {string[]} [options] of pip */
export function installPython(names, into, options = []) {
  output('python3', [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-deps',
    '--target',
    into,
    ...options,
    ...names,
  ])
}

function toolchain() {
  if (existsSync(rustc) && existsSync(String(python))) return
  console.log('fetching Rust with the sources of its standard library, and Zig')
  for (const name of ['rustc-web', 'rust-web-src']) unpackDebian(name)
  const [library = ''] = /libstd-rust-web-[\d.]+/.exec(unpackDebian('libstd-rust-web-dev')) ?? []
  const [llvm = ''] = /libllvm\d+/.exec(unpackDebian(library)) ?? []
  unpackDebian(llvm)
  installPython(PYTHON_PACKAGES, String(python))
  // Found by nothing but this: the system's own libraries stay as they are.
  const libraries = join(String(debian), 'usr', 'lib', 'x86_64-linux-gnu')
  writeFileSync(rustc, `#!/bin/sh\nexport LD_LIBRARY_PATH='${libraries}'\nexec '${debian}/usr/bin/rustc' "$@"\n`, {
    mode: 0o755,
  })
}

/** @param {string} platform */
function build(platform) {
  const { target, glibc } = TARGETS[platform] ?? { target: '' }
  const args = ['zigbuild', '--locked', '--release', '--package', 'ring-auth-binding', '-Zbuild-std=std,panic_unwind']
  run('cargo-zigbuild', [...args, '--target', glibc ? `${target}.${glibc}` : target], {
    env: {
      PATH: `${join(String(python), 'bin')}${delimiter}${process.env['PATH']}`,
      PYTHONPATH: String(python),
      CARGO_ZIGBUILD_ZIG_PATH: join(String(python), 'ziglang', 'zig'),
      CARGO_TARGET_DIR: join(crossFolder, 'build'),
      // Zig and cargo-zigbuild keep what they made there.
      XDG_CACHE_HOME: join(crossFolder, 'cache'),
      RUSTC: rustc,
      // Its standard library has to be built for each target, which stable Rust refuses.
      RUSTC_BOOTSTRAP: '1',
      // An addon for musl is a shared library like any other.
      ...(glibc ? {} : { RUSTFLAGS: '-C target-feature=-crt-static' }),
    },
  })
  const built = join(crossFolder, 'build', target, 'release', 'libring_auth_binding.so')
  copyFileSync(built, join(root, 'npm', platform, binaryOf(platform)))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const chosen = process.argv.slice(2)
  const unknown = chosen.filter((platform) => !(platform in TARGETS))
  if (unknown.length > 0) {
    console.error(`${unknown.join(', ')}: not one of ${Object.keys(TARGETS).join(', ')}`)
    process.exit(2)
  }
  need(['cargo', 'apt-get', 'dpkg-deb', 'python3'])
  toolchain()
  create()
  const platforms = chosen.length > 0 ? chosen : Object.keys(TARGETS)
  for (const platform of platforms) build(platform)
  for (const platform of platforms) {
    const { size } = statSync(join(root, 'npm', platform, binaryOf(platform)))
    console.log(`${platform.padEnd(20)} ${size.toLocaleString('en')} bytes`)
  }
}
