// @ts-check
'use strict'

const { loginHandler, serveLogin } = require('./server.js')

// Written as a literal: this is how Node finds the names for `import`.
module.exports = { loginHandler, serveLogin }
