// @ts-check
'use strict'

// The certificates of the system. Each system keeps them in another way. Node can read them, and the core gets them from Node.

/** @typedef {typeof import('../binding/binding.js')} Addon */

/**
 * Passes the certificates of the system to the addon, or the reason why they cannot be read.
 * @param {Pick<Addon, 'setSystemCertificates'>} addon
 * @param {string} asked The setting that asks for them, from `askedBy`.
 */
function lend(addon, asked) {
  const { getCACertificates } = /** @type {any} */ (require('node:tls'))
  if (typeof getCACertificates !== 'function') {
    addon.setSystemCertificates(
      null,
      `${asked} asks for the certificates of the system, which Node ${process.versions.node} cannot read. Use Node 22.15 or later, or name a file with them in NODE_EXTRA_CA_CERTS.`,
    )
    return
  }
  try {
    addon.setSystemCertificates(getCACertificates('system').join('\n'), null)
  } catch (error) {
    const words = error instanceof Error ? error.message : 'no reason was given'
    addon.setSystemCertificates(
      null,
      `${asked} asks for the certificates of the system, which could not be read: ${words}. Name a file with them in NODE_EXTRA_CA_CERTS.`,
    )
  }
}

module.exports = { lend }
