// @ts-check
// The login page without a browser: what its server refuses, and `ring-auth login --web`.
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { certificateFor } from './support/certificate.mjs'
import { CANARY, account, noSecret, printed, run, setUp, start } from './support/cli.mjs'
import { fenced, rows, section, take, text } from './support/pages.mjs'
import { EMAIL, PASSWORD, atEnd, failure, fileStore, open, rawOf, startRing, tempDir, until } from './support/index.mjs'
import { readOnly, signals } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const require = createRequire(import.meta.url)
/** @type {typeof import('../lib/web/index.js')} */
const { loginHandler, serveLogin } = require('../lib/web/index.js')
/** @type {typeof import('../lib/web/homebridge-ui.js')} */
const { mount } = require('../lib/web/homebridge-ui.js')

/**
 * Sends one request, with exactly these headers.
 * @param {string} url
 * @param {{ method?: string, path?: string, headers?: Record<string, string | string[]>, body?: string | Buffer, ca?: string, setHost?: boolean }} [how]
 * @returns {Promise<{ status: number, headers: import('node:http').IncomingHttpHeaders, text: string }>}
 */
function ask(url, { method = 'GET', path = '/', headers = {}, body, ca, setHost = true } = {}) {
  const target = new URL(url)
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const request = send(
      {
        hostname: target.hostname.replace(/[[\]]/g, ''),
        port: target.port,
        method,
        path,
        headers,
        ca,
        setHost,
        agent: false,
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

/** A POST as the page makes it. @param {string} url @param {string} step @param {object} body @param {Record<string, string>} [headers] */
function post(url, step, body, headers = {}) {
  const { origin } = new URL(url)
  return ask(url, {
    method: 'POST',
    path: `/api/${step}`,
    headers: { origin, 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', ...headers },
    body: JSON.stringify(body),
  })
}

/** The first visitor's session. @param {string} url */
async function session(url) {
  const { status, text } = await post(url, 'session', {}, { 'x-ring-auth-secret': new URL(url).hash.slice(1) })
  assert.equal(status, 200)
  return { 'x-ring-auth-session': JSON.parse(text).session }
}

/** @param {TestContext} t @param {import('../lib/web/index.js').ServeLoginOptions} [options] @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function serve(t, options = {}, settings = {}) {
  const ring = await startRing(t, settings)
  const { manager } = open(t, ring, { store: fileStore(join(tempDir(t), 'ring-auth.json')) })
  const server = await serveLogin(manager, options)
  atEnd(t, 'server', () => server.close())
  return { ring, manager, server, url: server.url }
}

const ACCOUNT = { email: EMAIL, password: PASSWORD }

describe('the server of the login page', () => {
  it('the server of the login page has the headers that keep other pages out on each answer, refusals included', async (t) => {
    const { url } = await serve(t)
    for (const path of ['/', '/page.js', '/page.css', '/nothing']) {
      const { headers } = await ask(url, { path })
      assert.equal(
        headers['content-security-policy'],
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      )
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.equal(headers['cross-origin-opener-policy'], 'same-origin')
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin')
      assert.equal(headers['set-cookie'], undefined)
      for (const name of Object.keys(headers)) assert.ok(!name.startsWith('access-control'), name)
    }
    const german = await ask(url, { headers: { 'accept-language': 'sv, de-AT;q=0.8, en;q=0.2' } })
    assert.match(german.text, /<html lang="de">/)
  })

  it('the server of the login page refuses without repeating what was sent and without asking Ring', async (t) => {
    const { ring, url } = await serve(t)
    const known = await session(url)
    const { origin } = new URL(url)
    const json = { 'content-type': 'application/json' }
    const own = { ...known, ...json, origin }
    const canary = `canary-${'x'.repeat(10)}`
    const login = { method: 'POST', path: '/api/login', headers: own, body: JSON.stringify({ ...ACCOUNT, canary }) }
    /** @type {[string, number, Parameters<typeof ask>[1]][]} */
    const cases = [
      ['another Host', 421, { headers: { host: 'evil.example' } }],
      ['another Host with our name in it', 421, { headers: { host: `localhost.evil.example` } }],
      ['no Origin', 403, { ...login, headers: { ...known, ...json } }],
      ['another Origin', 403, { ...login, headers: { ...own, origin: `http://${canary}.example` } }],
      ['the Origin null', 403, { ...login, headers: { ...own, origin: 'null' } }],
      ['another port', 403, { ...login, headers: { ...own, origin: 'http://127.0.0.1:1' } }],
      ['Sec-Fetch-Site', 403, { ...login, headers: { ...own, 'sec-fetch-site': 'cross-site' } }],
      ['no type', 415, { ...login, headers: { ...known, origin } }],
      ['another type', 415, { ...login, headers: { ...own, 'content-type': 'text/plain' } }],
      ['a form', 415, { ...login, headers: { ...own, 'content-type': 'application/x-www-form-urlencoded' } }],
      ['no session', 401, { ...login, headers: { ...json, origin } }],
      ['another session', 401, { ...login, headers: { ...own, 'x-ring-auth-session': canary } }],
      ['no JSON', 400, { ...login, body: `{${canary}` }],
      ['8 KiB and a byte', 413, { ...login, body: `"${canary}${'x'.repeat(8 * 1024 - canary.length - 1)}"` }],
      ['GET', 405, { ...login, method: 'GET', body: '' }],
      ['OPTIONS', 405, { ...login, method: 'OPTIONS', body: '' }],
      ['PUT of the page', 405, { method: 'PUT', path: '/' }],
      ['another path', 404, { path: `/${canary}` }],
      ['another step', 404, { ...login, path: `/api/${'canary'}` }],
    ]
    for (const [what, expected, how] of cases) {
      const { status, text, headers } = await ask(url, how)
      assert.equal(status, expected, what)
      assert.equal(text, '', what)
      assert.ok(!JSON.stringify(headers).includes('canary'), what)
      assert.equal(headers['access-control-allow-origin'], undefined)
    }
    // The server reads 8 KiB.
    const whole = await ask(url, { ...login, body: `"${'x'.repeat(8 * 1024 - 2)}"` })
    assert.equal(whole.status, 200)
    assert.equal(JSON.parse(whole.text).error.code, 'INVALID_ARGUMENT')
    // Requests that no client library sends.
    const { port } = new URL(url)
    for (const hosts of ['Host: 127.0.0.1\r\nHost: localhost\r\n', 'Host: \r\n', '']) {
      const answer = await new Promise((resolve) => {
        let text = ''
        const socket = connect(Number(port), '127.0.0.1', () => {
          socket.write(`GET / HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`)
        })
        socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
        socket.on('close', () => resolve(text))
      })
      assert.match(String(answer), /^HTTP\/1\.1 400 /, hosts)
    }
    assert.equal(ring.requests.length, 0)
  })

  it("the server of the login page accepts as Host an address, localhost, the machine's name and the allowed names", async (t) => {
    const { url } = await serve(t, { allowedHosts: ['Ring.Example'] })
    const name = hostname()
    for (const host of [
      '127.0.0.1',
      '10.1.2.3:99',
      '[::1]:80',
      'localhost',
      'LOCALHOST:1',
      name,
      `${name}.local`,
      'ring.example',
      'ring.example:444',
    ]) {
      assert.equal((await ask(url, { headers: { host } })).status, 200, host)
    }
    for (const host of [
      'example.com',
      '[evil]',
      '1.2.3.4.example',
      '0x7f000001.example',
      'ring.example.evil',
      'ring.example.local',
    ]) {
      assert.equal((await ask(url, { headers: { host } })).status, 421, host)
    }
  })

  it('the server of the login page gives one session for the secret, however it is typed, and ends after five wrong ones', async (t) => {
    const { server, url } = await serve(t)
    assert.match(url, /#[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}$/)
    const secret = new URL(url).hash.slice(1).toLowerCase().replace('-', ' ')
    const exchange = (/** @type {string} */ text) => post(url, 'session', {}, { 'x-ring-auth-secret': text })
    assert.equal((await exchange(` ${secret}`)).status, 200)
    assert.equal((await exchange(secret)).status, 409, 'once more')
    const wrong = await Promise.all(
      Array.from({ length: 8 }, () => exchange('AAAA-AAAA').catch(() => ({ status: 403, text: '' }))),
    )
    assert.ok(wrong.every(({ status, text }) => status === 403 && text === ''))
    const error = await failure(server.done, 'ABORTED')
    assert.match(error.message, /closed after five wrong secrets/)
    await assert.rejects(ask(url))
  })

  it('the server of the login page asks Ring for at most five codes in a run, new logins included, one login at a time', async (t) => {
    const { ring, url } = await serve(t, {}, { nextTimeInSecs: 0, maxCodesPerWindow: 100, latencyMs: 500 })
    const known = await session(url)
    const step = async (/** @type {string} */ name, body = {}) => JSON.parse((await post(url, name, body, known)).text)
    const answers = await Promise.all([step('login', ACCOUNT), step('login', ACCOUNT), step('login', ACCOUNT)])
    // Three connections: any of the three may arrive first.
    assert.deepEqual(answers.map(({ error, step }) => error?.code ?? step).sort(), ['BUSY', 'BUSY', 'code'])
    ring.settings.latencyMs = 0
    assert.equal(ring.codesSent, 1)
    for (let i = 2; i <= 4; i++) assert.equal((await step('resend')).error, undefined)
    assert.equal((await step('cancel')).step, 'account')
    assert.equal((await step('code', { code: '123456' })).error.code, 'LOGIN_OVER')
    assert.equal((await step('login', { ...ACCOUNT, password: 'wrong' })).error.code, 'INVALID_CREDENTIALS')
    assert.equal((await step('login', ACCOUNT)).step, 'code')
    assert.equal(ring.codesSent, 5)
    assert.equal((await step('resend')).error.code, 'TOO_MANY_CODES')
    await step('cancel')
    assert.equal((await step('login', ACCOUNT)).error.code, 'TOO_MANY_CODES')
    assert.equal(ring.codesSent, 5)
  })

  it('a page that does not know of the waiting login is led to its code, and no other code is sent', async (t) => {
    const { ring, url } = await serve(t)
    const known = await session(url)
    const step = async (/** @type {string} */ name, body = {}) => JSON.parse((await post(url, name, body, known)).text)
    assert.equal((await step('login', ACCOUNT)).step, 'code')
    const second = await step('login', ACCOUNT)
    assert.deepEqual([second.step, second.error?.code, ring.codesSent], ['code', 'RESEND_TOO_SOON', 1])
    assert.ok(second.destination)
    assert.equal((await step('code', { code: ring.codeFor() })).step, 'done')
  })

  it('a login with an authenticator app can begin again at once', async (t) => {
    const { url } = await serve(t, {}, account('totp'))
    const known = await session(url)
    for (let i = 0; i < 2; i++) {
      const { step, error } = JSON.parse((await post(url, 'login', ACCOUNT, known)).text)
      assert.deepEqual([step, error], ['code', undefined])
    }
  })

  it('the server of the login page never answers with a token', async (t) => {
    const { manager, server, url } = await serve(t, {}, account('none'))
    const known = await session(url)
    const { text } = await post(url, 'login', ACCOUNT, known)
    assert.deepEqual(JSON.parse(text), { step: 'done' })
    await server.done
    assert.equal(manager.status.state, 'ready')
  })

  it('the server of the login page ends by its signal and by close, and refuses an address on which it cannot listen', async (t) => {
    const controller = new AbortController()
    const { server, manager, url } = await serve(t, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await failure(server.done, 'ABORTED')
    await assert.rejects(ask(url))
    const second = await serveLogin(manager)
    await failure(serveLogin(manager, { port: Number(new URL(second.url).port) }), 'INVALID_ARGUMENT')
    await second.close()
    await failure(second.done, 'ABORTED')
    for (const options of [
      { port: 70_000 },
      { tls: { cert: 'x', key: 'y' } },
      { host: '' },
      { allowedHosts: 'x' },
      { nothing: 1 },
    ]) {
      // @ts-expect-error
      await failure(serveLogin(manager, options), 'INVALID_ARGUMENT')
    }
    // @ts-expect-error
    await failure(serveLogin({}), 'INVALID_ARGUMENT')
    // @ts-expect-error
    await failure(async () => loginHandler(undefined), 'INVALID_ARGUMENT')
  })

  it('the server of the login page ends with the login although the visitor has gone before the answer, and keeps the token', async (t) => {
    const { ring, server, manager, url } = await serve(t, {}, { ...account('none'), latencyMs: 300 })
    const known = await session(url)
    const { origin, port, host } = new URL(url)
    const body = JSON.stringify(ACCOUNT)
    const headers = { host, origin, ...known, 'content-type': 'application/json', 'content-length': body.length }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(`POST /api/login HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
    await until(() => ring.requests.length > 0, 'Ring is asked')
    socket.destroy()
    let isOver = false
    const over = server.done.then(() => (isOver = true))
    await until(() => isOver, 'the server ends')
    await over
    assert.equal(rawOf(manager.refreshToken), ring.newest())
  })

  it('the server of the login page ends at once although connections are silent, over TLS too', async (t) => {
    for (const tls of [undefined, certificateFor('127.0.0.1')]) {
      const { server, url } = await serve(t, { tls })
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      const closed = new Promise((resolve) => socket.on('error', () => {}).on('close', resolve))
      await new Promise((resolve) => socket.once('connect', resolve))
      const begun = performance.now()
      await server.close()
      await closed
      assert.ok(performance.now() - begun < 30_000, 'Node waits 120 s for a handshake')
    }
  })

  it('the server of the login page takes no more than 8 KiB, also if a framework has read the body', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { store: fileStore(join(tempDir(t), 'ring-auth.json')) })
    const handler = loginHandler(manager)
    const server = createServer(async (request, response) => {
      let text = ''
      for await (const chunk of request) text += chunk
      handler(Object.assign(request, { body: JSON.parse(text) }), response)
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
    atEnd(t, 'server', () => server.close())
    const url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/`
    const most = { code: '1'.repeat(8192 - '{"code":""}'.length) }
    const chunked = { 'transfer-encoding': 'chunked' }
    for (const headers of [{}, chunked]) {
      assert.equal((await post(url, 'code', most, headers)).status, 200)
      assert.equal((await post(url, 'code', { code: `${most.code}1` }, headers)).status, 413)
    }
    assert.equal(ring.requests.length, 0)
  })

  it('the server of the login page waits ten seconds for a body', async (t) => {
    const { url } = await serve(t)
    const known = await session(url)
    const { origin, port, host } = new URL(url)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const socket = connect(Number(port), '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    const closed = new Promise((resolve) => socket.on('close', resolve))
    const headers = { host, origin, ...known, 'content-type': 'application/json', 'content-length': '20' }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`POST /api/login HTTP/1.1\r\n${lines.join('')}\r\n{`)
    // The server has the headers when it has answered a later request on another connection, and its timer runs.
    for (let i = 0; i < 20; i++) await ask(url)
    t.mock.timers.tick(10_000)
    await closed
    assert.match(text, /^HTTP\/1\.1 408 /)
  })

  it('the server of the login page closes after ten minutes without a request, and after fifteen in all', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const first = await serve(t)
    const over = failure(first.server.done, 'NO_REFRESH_TOKEN')
    t.mock.timers.tick(15 * 60_000 - 1)
    await ask(first.url)
    t.mock.timers.tick(1)
    assert.match((await over).message, /within 15 minutes/)
    const second = await serve(t)
    const idle = failure(second.server.done, 'NO_REFRESH_TOKEN')
    await ask(second.url)
    t.mock.timers.tick(10 * 60_000)
    assert.match((await idle).message, /within 10 minutes/)
  })
})

describe('ring-auth login --web', () => {
  /** Logs in through the page of a process that runs. @param {import('./support/cli.mjs').Run} login @param {import('./fake-ring/index.mjs').FakeRing} ring */
  async function logIn(login, ring) {
    const found = await until(() => /https?:\S+#[A-Z0-9-]+/.exec(login.stdout + login.stderr), 'the link')
    const url = found[0]
    assert.ok(url, login.stderr)
    const known = await session(url)
    const first = JSON.parse((await post(url, 'login', ACCOUNT, known)).text)
    if (first.step === 'code') await post(url, 'code', { code: ring.codeFor() }, known)
    return { url, first }
  }

  it('ring-auth login --web prints the link, then the token, which the page never has', async (t) => {
    const { ring, folder } = await setUp(t)
    const login = start(['login', '--web'], { ring, cwd: folder })
    const { url } = await logIn(login, ring)
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/#[A-Z0-9]{4}-[A-Z0-9]{4}$/)
    const { code, stdout, stderr } = await login.ended
    assert.equal(code, 0, stderr)
    assert.ok(
      stderr.startsWith(
        `Open this on this machine, or through ssh -L: ${url}\nWaiting for a login. The page closes by itself after 15 minutes; Ctrl-C closes it now.\n`,
      ),
      stderr,
    )
    assert.equal(rawOf(printed(stdout) ?? ''), ring.newest(EMAIL))
    noSecret(stderr, EMAIL)
  })

  it('ring-auth login --web stores the token, and with --json prints the link first and the result last', async (t) => {
    const { ring, folder } = await setUp(t)
    const config = join(folder, 'config.json')
    writeFileSync(config, '{"platforms":[{"platform":"Mine","email":"a","password":"b"}]}')
    const login = start(['login', '--web', '--json', '--homebridge', config, '--platform', 'Mine'], { ring })
    await logIn(login, ring)
    const { code, stdout, stderr } = await login.ended
    assert.equal(code, 0, stderr)
    const [first = '', last = '', end] = stdout.split('\n')
    assert.deepEqual(Object.keys(JSON.parse(first)), ['url'])
    assert.deepEqual(Object.keys(JSON.parse(last)), ['refreshToken', 'hardwareId', 'expiresAt', 'persisted'])
    assert.equal(end, '')
    assert.equal(JSON.parse(last).persisted, true)
    assert.deepEqual(JSON.parse(readFileSync(config, 'utf8')).platforms, [
      { platform: 'Mine', refreshToken: JSON.parse(last).refreshToken },
    ])
    assert.match(stderr, /Removed from it, because the token replaces them: email and password/)
  })

  it('ring-auth login --web warns without TLS, and does not warn with TLS', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const { key, cert } = certificateFor('127.0.0.1')
    writeFileSync(join(folder, 'key.pem'), key)
    writeFileSync(join(folder, 'cert.pem'), cert)
    const args = ['login', '--web', '--host', '0.0.0.0', '--tls-cert', 'cert.pem', '--tls-key', 'key.pem']
    const secure = start(args, { ring, cwd: folder })
    await until(
      () => /https:\S+#/.test(secure.stderr),
      () => secure.stderr,
    )
    assert.doesNotMatch(secure.stderr, /clear/)
    // On a system without signals, the process is ended from outside.
    const ended = signals ? null : 130
    secure.child.kill('SIGINT')
    assert.equal((await secure.ended).code, ended)
    const plain = start(args.slice(0, 4), { ring, cwd: folder })
    await until(
      () => /http:\S+#/.test(plain.stderr),
      () => plain.stderr,
    )
    assert.match(plain.stderr, /the password crosses the network in the clear/)
    plain.child.kill('SIGINT')
    assert.equal((await plain.ended).code, ended)
  })

  it('ring-auth login --web warns of every host but this machine', () => {
    const { isLoopback } = require('../lib/web/cli.js')
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) assert.equal(isLoopback(host), true, host)
    for (const host of ['127.example.com', '0.0.0.0', '::', '192.168.0.2', 'localhost.example.com'])
      assert.equal(isLoopback(host), false, host)
  })

  it('ring-auth login --web has exit codes: wrong usage 2, five wrong secrets 1, a store that fails 6, Ctrl-C 130', async (t) => {
    const { ring, folder } = await setUp(t)
    for (const args of [
      ['token', '--state-file', 'j', '--web'],
      ['login', '--web', '--tls-cert', 'c'],
      ['login', '--web', '--port', '65536'],
      ['login', '--host', '::1'],
      ['login', '--web', '--code', '1'],
      ['login', '--web', '--tls-cert', 'nothing', '--tls-key', 'nothing'],
    ]) {
      const { code, stderr } = await run(args, { ring, cwd: folder })
      assert.equal(code, 2, args.join(' '))
      assert.ok(stderr.startsWith('ring-auth: '), stderr)
    }
    const help = await run(['--help', '--web'], { ring })
    assert.match(help.stdout, /--allow-host NAME/)
    mkdirSync(join(folder, 'config.json'))
    assert.equal((await run(['login', '--web', '--homebridge', join(folder, 'config.json')], { ring })).code, 2)
    writeFileSync(join(folder, 'broken.json'), '{')
    const broken = await run(['login', '--web', '--json', '--homebridge', join(folder, 'broken.json')], { ring })
    assert.equal(broken.code, 6)
    assert.equal(JSON.parse(broken.stdout).error.code, 'STORE')

    const guessed = start(['login', '--web', '--json'], { ring })
    const url = JSON.parse(await until(() => /^.*\n/.exec(guessed.stdout)?.[0], 'the link')).url
    await Promise.all(Array.from({ length: 5 }, () => post(url, 'session', {}, { 'x-ring-auth-secret': 'x' })))
    const ended = await guessed.ended
    assert.equal(ended.code, 1)
    const { error } = JSON.parse(ended.stdout.split('\n')[1] ?? '')
    assert.deepEqual(Object.keys(error), ['code', 'message', 'transient', 'retryAfterMs'])
    assert.equal(error.code, 'ABORTED')
    assert.equal(ring.requests.length, 0)
  })

  it('ring-auth login --web prints the token and exits with 6 if the store fails after the login', {
    skip: readOnly,
  }, async (t) => {
    const { ring, folder } = await setUp(t)
    const file = join(folder, '.env')
    writeFileSync(file, 'A=1\n')
    const login = start(['login', '--web', '--dotenv', file], { ring })
    const found = await until(() => /https?:\S+#[A-Z0-9-]+/.exec(login.stderr), 'the link')
    const known = await session(found[0])
    await post(found[0], 'login', ACCOUNT, known)
    chmodSync(file, 0o444)
    const last = JSON.parse((await post(found[0], 'code', { code: ring.codeFor() }, known)).text)
    chmodSync(file, 0o644)
    assert.deepEqual([last.step, last.error?.code], ['done', 'NOT_STORED_TERMINAL'])
    assert.ok(!JSON.stringify(last).includes(CANARY))
    const { code, stdout } = await login.ended
    assert.equal(code, 6)
    assert.equal(rawOf(printed(stdout) ?? ''), ring.newest(EMAIL))
  })

  it('ring-auth login --web says that a shared store has not taken the token, which the spool has, and prints none', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const engine = join(folder, 'engine.json')
    const module = `import { fileEngine } from ${JSON.stringify(new URL('support/file-engine.mjs', import.meta.url))}
      export default { ...fileEngine('engine.json'), statePath: 'state' }`
    writeFileSync(join(folder, 'store.mjs'), module)
    const store = ['--store-module', './store.mjs']
    // What is written before the login is taken, and the login is not.
    writeFileSync(`${engine}.budget`, '1')
    const login = start(['login', '--web', ...store], { ring, cwd: folder })
    const { first } = await logIn(login, ring)
    assert.deepEqual([first.step, first.error?.code], ['done', 'NOT_STORED'], 'it is not in the terminal')
    const { code, stdout, stderr } = await login.ended
    assert.equal(code, 0, stderr)
    assert.equal(stdout, '')
    assert.match(
      stderr,
      /the store of \.\/store\.mjs has not taken the new refresh token\. The next command here brings/,
    )
    rmSync(`${engine}.budget`)
    const status = await run(['status', '--json', ...store], { ring, cwd: folder })
    assert.equal(JSON.parse(status.stdout).state, 'ready', status.stderr)
    const refresh = await run(['refresh', ...store], { ring, cwd: folder })
    assert.equal(refresh.code, 0, refresh.stderr)
    assert.ok(JSON.parse(JSON.parse(readFileSync(engine, 'utf8')).value).current)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('ring-auth login --web prints an IPv6 address with brackets in the link', async (t) => {
    const { ring } = await setUp(t, account('none'))
    const login = start(['login', '--web', '--host', '::1'], { ring })
    const { url } = await logIn(login, ring)
    assert.match(url, /^http:\/\/\[::1\]:\d+\/#/)
    assert.equal((await login.ended).code, 0)
  })
})

describe('ring-auth/homebridge-ui', () => {
  /**
   * Sends the requests of the page in a dialogue, without the UI between.
   * @param {TestContext} t
   * @param {object[]} platforms
   * @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings]
   */
  async function dialogue(t, platforms, settings) {
    const ring = await startRing(t, settings)
    const folder = tempDir(t)
    const configPath = join(folder, 'config.json')
    writeFileSync(configPath, JSON.stringify({ platforms }))
    process.env['HOMEBRIDGE_CONFIG_PATH'] = configPath
    atEnd(t, 'folder', () => delete process.env['HOMEBRIDGE_CONFIG_PATH'])
    /** @type {Map<string, (body: any) => any>} */
    const handlers = new Map()
    const { oauthUrl, apiUrl } = ring
    const options = { platform: 'ExampleRing', managerOptions: { oauthUrl, apiUrl, systemId: 'test' } }
    atEnd(t, 'manager', mount({ onRequest: (path, handler) => void handlers.set(path, handler) }, options))
    return {
      ring,
      folder,
      ask: async (/** @type {string} */ name, body = {}) => handlers.get(`/ring-auth/${name}`)?.(body),
    }
  }

  it('ring-auth/homebridge-ui does not wait for a code that was sent in the future: the clock was set back', async (t) => {
    const { folder, ask } = await dialogue(t, [{ platform: 'ExampleRing', name: 'Ring' }])
    const at = Date.now() + 86_400_000
    const note = join(folder, '.ring-auth', 'login-page.json')
    mkdirSync(join(folder, '.ring-auth'))
    writeFileSync(note, JSON.stringify({ destination: '+1x', at, until: at + 60_000 }))
    assert.deepEqual(await ask('status'), { step: 'account' })
    assert.equal((await ask('login', ACCOUNT)).step, 'code')
    assert.ok(JSON.parse(readFileSync(note, 'utf8')).at < at)
  })

  it('ring-auth/homebridge-ui reports the chosen block to a page that is loaded once more', async (t) => {
    const blocks = ['Home', 'Cabin'].map((name) => ({ platform: 'ExampleRing', name }))
    const { ring, ask } = await dialogue(t, blocks)
    await ask('login', { ...ACCOUNT, block: 'Cabin' })
    assert.equal((await ask('status')).block, 'Cabin')
    assert.equal((await ask('code', { code: ring.codeFor() })).block, 'Cabin')
    const { step, block, refreshToken } = await ask('status')
    assert.deepEqual([step, block, rawOf(refreshToken)], ['done', 'Cabin', ring.newest()])
  })
})

describe('docs/web-login.md', () => {
  const PAGE = 'docs/web-login.md'
  const snippets = fenced(PAGE)
  const snippet = (/** @type {string} */ language, /** @type {string[]} */ ...words) =>
    take(snippets, PAGE, language, ...words)
  const AsyncFunction = /** @type {any} */ (async () => {}).constructor
  /** @param {string} source @param {Record<string, unknown>} scope */
  const runs = (source, scope) => new AsyncFunction(...Object.keys(scope), source)(...Object.values(scope))
  /** Loads a file of the package as if it were installed. @param {string} name */
  const requires = (name) =>
    name.startsWith('ring-auth/')
      ? require(`../lib/web/${name === 'ring-auth/web' ? 'index' : 'homebridge-ui'}.js`)
      : require(name)

  it('docs/web-login.md has the two files of the example plugin, and the first one as CommonJS', () => {
    const [, ...server] = snippet('js', "from 'ring-auth/homebridge-ui'").trim().split('\n')
    /** @type {unknown[]} */
    const served = []
    const require = (/** @type {string} */ name) => ({
      serve: (/** @type {object} */ options) => served.push([name, options]),
    })
    new Function('require', snippet('js', "require('ring-auth/homebridge-ui').serve"))(require)
    assert.deepEqual(served, [['ring-auth/homebridge-ui', { platform: 'ExampleRing' }]])
    const [, ...page] = snippet('html').trim().split('\n')
    const folder = 'examples/homebridge-plugin/homebridge-ui'
    const lines = (/** @type {string} */ name) => text(`${folder}/${name}`).replaceAll('RingAuthExample', 'ExampleRing')
    for (const line of server) assert.ok(lines('server.js').includes(line), line)
    for (const line of page) assert.ok(lines('public/index.html').includes(line), line)
  })

  it('docs/web-login.md adds the page to a server that the plugin has', () => {
    /** @type {string[]} */
    const paths = []
    const server = { onRequest: (/** @type {string} */ path) => void paths.push(path) }
    new Function('require', snippet('js', 'mount(this')).call(server, requires)
    assert.deepEqual(
      paths.sort(),
      ['cancel', 'code', 'login', 'page', 'resend', 'status'].map((name) => `/ring-auth/${name}`),
    )
  })

  it('docs/web-login.md serves the page from a program, and continues after the login', async (t) => {
    const ring = await startRing(t, account('none'))
    const { manager } = open(t, ring)
    /** @type {string[]} */
    const said = []
    const console = { log: (/** @type {string} */ line) => said.push(line) }
    const running = runs(snippet('js', 'await page.done'), { manager, require: requires, console })
    const [url = ''] = /http:\S+/.exec(await until(() => said[0], 'the link')) ?? []
    await post(url, 'login', ACCOUNT, await session(url))
    await running
    assert.equal(manager.status.state, 'ready')
  })

  it('docs/web-login.md shows the page on a web server behind its own login, in other words', async (t) => {
    const { manager } = open(t, await startRing(t))
    const own = snippet('js', 'createServer(')
    const named = own.replace('loginHandler(manager)', snippet('js', 'Logga in').trim())
    assert.notEqual(named, own)
    for (const [source, title] of [
      [own, 'Log in to Ring'],
      [named, 'Link your Ring account'],
    ]) {
      let isIn = false
      const server = await runs(`${source}\nreturn server`, { manager, require: requires, isLoggedIn: () => isIn })
      await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
      atEnd(t, 'server', () => server.close())
      const url = `http://127.0.0.1:${server.address().port}`
      assert.equal((await ask(url, { path: '/ring/' })).status, 401)
      isIn = true
      const { status, text: page } = await ask(url, { path: '/ring/' })
      assert.equal(status, 200)
      assert.ok(page.includes(`<title>${title}</title>`), title)
      assert.equal((await ask(url)).text, 'Hello')
    }
  })

  it('docs/web-login.md names options that exist, in each command', async (t) => {
    const { ring } = await setUp(t)
    const { stdout: help } = await run(['--help'], { ring })
    const FIRST = 'npx ring-auth login --web'
    for (const words of [FIRST, 'ssh -t', 'docker run', '--allow-host', '--tls-cert']) {
      const command = words === FIRST ? snippet('sh', `${FIRST}\n`) : snippet('sh', words)
      assert.match(command, /ring-auth login --web/)
      for (const [option] of command.slice(command.indexOf('ring-auth')).matchAll(/--[a-z-]+/g))
        assert.ok(help.includes(option), option)
    }
    const printed = snippet('', 'Waiting for a login')
    assert.match(
      printed,
      /^Open this on this machine, or through ssh -L: http:\/\/127\.0\.0\.1:\d+\/#K7QM-2XVD\nWaiting/,
    )
  })

  it('docs/web-login.md has a table of all options, and no snippet that is not run', () => {
    const declared = (/** @type {string} */ file, /** @type {string} */ type) => {
      const body = text(file).split(`export interface ${type} {`)[1]?.split('\n}')[0] ?? ''
      return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, name]) => name)
    }
    const told = (/** @type {string} */ heading) =>
      rows(section(PAGE, heading)).map(([name = '']) => name.replaceAll('`', ''))
    for (const name of declared('lib/web/index.d.ts', 'ServeLoginOptions'))
      assert.ok(told('## From a program').includes(String(name)), name)
    for (const name of declared('lib/web/homebridge-ui.d.ts', 'HomebridgeUiOptions'))
      assert.ok(told('### For plugin authors').includes(String(name)), name)
    assert.deepEqual(
      snippets.filter(({ isRun }) => !isRun),
      [],
    )
  })

  it('each sentence of docs/web-login.md has a type, and a text in each language', () => {
    /** @type {Record<string, any>} */
    const TEXTS = require('../lib/web/texts.js').TEXTS
    const { errors, ...sentences } = TEXTS['en']
    const declared = [...text('lib/web/texts-types.d.ts').matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name)
    assert.deepEqual(declared, [...Object.keys(sentences), 'errors'])
    for (const [language, one] of Object.entries(TEXTS)) {
      assert.deepEqual(Object.keys(one), Object.keys(TEXTS['en']), language)
      assert.deepEqual(Object.keys(one.errors), Object.keys(errors), language)
      for (const key of Object.keys(sentences)) {
        const holes = (/** @type {string} */ sentence) => (sentence.match(/\{\w+\}/g) ?? []).sort().join()
        assert.equal(holes(one[key]), holes(sentences[key]), `${language} ${key}`)
      }
    }
  })
})
