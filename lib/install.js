// @ts-check
'use strict'

// The install script, which npm runs. It changes nothing. It fails only in `npm rebuild`, if the binary for this system is missing:
// the Homebridge UI runs that command for a node_modules of another system. A rebuild cannot bring the binary, and after a failure
// the UI runs a regular install, which can.

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
