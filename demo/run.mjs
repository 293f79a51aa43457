// `npm run demo`: ring-auth with a simulated Ring. Each claim is compared with the counters of that Ring.
import { statSync } from 'node:fs'
import { root } from '../scripts/command.mjs'
import { build, install } from '../scripts/setup.mjs'
import { Broken, claim, proved, say, step } from './report.mjs'
import { EMAIL, inner, PASSWORD, Stage, until } from './stage.mjs'

const DEADLINE_MS = 55_000

/** @param {Stage} stage */
async function demonstrate(stage) {
  console.log('ring-auth at work with a simulated Ring, which is another process on this machine.')
  console.log('Its refresh tokens work once. A program that sends a spent one is locked out until a person logs in.')
  const ring = await stage.startRing(['--expires-in', '2'])
  await logIn(stage, ring)
  const script = await rotations(stage, ring)
  await outage(script, ring)
  const { code } = await script.end()
  claim(code === 0, 'the script closed its manager and ended with exit code 0', code)
  await killed(stage, ring)
  await balance(ring)
}

/** @typedef {Awaited<ReturnType<Stage['startRing']>>} Ring */

/** @param {Stage} stage @param {Ring} ring */
async function logIn(stage, ring) {
  step('1. A login with a code, on the command line')
  say(`$ ring-auth login --email ${EMAIL} --password-stdin --state-file ring-auth.json`)
  const login = stage.cli('login', '--email', EMAIL, '--password-stdin', '--state-file', stage.journalPath)
  login.write(PASSWORD)
  const code = await ring.code()
  say(`Ring sends the code ${code}, which is the second line of standard input`)
  login.write(code)
  const { code: exit, stdout, stderr } = await login.end()
  claim(exit === 0, 'logged in, exit code 0', stderr)
  const counts = await ring.counts()
  claim(counts.codesSent === 1, 'Ring sent one code', counts)
  const { current } = stage.journal()
  claim(inner(current.token) === (await ring.newest()), 'the newest token is in ring-auth.json')
  if (process.platform !== 'win32') {
    claim((statSync(stage.journalPath).mode & 0o777) === 0o600, 'only its owner can read that file')
  }
  claim(!(stdout + stderr).includes(current.token), 'the token was not printed')
  const status = await stage.cli('status', '--json', '--state-file', stage.journalPath).end()
  const { state, code: problem, persisted } = JSON.parse(status.stdout)
  claim(
    status.code === 0 && problem === null && persisted === true,
    `ring-auth status says: ${state}, stored, no problem`,
    status.stdout,
  )
}

/** @param {Stage} stage @param {Ring} ring @returns The script, which keeps running. */
async function rotations(stage, ring) {
  step('2. Rotations in a script (access tokens live for 2 seconds, ten calls at a time)')
  const before = await ring.counts()
  const script = stage.script('watch')
  /** @type {any[]} */
  const reports = []
  for (let rotation = 1; rotation <= 3; rotation++) {
    const { rotated } = await script.report(
      (report) => report.rotated,
      (report) => reports.push(report),
    )
    say(`onRefreshTokenUpdated: the token is now #${rotated}`)
  }
  await script.report(
    (report) => report.answer,
    (report) => reports.push(report),
  )
  const rotated = reports.filter((report) => report.rotated)
  claim(
    rotated.every((report) => report.onDisk),
    'each token was on disk before the script got it',
    rotated,
  )
  const asked = reports.filter((report) => report.askedAt)
  const calls = asked.reduce((sum, report) => sum + (report.served ?? 0), 0)
  claim(
    asked.every((report) => report.served),
    `${calls} calls for an access token, none of which failed`,
    asked.find((report) => report.failed),
  )
  const answers = asked.map((report) => report.answer).filter(Boolean)
  claim(
    answers.length > 0 && answers.every((status) => status === 200),
    `Ring's API accepted the access token ${answers.length} times`,
    answers,
  )
  const counts = await ring.counts()
  const requests = counts.refreshes - before.refreshes
  claim(
    requests >= 3 && requests <= rotated.length + 1,
    `${requests} refreshes: one for each rotation, however many calls there were`,
    counts,
  )
  return script
}

/** @param {import('./stage.mjs').Running} script @param {Ring} ring */
async function outage(script, ring) {
  step('3. An outage: the token endpoint answers 503')
  await ring.set({ expiresIn: 5 })
  const { expiresAt } = await script.report((report) => report.expiresAt - Date.now() > 4000)
  const before = await ring.counts()
  await ring.fault({ kind: 'status', status: 503, times: 'Infinity' })
  const outageAt = Date.now()
  /** @type {any[]} */
  const reports = []
  const { at } = await script.report(
    (report) => report.failed,
    (report) => reports.push(report),
  )
  // The last calls may have been too late.
  const covered = reports.filter((report) => report.askedAt > outageAt && report.askedAt < expiresAt - 100)
  const calls = covered.reduce((sum, report) => sum + (report.served ?? 0), 0)
  claim(
    covered.length > 0 && covered.every((report) => report.served),
    `${calls} calls during the outage got the access token that was still valid`,
  )
  claim(at >= expiresAt, 'calls failed only after it had expired', { at, expiresAt })
  const { failed, at: saidAt } = await script.report((report) => report.failed)
  say(`${failed.code}, HTTP ${failed.httpStatus}: ${failed.message}`)
  const retryAt = saidAt + failed.retryAfterMs
  claim(
    failed.code === 'SERVER_ERROR' && failed.transient === true && failed.retryAfterMs > 0,
    `the error is transient, and the next try is in ${(failed.retryAfterMs / 1000).toFixed(1)} s`,
    failed,
  )
  const during = await ring.counts()
  const requests = during.refreshes - before.refreshes
  claim(requests >= 1 && requests <= 4, `Ring got ${requests} requests, not one for each call`, during)
  await ring.clearFaults()
  say('the outage ends; the script continues to call as before')
  let waited = 0
  const served = await script.report(
    (report) => report.served,
    (report) => (waited += report.failed ? 1 : 0),
  )
  const next = (await ring.refreshes())[during.refreshes]
  claim(waited > 0 && next.at >= retryAt - 100, `${waited} rounds of calls during the wait sent Ring no request`, {
    waited,
    at: next.at,
    retryAt,
  })
  claim(served.served > 0, 'after the wait the next call got a token')
  const after = await ring.counts()
  claim(
    after.refreshes === during.refreshes + 1 && after.rotations === before.rotations + 1,
    'with one request and one rotation',
    after,
  )
}

/** @param {Stage} stage @param {Ring} ring */
async function killed(stage, ring) {
  step('4. kill -9 in the middle of a rotation')
  await ring.set({ expiresIn: 3600, graceMs: 20_000 })
  say('first, before Ring has rotated the token:')
  await killDuring(stage, ring, 'hang', (before, now) => now.refreshes > before.refreshes)
  await goOn(stage, ring, 0)
  say('then, after Ring has rotated the token and before its answer arrives:')
  await killDuring(stage, ring, 'hang-after', (before, now) => now.rotations > before.rotations)
  const { spent, withinGrace } = await ring.inspect(inner(stage.journal().current.token))
  claim(spent === true && withinGrace === true, 'the token on disk is spent, and the new one never arrived')
  await goOn(stage, ring, 1)
  say('(this Ring accepts a spent token for a moment; how long the real one does is unknown)')
}

/**
 * @param {Stage} stage
 * @param {Ring} ring
 * @param {string} fault
 * @param {(before: any, now: any) => boolean} reached
 */
async function killDuring(stage, ring, fault, reached) {
  const before = await ring.counts()
  await ring.fault({ kind: fault, grant: 'refresh_token' })
  const script = stage.script('rotate')
  await until(async () => reached(before, await ring.counts()))
  const { mark } = stage.journal()
  const { signal } = await script.kill()
  claim(
    signal === 'SIGKILL' && mark !== null,
    'killed; the journal had recorded the rotation before the request was sent',
    {
      signal,
      mark,
    },
  )
}

/** @param {Stage} stage @param {Ring} ring @param {number} graceUses How often a spent token is taken again meanwhile. */
async function goOn(stage, ring, graceUses) {
  const before = await ring.counts()
  say('$ ring-auth token --state-file ring-auth.json')
  const { code, stdout, stderr, ms } = await stage.cli('token', '--state-file', stage.journalPath).end()
  // A lock that had outlived its holder would have cost most of a minute.
  claim(code === 0 && ms < 5000, `the next start continues at once: ${ms} ms, including the lock`, { code, ms, stderr })
  const { current, mark, hardwareId } = stage.journal()
  claim((await ring.apiStatus(stdout.trim(), hardwareId)) === 200, "Ring's API accepts its access token")
  const counts = await ring.counts()
  claim(
    counts.refreshes === before.refreshes + 1 && counts.graceUses === before.graceUses + graceUses,
    graceUses === 0
      ? 'the same token was sent again, once'
      : 'the same token was sent again, once, and Ring answered it again',
    counts,
  )
  const { live, spent } = await ring.inspect(inner(current.token))
  const isNewest = inner(current.token) === (await ring.newest())
  claim(mark === null && live === true && spent === false && isNewest, 'the newest token is on disk and valid', {
    mark,
    live,
    spent,
    isNewest,
  })
}

/** @param {Ring} ring */
async function balance(ring) {
  step('What the simulated Ring has counted')
  const counts = await ring.counts()
  claim(
    counts.stalePresentations === 0,
    `${counts.refreshes} refreshes, ${counts.rotations} rotations, and no spent token after its grace period`,
    counts,
  )
  claim(counts.invalidGrants === 0, 'no invalid_grant')
  claim(counts.maxConcurrentRefreshes === 1, 'never two refreshes at once', counts)
  claim(counts.codesSent === 1, 'still one code: no second login was needed', counts)
  const mistakes = await ring.mistakes()
  claim(mistakes.length === 0, 'no error in the simulated Ring itself', mistakes)
}

async function main() {
  install(root)
  build()
  const stage = new Stage(root)
  const leave = (/** @type {number} */ code) => {
    stage.clear()
    process.exit(code)
  }
  process.on('SIGINT', () => leave(130))
  process.on('SIGTERM', () => leave(143))
  const startedAt = Date.now()
  const deadline = setTimeout(() => {
    console.error(`\n  ✗ not done within ${DEADLINE_MS / 1000} s: an expected event did not happen`)
    leave(1)
  }, DEADLINE_MS)
  try {
    await demonstrate(stage)
    clearTimeout(deadline)
    console.log(`\n${proved()} claims, all of them held. ${((Date.now() - startedAt) / 1000).toFixed(1)} s.`)
    leave(0)
  } catch (error) {
    console.error(error instanceof Broken ? `  ✗ ${error.message}` : error)
    leave(1)
  }
}

main().catch((error) => {
  console.error(error.message)
  process.exit(1)
})
