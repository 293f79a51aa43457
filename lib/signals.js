// @ts-check
'use strict'

// Signals that end the command line: while a person types, Node restores the terminal for SIGINT and SIGTERM alone, `watch` ends
// by itself, and `doctor` removes its files.

/**
 * The signals that end a process unless it handles them. Not those of a fault, after which no JavaScript may run, and not
 * those that Node uses itself. A system that does not know one of them ignores it.
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
 * Calls a function before any of these signals ends the process. The process ends by that signal all the same.
 * @param {() => void} restore
 */
function beforeDeadlySignals(restore) {
  const { signals } = require('node:os').constants
  for (const signal of DEADLY.filter((name) => name in signals)) {
    process.once(signal, () => {
      restore()
      // Without a listener the signal does what it does to any process.
      process.kill(process.pid, signal)
    })
  }
}

/**
 * Calls a function at the first SIGINT or SIGTERM. If there is nothing to end, and at the second one, the signal does what it does
 * to any process.
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
