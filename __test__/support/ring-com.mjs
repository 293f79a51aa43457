// @ts-check
// ring.com on loopback, for programs that must not know that it is a fake: a fake Ring with a certificate for Ring's names, and an environment
// that leads to it, by a proxy and by a trusted root certificate.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeRing } from '../fake-ring/index.mjs'
import { certificateFor } from './certificate.mjs'
import { startProxy } from './proxy.mjs'

const HOSTS = /** @type {const} */ (['oauth.ring.com', 'api.ring.com'])

/**
 * @param {{ after(end: () => void | Promise<void>): unknown }} t
 * @param {import('../fake-ring/index.mjs').FakeRingOptions} [settings]
 */
export async function startRingCom(t, settings) {
  const { cert, key } = certificateFor(...HOSTS)
  const ring = await FakeRing.start({ ...settings, tls: { cert, key } })
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-ring-com-'))
  t.after(async () => {
    await ring.close()
    rmSync(folder, { recursive: true })
    assert.deepEqual(ring.internalErrors, [])
    assert.equal(ring.counts.stalePresentations, 0)
  })
  const port = Number(new URL(ring.oauthUrl).port)
  const proxy = await startProxy(t, () => port)
  const roots = join(folder, 'roots.pem')
  writeFileSync(roots, cert)
  // Node's fetch uses no proxy by default, and the oldest Node here has no setting for it: for that Node the names lead to
  // loopback, as a hosts file could do it. Nothing else of TLS is touched.
  const hosts = join(folder, 'hosts.cjs')
  writeFileSync(
    hosts,
    `
    const tls = require('node:tls')
    const { connect } = tls
    tls.connect = (options, ...more) => {
      const leads = ${JSON.stringify(HOSTS)}.includes(options.host)
      return connect(leads ? { ...options, servername: options.host, host: '127.0.0.1', port: ${port} } : options, ...more)
    }
  `,
  )
  const none = Object.fromEntries(
    ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'SSL_CERT_FILE'].map((name) => [
      name,
      undefined,
    ]),
  )
  return {
    ring,
    /** The environment in which a program takes the fake for ring.com. @type {NodeJS.ProcessEnv} */
    env: { ...none, HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1', NODE_EXTRA_CA_CERTS: roots, CURL_CA_BUNDLE: roots },
    /** The environment for Node's own fetch. @type {NodeJS.ProcessEnv} */
    fetchEnv: { NODE_OPTIONS: `--require ${JSON.stringify(hosts)}` },
  }
}

/**
 * Answers the questions of a login at the terminal, as a person does.
 * @param {import('./cli.mjs').Screen} screen
 * @param {FakeRing} ring
 * @param {{ email: string, password: string }} person
 */
export async function logsIn(screen, ring, { email, password }) {
  await screen.answers('Email: ', `${email}\r`)
  await screen.answers('Password: ', `${password}\r`)
  await screen.answers('2fa Code: ', () => `${ring.codeFor(email)}\r`)
  assert.equal(await screen.exits(), 0, screen.text)
  return screen.text
}

/**
 * Checks that a dialogue is the one that a page shows, line by line, except for the code, and for the token, of which the page shows the beginning.
 * @param {string} text
 * @param {string} shown
 * @returns {string} the token
 */
export function isTheDialogue(text, shown) {
  const lines = (/** @type {string} */ all) =>
    all
      .trim()
      .split(/\r*\n/)
      .map((line) => line.trimEnd())
  const page = lines(shown)
  // On a busy machine the command may wait for Ring, write that into the line, and erase it.
  const whole = text.replaceAll(/Waiting for Ring … \d+ s\r.\[K/g, '')
  const said = lines(whole.slice(Math.max(0, whole.indexOf(String(page[0])))))
  const hidden = (/** @type {string} */ line) =>
    line.replace(/^(2fa Code: )\d{6}$/, '$1…').replace(/^("refreshToken": ")[^"\s]+"$/, '$1…"')
  assert.deepEqual(said.map(hidden), page.map(hidden))
  const token = (/** @type {string[]} */ all) =>
    all.flatMap((line) => /^"refreshToken": "(\S+)"$/.exec(line)?.[1] ?? [])[0] ?? ''
  const beginning = /^(.{8,})…$/.exec(token(page))?.[1] ?? assert.fail(`no token in:\n${shown}`)
  assert.ok(token(said).startsWith(beginning), `${token(said).slice(0, beginning.length)} is not ${beginning}`)
  return token(said)
}
