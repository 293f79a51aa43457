#!/usr/bin/env node
// @ts-check
'use strict'

// The command of ring-auth, under the name that ring-client-api's has.

const { dirname, join } = require('node:path')

const manifest = require.resolve('ring-auth/package.json')
require(join(dirname(manifest), require(manifest).bin['ring-auth']))
