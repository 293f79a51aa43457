// @ts-check
// `npm run test:busy [-- RUNS]`: runs the whole `npm test` RUNS times (default: 3), beside one process per core that uses all of it.
// A test that passes here waits for conditions and not for times.
import { spawn, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { root } from './command.mjs'

const runs = Number(process.argv[2] ?? 3)
if (!Number.isInteger(runs) || runs < 1) {
  console.error('usage: node scripts/busy.mjs [RUNS]')
  process.exit(2)
}

const burners = Array.from({ length: availableParallelism() }, () =>
  spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
)
const stop = () => {
  for (const burner of burners) burner.kill('SIGKILL')
}
process.on('exit', stop)
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => process.exit(130))

const results = []
for (let run = 1; run <= runs; run++) {
  const begun = Date.now()
  const { status } = spawnSync('npm', ['test'], { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  results.push({ run, passed: status === 0, minutes: ((Date.now() - begun) / 60_000).toFixed(1) })
}
console.log(`\nbeside ${burners.length} busy processes:`)
for (const { run, passed, minutes } of results) {
  console.log(`  run ${run}: ${passed ? 'passed' : 'FAILED'}, ${minutes} minutes`)
}
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
