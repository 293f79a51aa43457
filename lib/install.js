// @ts-check
'use strict'

// Run by npm, and changes nothing. Only where `npm rebuild` is asked to put right a node_modules that was made on another system,
// as the Homebridge UI does with its bundles, does it fail when the binary for this one is not there: a rebuild cannot bring
// it, and whoever asked goes on to a regular install, which does.

const { existsSync } = require('node:fs')
const { join } = require('node:path')

const isClone = existsSync(join(__dirname, '..', 'Cargo.toml'))
if (process.env.npm_command === 'rebuild' && !isClone) {
  try {
    require('./load.js').load()
  } catch (error) {
    const { code = error } = /** @type {NodeJS.ErrnoException} */ (error)
    console.error(
      `ring-auth: no binary for ${process.platform} ${process.arch} can be loaded (${code}), and only a regular install brings one.`,
    )
    process.exitCode = 1
  }
}
