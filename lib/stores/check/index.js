// @ts-check
'use strict'

const { wrongType } = require('../../checks.js')
const { Subject } = require('./subject.js')
const { RULES } = require('./rules.js')

/** @typedef {import('../index.js').SharedStore} SharedStore */

/**
 * @param {() => SharedStore | Promise<SharedStore>} makeStore
 */
async function checkStore(makeStore) {
  if (typeof makeStore !== 'function') throw wrongType('makeStore', 'a function that makes a store', makeStore)
  const subject = await Subject.open(makeStore)
  try {
    for (const rule of RULES) await rule(subject)
  } finally {
    await subject.cleanUp()
  }
}

module.exports = { checkStore }
