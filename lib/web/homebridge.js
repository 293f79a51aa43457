// @ts-check
'use strict'

// The page inside Homebridge's own UI. The UI forks this process when its dialogue opens, and ends it when the dialogue closes.

const { mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } = require('node:fs')
const { dirname, join } = require('node:path')

/** @typedef {import('./flow.js').Answer} Answer */
/** @typedef {import('./flow.js').SentBefore} SentBefore */
/** @typedef {import('../../index.js').RingTokenManager} RingTokenManager */
/** @typedef {(body: unknown) => unknown} Handler */

const KNOWN = ['platform', 'statePath', 'key', 'managerOptions', 'texts', 'schemaForm']
/** How long the end of the process waits for a login that is being stored. */
const LAST_WRITES_MS = 5000

/**
 * Answers the requests of the page on the plugin's own UI server.
 * @param {{ onRequest(path: string, handler: Handler): void }} server
 * @param {any} options
 * @returns {() => Promise<void>} Ends the login that is under way.
 */
function mount(server, options) {
  /** @type {InstanceType<typeof import('./flow.js').LoginFlow> | undefined} */
  let flow
  /** @type {RingTokenManager | undefined} */
  let manager
  const open = () => {
    if (flow === undefined) {
      check(options)
      const { LoginFlow } = require('./flow.js')
      const file = noteOf(options)
      flow = new LoginFlow({
        open: (block) => {
          const old = manager
          manager = undefined
          void old?.close()
          manager = managerFor(options, block)
          return manager
        },
        readSent: () => readNote(file),
        keepSent: (sent) => keepNote(file, sent),
      })
    }
    return flow
  }
  /** @type {Record<string, Handler>} */
  const handlers = {
    page: () => {
      check(options)
      const { platform, schemaForm, texts } = options
      return require('./page.js').program({ place: 'homebridge', platform, schemaForm: schemaForm !== false }, texts)
    },
    status: () => {
      // If the addon is missing, the user learns it now, and not after typing a password.
      require('../../index.js')
      return open().status()
    },
    login: (body) => open().login(body),
    code: (body) => open().code(body),
    resend: () => open().resend(),
    cancel: () => open().cancel(),
  }
  for (const [name, handler] of Object.entries(handlers)) {
    server.onRequest(`/ring-auth/${name}`, async (body) => {
      try {
        const answer = await handler(body)
        const token = isDone(answer) ? manager?.refreshToken : undefined
        return token == null ? answer : { .../** @type {Answer} */ (answer), refreshToken: token }
      } catch (error) {
        return failed(name, error)
      }
    })
  }
  return async () => manager?.close()
}

/**
 * Serves the page over the UI's own protocol: four messages between the UI and this process.
 * @param {any} options
 */
function serve(options) {
  /** @type {Map<string, Handler>} */
  const handlers = new Map()
  const send = (/** @type {object} */ message) => {
    if (process.connected) process.send?.(message)
  }
  const end = mount({ onRequest: (path, handler) => void handlers.set(path, handler) }, options)
  process.on('message', async (/** @type {any} */ message) => {
    if (message?.action !== 'request') return
    const { requestId, path, body } = message
    const handler = handlers.get(path)
    const data = handler === undefined ? undefined : await handler(body)
    send({ action: 'response', payload: { requestId, success: handler !== undefined, data } })
  })
  let isEnding = false
  const leave = () => {
    if (isEnding) return
    isEnding = true
    setTimeout(() => process.exit(), LAST_WRITES_MS).unref()
    end().finally(() => process.exit())
  }
  process.on('disconnect', leave)
  process.on('SIGTERM', leave)
  // Until this message the UI shows only a spinner.
  send({ action: 'ready', payload: { server: true } })
}

/** @param {unknown} answer */
function isDone(answer) {
  return typeof answer === 'object' && answer !== null && 'step' in answer && answer.step === 'done'
}

/** @param {string} name @param {unknown} error */
function failed(name, error) {
  const { code, message } = require('./flow.js').described(error)
  // The page needs its program. If it cannot be read, a program that shows the error is sent instead.
  if (name === 'page') {
    const text = JSON.stringify(`ring-auth: ${message}`).replaceAll('<', '\\u003c')
    return `document.getElementById('ring-auth').textContent = ${text}`
  }
  return { step: 'account', error: { code, message } }
}

/** @param {any} options */
function check(options) {
  const { nonEmpty, properties, refuseUnknown } = require('../checks.js')
  const given = properties('options', options, KNOWN)
  refuseUnknown('options', given, KNOWN)
  nonEmpty('options.platform', given.platform)
  if (configPath() === '')
    throw require('../errors.js').invalid('HOMEBRIDGE_CONFIG_PATH is not set: Homebridge has to start this file')
}

function configPath() {
  return process.env['HOMEBRIDGE_CONFIG_PATH'] ?? ''
}

/** @param {any} options @param {string | undefined} name @returns {RingTokenManager} */
function managerFor(options, name) {
  const { RingTokenManager } = require('../../index.js')
  const { platform, statePath, key, managerOptions } = options
  return new RingTokenManager({
    ...managerOptions,
    store: { type: 'homebridge', configPath: configPath(), platform, name, statePath, key, addBlock: true },
  })
}

// ---- a code that was sent for a login that ended with its dialogue

/** @param {any} options */
function noteOf({ statePath }) {
  let file = configPath()
  try {
    file = realpathSync(file)
  } catch {
    // The store reports its own failures.
  }
  return join(statePath ?? join(dirname(file), '.ring-auth'), 'login-page.json')
}

/** @param {string} file @returns {SentBefore | undefined} */
function readNote(file) {
  try {
    const { destination, at, until } = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof at !== 'number' || typeof until !== 'number') return undefined
    // The clock was set back since the code was sent. `until` would prevent a login for that time.
    if (at > Date.now()) return undefined
    return typeof destination === 'string' ? { destination, at, until } : { at, until }
  } catch {
    return undefined
  }
}

/** Writes the note of a sent code. It contains no secret: Ring masks the address. @param {string} file @param {SentBefore | undefined} sent */
function keepNote(file, sent) {
  try {
    if (sent === undefined) return rmSync(file, { force: true })
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, JSON.stringify(sent), { mode: 0o600 })
  } catch {
    // Without the note the next dialogue does not know of the code and may request another one.
  }
}

module.exports = { mount, serve }
