#!/usr/bin/env node
const addon = require('../lib/load.js').load()
const args = process.argv.slice(2)

if (require('node:tty').isatty(0)) require('../lib/signals.js').beforeDeadlySignals(addon.restoreTerminal)

const running = args.includes('--web') ? require('../lib/web/cli.js').run(addon, args) : addon.runCli(args)
running.then((code) => {
  process.exitCode = code
})
