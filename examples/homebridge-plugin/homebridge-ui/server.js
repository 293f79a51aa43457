// @ts-check
'use strict'

// The login page in the settings of this plugin: all of its server.

require('ring-auth/homebridge-ui').serve({ platform: 'RingAuthExample' })
