// @ts-check
'use strict'

// `ring-auth login --web`. The addon parses the arguments and finds the store. This file serves the page.

/** @typedef {import('../../binding/binding.js').BindingWebLogin} WebLogin */
/** @typedef {import('../../index.js').RingTokenManager} RingTokenManager */

const { isIPv4 } = require('node:net')
const { INTERNALS } = require('../manager.js')

const EXITS = /** @type {Record<string, number>} */ ({
  INVALID_ARGUMENT: 2,
  TWO_FACTOR_REQUIRED: 3,
  NO_REFRESH_TOKEN: 3,
  STORE: 6,
  STORE_LOCKED: 6,
})
const INTERRUPTED = 130
const WORTH =
  'It is worth as much as your password: anyone who has it can open your doors. Give it to one program only, which replaces it at every use. For a second program, log in again.'

/**
 * Runs a command line that has `--web` in it.
 * @param {typeof import('../../binding/binding.js')} addon
 * @param {string[]} args
 * @param {Awaited<ReturnType<typeof import('../store-module.js').loadStoreModule>>} [module]
 * @returns {Promise<number>} The exit code.
 */
async function run(addon, args, module) {
  const start = await addon.beginWebLogin(args, module?.native)
  if (start.type === 'ended') return start.exitCode
  const { login } = start
  const say = (/** @type {string} */ text) => {
    if (!login.quiet) process.stderr.write(`${text}\n`)
  }
  try {
    const { RingTokenManager } = require('../../index.js')
    const manager = new RingTokenManager(managerOptions(login, module?.value))
    try {
      return await serve(login, manager, say)
    } finally {
      await manager.close()
    }
  } catch (error) {
    return failed(login, error)
  }
}

/** @param {WebLogin} login @param {RingTokenManager} manager @param {(text: string) => void} say */
async function serve(login, manager, say) {
  const { serveLogin } = require('./server.js')
  const controller = new AbortController()
  const onSignal = () => controller.abort()
  process.once('SIGINT', onSignal)
  try {
    const page = await serveLogin(manager, {
      ...(login.host == null ? {} : { host: login.host }),
      port: login.port,
      allowedHosts: login.allowedHosts,
      ...(login.tlsCert == null ? {} : { tls: certificate(login) }),
      signal: controller.signal,
      printsToken: login.path != null,
    })
    if (login.json) process.stdout.write(`${JSON.stringify({ url: page.url })}\n`)
    if (login.host != null && !isLoopback(login.host) && login.tlsCert == null) {
      process.stderr.write(
        'ring-auth: Warning: the password crosses the network in the clear. Use --tls-cert and --tls-key, or leave out --host and use ssh -L.\n',
      )
    }
    if (!login.json) {
      const where = login.host == null ? 'Open this on this machine, or through ssh -L' : 'Open this'
      process.stderr.write(`${where}: ${page.url}\n`)
    }
    say('Waiting for a login. The page closes by itself after 15 minutes; Ctrl-C closes it now.')
    await page.done
  } catch (error) {
    if (!controller.signal.aborted) throw error
    if (login.json) printError('ABORTED', 'Interrupted with Ctrl-C.')
    return INTERRUPTED
  } finally {
    process.off('SIGINT', onSignal)
  }
  return show(login, manager, say)
}

/** @param {WebLogin} login @param {RingTokenManager} manager @param {(text: string) => void} say */
async function show(login, manager, say) {
  const { refreshToken, hardwareId, status } = manager
  const isSpooled = /** @type {any} */ (manager)[INTERNALS]().isSpooled()
  const line = `"refreshToken": "${refreshToken}"`
  if (login.json) {
    const auth = status.state === 'ready' ? await manager.getAuth() : undefined
    print({ refreshToken, hardwareId, expiresAt: auth?.expiresAt ?? null, persisted: status.persisted })
  }
  if (login.path == null) {
    if (!login.json) {
      const head = '\nSuccessfully logged in to Ring. Please add the following to your config:\n\n'
      process.stdout.write(login.quiet ? `${line}\n` : `${head}${line}\n\n`)
    }
    say(WORTH)
    return 0
  }
  const isStored = status.code !== 'STORE' && status.code !== 'STORE_LOCKED'
  if (isStored) {
    say(`Successfully logged in to Ring. The refresh token is stored in ${login.path}.`)
    for (const change of login.changes) say(change)
    return 0
  }
  if (isSpooled) {
    process.stderr.write(
      `ring-auth: The login worked, but ${login.path} has not taken the new refresh token. The next command here brings it there.\n`,
    )
    return 0
  }
  if (!login.json) process.stdout.write(`${line}\n`)
  process.stderr.write(
    `ring-auth: The login worked, but the new refresh token could not be stored in ${login.path}. It is on standard output instead: keep it.\nring-auth: ${status.message}\n`,
  )
  return EXITS['STORE'] ?? 1
}

/** @param {WebLogin} login @param {unknown} error */
function failed(login, error) {
  const { code, message = '', transient = false, cause } = /** @type {any} */ (error)
  if (typeof code !== 'string') throw error
  process.stderr.write(`ring-auth: ${message}\n`)
  if (typeof cause === 'string' && !login.quiet) process.stderr.write(`  because: ${cause}\n`)
  if (login.json) printError(code, message, transient)
  return EXITS[code] ?? 1
}

/** Prints a failure as one JSON object, as every command does. @param {string} code @param {string} message @param {boolean} [transient] */
function printError(code, message, transient = false) {
  print({ error: { code, message, transient, retryAfterMs: null } })
}

/** @param {object} result */
function print(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

/** @param {WebLogin} login @param {any} [exported] the store of a module @returns {import('../../index.js').RingTokenManagerOptions} */
function managerOptions(login, exported) {
  const { loginFlow, userAgent, systemId, deviceName, oauthUrl, apiUrl, store, sealKey, quiet, verbose } = login
  const levels = quiet ? ['error'] : verbose ? ['error', 'warn', 'info', 'debug'] : ['error', 'warn']
  /** @type {any} */
  const options = {
    loginFlow,
    logger: (/** @type {import('../../index.js').LogEntry} */ { level, message }) => {
      if (levels.includes(level)) process.stderr.write(`ring-auth: ${message}\n`)
    },
  }
  for (const [name, value] of Object.entries({ userAgent, systemId, oauthUrl, apiUrl })) {
    if (value != null) options[name] = value
  }
  if (deviceName != null) options.controlCenterDisplayName = deviceName
  if (store == null && exported !== undefined) options.store = exported
  if (store != null) options.store = { ...storeOf(store), ...(sealKey != null && { key: sealKey }) }
  return options
}

/** @param {import('../../binding/binding.js').BindingStore} store */
function storeOf(store) {
  const entries = Object.entries(store).filter(([, value]) => value != null)
  const given = Object.fromEntries(entries)
  if (store.type === 'homebridge') {
    const { path: configPath, ...others } = given
    return { configPath, ...others }
  }
  if (store.type === 'dotenv') {
    const { key: envKey, ...others } = given
    return envKey === undefined ? others : { envKey, ...others }
  }
  return given
}

/** @param {WebLogin} login */
function certificate({ tlsCert, tlsKey }) {
  const { readFileSync } = require('node:fs')
  try {
    return { cert: readFileSync(String(tlsCert)), key: readFileSync(String(tlsKey)) }
  } catch (error) {
    const { RingAuthError } = require('../errors.js')
    throw new RingAuthError(
      'INVALID_ARGUMENT',
      'The certificate or its key cannot be read: see --tls-cert and --tls-key',
      {
        cause: /** @type {Error} */ (error).message,
      },
    )
  }
}

/** Whether data for a host stays on this machine. A name may lead anywhere, even if it begins with 127. @param {string} host */
function isLoopback(host) {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

module.exports = { isLoopback, run }
