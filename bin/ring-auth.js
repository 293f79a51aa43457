#!/usr/bin/env node
const addon = require('../lib/load.js').load()

if (require('node:tty').isatty(0)) require('../lib/signals.js').beforeDeadlySignals(addon.restoreTerminal)

addon.runCli(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
