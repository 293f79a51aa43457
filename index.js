// @ts-check
'use strict'

const { createExports } = require('./lib/manager.js')
const { load } = require('./lib/load.js')

const { RingTokenManager, RingAuthError, parseRefreshToken } = createExports(load())

/**
 * The function that attaches a RingApi. Its file is read at the first call, because most programs have no RingApi.
 * @type {typeof import('./index.js').attachToRingApi}
 */
const attachToRingApi = (ringApi, manager) =>
  require('./lib/ring-client-api/attach.js').attachToRingApi(ringApi, manager)

// A literal, because Node finds the names for `import { RingTokenManager } from 'ring-auth'` in it.
module.exports = { RingTokenManager, RingAuthError, attachToRingApi, parseRefreshToken }
