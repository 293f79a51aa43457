// @ts-check
'use strict'

const { createFace } = require('./face.js')

// @ts-ignore: the build writes binding.js, and `npm run typecheck:binding` checks its types.
const binding = require('./binding.js')

const { RingTokenManager, RingAuthError, parseRefreshToken } = createFace(binding)

// Written as a literal: this is how Node finds the names for `import { RingTokenManager } from 'ring-auth'`.
module.exports = { RingTokenManager, RingAuthError, parseRefreshToken }
