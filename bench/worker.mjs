// @ts-check
// The worker for one of the two packages, a process of its own: it runs the commands of its parent, and answers with the time that each took.
//   node worker.mjs ours|theirs PATH-OF-THE-PACKAGE
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** @typedef {{ url: string, refreshToken?: string, path?: string, flow?: string, email?: string, password?: string }} Where */

/**
 * The operations that are measured, as one of the two packages does them.
 * @typedef {object} Keeper
 * @property {() => Promise<unknown>} refresh rotates now; done when the token is where it is kept
 * @property {() => Promise<unknown>} token the access token that is valid now
 * @property {() => Promise<boolean>} login with e-mail and password; whether a code is wanted
 * @property {(code: string) => Promise<unknown>} submit
 * @property {(path: string) => Promise<unknown>} request of the API
 * @property {() => unknown} close
 */

const [, , side = '', path = ''] = process.argv
const SYSTEM = 'bench'
const open = side === 'ours' ? ours(path) : await theirs(path)

/** @param {string} path @returns {(where: Where) => Keeper} */
function ours(path) {
  const require = createRequire(import.meta.url)
  const { RingTokenManager } = require(path)
  const { RingRestClient } = require(join(path, 'lib', 'ring-client-api', 'rest-client.js'))
  return ({ url, refreshToken, path, flow, email, password }) => {
    const servers = { oauthUrl: url, apiUrl: url, systemId: SYSTEM, refreshToken }
    /** @type {any} */
    let client
    const manager = new RingTokenManager({
      ...servers,
      ...(flow && { loginFlow: flow }),
      ...(path && { store: { type: 'file', path } }),
    })
    return {
      refresh: () => manager.refresh(),
      token: () => manager.getAccessToken(),
      login: async () => !(await manager.login({ email, password })).authenticated,
      submit: (code) => manager.submitTwoFactorCode(code),
      request: (path) => (client ??= new RingRestClient(servers)).request({ url: `${url}${path}` }),
      close: async () => {
        client?.clearTimeouts()
        await Promise.all([manager.close(), client?.close?.()])
      },
    }
  }
}

/** @param {string} path @returns {Promise<(where: Where) => Keeper>} */
async function theirs(path) {
  const { RingRestClient } = await import(pathToFileURL(join(path, 'lib', 'rest-client.js')).href)
  const undici = createRequire(join(path, 'package.json'))('undici')
  // ring-client-api has Ring's hosts built in: only they are replaced. Its own agent stays, with the undici that has made it.
  let target = ''
  globalThis.fetch = /** @type {any} */ (
    (/** @type {string} */ url, /** @type {any} */ options) =>
      undici.fetch(url.replace(/^https:\/\/(oauth|api)\.ring\.com/, target), options)
  )
  return ({ url, refreshToken, path, email, password }) => {
    const client = new RingRestClient(
      refreshToken === undefined ? { email, password, systemId: SYSTEM } : { refreshToken, systemId: SYSTEM },
    )
    const aim = () => (target = url)
    return {
      refresh: async () => {
        aim()
        const before = client.refreshToken
        await client.getAuth()
        // As ring-client-api's documentation shows it: the old token is searched in a file, and replaced.
        if (path)
          await writeFile(path, String(await readFile(path).catch(() => before)).replace(before, client.refreshToken))
      },
      token: () => (aim(), client.getCurrentAuth()),
      login: async () => {
        aim()
        try {
          await client.getAuth()
        } catch (error) {
          if (!client.promptFor2fa) throw error
        }
        return client.using2fa
      },
      submit: (code) => (aim(), client.getAuth(code)),
      request: (path) => (aim(), client.request({ url: `https://api.ring.com${path}` })),
      close: () => client.clearTimeouts(),
    }
  }
}

/** @type {Map<string, Keeper>} */
const keepers = new Map()
/** @type {Keeper[]} */
const many = []

/** @param {string} key */
function keeper(key) {
  const found = keepers.get(key)
  if (!found) throw new Error(`there is no keeper ${key}`)
  return found
}

/** @param {() => Promise<unknown>} work */
async function timed(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** A wrapped token with push credentials, as homebridge-ring's tokens have them: about `length` characters. @param {string} rt @param {number} length */
function wrapped(rt, length) {
  const plain = { rt, hid: '5c8d2d3c-0000-4000-8000-000000000000' }
  const filler = Math.max(0, Math.floor(length * 0.75) - JSON.stringify(plain).length - 20)
  return Buffer.from(JSON.stringify({ ...plain, pnc: { fcm: 'x'.repeat(filler) } })).toString('base64')
}

function collect() {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
}

/** @type {Record<string, (args: any) => Promise<unknown>>} */
const commands = {
  async open({ key, ...where }) {
    keepers.set(key, open(where))
  },
  async close({ key }) {
    await keeper(key).close()
    keepers.delete(key)
  },
  refresh: ({ key }) => timed(() => keeper(key).refresh()),
  rotate: ({ key, times }) =>
    timed(async () => {
      for (let i = 0; i < times; i++) await keeper(key).refresh()
    }),
  async login({ key }) {
    let wantsCode = false
    const ms = await timed(async () => (wantsCode = await keeper(key).login()))
    return { ms, wantsCode }
  },
  submit: ({ key, code }) => timed(() => keeper(key).submit(code)),
  cached: ({ key, times }) =>
    timed(async () => {
      const { token } = keeper(key)
      for (let i = 0; i < times; i++) await token()
    }),
  async callers({ key, times }) {
    const { token } = keeper(key)
    return failed(Array.from({ length: times }, () => token()))
  },
  async requests({ key, times, path }) {
    const { request } = keeper(key)
    return failed(Array.from({ length: times }, () => request(path)))
  },
  /** Makes managers, and returns how many bytes of memory they took. */
  async make({ url, tokens, length }) {
    collect()
    const before = process.memoryUsage.rss()
    for (const [i, token] of tokens.entries()) {
      many.push(open({ url, refreshToken: wrapped(token, length) }))
      if (i % 200 === 199) collect()
    }
    // ring-auth's managers have read their stores when this call resolves.
    await new Promise((resolve) => setTimeout(resolve, 500))
    collect()
    return process.memoryUsage.rss() - before
  },
  refreshAll: ({ atOnce }) =>
    timed(async () => {
      let next = 0
      const one = async () => {
        for (let i = next++; i < many.length; i = next++) await many[i]?.refresh()
      }
      await Promise.all(Array.from({ length: atOnce }, one))
    }),
  async rss() {
    collect()
    return process.memoryUsage.rss()
  },
  /** Makes a system call that marks a place in the record of strace. */
  mark: async ({ path }) => existsSync(path),
}

/** @param {Promise<unknown>[]} calls */
async function failed(calls) {
  return (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected').length
}

process.on('message', async (/** @type {{ id: number, command: string, args: unknown }} */ { id, command, args }) => {
  try {
    const work = commands[command]
    if (!work) throw new Error(`no command ${command}`)
    process.send?.({ id, value: await work(args) })
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? String(error.stack) : String(error) })
  }
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
