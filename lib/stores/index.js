// @ts-check
'use strict'

const { postgresStore } = require('./postgres.js')
const { redisStore } = require('./redis.js')

// Written as a literal: this is how Node finds the names for `import`.
module.exports = { postgresStore, redisStore }
