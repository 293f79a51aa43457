// @ts-check
// Proxies and foreign certificates as the environment names them, for a manager and for the command line, in processes of
// their own. The proxy is on loopback and carries everything to a fake Ring beside it: nothing leaves this machine.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { certificateFor } from './support/certificate.mjs'
import {
  fileStore,
  optionsFor,
  rawOf,
  readJournal,
  root,
  runProcess,
  runScript,
  startRing,
  tempDir,
} from './support/index.mjs'
import { startProxy } from './support/proxy.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** A name that can never exist: whoever does not ask the proxy for it reaches nobody. */
const HOST = 'ring.invalid'

/** Every variable that could lead somewhere else; each child gets those that its test is about. */
const NAMES = [
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
  'node_extra_ca_certs',
  'ssl_cert_file',
  'node_tls_reject_unauthorized',
]
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !NAMES.includes(name.toLowerCase())))

/** A Ring with a name, over TLS, and the file that makes it trusted. @param {TestContext} t */
async function startTlsRing(t, host = HOST) {
  const { cert, key } = certificateFor(host)
  const ring = await startRing(t, { tls: { cert, key } })
  const roots = join(tempDir(t), 'roots.pem')
  writeFileSync(roots, cert)
  return { ring, roots, port: Number(new URL(ring.oauthUrl).port) }
}

const REFRESH = `
  const manager = new RingTokenManager(config);
  const outcome = await manager.refresh().then((auth) => auth.accessToken, (error) => error.code + ' ' + error.message);
  await manager.close();
  say(outcome);
`

describe('a proxy in the environment', { concurrency: 4 }, () => {
  /** @type {string[][]} */
  const names = [
    ['HTTPS_PROXY'],
    ['https_proxy'],
    ['HTTP_PROXY'],
    ['http_proxy'],
    ['ALL_PROXY'],
    ['all_proxy'],
    ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'],
  ]
  for (const set of names) {
    it(`(${set.join(', ')}) sees nothing of what goes to loopback`, async (t) => {
      const proxy = await startProxy(t, () => undefined)
      const env = { ...clean, ...Object.fromEntries(set.map((name) => [name, proxy.url])) }
      const plain = await startRing(t)
      const { ring: secret, roots } = await startTlsRing(t, 'localhost')
      // An address, the name that every hosts file has, and TLS behind that.
      for (const [ring, oauthUrl] of /** @type {const} */ ([
        [plain, plain.oauthUrl],
        [plain, plain.oauthUrl.replace('127.0.0.1', 'localhost')],
        [secret, secret.oauthUrl.replace('127.0.0.1', 'localhost')],
      ])) {
        const path = join(tempDir(t), 'journal.json')
        const config = optionsFor(ring, { oauthUrl, refreshToken: ring.mint(), store: fileStore(path) })
        const end = await runScript(t, REFRESH, config, { env: { ...env, NODE_EXTRA_CA_CERTS: roots } }).ended
        assert.ok(ring.isAccessLive(end.stdout.trim()), end.stdout + end.stderr)
        const servers = { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: ring.apiUrl, NODE_EXTRA_CA_CERTS: roots }
        const args = [join(root, 'bin', 'ring-auth.js'), 'refresh', '--state-file', path]
        const cli = await runProcess(t, args, { env: { ...env, ...servers } }).ended
        assert.equal(cli.code, 0, cli.stderr)
      }
      assert.equal(plain.counts.rotations + secret.counts.rotations, 6)
      assert.equal(proxy.connections(), 0)
    })
  }

  for (const name of ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy']) {
    it(`(${name}) carries everything that goes elsewhere, by its name`, async (t) => {
      const { ring, roots, port } = await startTlsRing(t)
      const proxy = await startProxy(t, () => port)
      const path = join(tempDir(t), 'journal.json')
      const env = { ...clean, [name]: proxy.url, NODE_EXTRA_CA_CERTS: roots }
      const urls = { oauthUrl: `https://${HOST}`, apiUrl: `https://${HOST}` }
      const config = optionsFor(ring, { ...urls, refreshToken: ring.mint(), store: fileStore(path) })
      const end = await runScript(t, REFRESH, config, { env }).ended
      assert.ok(ring.isAccessLive(end.stdout.trim()), end.stdout + end.stderr)
      const servers = { RING_AUTH_OAUTH_URL: urls.oauthUrl, RING_AUTH_API_URL: urls.apiUrl }
      const args = [join(root, 'bin', 'ring-auth.js'), 'refresh', '--state-file', path]
      const cli = await runProcess(t, args, { env: { ...env, ...servers } }).ended
      assert.equal(cli.code, 0, cli.stderr)
      assert.equal(rawOf(readJournal(path).current.token), ring.newest())
      assert.equal(ring.counts.rotations, 2)
      assert.deepEqual(proxy.asked, Array(2).fill(`CONNECT ${HOST}:443 HTTP/1.1`))
    })
  }

  it('that refuses is NETWORK, the token is kept, and nobody goes around it', async (t) => {
    const { ring, roots } = await startTlsRing(t)
    const proxy = await startProxy(t, () => undefined)
    const path = join(tempDir(t), 'journal.json')
    const given = ring.mint()
    const env = { ...clean, HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS: roots }
    const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: given, store: fileStore(path) })
    const end = await runScript(t, REFRESH, config, { env }).ended
    assert.match(end.stdout, /^NETWORK /)
    assert.ok(proxy.asked.length >= 1 && proxy.asked.length <= 4)
    assert.deepEqual(new Set(proxy.asked), new Set([`CONNECT ${HOST}:443 HTTP/1.1`]))
    assert.equal(rawOf(readJournal(path).current.token), given)
    assert.equal(ring.requests.length, 0)
  })
})

describe('a proxy that looks into TLS', { concurrency: 4 }, () => {
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    it(`is trusted where ${name} names its certificate`, async (t) => {
      const { ring, roots, port } = await startTlsRing(t)
      const proxy = await startProxy(t, () => port)
      const env = { ...clean, HTTPS_PROXY: proxy.url, [name]: roots }
      const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: ring.mint() })
      const end = await runScript(t, REFRESH, config, { env }).ended
      assert.ok(ring.isAccessLive(end.stdout.trim()), end.stdout + end.stderr)
    })
  }

  for (const [how, extra] of /** @type {[string, Record<string, string>][]} */ ([
    ['of itself', {}],
    ['for NODE_TLS_REJECT_UNAUTHORIZED=0', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }],
  ])) {
    it(`is not trusted ${how}: no token reaches it, and the error says what would help`, async (t) => {
      const { ring, port } = await startTlsRing(t)
      const proxy = await startProxy(t, () => port)
      const env = { ...clean, HTTPS_PROXY: proxy.url, ...extra }
      const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: ring.mint() })
      const end = await runScript(t, REFRESH, config, { env }).ended
      assert.match(end.stdout, /^NETWORK .*NODE_EXTRA_CA_CERTS/)
      assert.ok(proxy.asked.length >= 1)
      assert.equal(ring.requests.length, 0)
    })
  }
})
