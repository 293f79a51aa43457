// @ts-check
// One host, in a process of its own: it needs an access token for each of its accounts, again and again, and says what it got.
//   node host.mjs SETUP, where SETUP is JSON
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from './engines.mjs'
import { lockAndWrite, ours } from './keepers.mjs'

/**
 * @typedef {object} Setup
 * @property {'ours' | 'lock'} keeper
 * @property {import('./engines.mjs').EngineName} engine
 * @property {string} client
 * @property {number} port of the engine, as this host reaches it
 * @property {string} url of Ring
 * @property {string} userAgent of this host's requests
 * @property {string} folder of this host
 * @property {{ name: string, hardwareId: string, refreshToken: string }[]} accounts `refreshToken`: as a variable of the environment gives it
 * @property {number} requestTimeoutMs
 * @property {number} lockMs
 * @property {number} pollMs
 *
 * @typedef {{ type: 'ready' } | { type: 'token', account: string, token: string } | { type: 'error', account: string, message: string }} Word
 */

/** @type {Setup} */
const setup = JSON.parse(process.argv[2] ?? '')
const { keeper, accounts, folder, lockMs, pollMs, url, userAgent, requestTimeoutMs } = setup
const say = (/** @type {Word} */ word) => process.send?.(word)

const { store, locked } = await connect(setup.engine, setup.client, setup.port, folder)
const keepers = accounts.map(({ name, hardwareId, refreshToken }) => {
  const where = { url, userAgent, hardwareId, refreshToken, requestTimeoutMs }
  return {
    name,
    keeper: keeper === 'ours' ? ours(store(name), where) : lockAndWrite(locked(name, lockMs), where),
  }
})
process.on('disconnect', () => process.exit())
say({ type: 'ready' })
await Promise.all(
  keepers.map(async ({ name, keeper }) => {
    for (;;) {
      try {
        say({ type: 'token', account: name, token: await keeper.token() })
      } catch (error) {
        const { code, message } = /** @type {any} */ (error)
        say({ type: 'error', account: name, message: `${code ?? 'error'}: ${message}` })
      }
      // Not in step with the others.
      await sleep(pollMs * (0.5 + Math.random()))
    }
  }),
)
