#!/usr/bin/env node
const addon = require('../lib/load.js').load()
const args = process.argv.slice(2)

// A terminal is a device. Asking node:tty whether it is one costs 2 ms at every start, and any other device has nothing to restore.
if (isDevice(0)) require('../lib/signals.js').beforeDeadlySignals(addon.restoreTerminal)

const running = args.includes('--web') ? require('../lib/web/cli.js').run(addon, args) : addon.runCli(args)
running.then((code) => {
  process.exitCode = code
})

/** @param {number} file */
function isDevice(file) {
  try {
    return require('node:fs').fstatSync(file).isCharacterDevice()
  } catch {
    return false
  }
}
