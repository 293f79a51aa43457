// @ts-check
// `npm run test:runtimes`: tests the packed package in Node 20 to 26, Bun and Deno, which are npm packages for Linux x64.
import { join } from 'node:path'
import { root, run } from './command.mjs'
import { install, setUp } from './setup.mjs'

if (`${process.platform} ${process.arch}` !== 'linux x64') {
  console.error('test:runtimes runs on Linux x64, for which npm has every runtime.')
  process.exit(1)
}
setUp()
install(join(root, '__test__', 'runtimes'))
run(process.execPath, ['--test', '--test-timeout=600000', join('__test__', 'runtimes', 'all.mjs')])
