// @ts-check
// One host, in a process of its own: it repeatedly asks for an access token for each of its accounts, and reports each result.
//   node host.mjs SETUP        SETUP is the path of a JSON file
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from './engines.mjs'
import { alone, lockAndWrite, ours } from './keepers.mjs'

/**
 * @typedef {object} Setup
 * @property {'ours' | 'lock' | 'alone'} keeper
 * @property {import('./engines.mjs').EngineName} engine
 * @property {string} client
 * @property {number} port of the engine, as this host reaches it
 * @property {string} url of Ring
 * @property {string} userAgent of this host's requests
 * @property {string} folder of this host
 * @property {{ name: string, hardwareId: string, refreshToken: string }[]} accounts `refreshToken`: the first token, as an environment variable would give it
 * @property {number} requestTimeoutMs
 * @property {number} lockMs
 * @property {number} pollMs
 *
 * The resources that a host has used until now: the memory of its keepers in bytes, and the time of the processor in seconds.
 * @typedef {{ bytes: number, cpuS: number }} Taken
 *
 * @typedef {{ type: 'ready' } | { type: 'taken', taken: Taken } | { type: 'token', account: string, token: string } | { type: 'error', account: string, message: string }} Word
 */

/** @type {Setup} */
const setup = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const { keeper, accounts, folder, lockMs, pollMs, url, userAgent, requestTimeoutMs } = setup
const say = (/** @type {Word} */ word) => process.send?.(word)

const { store, locked } = await connect(setup.engine, setup.client, setup.port, folder)
const make = {
  ours: (/** @type {string} */ name, /** @type {import('./keepers.mjs').Where} */ where) => ours(store(name), where),
  lock: (/** @type {string} */ name, /** @type {import('./keepers.mjs').Where} */ where) =>
    lockAndWrite(locked(name, lockMs), where),
  alone: await alone(),
}[keeper]
const before = process.memoryUsage.rss()
const keepers = accounts.map(({ name, hardwareId, refreshToken }) => {
  const where = { url, userAgent, hardwareId, refreshToken, requestTimeoutMs }
  return {
    name,
    keeper: make(name, where),
  }
})
process.on('disconnect', () => process.exit())
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  say({ type: 'taken', taken: { bytes: process.memoryUsage.rss() - before, cpuS: (user + system) / 1e6 } })
})
say({ type: 'ready' })
await Promise.all(
  keepers.map(async ({ name, keeper }) => {
    // The accounts begin at different moments.
    await sleep(pollMs * Math.random())
    for (;;) {
      try {
        say({ type: 'token', account: name, token: await keeper.token() })
      } catch (error) {
        const { code, message } = /** @type {any} */ (error)
        say({ type: 'error', account: name, message: `${code ?? 'error'}: ${message}` })
      }
      // A random wait, so that the hosts do not ask at the same moments.
      await sleep(pollMs * (0.5 + Math.random()))
    }
  }),
)
