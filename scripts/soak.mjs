// @ts-check
// `npm run test:soak [-- MINUTES]`: runs the long suites ten times as long as `npm test` does, and a million generated inputs. After that the
// simulation of several hosts runs for that many minutes, 30 if none are given, with seeds that no earlier run had.
import { run } from './command.mjs'

const [minutes = '30'] = process.argv.slice(2)
if (!/^[1-9]\d{0,4}$/.test(minutes)) {
  console.error(`${minutes}: not a number of minutes`)
  process.exit(2)
}

const suites = ['--lib', '--test', 'soak', '--test', 'processes', '--test', 'crash_points']
const test = ['test', '--locked', '--profile', 'fast']
run('cargo', [...test, ...suites, '--', '--nocapture'], {
  env: { RING_AUTH_SOAK: '100000', PROPTEST_CASES: '1000000' },
})
run('cargo', [...test, '--test', 'simulation', '--', '--nocapture'], { env: { RING_AUTH_SIMULATION_MINUTES: minutes } })
