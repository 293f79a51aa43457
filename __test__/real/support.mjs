// @ts-check
// The real ring-client-api and this package, both with the same fake Ring under Ring's own names: a proxy on loopback forwards
// their requests to the fake, over TLS with a certificate of the test. Nothing leaves this machine.
import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { certificateFor } from '../support/certificate.mjs'
import { atEnd, startRing, tempDir } from '../support/index.mjs'
import { startProxy } from '../support/proxy.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../fake-ring/index.mjs').FakeRing} FakeRing */

export const here = dirname(fileURLToPath(import.meta.url))
const modules = join(here, 'node_modules')

if (!existsSync(join(modules, 'ring-client-api', 'lib'))) {
  throw new Error(`ring-client-api is not installed in ${here}: run \`npm ci --ignore-scripts\` there (npm test does).`)
}

// By names that no type checker follows, and not resolved before the tests know that they exist.
/** @param {string} path @returns {Promise<any>} */
const load = (path) => import(pathToFileURL(join(modules, path)).href)
export const theirs = {
  ...(await load('ring-client-api/lib/rest-client.js')),
  RingApi: (await load('ring-client-api/lib/api.js')).RingApi,
  util: await load('ring-client-api/lib/util.js'),
}
export const rxjs = (await load('rxjs/dist/cjs/index.js')).default
const undici = (await load('undici/index.js')).default

/** Ring's hosts, as ring-client-api knows them. */
export const HOSTS = ['oauth.ring.com', 'api.ring.com', 'app-snaps.ring.com', 'prd-api-us.prd.rings.solutions']

const PROXY_NAMES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'ssl_cert_file', 'node_extra_ca_certs']

/**
 * A fake Ring under Ring's own names, for this package and for ring-client-api.
 * @param {TestContext} t
 * @param {import('../fake-ring/index.mjs').FakeRingOptions} [options]
 */
export async function startNamedRing(t, options = {}) {
  const { cert, key } = certificateFor(/** @type {string} */ (HOSTS[0]), ...HOSTS.slice(1))
  const ring = await startRing(t, { sessionNeedsHeaders: false, ...options, tls: { cert, key } })
  const roots = join(tempDir(t), 'roots.pem')
  writeFileSync(roots, cert)
  const proxy = await startTunnel(t, Number(new URL(ring.oauthUrl).port))

  // ring-auth reads the environment of its process.
  const before = { ...process.env }
  for (const name of Object.keys(process.env)) if (PROXY_NAMES.includes(name.toLowerCase())) delete process.env[name]
  Object.assign(process.env, { HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: roots })
  // ring-client-api passes its own agent to the global fetch.
  const fetch = globalThis.fetch
  const dispatcher = new undici.ProxyAgent({ uri: proxy, requestTls: { ca: cert } })
  globalThis.fetch = /** @type {any} */ (
    (/** @type {string} */ url, /** @type {any} */ request) => undici.fetch(url, { ...request, dispatcher })
  )
  atEnd(t, 'folder', async () => {
    globalThis.fetch = fetch
    for (const name of ['HTTPS_PROXY', 'NODE_EXTRA_CA_CERTS']) delete process.env[name]
    Object.assign(process.env, before)
    await dispatcher.destroy()
  })
  return ring
}

/**
 * The address of a proxy that carries each tunnel to one port, and refuses hosts that are not Ring's.
 * @param {TestContext} t
 * @param {number} port
 */
async function startTunnel(t, port) {
  const isOurs = (/** @type {string} */ line) => HOSTS.includes(String(/^CONNECT ([^:]+):443 /.exec(line)?.[1]))
  const { url, asked } = await startProxy(t, (line) => (isOurs(line) ? port : undefined))
  atEnd(t, 'server', () => {
    assert.deepEqual(
      asked.filter((line) => !isOurs(line)),
      [],
      'somebody asked for a host that is not one of Ring',
    )
  })
  return url
}

/**
 * Makes the waits of ring-client-api (5 s, 20 s, 200 s) pass at once, and records their lengths.
 * @param {TestContext} t
 */
export function hurry(t) {
  const { setTimeout: original } = globalThis
  /** @type {number[]} */
  const waits = []
  const quick = (/** @type {any} */ callback, /** @type {number} */ ms, /** @type {any[]} */ ...rest) => {
    const isOneOfTheirs = Number.isNaN(ms) || ms === 5000 || ms === 20_000 || ms > 200_000
    // The timers that it keeps for hours must not fire at all.
    if (!isOneOfTheirs || ms > 3_000_000) return original(callback, ms, ...rest)
    waits.push(ms)
    return original(callback, 1, ...rest)
  }
  globalThis.setTimeout = /** @type {any} */ (Object.assign(quick, original))
  t.after(() => {
    globalThis.setTimeout = original
  })
  return waits
}
