// @ts-check
// `npm run test:soak`: runs the long suites ten times as long as `npm test` does, and a million generated inputs.
import { run } from './setup.mjs'

run(
  'cargo',
  [
    'test',
    '--locked',
    '--profile',
    'fast',
    '--lib',
    '--test',
    'soak',
    '--test',
    'simulation',
    '--test',
    'processes',
    '--test',
    'crash_points',
    '--',
    '--nocapture',
  ],
  {
    env: { RING_AUTH_SOAK: '100000', RING_AUTH_SIMULATION: '20000', PROPTEST_CASES: '1000000' },
  },
)
