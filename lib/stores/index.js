// @ts-check
'use strict'

const { postgresStore } = require('./postgres.js')
const { redisStore } = require('./redis.js')

// An object literal, so that Node finds the names for `import`.
module.exports = { postgresStore, redisStore }
