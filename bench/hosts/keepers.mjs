// @ts-check
// The ways to keep an account that are compared: ring-auth with a shared store, lock-and-write as other projects do it, and ring-client-api,
// which shares nothing.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { RingTokenManager } from '../../index.js'
import { root } from '../../scripts/command.mjs'

/**
 * @typedef {object} Keeper
 * @property {() => Promise<string>} token the access token that is valid now
 * @property {() => unknown} close
 *
 * @typedef {object} Where
 * @property {string} url of Ring
 * @property {string} userAgent
 * @property {string} hardwareId
 * @property {string} refreshToken the first token
 * @property {number} requestTimeoutMs
 *
 * @typedef {{ refresh: string, access: string, expiresAt: number }} Tokens
 *
 * @typedef {object} LockedDatabase The operations of a database that lock-and-write uses.
 * @property {() => Promise<boolean>} lock
 * @property {() => Promise<unknown>} unlock
 * @property {() => Promise<Tokens>} read
 * @property {(tokens: Tokens) => Promise<unknown>} write
 */

/**
 * @param {any} store
 * @param {Where} where
 * @returns {Keeper}
 */
export function ours(store, { url, userAgent, hardwareId, refreshToken, requestTimeoutMs }) {
  const rest = { refreshToken, userAgent, oauthUrl: url, apiUrl: url, systemId: hardwareId, requestTimeoutMs }
  const manager = new RingTokenManager({ store, ...rest })
  return { token: () => manager.getAccessToken(), close: () => manager.close() }
}

/**
 * Makes keepers with ring-client-api, which one process uses alone, without storing anything.
 * @returns {Promise<(name: string, where: Where) => Keeper>}
 */
export async function alone() {
  const path = join(root, '__test__', 'real', 'node_modules', 'ring-client-api')
  const undici = createRequire(join(path, 'package.json'))('undici')
  /** @type {any} */
  let made
  return (_name, { url, refreshToken, hardwareId }) => {
    // The first keeper loads the package, so that its memory counts.
    made ??= import(pathToFileURL(join(path, 'lib', 'rest-client.js')).href).then(({ RingRestClient }) => {
      // The addresses of Ring's hosts are built in. Only these are replaced.
      globalThis.fetch = /** @type {any} */ (
        (/** @type {string} */ to, /** @type {any} */ options) =>
          undici.fetch(to.replace(/^https:\/\/(oauth|api)\.ring\.com/, url), options)
      )
      return RingRestClient
    })
    /** @type {any} */
    let client
    return {
      async token() {
        client ??= new (await made)({ refreshToken, systemId: hardwareId })
        return (await client.getCurrentAuth()).access_token
      },
      close: () => client?.clearTimeouts(),
    }
  }
}

/**
 * Lock-and-write: a host takes the lock, refreshes the token if it has expired, writes the new one, and releases the lock.
 * @param {LockedDatabase} database
 * @param {Where} where
 * @returns {Keeper}
 */
export function lockAndWrite(database, { url, userAgent, hardwareId, requestTimeoutMs }) {
  return {
    async token() {
      const found = await database.read()
      if (found.expiresAt > Date.now()) return found.access
      while (!(await database.lock())) await sleep(50)
      try {
        const now = await database.read()
        if (now.expiresAt > Date.now()) return now.access
        const tokens = await refresh({ url, userAgent, hardwareId, requestTimeoutMs }, now.refresh)
        await database.write(tokens)
        return tokens.access
      } finally {
        await database.unlock()
      }
    },
    close() {},
  }
}

/**
 * @param {Omit<Where, 'refreshToken'>} where
 * @param {string} refreshToken
 * @returns {Promise<Tokens>}
 */
async function refresh({ url, userAgent, hardwareId, requestTimeoutMs }, refreshToken) {
  const answer = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    headers: {
      hardware_id: hardwareId,
      'user-agent': userAgent,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({
      client_id: 'ring_official_android',
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      scope: 'client',
    }).toString(),
    signal: AbortSignal.timeout(requestTimeoutMs),
  })
  if (!answer.ok) throw new Error(`Ring answered ${answer.status}`)
  const grant = /** @type {any} */ (await answer.json())
  // The token counts as expired a tenth of its lifetime early, as is usual.
  return { refresh: grant.refresh_token, access: grant.access_token, expiresAt: Date.now() + grant.expires_in * 900 }
}

/**
 * A lock with a time to live in Redis, by `SET NX PX` and `DEL`.
 * @param {(...args: string[]) => Promise<any>} send
 * @param {string} account
 * @param {number} lockMs
 * @returns {LockedDatabase}
 */
export function redisLock(send, account, lockMs) {
  const [lock, key] = [`lock:${account}`, `tokens:${account}`]
  return {
    lock: async () => (await send('set', lock, '1', 'NX', 'PX', String(lockMs))) === 'OK',
    unlock: () => send('del', lock),
    read: async () => JSON.parse(await send('get', key)),
    write: (tokens) => send('set', key, JSON.stringify(tokens)),
  }
}

/**
 * An advisory lock of a session of PostgreSQL.
 * @param {{ query(text: string, values: any[]): Promise<any> }} client
 * @param {string} account
 * @returns {LockedDatabase}
 */
export function advisoryLock(client, account) {
  const id = createHash('sha256').update(account).digest().readInt32BE()
  const rows = async (/** @type {string} */ text, /** @type {any[]} */ values) =>
    (await client.query(text, values)).rows
  return {
    lock: async () => (await rows('SELECT pg_try_advisory_lock($1) AS mine', [id]))[0].mine,
    unlock: () => rows('SELECT pg_advisory_unlock($1)', [id]),
    read: async () => JSON.parse((await rows('SELECT tokens FROM locked WHERE account = $1', [account]))[0].tokens),
    write: (tokens) => rows('UPDATE locked SET tokens = $2 WHERE account = $1', [account, JSON.stringify(tokens)]),
  }
}
