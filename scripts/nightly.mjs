// @ts-check
// `npm run test:nightly [-- NAME …]`: what takes too long for the gate, `.ci/run`. Each part runs, whatever became of the others.
import { spawnSync } from 'node:child_process'
import { root } from './setup.mjs'

/** The parts, by their names: scripts of package.json. */
const PARTS = /** @type {Record<string, string[]>} */ ({
  soak: ['test:soak'],
  cross: ['build:cross', 'test:cross'],
  busy: ['test:busy'],
})

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(`${unknown.join(', ')}: not one of ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

const results = []
for (const name of chosen.length > 0 ? chosen : Object.keys(PARTS)) {
  const begun = Date.now()
  // A part's second script needs what its first one made.
  const passed = PARTS[name]?.every((script) => {
    console.log(`\n=== ${name}: npm run ${script}`)
    const how = { cwd: root, stdio: /** @type {const} */ ('inherit'), shell: process.platform === 'win32' }
    return spawnSync('npm', ['run', script], how).status === 0
  })
  results.push({ name, passed, minutes: ((Date.now() - begun) / 60_000).toFixed(1) })
}
console.log('')
for (const { name, passed, minutes } of results) {
  console.log(`${name.padEnd(8)} ${passed ? 'passed' : 'FAILED'} in ${minutes} minutes`)
}
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
