// @ts-check
// A person at a terminal, and a signal that ends the program: the terminal is as before.
// Needs the addon: npm run build:debug
import { constants } from 'node:os'
import { describe, it } from 'node:test'
import { account, ShellScreen, setUp } from './support/cli.mjs'
import { EMAIL, PASSWORD, until } from './support/index.mjs'
import { linuxSignals } from './support/systems.mjs'

/** @type {NodeJS.Signals[]} */
const DEADLY = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
  'SIGALRM',
  'SIGTERM',
  'SIGUSR2',
  'SIGVTALRM',
  'SIGPROF',
  'SIGXCPU',
  'SIGIO',
  'SIGPWR',
  'SIGSTKFLT',
]

describe('a signal at a prompt', { concurrency: 4, skip: linuxSignals }, () => {
  for (const signal of DEADLY) {
    it(`${signal} at the password ends the program by that signal, and the terminal is as before`, async (t) => {
      const { ring, folder } = await setUp(t)
      const screen = new ShellScreen(t, folder, ['--email', EMAIL], { ring })
      await screen.answers('Password: ', 'half')
      process.kill(await screen.child(), signal)
      await screen.leavesSane(128 + constants.signals[signal])
    })
  }

  it('SIGHUP while a token is typed leaves the terminal as before', async (t) => {
    const { ring, folder } = await setUp(t)
    const screen = new ShellScreen(t, folder, ['refresh', '--refresh-token-stdin'], { ring })
    await screen.answers('Refresh token: ', 'half')
    process.kill(await screen.child(), 'SIGHUP')
    await screen.leavesSane(128 + constants.signals.SIGHUP)
  })

  it('SIGQUIT while Ring hangs leaves the terminal as before', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    ring.fault({ kind: 'hang', path: /authorize/ })
    const screen = new ShellScreen(t, folder, ['--email', EMAIL], { ring })
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await until(() => ring.requests.length > 0, 'the request')
    process.kill(await screen.child(), 'SIGQUIT')
    await screen.leavesSane(128 + constants.signals.SIGQUIT)
  })
})
