#!/usr/bin/env node
require('../lib/load.js')
  .load()
  .runCli(process.argv.slice(2))
  .then((code) => {
    process.exitCode = code
  })
