// @ts-check
'use strict'

// Finds the addon for this platform: the one that a clone built, or the one in the platform package. If there is none, the error
// says why and what fixes it. A bundler may have put this file into another program.

const { closeSync, existsSync, openSync, readFileSync, readSync } = require('node:fs')
const { createRequire } = require('node:module')
const { dirname, join, sep } = require('node:path')

/** The version in package.json. A bundle has no package.json of this package, so it is written here too. A test compares the two. */
const VERSION = '0.1.0'

/** @typedef {typeof import('../binding/binding.js')} Addon */
/** @typedef {'BINARY_MISSING' | 'BINARY_MISMATCH' | 'BINARY_FAILED' | 'PLATFORM_UNSUPPORTED'} LoadErrorCode */

/**
 * The system on which the addon is to run.
 * @typedef {object} Host
 * @property {string} platform as `process.platform`
 * @property {string} arch as `process.arch`
 * @property {string | undefined} machine as `os.machine()`; read on 32-bit ARM, where it tells ARMv6 from ARMv7
 * @property {'glibc' | 'musl' | undefined} libc on Linux
 */

/** The systems with a platform package, whose name is `ring-auth-` and this word. */
const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm-gnueabihf',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-riscv64-gnu',
  'linux-s390x-gnu',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
]

/**
 * Loads the addon, and passes it the certificates of the system if Node is to use them.
 * @param {Host} [host]
 * @returns {Addon}
 */
function load(host = thisHost()) {
  const addon = find(host)
  const asked = systemCaAskedBy(process)
  if (asked) require('./system-ca.js').lend(addon, asked)
  return addon
}

/**
 * The setting that tells Node to trust the certificates of the system, if there is one.
 * @param {{ env: NodeJS.ProcessEnv, execArgv: readonly string[] }} process
 */
function systemCaAskedBy({ env, execArgv }) {
  const option = '--use-system-ca'
  if (execArgv.includes(option) || env['NODE_OPTIONS']?.split(/\s+/).includes(option)) return option
  if (env['NODE_USE_SYSTEM_CA'] === '1') return 'NODE_USE_SYSTEM_CA'
  return env['SSL_CERT_DIR'] ? 'SSL_CERT_DIR' : undefined
}

/**
 * @param {Host} host
 * @returns {Addon}
 */
function find(host) {
  const platform = platformOf(host)
  const bundled = isBundled()
  const built = bundled ? '' : join(__dirname, '..', 'binding', `ring-auth.${platform}.node`)
  // Not with the plain `require`, which a bundler would replace.
  if (platform && built && existsSync(built)) return createRequire(built)(built)
  if (!platform) throw unsupported(host)

  const name = `ring-auth-${platform}`
  const manifest = resolve(`${name}/package.json`, bundled)
  if (!manifest) throw bundled ? missingBeside(name) : missing(host, name, VERSION)
  const { version: found, main } = readJson(manifest)
  if (found !== VERSION) {
    throw loadError(
      'BINARY_MISMATCH',
      `ring-auth ${VERSION} found ${name} ${found} in ${dirname(manifest)}, but the two must have the same version. ` +
        (bundled ? UNBUNDLE : remedy(name, VERSION)),
    )
  }
  try {
    // With its file name: a program that Bun has compiled cannot look up folders outside of itself.
    return createRequire(manifest)(join(dirname(manifest), main))
  } catch (error) {
    const words = wordsOf(error)
    const advice = failureRemedy(words, dirname(manifest))
    throw loadError(
      'BINARY_FAILED',
      `${name} ${VERSION} is installed, but could not be loaded: ${words}${advice && `. ${advice}`}`,
      error,
    )
  }
}

/**
 * The message of an error, in one line. On Windows it has a line for the reason and a line for the file, whose path begins with `\\?\`.
 * @param {unknown} error
 */
function wordsOf(error) {
  const words = error instanceof Error ? error.message : String(error)
  return words
    .trim()
    .replace(/\s*[\r\n]+\s*/g, ' ')
    .replace(/\\\\\?\\(?=[a-z]:)/gi, '')
}

/** Whether this code runs in a bundle, without the other files of the package around it. */
function isBundled() {
  return (
    typeof __filename !== 'string' ||
    !existsSync(join(__dirname, 'install.js')) ||
    !existsSync(join(__dirname, 'load.js'))
  )
}

/**
 * The path of a file of a package. For a bundle it is searched from the bundle, from the started script, and from the program, which
 * is the bundle itself after `bun build --compile`.
 * @param {string} request
 * @param {boolean} bundled
 */
function resolve(request, bundled) {
  const here = typeof __filename === 'string' ? __filename : undefined
  const places = bundled ? [here, process.argv[1], process.execPath] : [here]
  for (const place of places) {
    if (!place) continue
    try {
      return createRequire(place).resolve(request)
    } catch (error) {
      // Any error but the absence of the package is thrown. The errors of a bundle are not Node's, so there they are ignored.
      if (!bundled && /** @type {NodeJS.ErrnoException} */ (error).code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  return undefined
}

const UNBUNDLE =
  "Leave ring-auth out of the bundle, and have node_modules with it beside the bundle: esbuild --external:ring-auth; webpack externals: { 'ring-auth': 'commonjs ring-auth' }; ncc build --external ring-auth; rollup external: ['ring-auth']; bun build --external ring-auth."

/** @param {string} name */
function missingBeside(name) {
  return loadError(
    'BINARY_MISSING',
    `ring-auth ${VERSION} was bundled into another program, and the package ${name}, which has the binary and cannot be in a bundle, is not beside it. ${UNBUNDLE}`,
  )
}

/**
 * The fix for the reason that the system gave for not loading a binary, if the reason is known.
 * @param {string} words
 * @param {string} folder The folder of the binary.
 */
function failureRemedy(words, folder) {
  const needed = /version [`'"]?(GLIBC_[\d.]+)'? not found/.exec(words)
  if (needed) {
    return `The C library of this system is older than that: it needs ${needed[1]?.replace('GLIBC_', 'glibc ')} or later, so use a newer version of the system, or a newer base image.`
  }
  // The loader of the system names the C library that it does not find.
  const foreign = /libc\.musl-|ld-musl-/.test(words)
    ? 'musl'
    : /ld-linux-[^ ]*\.so|libc\.so\.6/.test(words)
      ? 'glibc'
      : ''
  if (foreign && /cannot open shared object file|Error loading shared library/.test(words)) {
    return `The binary is for systems with ${foreign}, and this one does not have it: node_modules was copied from another system. ${isBundled() ? 'Install it again.' : remedy(folder.split(sep).at(-1) ?? '', VERSION)}`
  }
  // A file that this user may not open has another fix.
  if (/cannot open shared object file/.test(words)) return ''
  if (/failed to map segment|Operation not permitted|Permission denied/.test(words)) {
    return `The system does not allow code from ${folder}: look whether its file system is mounted with noexec (findmnt --target ${folder}), and install it on one that is not, or mount it with exec.`
  }
  if (
    /invalid ELF header|file too short|wrong ELF class|not a valid Win32|slice is not valid|not a mach-o/i.test(words)
  ) {
    return `The file is damaged or for another system. ${isBundled() ? 'Install it again.' : remedy(folder.split(sep).at(-1) ?? '', VERSION)}`
  }
  return ''
}

/**
 * The name of the platform, if there is a package for it.
 * @param {Host} host
 */
function platformOf({ platform, arch, machine, libc }) {
  // The package for 32-bit ARM needs ARMv7. The first Raspberry Pi and the Zero have ARMv6.
  const abi = { linux: linuxAbi(arch, libc), win32: '-msvc' }[platform] ?? ''
  const name = `${platform}-${arch}${abi}`
  return PLATFORMS.includes(name) && machine !== 'armv6l' ? name : undefined
}

/** @param {string} arch @param {Host['libc']} libc */
function linuxAbi(arch, libc) {
  if (arch === 'arm') return libc === 'musl' ? '-musleabihf' : '-gnueabihf'
  return libc === 'musl' ? '-musl' : '-gnu'
}

/** @returns {Host} */
function thisHost() {
  const { platform, arch } = process
  return {
    platform,
    arch,
    machine: arch === 'arm' ? require('node:os').machine() : undefined,
    libc: platform === 'linux' ? libcOf(process.execPath) : undefined,
  }
}

/**
 * The C library that a program was linked with. The path of its loader is near the beginning of its file. If it is not there,
 * Node's report tells.
 * @param {string} program
 * @returns {'glibc' | 'musl'}
 */
function libcOf(program) {
  const loader = /\/ld-(musl|linux)[^\0/]*\.so/.exec(beginningOf(program))
  if (loader) return loader[1] === 'musl' ? 'musl' : 'glibc'
  /** @type {any} */
  const report = reportWithoutNetwork()
  const libraries = /** @type {string[]} */ (report.sharedObjects ?? [])
  const musl = !report.header?.glibcVersionRuntime && libraries.some((path) => /ld-musl-|libc\.musl-/.test(path))
  return musl ? 'musl' : 'glibc'
}

/** Node's report of this process, without its part about the network, which looks up the name of each address and can take minutes. */
function reportWithoutNetwork() {
  /** @type {any} */
  const { report } = process
  if (!report) return {}
  const { excludeNetwork } = report
  report.excludeNetwork = true
  try {
    return report.getReport()
  } finally {
    report.excludeNetwork = excludeNetwork
  }
}

/** @param {string} path */
function beginningOf(path) {
  try {
    const file = openSync(path, 'r')
    try {
      const bytes = Buffer.alloc(4096)
      return bytes.toString('latin1', 0, readSync(file, bytes))
    } finally {
      closeSync(file)
    }
  } catch {
    return ''
  }
}

/** @param {Host} host */
function unsupported({ platform, arch, machine, libc }) {
  const system = [platform, machine === 'armv6l' ? 'ARMv6' : arch, libc === 'musl' ? 'with musl' : ''].join(' ').trim()
  return loadError(
    'PLATFORM_UNSUPPORTED',
    `ring-auth has no binary for this system (${system}). There are binaries for ${PLATFORMS.join(', ')}. ` +
      'On other systems, build it from its sources.',
  )
}

/**
 * @param {Host} host
 * @param {string} name The missing package.
 * @param {string} version
 */
function missing(host, name, version) {
  return loadError(
    'BINARY_MISSING',
    `ring-auth ${version} needs the package ${name} on this system, and it is not installed. ${cause(host, name)} ` +
      remedy(name, version),
  )
}

/**
 * The reason why a package is missing, as far as the installed files tell.
 * @param {Host} host
 * @param {string} name
 */
function cause({ libc }, name) {
  const folders = (createRequire(__filename).resolve.paths(name) ?? []).filter((folder) => existsSync(folder))
  const others = PLATFORMS.map((platform) => `ring-auth-${platform}`).filter((other) =>
    folders.some((folder) => existsSync(join(folder, other))),
  )
  const { project, plugin } = place()
  if (others.length > 0) {
    const there = others.join(' and ')
    const whose = plugin ? `: ${plugin} came as a bundle, or was copied` : ': the folder was copied, or made for it'
    const musl =
      libc === 'musl' && others.includes(name.replace('-musl', '-gnu'))
        ? ' This system has musl, as Alpine does, not glibc.'
        : ''
    return `Its node_modules folder is from another system and has ${there}${whose}.${musl}`
  }
  const lock = join(project, 'package-lock.json')
  const locked = existsSync(lock) ? Object.keys(readJson(lock).packages ?? {}) : []
  const lists = (/** @type {string} */ wanted) => locked.some((path) => path.endsWith(`node_modules/${wanted}`))
  if (lists('ring-auth') && !lists(name)) {
    return `${lock} does not list it: it was written on another system, by a version of npm that left out the packages for other systems.`
  }
  return 'It is an optional dependency, and optional dependencies were left out: look for --omit=optional or --no-optional, also in .npmrc.'
}

/**
 * The command that installs a package.
 * @param {string} name
 * @param {string} version
 */
function remedy(name, version) {
  const { project, plugin, isPnpm } = place()
  const run = (/** @type {string} */ command) => `To fix it, run in ${project}: ${command}`
  if (isPnpm) return run('pnpm install --force')
  const manifest = join(project, 'package.json')
  if (!existsSync(manifest)) return `To fix it, run: npm install --global ring-auth@${version} --include=optional`
  if (plugin) {
    const wanted = readJson(join(project, 'node_modules', plugin, 'package.json')).version
    return run(`rm -rf node_modules/${plugin} && npm install ${plugin}@${wanted} --include=optional`)
  }
  const { dependencies, devDependencies, optionalDependencies } = readJson(manifest)
  if ('ring-auth' in { ...dependencies, ...devDependencies, ...optionalDependencies }) {
    return run(`npm install ring-auth@${version} --include=optional`)
  }
  // The package is a dependency of another package, so the project's package.json stays as it is.
  return run(`npm install --no-save ${name}@${version}`)
}

/** The project whose node_modules this is in, and the Homebridge plugin that has its own copy. */
function place() {
  const [project = '', ...packages] = __dirname.split(`${sep}node_modules${sep}`)
  const [first = ''] = packages
  const plugin =
    packages.length > 1 && /^(@[^/\\]+[/\\])?homebridge-[^/\\]+$/.test(first) ? first.replace('\\', '/') : undefined
  return { project, plugin, isPnpm: first.startsWith('.pnpm') }
}

/** @param {LoadErrorCode} code @param {string} message @param {unknown} [cause] */
function loadError(code, message, cause) {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code })
}

/** @param {string} path @returns {any} */
function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}

module.exports = {
  PLATFORMS,
  VERSION,
  failureRemedy,
  libcOf,
  load,
  platformOf,
  reportWithoutNetwork,
  systemCaAskedBy,
  thisHost,
  wordsOf,
}
