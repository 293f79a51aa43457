#!/usr/bin/env node
require('../binding.js').runCli(process.argv.slice(2)).then((code) => { process.exitCode = code })
