// @ts-check
// `npm run test:nightly [-- NAME …]`: runs the tests that take too long for the gate, `.ci/run`. Each part runs, also if another one has failed.
import { spawnSync } from 'node:child_process'
import { root } from './command.mjs'

/** The scripts of package.json for each part, by its name. */
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
  // The second script of a part needs the result of its first one.
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
