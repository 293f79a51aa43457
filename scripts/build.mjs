// @ts-check
// `npm run build [-- OPTION …]`: builds the release addon for this machine into binding/. The options are those of napi.
import { join } from 'node:path'
import { root, run } from './command.mjs'

const NAPI = join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js')

const into = ['--output-dir', 'binding', '--no-js', '--dts', 'binding.d.ts']
const options = ['--platform', '--release', '--package', 'ring-auth-binding', ...into, ...process.argv.slice(2)]
run(process.execPath, [NAPI, 'build', ...options, '--', '--config', join('binding', 'release.toml')])
