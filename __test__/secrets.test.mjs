// @ts-check
// No secret is in anything that a person might paste into an issue. Each secret carries a canary, and every form of it is searched for.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import {
  EMAIL,
  fileStore,
  open,
  optionsFor,
  parseRefreshToken,
  root,
  runProcess,
  runScript,
  startRing,
  tempDir,
  until,
  wrap,
} from './support/index.mjs'
import { commandLineOf } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */
/** @typedef {import('./fake-ring/faults.mjs').FaultSpec} FaultSpec */

const MINTED = 'canary-7f3a-minted'
const PASSWORD = 'canary-Pä55 &+=%"\\wörd'
const PUSH = 'canary-push-credentials'

/**
 * A secret as it is, and as it looks in a URL, in JSON, in base64 at each offset, in hex and as Rust or Node escape it.
 * @param {string} secret
 */
function forms(secret) {
  const bytes = Buffer.from(secret)
  const found = new Set([
    secret,
    encodeURIComponent(secret),
    encodeURIComponent(secret).replaceAll('%20', '+'),
    new URLSearchParams({ x: secret }).toString().slice(2),
    JSON.stringify(secret).slice(1, -1),
    inspect(secret).slice(1, -1),
    bytes.toString('latin1'),
    bytes.toString('hex'),
    [...bytes].join(', '),
  ])
  for (let offset = 0; offset < 3; offset++) {
    for (const encoding of /** @type {const} */ (['base64', 'base64url'])) {
      const text = Buffer.concat([Buffer.alloc(offset), bytes])
        .toString(encoding)
        .replace(/=+$/, '')
      // Without the characters that also depend on the neighbouring bytes.
      found.add(text.slice(Math.ceil((offset * 4) / 3), -1))
    }
  }
  return [...found]
}

const FORMS = [MINTED, PASSWORD, PUSH].flatMap(forms)

/**
 * @param {string} text
 * @param {string[]} codes
 * @param {string} where
 */
function assertClean(text, codes, where) {
  for (const form of FORMS) {
    const at = text.indexOf(form)
    assert.ok(at < 0, `a secret is in ${where}: …${text.slice(Math.max(0, at - 120), at + form.length + 20)}…`)
  }
  for (const code of codes) {
    assert.ok(!new RegExp(`(?<!\\d)${code}(?!\\d)`).test(text), `the code is in ${where}: ${text.slice(0, 400)}`)
  }
}

/**
 * A manager whose messages are all recorded.
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {import('../index.js').RingTokenManagerOptions} options
 */
function eavesdrop(t, ring, options = {}) {
  const opened = open(t, ring, options)
  const { manager, log, statuses } = opened
  /** @type {string[]} */
  const heard = []
  /** @param {unknown} error */
  const hear = (error) => {
    const { message, stack, cause } = /** @type {Error} */ (error)
    const deep = { depth: 10, showHidden: true, getters: true }
    heard.push(
      String(error),
      message,
      String(stack),
      String(cause),
      inspect(cause, deep),
      inspect(error, deep),
      JSON.stringify(error),
    )
  }
  return {
    ...opened,
    hear,
    /** @template T @param {Promise<T>} call @returns {Promise<T | undefined>} */
    attempt: (call) =>
      call.catch((error) => {
        hear(error)
        return undefined
      }),
    everything() {
      const shown = { depth: 10, showHidden: true }
      return [
        ...heard,
        ...log.map((entry) => `${entry.level} ${entry.message}`),
        JSON.stringify(statuses),
        JSON.stringify(manager.status),
        inspect(manager.status, shown),
        inspect(manager, shown),
        inspect({ deep: [manager] }, shown),
        inspect(manager.onRefreshTokenUpdated, shown),
        inspect(manager.onStatus, shown),
        JSON.stringify(manager),
        `${manager}`,
      ].join('\n')
    },
  }
}

/** @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function canaryRing(t, settings = {}) {
  /** @type {string[]} */
  const codes = []
  const ring = await startRing(t, {
    canary: MINTED,
    graceMs: Infinity,
    accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'sms' }],
    onCode: (_email, code) => codes.push(code),
    ...settings,
  })
  return { ring, codes }
}

/** @param {FakeRing} ring What a careless server says of what it was sent. */
const echo = (ring) => {
  const last = ring.newest() ?? MINTED
  return `{"error":"x","error_description":"the token ${last} of ${PASSWORD.replace(/["\\]/g, '')}","refresh_token":"${last}"}`
}

/** For a connection that hangs. @type {(what: string) => { requestTimeoutMs: number }} */
const patience = (what) => ({ requestTimeoutMs: what.includes('hanging') ? 500 : 10_000 })

/** @type {[string, (ring: FakeRing) => Omit<FaultSpec, 'path'>][]} */
const FAULTS = [
  ['a reset', () => ({ kind: 'reset-after' })],
  ['a cut answer', () => ({ kind: 'truncate', at: 'body' })],
  ['a hanging connection', () => ({ kind: 'hang-after' })],
  [
    'a 400 that repeats what was sent',
    (ring) => ({ kind: 'status', status: 400, body: echo(ring), headers: { 'content-type': 'application/json' } }),
  ],
  [
    'a 401 that repeats what was sent',
    (ring) => ({ kind: 'status', status: 401, body: echo(ring), headers: { 'content-type': 'application/json' } }),
  ],
  [
    'a 403 page that repeats what was sent',
    (ring) => ({ kind: 'status', status: 403, body: `<html>${echo(ring)}`, headers: { 'content-type': 'text/html' } }),
  ],
  ['a 412 that repeats what was sent', (ring) => ({ kind: 'status', status: 412, body: echo(ring) })],
  [
    'a 500 with it in its headers',
    (ring) => ({
      kind: 'status',
      status: 500,
      body: echo(ring),
      headers: { 'retry-after': '3600', 'x-token': String(ring.newest()) },
    }),
  ],
  [
    'a 200 without an access token',
    (ring) => ({ kind: 'status', status: 200, body: echo(ring), headers: { 'content-type': 'application/json' } }),
  ],
  [
    'a 200 that breaks off',
    (ring) => ({ kind: 'status', status: 200, body: `{"access_token":"${ring.newest()}","refresh_token":"${MINTED}` }),
  ],
  [
    'a redirect with it in its address',
    (ring) => ({ kind: 'redirect', location: `https://example.com/?refresh_token=${ring.newest()}&code=${MINTED}` }),
  ],
  ['a Retry-After of nonsense', () => ({ kind: 'status', status: 429, headers: { 'retry-after': MINTED } })],
]

describe('no secret is shown', { concurrency: 12 }, () => {
  it('the search for secrets finds one that is there', () => {
    for (const text of [
      `token ${MINTED}`,
      `?password=${encodeURIComponent(PASSWORD)}`,
      new URLSearchParams({ password: PASSWORD }).toString(),
      wrap({ rt: `eyJ.${MINTED}.x` }),
      wrap({ a: 1, rt: `eyJ.${MINTED}.x` }),
      wrap({ ab: 12, rt: `eyJ.${MINTED}.x`, pnc: { x: PUSH } }),
      JSON.stringify({ PASSWORD }),
    ]) {
      assert.throws(() => assertClean(text, [], 'a test'), /a secret is in a test/, text)
    }
    assert.throws(() => assertClean('code=123456&', ['123456'], 'a test'))
  })

  for (const loginFlow of /** @type {const} */ (['pkce', 'password'])) {
    it(`no secret is shown by a login (${loginFlow}) and the life after it`, async (t) => {
      const { ring, codes } = await canaryRing(t)
      const path = join(tempDir(t), 'journal.json')
      const { manager, attempt, everything, updates } = eavesdrop(t, ring, { loginFlow, store: fileStore(path) })
      await attempt(manager.login({ email: EMAIL, password: `${PASSWORD}x` }))
      await manager.login({ email: EMAIL, password: PASSWORD })
      await attempt(manager.resendTwoFactorCode())
      await attempt(manager.submitTwoFactorCode('000000x'))
      await attempt(manager.getAccessToken())
      const step = await manager.submitTwoFactorCode(String(codes[0]))
      assert.equal(step.authenticated, true)
      const auth = await manager.refresh()
      await manager.setPushCredentials({ fcm: { token: PUSH } })
      await attempt(manager.setRefreshToken(String(updates[0]?.newRefreshToken)))
      // The secrets were really sent.
      assert.ok(auth.accessToken.includes(MINTED) && parseRefreshToken(auth.refreshToken).raw.includes(MINTED))
      assert.ok(readFileSync(path, 'utf8').includes(MINTED))
      if (loginFlow === 'pkce') assert.ok(ring.requests.some((request) => request.headers['cookie']?.includes(MINTED)))
      ring.revokeAll()
      await attempt(manager.refresh({ force: true }))
      await manager.close()
      await attempt(manager.getAccessToken())
      assertClean(everything(), codes, loginFlow)
    })

    for (const [what, fault] of FAULTS) {
      it(`no secret is shown by a login (${loginFlow}) that meets ${what}, at each of its requests`, async (t) => {
        const paths =
          loginFlow === 'pkce'
            ? ['/oauth/v2/authorize', '/oauth/v2/signin', '/oauth/v2/2fa/verify', '/oauth/token']
            : ['/oauth/token']
        for (const path of paths) {
          for (const skip of [0, 1]) {
            const { ring, codes } = await canaryRing(t)
            const { manager, attempt, everything } = eavesdrop(t, ring, { loginFlow, ...patience(what) })
            ring.mint()
            ring.fault({ ...fault(ring), path, skip, times: 2 })
            const step = await attempt(manager.login({ email: EMAIL, password: PASSWORD }))
            if (step?.twoFactor) {
              assertClean(JSON.stringify(step), codes, 'the step')
              await attempt(manager.submitTwoFactorCode(String(codes.at(-1))))
            }
            await manager.close()
            assertClean(everything(), codes, `${path} (${what})`)
          }
        }
      })
    }
  }

  for (const at of /** @type {const} */ (['start', 'signin', 'verify', 'callback'])) {
    it(`no secret is shown by a web login that is led to another origin (${at})`, async (t) => {
      const { ring, codes } = await canaryRing(t, { foreignRedirect: { at, url: 'https://example.com/elsewhere' } })
      const { manager, attempt, everything } = eavesdrop(t, ring, { loginFlow: 'pkce' })
      const step = await attempt(manager.login({ email: EMAIL, password: PASSWORD }))
      if (step?.twoFactor) await attempt(manager.submitTwoFactorCode(String(codes[0])))
      assertClean(everything(), codes, at)
    })
  }

  it('no secret is shown by a web login whose state was tampered with', async (t) => {
    const { ring, codes } = await canaryRing(t, { tamperState: true })
    const { manager, attempt, everything } = eavesdrop(t, ring, { loginFlow: 'pkce' })
    await manager.login({ email: EMAIL, password: PASSWORD })
    assert.equal(await attempt(manager.submitTwoFactorCode(String(codes[0]))), undefined)
    assertClean(everything(), codes, 'a tampered state')
  })

  for (const [what, fault] of FAULTS) {
    it(`no secret is shown by a refresh that meets ${what}`, async (t) => {
      const { ring } = await canaryRing(t)
      const path = join(tempDir(t), 'journal.json')
      const refreshToken = wrap({ rt: ring.mint(), pnc: { token: PUSH } })
      const { manager, attempt, hear, everything } = eavesdrop(t, ring, {
        refreshToken,
        store: fileStore(path),
        ...patience(what),
      })
      ring.fault({ ...fault(ring), times: Infinity })
      await attempt(manager.refresh())
      await attempt(manager.getAuth())
      ring.clearFaults()
      const token = await attempt(manager.getAccessToken())
      try {
        if (token) manager.invalidateAccessToken(token)
      } catch (error) {
        hear(error)
      }
      await attempt(manager.refresh({ force: true }))
      await manager.close()
      assertClean(everything(), [], what)
    })
  }

  for (const journal of [false, true]) {
    for (const name of /** @type {const} */ (['load', 'save'])) {
      it(`no secret is shown by a program whose own ${name} quotes tokens, ${journal ? 'with' : 'without'} a journal; the problem is reported`, async (t) => {
        const { ring } = await canaryRing(t)
        // Only the program knows this secret.
        const unknown = ring.mint()
        const given = ring.mint()
        /** @type {string | null} */
        let kept = given
        /** @type {((token: string) => Error) | undefined} */
        let fails
        /** @param {string} token */
        const fail = (token) => {
          if (fails) throw fails(token)
        }
        const store = {
          load: async () => {
            if (name === 'load') fail(String(kept))
            return kept
          },
          /** @param {string} token @param {string} [old] */
          save: async (token, old) => {
            if (name === 'save') fail(`${token} ${old}`)
            kept = token
          },
          ...(journal ? { statePath: tempDir(t) } : {}),
        }
        const { manager, attempt, everything, log } = eavesdrop(t, ring, { store })
        await manager.getAccessToken()
        /** @type {((token: string) => string)[]} */
        const ways = [
          (token) => token,
          (token) => encodeURIComponent(token),
          (token) => JSON.stringify(JSON.stringify({ rt: token })),
          (token) => `\n\t"${token.replaceAll('.', '\\u002e')}"`,
          (token) => wrap({ rt: token }),
          (token) => Buffer.from(`x${token}`).toString('base64'),
          (token) => Buffer.from(`xy${token}`).toString('base64url'),
          (token) => Buffer.from(token).toString('hex'),
          (token) => inspect(Buffer.from(token)),
          (token) => `[${[...Buffer.from(token)].join(', ')}]`,
          (token) => `https://user:${token}@db.example.com/tokens/${token}?t=${token}`,
        ]
        for (const [index, way] of ways.entries()) {
          fails = (token) => {
            const known = [
              token,
              ...token.split(' ').map((one) => (one === 'undefined' ? one : parseRefreshToken(one).raw)),
            ]
            const quotes = [unknown, wrap({ rt: unknown, hid: 'x' }), ...known].map(way).join(' and ')
            const cause = new Error(`broken pipe, ${quotes}`)
            return new Error(`disk ${index} on fire (${quotes})`, { cause })
          }
          await attempt(manager.refresh())
          await until(() => log.some(({ message }) => message.includes(`disk ${index} on fire`)), 'said in the log')
          await until(() => String(manager.status.message).includes(`disk ${index} on fire`), 'said in the status')
          assert.equal(manager.status.code, 'STORE')
        }
        // If there is no other token, the call fails with that reason as well.
        if (name === 'load') {
          const alone = eavesdrop(t, ring, { store: { load: store.load, save: store.save } })
          await alone.attempt(alone.manager.getAccessToken())
          assert.match(alone.everything(), /disk \d+ on fire/)
          assertClean(alone.everything(), [], 'a manager that knows no token')
        }
        fails = undefined
        await manager.refresh()
        await until(() => manager.status.code === undefined, 'all is well')
        await manager.close()
        assertClean(everything(), [], name)
      })
    }
  }

  it('no secret is shown by a journal that is damaged, or of another issuer', async (t) => {
    const { ring } = await canaryRing(t)
    const path = join(tempDir(t), 'journal.json')
    writeFileSync(
      path,
      `{\n  "ring-auth-journal": "journal.json",\n  "version": 1,\n  "issuer": "${ring.oauthUrl}",\n  "current": {"token":"${MINTED}`,
    )
    const { manager, attempt, everything } = eavesdrop(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    await attempt(manager.refresh())
    await manager.close()
    assert.match(everything(), /damaged/)
    const other = await startRing(t)
    assert.throws(
      () => eavesdrop(t, other, { store: fileStore(path) }),
      (error) => {
        assertClean(inspect(error, { depth: 10, showHidden: true }), [], 'another issuer')
        return true
      },
    )
    assertClean(everything(), [], 'a damaged journal')
  })

  it('no secret is shown by a process that prints all it is told, its faults included', async (t) => {
    const { ring } = await canaryRing(t)
    const options = optionsFor(ring, { store: fileStore(join(tempDir(t), 'journal.json')) })
    ring.mint()
    ring.fault({ kind: 'answer-after', status: 503, body: echo(ring), skip: 1, headers: { 'retry-after': 3600 } })
    const child = runScript(
      t,
      `const manager = new RingTokenManager({ ...config.options, refreshToken: config.refreshToken, logger: (entry) => console.log(entry) });
       manager.onStatus.subscribe((status) => console.error(status));
       await manager.refresh();
       console.log(manager, { manager });
       await manager.refresh().catch((error) => console.error(error));
       say('waits');
       await heard('go');
       await manager.refresh().catch((error) => { console.error(error); process.exitCode = 1; throw error; });`,
      { options, refreshToken: ring.mint() },
      { nodeArgs: ['--trace-warnings'] },
    )
    await until(() => child.stdout().includes('waits'), 'it has said all')
    const cmdline = commandLineOf(child.process.pid)
    child.say('go')
    const { stdout, stderr, code } = await child.ended
    assert.equal(code, 1, 'the last error was left to Node to print')
    assert.match(stderr, /RingAuthError/)
    assertClean(`${stdout}\n${stderr}\n${cmdline}`, [], 'what a process prints')
  })

  for (const flow of ['pkce', 'password']) {
    it(`no secret is shown by the command line (${flow}), nor in its own arguments`, async (t) => {
      const { ring, codes } = await canaryRing(t)
      const path = join(tempDir(t), 'journal.json')
      const env = { ...process.env, RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl }
      const args = [
        'login',
        '--verbose',
        '--email',
        EMAIL,
        '--password-stdin',
        '--login-flow',
        flow,
        '--state-file',
        path,
      ]
      const child = runProcess(t, [join(root, 'bin', 'ring-auth.js'), ...args], { env })
      child.say(PASSWORD)
      await until(() => codes.length === 1 || child.process.exitCode !== null, 'a code is sent')
      const cmdline = commandLineOf(child.process.pid)
      child.say(String(codes[0]))
      child.process.stdin.end()
      const end = await child.ended
      assert.equal(end.code, 0, end.stderr)
      assert.ok(readFileSync(path, 'utf8').includes(MINTED))
      const status = await runProcess(t, [join(root, 'bin', 'ring-auth.js'), 'status', '--state-file', path], { env })
        .ended
      assert.equal(status.code, 0, status.stderr)
      assertClean([cmdline, end.stdout, end.stderr, status.stdout, status.stderr].join('\n'), codes, 'the command line')
    })
  }
})
