// @ts-check
// `npm test`: prepares a clone and runs all tests, Rust first. With arguments, it runs only these JavaScript tests.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, run, setUp } from './setup.mjs'

const chosen = process.argv.slice(2)
setUp()
if (chosen.length === 0) {
  // `--show-output`, because the suites print their figures.
  run('cargo', ['test', '--locked', '--package', 'ring-auth', '--package', 'ring-auth-access', '--', '--show-output'])
  run('npm', ['run', '--silent', 'typecheck'])
}
run(process.execPath, ['--test', '--test-timeout=1200000', ...(chosen.length > 0 ? chosen : tests('__test__'))])

/**
 * The test files below a folder.
 * @param {string} folder
 * @returns {string[]}
 */
function tests(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : tests(path)
    return entry.name.endsWith('.test.mjs') ? [path] : []
  })
}
