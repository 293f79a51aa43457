// @ts-check
'use strict'

const { createExports } = require('./lib/manager.js')
const { load } = require('./lib/load.js')

const { RingTokenManager, RingAuthError, parseRefreshToken } = createExports(load())

/**
 * Loaded when it is needed: most programs have no RingApi.
 * @type {typeof import('./index.js').attachToRingApi}
 */
const attachToRingApi = (ringApi, manager) =>
  require('./lib/ring-client-api/attach.js').attachToRingApi(ringApi, manager)

// Written as a literal: this is how Node finds the names for `import { RingTokenManager } from 'ring-auth'`.
module.exports = { RingTokenManager, RingAuthError, attachToRingApi, parseRefreshToken }
