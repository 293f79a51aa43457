// @ts-check
'use strict'

const { mount, serve } = require('./homebridge.js')

// Written as a literal: this is how Node finds the names for `import`.
module.exports = { mount, serve }
