// @ts-check
// Fetches what the registries of Debian, PyPI and npm have into target/cross, without installing it in the system. `cargo clean` removes it.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, root } from '../command.mjs'

export const crossFolder = join(root, 'target', 'cross')

/** @param {string} command @param {string[]} args @param {string} [cwd] */
export function output(command, args, cwd = root) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (error || status !== 0) throw new Failure(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

/** Says what this machine lacks, and ends the process there. @param {string[]} commands */
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
 * A folder of target/cross, filled by `fill` the first time. It gets its name when it is complete, so an interrupted run leaves none behind
 * that is taken for complete.
 * @param {string} name
 * @param {(folder: string) => void} fill
 */
export function once(name, fill) {
  const folder = join(crossFolder, name)
  if (existsSync(folder)) return folder
  console.log(`fetching ${name}`)
  const unfinished = `${folder}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  fill(unfinished)
  renameSync(unfinished, folder)
  return folder
}

/**
 * Downloads a package of Debian and unpacks it, and says what it depends on.
 * @param {string} name
 * @param {string} into
 * @param {string[]} [options] of apt
 */
export function unpackDebian(name, into, options = []) {
  const folder = join(crossFolder, 'downloads', name)
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
  const how = ['--quiet', '--disable-pip-version-check', '--no-deps', '--target', into]
  output('python3', ['-m', 'pip', 'install', ...how, ...options, ...names])
}

/** Packages of npm, for whatever system they are. @param {string[]} names @param {string} into */
export function installNpm(names, into) {
  writeFileSync(join(into, 'package.json'), '{ "private": true }\n')
  output('npm', ['install', '--prefix', into, '--ignore-scripts', '--force', '--no-audit', '--no-fund', ...names], into)
}

/**
 * apt's options for a release of Debian that is not this machine's, with lists of its own: those of the system stay as they are.
 * @param {string} release
 * @param {string} arch
 */
export function aptOf(release, arch) {
  const apt = join(crossFolder, 'apt', `${release}-${arch}`)
  mkdirSync(join(apt, 'lists', 'partial'), { recursive: true })
  writeFileSync(
    join(apt, 'sources'),
    `deb [arch=${arch} signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${archive()} ${release} main\n`,
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
  output('apt-get', [...args, '--quiet=2', 'update'])
  return args
}

/** The archive of Debian that this machine's apt uses. */
export function archive() {
  const known = output('apt-get', ['indextargets', '--format', '$(CREATED_BY) $(COMPONENT) $(REPO_URI)'])
  const uri = /^Packages main (\S+\/debian\/)$/m.exec(known)?.[1]
  if (!uri) throw new Failure('apt knows no archive of Debian')
  return uri
}
