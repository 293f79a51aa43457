// @ts-check
'use strict'

const { createFace } = require('./face.js')
const { load } = require('./load.js')

const { RingTokenManager, RingAuthError, parseRefreshToken } = createFace(load())

// Written as a literal: this is how Node finds the names for `import { RingTokenManager } from 'ring-auth'`.
module.exports = { RingTokenManager, RingAuthError, parseRefreshToken }
