// @ts-check
// `npm test`: prepares a clone and runs all tests, Rust first. With arguments, it runs only these JavaScript tests.
import { run } from './command.mjs'
import { setUp } from './setup.mjs'
import { testFiles } from './test-files.mjs'

const chosen = process.argv.slice(2)
setUp()
if (chosen.length === 0) {
  // `--show-output`, because the suites print their figures.
  run('cargo', ['test', '--locked', '--package', 'ring-auth', '--package', 'ring-auth-access', '--', '--show-output'])
  run('npm', ['run', '--silent', 'typecheck'])
}
run(process.execPath, ['--test', '--test-timeout=1200000', ...(chosen.length > 0 ? chosen : testFiles('__test__'))])
