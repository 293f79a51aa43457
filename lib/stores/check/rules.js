// @ts-check
'use strict'

// The rules of shared stores, in the order in which they are checked. Each check begins with the value that the previous check has left.

const { RingAuthError } = require('../../errors.js')
const { broken, wordsOf } = require('./subject.js')

/** @typedef {InstanceType<typeof import('./subject.js').Subject>} Subject */
/** @typedef {import('./subject.js').Kept} Kept */
/** @typedef {import('../index.js').SharedStore} SharedStore */

const HOSTS = 8
const ROUNDS = 5
/** The length of the longest text: more than a record has with the longest list of fingerprints, and tokens of an ordinary length. */
const LARGE = 100_000

/** Texts that an engine may change by mistake. A record ends with a line end. */
const TEXTS = [
  { what: 'white space at its end', text: '\t two spaces  \r\n\n' },
  { what: 'letters outside of ASCII', text: 'ä ß 漢字 🔑 e\u0301 \u2028' },
  {
    what: 'quotation marks, backslashes or what looks like a placeholder',
    text: `'"\`\\n \\u0041 \\\\ $1 %s %20 {{x}} \${y} ?`,
  },
  { what: `a length of ${LARGE.toLocaleString('en')} characters`, text: 'kä'.repeat(LARGE / 2) },
]

/** A commit with a version stores nothing if there is no value yet. @param {Subject} subject */
async function needsAVersionThatIs(subject) {
  const { first } = subject
  // An engine may reject a version that it did not make.
  await subject.attempt(first, subject.text(), '1').catch((error) => {
    if (error instanceof RingAuthError) throw error
  })
  if ((await subject.load(first)) !== null) {
    throw broken('commit with a version kept a value where there was none: with a version, it may only replace')
  }
}

/** Of several first values at the same time, the store keeps one. @param {Subject} subject */
async function keepsOneFirstValue(subject) {
  const hosts = await makeHosts(subject)
  await race(subject, hosts, null)
}

/** Every host sees a committed value at once. @param {Subject} subject */
async function isThereAtOnce(subject) {
  const { first, second } = subject
  const before = await current(subject, second)
  const kept = await subject.win(first, subject.text(), before.version)
  await isThere(subject, kept)
  const again = await current(subject, first)
  if (again.version !== kept.version)
    throw broken('The version changed between two loads, although no host had committed')
}

/** A commit with an old version replaces nothing. @param {Subject} subject */
async function refusesAnOldVersion(subject) {
  const { first, second } = subject
  const old = await current(subject, second)
  const kept = await subject.win(first, subject.text(), old.version)
  await loses(subject, second, old.version, kept, 'with a version that had been replaced')
}

/** A commit with null replaces nothing if there is a value. @param {Subject} subject */
async function refusesASecondFirstValue(subject) {
  const { first, second } = subject
  await loses(subject, second, null, await current(subject, first), 'with null, which means that there is no value,')
}

/** The store returns exactly the text that was committed. @param {Subject} subject */
async function keepsEachCharacter(subject) {
  const { first, second } = subject
  for (const { what, text } of TEXTS) {
    const kept = await subject.win(first, subject.text(text), (await current(subject, first)).version)
    const found = await current(subject, second)
    if (found.value !== kept.value) {
      throw broken(`load did not give the value as it was committed: it does not keep ${what}`)
    }
  }
}

/** Of several commits at the same time on one version, one wins. @param {Subject} subject */
async function letsOneWin(subject) {
  const hosts = await makeHosts(subject)
  for (let round = 0; round < ROUNDS; round++) {
    const found = await Promise.all(hosts.map((host) => current(subject, host)))
    await race(subject, hosts, /** @type {Kept} */ (found[0]).version)
  }
}

/** After the value was removed, the next first value has a new version. @param {Subject} subject */
async function neverRepeatsAVersion(subject) {
  const { first } = subject
  if (!('remove' in first) || typeof first.remove !== 'function') return
  await first.remove((await current(subject, first)).version)
  if ((await subject.load(first)) !== null) throw broken('remove did not remove the value of the current version')
  await subject.win(first, subject.text(), null)
}

/** @param {Subject} subject */
async function warnsInSentences({ first }) {
  if (first.warnings === undefined) return
  const warnings = /** @type {unknown} */ (await first.warnings())
  if (!Array.isArray(warnings) || warnings.some((one) => typeof one !== 'string')) {
    throw broken('warnings must resolve to a list of sentences')
  }
}

const RULES = [
  needsAVersionThatIs,
  keepsOneFirstValue,
  isThereAtOnce,
  refusesAnOldVersion,
  refusesASecondFirstValue,
  keepsEachCharacter,
  letsOneWin,
  neverRepeatsAVersion,
  warnsInSentences,
]

/** @param {Subject} subject */
const makeHosts = (subject) => Promise.all(Array.from({ length: HOSTS }, () => subject.another()))

/**
 * Loads the value. Throws if there is none.
 * @param {Subject} subject
 * @param {SharedStore} store
 */
async function current(subject, store) {
  const found = await subject.load(store)
  if (found === null) throw broken('load resolved to null, although a value had been committed')
  return found
}

/**
 * Checks that each host sees the value that was kept: the existing hosts and a new one.
 * @param {Subject} subject
 * @param {Kept} kept
 */
async function isThere(subject, kept) {
  const { first, second } = subject
  const fresh = await subject.another()
  for (const store of [fresh, second, first]) {
    const found = await subject.load(store)
    if (found?.value === kept.value) {
      if (found.version === kept.version) continue
      throw broken('load gave another version than the commit that had kept the value')
    }
    // This commit wins if the engine has the value, whatever load returns.
    const next = await subject.attempt(fresh, subject.text(), kept.version).catch(() => null)
    throw next === null
      ? broken('commit resolved before the value was kept: a load right after it did not find it')
      : broken('load gave a value that had been replaced: it reads from a cache or from a replica')
  }
}

/**
 * Checks that a commit loses, and changes nothing.
 * @param {Subject} subject
 * @param {SharedStore} store
 * @param {string | null} version
 * @param {Kept} kept
 * @param {string} how
 */
async function loses(subject, store, version, kept, how) {
  const value = subject.text()
  const next = await lost(subject, store, value, version)
  const found = await current(subject, subject.first)
  if (found.value === value) throw broken(`commit ${how} replaced the value: the last write wins, and a token is lost`)
  if (next !== null) throw broken(`commit ${how} resolved to a version, but kept nothing`)
  if (found.value !== kept.value || found.version !== kept.version) {
    throw broken(`commit ${how} resolved to null, but changed what was kept`)
  }
}

/**
 * Commits, and returns the outcome. If another commit was faster, the outcome must be null and not an error.
 * @param {Subject} subject
 * @param {SharedStore} store
 * @param {string} value
 * @param {string | null} version
 */
async function lost(subject, store, value, version) {
  return subject.attempt(store, value, version).catch((error) => {
    if (error instanceof RingAuthError) throw error
    throw broken(`commit must resolve to null if another host was faster, and rejected: ${wordsOf(error)}`, error)
  })
}

/**
 * Lets all hosts commit at the same time, on the same version.
 * @param {Subject} subject
 * @param {SharedStore[]} hosts
 * @param {string | null} version
 */
async function race(subject, hosts, version) {
  const values = hosts.map(() => subject.text())
  const outcomes = await Promise.allSettled(
    hosts.map((host, i) => lost(subject, host, /** @type {string} */ (values[i]), version)),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  const versions = outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : null))
  const winners = versions.flatMap((next, i) => (next === null ? [] : [{ next, value: values[i] }]))
  const what = version === null ? 'first values' : 'commits on the same version'
  if (winners.length > 1) {
    throw broken(
      `${winners.length} of ${hosts.length} ${what} at the same time won: an update is lost. The engine itself must compare and set`,
    )
  }
  const found = await subject.load(subject.second)
  const [winner] = winners
  if (winner === undefined) {
    throw found !== null && values.includes(found.value)
      ? broken('commit resolved to null, but it had kept the value: it must reject if it does not know the outcome')
      : broken(`None of ${hosts.length} ${what} at the same time won, and no other host had committed`)
  }
  if (found !== null && found.value !== winner.value && values.includes(found.value)) {
    throw broken('commit resolved to null, but replaced the value of the commit that had won')
  }
  await isThere(subject, { value: String(winner.value), version: winner.next })
}

module.exports = { RULES }
