// @ts-check
// `npm run test:cross [-- PLATFORM …]`: the tests of __test__/support/core.mjs on what `npm run build:cross` built, wherever something here runs
// it, from the packages as they would be published. It says what it does not run, and fetches what it needs into target/cross.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { binaryOf } from '../packages.mjs'
import { asCommand, root, run } from '../command.mjs'
import { setUp } from '../setup.mjs'
import { need } from './fetch.mjs'
import { chosen } from './platforms.mjs'
import { NOT_RUN, runtimesOf } from './runtimes.mjs'
import { wineServer } from './wine.mjs'

const platforms = chosen(process.argv.slice(2))
need(['apt-get', 'dpkg-deb', 'python3', 'npm'])
const hasWindows = platforms.includes('win32-x64-msvc')
if (hasWindows) need(['mmdebstrap', 'unshare', 'setpriv', 'chroot'])
if (platforms.includes('linux-riscv64-gnu')) need(['mmdebstrap'])
const lacking = platforms.filter((platform) => !existsSync(join(root, 'npm', platform, binaryOf(platform))))
if (lacking.length > 0) {
  console.error(`${lacking.join(', ')}: not built. Run: npm run build:cross -- ${lacking.join(' ')}`)
  process.exit(1)
}
await asCommand(() => {
  setUp()
  const runtimes = platforms.flatMap((platform) => runtimesOf(platform).map((runtime) => ({ platform, ...runtime })))
  for (const platform of platforms) if (NOT_RUN[platform]) console.log(`${platform} is not run: ${NOT_RUN[platform]}`)
  if (hasWindows) {
    wineServer('--persistent')
    process.on('exit', () => wineServer('--kill'))
  }
  if (runtimes.length > 0) {
    run(process.execPath, ['--test', '--test-timeout=3600000', join('__test__', 'runtimes', 'cross.mjs')], {
      env: { RING_AUTH_CROSS: JSON.stringify(runtimes) },
    })
  }
})
