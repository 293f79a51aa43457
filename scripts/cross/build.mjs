// @ts-check
// `npm run build:cross [-- PLATFORM …]`: builds the published binaries into npm/ on one Debian x64, with what the registries of Debian, PyPI
// and crates.io have, checks each without running it, and prints the table. It fetches what it needs into target/cross.
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { binaryOf, create } from '../packages.mjs'
import { Failure, asCommand, root, run } from '../command.mjs'
import { install } from '../setup.mjs'
import { check } from './check.mjs'
import { need } from './fetch.mjs'
import { TARGETS, chosen } from './platforms.mjs'
import { table } from './table.mjs'
import { buildFolder, environment, oldestSystems, toolchain } from './toolchain.mjs'

/** Builds one, and returns the seconds that it took. @param {ReturnType<typeof toolchain>} tools @param {string} platform */
function build(tools, platform) {
  const { target = '', glibc } = TARGETS[platform] ?? {}
  const begun = Date.now()
  const args = ['zigbuild', '--locked', '--release', '--package', 'ring-auth-binding', '-Zbuild-std=std,panic_unwind']
  // The names of functions are stripped, so what reads them out for a backtrace, 170 KB, would find none. Of two versions of a function the
  // standard library takes the shorter one, instead of the faster one: 18 KB at least.
  args.push('-Zbuild-std-features=panic-unwind,backtrace,backtrace-trace-only,optimize_for_size')
  for (const file of ['release.toml', 'published.toml']) args.push('--config', join('binding', file))
  run('cargo-zigbuild', [...args, '--target', glibc ? `${target}.${glibc}` : target], {
    env: environment(tools),
  })
  const folder = join(buildFolder, target, 'release')
  const names = ['libring_auth_binding.so', 'libring_auth_binding.dylib', 'ring_auth_binding.dll']
  const built = names.map((name) => join(folder, name)).find((path) => existsSync(path))
  if (!built) throw new Failure(`${folder} has none of ${names.join(', ')}`)
  copyFileSync(built, join(root, 'npm', platform, binaryOf(platform)))
  return Math.round((Date.now() - begun) / 1000)
}

const platforms = chosen(process.argv.slice(2))
need(['cargo', 'cc', 'npm', 'apt-get', 'dpkg-deb', 'python3'])
await asCommand(() => {
  // A package of napi writes the folders of npm/.
  install(root)
  const tools = toolchain()
  create()
  const seconds = Object.fromEntries(platforms.map((platform) => [platform, build(tools, platform)]))
  const results = platforms.map((platform) => {
    const bytes = readFileSync(join(root, 'npm', platform, binaryOf(platform)))
    return { platform, seconds: seconds[platform], ...check(platform, bytes, oldestSystems) }
  })
  console.log(table(results))
  for (const { platform, problems } of results) for (const problem of problems) console.error(`${platform}: ${problem}`)
  if (results.some(({ problems }) => problems.length > 0)) process.exitCode = 1
})
