// @ts-check
'use strict'

// Signals that end the command line. Before that, the terminal of a dialogue is restored (Node does so for SIGINT and SIGTERM only),
// `watch` ends its work, and `doctor` removes its files.

/**
 * The signals that end a process unless it handles them, without those of a fault, after which no JavaScript may run, and without
 * those that Node uses itself. Signals that the system does not know are left out.
 * @type {NodeJS.Signals[]}
 */
const DEADLY = [
  'SIGHUP',
  'SIGQUIT',
  'SIGABRT',
  'SIGALRM',
  'SIGUSR2',
  'SIGVTALRM',
  'SIGPROF',
  'SIGXCPU',
  'SIGIO',
  'SIGPWR',
  'SIGSTKFLT',
]

/**
 * Calls a function before one of these signals ends the process. The process still ends by that signal.
 * @param {() => void} restore
 */
function beforeDeadlySignals(restore) {
  const { signals } = require('node:os').constants
  for (const signal of DEADLY.filter((name) => name in signals)) {
    process.once(signal, () => {
      restore()
      // The listener is gone now, so the signal ends the process.
      process.kill(process.pid, signal)
    })
  }
}

/**
 * Calls a function at the first SIGINT or SIGTERM. If the function returns false, and at the second signal, the signal ends the
 * process.
 * @param {() => boolean} end
 */
function onEnd(end) {
  /** @type {NodeJS.Signals[]} */
  const signals = ['SIGINT', 'SIGTERM']
  /** @param {NodeJS.Signals} signal */
  const listener = (signal) => {
    for (const each of signals) process.removeListener(each, listener)
    if (!end()) process.kill(process.pid, signal)
  }
  for (const signal of signals) process.on(signal, listener)
}

/**
 * Calls a function before any signal that can be handled ends the process.
 * @param {() => void} restore
 */
function beforeAnySignal(restore) {
  beforeDeadlySignals(restore)
  onEnd(() => {
    restore()
    return false
  })
}

module.exports = { beforeAnySignal, beforeDeadlySignals, onEnd }
