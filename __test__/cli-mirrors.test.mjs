// @ts-check
// The command line with the files in which people keep their tokens: Homebridge's config.json and .env files.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import {
  CANARY,
  LOGIN,
  Screen,
  account,
  bin,
  failure,
  json,
  noSecret,
  printed,
  run,
  setUp,
  start,
} from './support/cli.mjs'
import { EMAIL, PASSWORD, open, unwrap, until, wrap } from './support/index.mjs'
import { asLinuxRoot, asRoot, assertMode, modes, terminal } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

/** @param {FakeRing} ring */
const wrapped = (ring) => wrap({ rt: ring.mint(), hid: 'b2c1f1de-6b0c-4d5e-9d56-1f5c8d1f8a11' })

/** A configuration as people write it. @param {string} block the content of the Ring block; empty for no such block */
const config = (block) => `{\r
\t"bridge": { "name": "Home", "port": 51826.0 },\r
\t"platforms": [\r
\t\t{ "platform": "Other", "email": "other@example.com", "password": "theirs" }${block && `,\r\n\t\t${block}`}\r
\t]\r
}`
/** @param {string} token */
const linked = (token) => config(`{ "platform": "Ring", "refreshToken": "${token}", "debug": true }`)

/**
 * A file of each kind: its text, the place of its token, and its text with another token.
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} file
 * @property {(path: string) => string[]} options
 * @property {(token: string) => string} with_
 * @property {string} without
 * @property {(text: string) => string | undefined} token
 * @property {string} cleared
 */
/** @type {Kind[]} */
const KINDS = [
  {
    name: '--homebridge',
    file: 'config.json',
    options: (path) => ['--homebridge', path],
    with_: linked,
    without: config(''),
    token: (text) =>
      JSON.parse(text).platforms.find((/** @type {any} */ block) => block.platform === 'Ring')?.refreshToken,
    cleared: config('{ "platform": "Ring", "debug": true }'),
  },
  {
    name: '--dotenv',
    file: '.env',
    options: (path) => ['--dotenv', path],
    with_: (token) => `# mine\nA=1\nexport RING_REFRESH_TOKEN='${token}' # Ring\nB="2"\n`,
    without: '# mine\nA=1\n',
    token: (text) => /RING_REFRESH_TOKEN=['"]?([^'"\s]*)/.exec(text)?.[1],
    cleared: '# mine\nA=1\nexport RING_REFRESH_TOKEN=\'\' # Ring\nB="2"\n',
  },
]

/**
 * A file in a folder that is a user's home, and a fake Ring.
 * @param {TestContext} t
 * @param {Kind} kind
 * @param {(ring: FakeRing) => string | undefined} [text]
 * @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings]
 */
async function prepared(t, kind, text = () => kind.without, settings = account('none')) {
  const { ring, folder } = await setUp(t, settings)
  const path = join(folder, kind.file)
  const content = text(ring)
  if (content !== undefined) writeFileSync(path, content)
  const state = join(folder, '.ring-auth')
  return {
    ring,
    folder,
    path,
    state,
    options: kind.options(path),
    text: () => readFileSync(path, 'utf8'),
    shown: () => kind.token(readFileSync(path, 'utf8')),
    journal: () => {
      const name = readdirSync(state).find((name) => name.endsWith('.json') && name !== 'config.json')
      assert.ok(name, readdirSync(state).join(' '))
      return join(state, name)
    },
    /** @param {string[]} args @param {import('./support/cli.mjs').RunOptions} [more] */
    run: (args, more) => run([...args, ...kind.options(path)], { ring, ...more }),
  }
}

/** @param {string} journal */
const held = (journal) => {
  const { current } = JSON.parse(readFileSync(journal, 'utf8'))
  return unwrap(current.token ?? current).rt
}

/** Every file of a folder, with its identity and its content. @param {string} folder */
const snapshot = (folder) =>
  readdirSync(folder, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const { mtimeMs, ino, size } = statSync(join(folder, name))
      return `${name} ${mtimeMs} ${ino} ${size}`
    })

/** Checks that no file in a folder contains a text. @param {string} folder @param {string} secret */
function nowhere(folder, secret) {
  for (const name of readdirSync(folder, { recursive: true }).map(String)) {
    const path = join(folder, name)
    if (statSync(path).isFile()) assert.ok(!readFileSync(path, 'utf8').includes(secret), `it is still in ${name}`)
  }
}

describe('a person at a terminal', { concurrency: 4, skip: terminal }, () => {
  it('a person at a terminal logs in to Homebridge: the command adds the block and names the next step', async (t) => {
    const at = await prepared(t, /** @type {Kind} */ (KINDS[0]), undefined, account('sms'))
    const screen = Screen.login(t, ['login', '--homebridge', at.path], { ring: at.ring })
    await screen.sees(`It will be kept in ${at.path}.`)
    await screen.answers('Email: ', `${EMAIL}\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.answers('2fa Code: ', () => `${at.ring.codeFor()}\r`)
    await screen.sees(`The refresh token is stored in ${at.path}.`)
    await screen.sees('There was no block with the platform "Ring" in it: one was added.')
    await screen.sees('Restart Homebridge')
    assert.equal(await screen.exits(), 0)
    noSecret(screen.text)
    const token = String(at.shown())
    assert.equal(unwrap(token).rt, at.ring.newest())
    const before = at.text().replace(/,\s*\{ "platform": "Ring", "name": "Ring", "refreshToken": "[^"]*" \}/, '')
    assert.equal(before, config(''), 'every other byte is as it was')
    assert.equal(held(at.journal()), at.ring.newest())
  })

  it('a login at a terminal finds config.json by itself, before and after the name of the command', async (t) => {
    if (existsSync('/var/lib/homebridge/config.json') || existsSync('/homebridge/config.json'))
      return t.skip('this machine has a Homebridge')
    for (const args of [['--homebridge'], ['login', '--homebridge'], ['--homebridge', 'login']]) {
      const { ring, folder } = await setUp(t, account('none'))
      mkdirSync(join(folder, '.homebridge'))
      const path = join(folder, '.homebridge', 'config.json')
      writeFileSync(path, config('{"platform":"Ring"}'))
      const screen = Screen.login(t, args, { ring, env: { HOME: folder }, cwd: folder })
      await screen.sees(path)
      await screen.answers('Email: ', `${EMAIL}\r`)
      await screen.answers('Password: ', `${PASSWORD}\r`)
      await screen.sees('Restart Homebridge')
      assert.equal(await screen.exits(), 0)
      assert.equal(unwrap(KINDS[0]?.token(readFileSync(path, 'utf8'))).rt, ring.newest())
    }
  })

  it('a person at a terminal is asked for nothing if nothing can be stored', async (t) => {
    /** @type {[string, (path: string) => void, RegExp][]} */
    const hopeless = [
      ['it is not valid JSON', (path) => writeFileSync(path, '{ "platforms": [ }'), /not valid JSON/],
      ['it is not there', (path) => rmSync(path), /config\.json does not exist/],
      ['nobody may write it', (path) => chmodSync(path, 0o444), /config\.json cannot be written/],
      [
        'several blocks fit',
        (path) => writeFileSync(path, config('{"platform":"Ring","name":"a"},{"platform":"Ring","name":"b"}')),
        /"a", "b".*--name/,
      ],
      ['its journal has no place', (path) => writeFileSync(join(dirname(path), '.ring-auth'), ''), /journal/],
    ]
    for (const [what, spoil, says] of hopeless) {
      const at = await prepared(t, /** @type {Kind} */ (KINDS[0]))
      spoil(at.path)
      const before = existsSync(at.path) && at.text()
      const screen = Screen.login(t, ['--homebridge', at.path], { ring: at.ring })
      assert.notEqual(await screen.exits(), 0, what)
      assert.match(screen.text.replaceAll(/\s+/g, ' '), says, what)
      assert.ok(!screen.text.includes('Email: '), what)
      assert.equal(at.ring.requests.length, 0)
      assert.equal(existsSync(at.path) && at.text(), before)
    }
  })
})

for (const kind of KINDS) {
  describe(kind.name, { concurrency: 4 }, () => {
    it(`${kind.name}: a login replaces only the token`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const done = await at.run(LOGIN, { input: `${PASSWORD}\n` })
      assert.equal(done.code, 0, done.stderr)
      assert.equal(done.stdout, '')
      const token = String(at.shown())
      assert.equal(unwrap(token).rt, at.ring.newest())
      assert.equal(at.text(), kind.with_(token))
      assert.equal(held(at.journal()), at.ring.newest())
      assert.equal(at.ring.counts.stalePresentations, 0)
      assert.equal(/Restart Homebridge/.test(done.stderr), kind.name === '--homebridge')
      assert.deepEqual(readdirSync(at.folder).sort(), [kind.file, '.ring-auth'].sort(), 'nothing else is left')
    })

    it(`${kind.name}: a login adds a missing place for the token, and reports that`, async (t) => {
      const at = await prepared(t, kind)
      const done = await at.run([...LOGIN, '--json'], { input: `${PASSWORD}\n` })
      assert.equal(done.code, 0, done.stderr)
      const result = json(done)
      assert.deepEqual(Object.keys(result), ['refreshToken', 'hardwareId', 'expiresAt', 'persisted'])
      assert.equal(result.refreshToken, at.shown())
      assert.match(done.stderr, /it was added|one was added/)
    })

    it(`${kind.name}: a login that fails leaves the file as it was`, async (t) => {
      const at = await prepared(t, kind)
      const done = await at.run([...LOGIN, '--json'], { input: 'wrong\n' })
      failure(done, 'INVALID_CREDENTIALS', 4)
      assert.equal(at.text(), kind.without)
    })

    it(`${kind.name}: token and refresh keep the file current, and rotate only when needed`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const first = await at.run(['token'])
      assert.equal(first.code, 0, first.stderr)
      assert.ok(at.ring.isAccessLive(first.stdout.trim()))
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal((await at.run(['token'])).stdout, first.stdout)
      assert.equal(at.ring.counts.rotations, 1)
      const second = await at.run(['refresh'])
      assert.equal(second.code, 0, second.stderr)
      // On a slow machine the command says before that it waits.
      assert.match(second.stderr, /^Rotated\. /m)
      assert.equal(at.ring.counts.rotations, 2)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(at.text(), kind.with_(String(at.shown())))
      const inJson = json(await at.run(['refresh', '--json']))
      assert.equal(inJson.refreshToken, at.shown())
      assert.equal(at.ring.counts.stalePresentations, 0)
    })

    it(`${kind.name}: only the first use warns that one token has one keeper`, async (t) => {
      for (const command of ['token', 'refresh']) {
        const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
        const warning = /one token has one keeper: .*homebridge-ring.* will lose it.*ring-auth login/
        assert.match((await at.run([command])).stderr, warning)
        for (const again of ['token', 'refresh', 'status'])
          assert.doesNotMatch((await at.run([again])).stderr, /keeper/)
        const mine = await prepared(t, kind)
        assert.equal((await mine.run(LOGIN, { input: `${PASSWORD}\n` })).code, 0)
        assert.doesNotMatch((await mine.run([command])).stderr, /keeper/)
        const abandoned = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
        assert.doesNotMatch((await abandoned.run(['status'])).stderr, /keeper/)
        assert.equal((await abandoned.run([command, '--quiet'])).stderr, '')
      }
    })

    it(`${kind.name}: many commands at once rotate one after the other, and the file shows the newest token`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const runs = await Promise.all(Array.from({ length: 6 }, () => at.run(['refresh'])))
      for (const done of runs) assert.equal(done.code, 0, done.stderr)
      assert.equal(at.ring.counts.stalePresentations, 0)
      assert.equal(at.ring.counts.maxConcurrentRefreshes, 1)
      assert.equal(held(at.journal()), at.ring.newest())
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(at.text(), kind.with_(String(at.shown())))
    })

    it(`${kind.name}: status reads, and changes nothing`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const untouched = snapshot(at.folder)
      const idle = await at.run(['status'])
      assert.equal(idle.code, 0, idle.stderr)
      assert.match(idle.stdout, /^State: +idle$/m)
      assert.ok(idle.stdout.includes(at.path))
      assert.match(idle.stdout, /pasted/)
      assert.deepEqual(snapshot(at.folder), untouched, 'no folder, no lock')
      const pasted = json(await at.run(['status', '--json']))
      assert.equal(pasted.state, 'idle')
      assert.equal(pasted.hardwareId, 'b2c1f1de-6b0c-4d5e-9d56-1f5c8d1f8a11')
      assert.equal(pasted.mirror.shows, 'new')
      assert.deepEqual(snapshot(at.folder), untouched)

      assert.equal((await at.run(['refresh'])).code, 0)
      const after = snapshot(at.folder)
      const ready = json(await at.run(['status', '--json']))
      assert.equal(ready.state, 'ready')
      assert.deepEqual(ready.mirror, { path: at.path, journal: at.journal(), shows: 'newest', message: null })
      assert.deepEqual(Object.keys(ready), [
        'state',
        'code',
        'message',
        'retryAt',
        'persisted',
        'hardwareId',
        'ageSeconds',
        'expiresAt',
        'lastSuccessAt',
        'mirror',
      ])
      assert.deepEqual(snapshot(at.folder), after)
      assert.equal(at.ring.counts.tokenPosts, 1)
    })

    it(`${kind.name}: status distinguishes an old copy, a pasted token and other texts`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const old = String(at.shown())
      assert.equal((await at.run(['refresh'])).code, 0)
      /** @type {[string, string, string, RegExp][]} */
      const cases = [
        [kind.with_(old), 'old', 'ready', /an old copy; the next start or refresh replaces it/],
        [kind.with_(wrapped(at.ring)), 'new', 'ready', /pasted/],
        [kind.with_(''), 'nothing', 'ready', /no token/],
        [kind.with_('not a token'), 'nonsense', 'ready', /cannot be a token/],
        [kind.without, 'nothing', 'ready', /no token/],
      ]
      if (kind.name === '--homebridge') cases.push(['{ "platforms": ', 'unreadable', 'ready', /not valid JSON/])
      for (const [text, shows, state, says] of cases) {
        writeFileSync(at.path, text)
        const done = await at.run(['status'])
        assert.equal(done.code, 0, done.stderr)
        assert.match(done.stdout, says)
        noSecret(done.stdout, old)
        const inJson = json(await at.run(['status', '--json']))
        assert.deepEqual([inJson.mirror.shows, inJson.state], [shows, state])
        assert.equal(inJson.mirror.message !== null, shows === 'unreadable')
        assert.equal(at.text(), text)
      }
      assert.equal(at.ring.counts.tokenPosts, 1)
    })

    it(`${kind.name}: a pasted token is used, and an old copy is replaced`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const old = String(at.shown())
      assert.equal((await at.run(['refresh'])).code, 0)
      writeFileSync(at.path, kind.with_(old))
      assert.equal((await at.run(['token'])).code, 0)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(at.ring.counts.rotations, 1)
      const pasted = wrapped(at.ring)
      writeFileSync(at.path, kind.with_(pasted))
      assert.equal((await at.run(['refresh'])).code, 0)
      assert.ok(at.ring.inspect(unwrap(pasted).rt).spent)
      assert.ok(at.ring.isLive(unwrap(at.shown()).rt))
      assert.equal(at.ring.counts.stalePresentations, 0)
    })

    it(`${kind.name}: without a token each command says how to get one, with the options that were typed`, async (t) => {
      const at = await prepared(t, kind)
      for (const command of ['token', 'refresh', 'status']) {
        const done = await at.run([command, '--json'])
        assert.equal(done.code, 3, done.stderr)
        const { message } = command === 'status' ? json(done) : failure(done, 'NO_REFRESH_TOKEN', 3)
        assert.ok(message.endsWith(`Get one with: ring-auth login ${kind.name} ${at.path}`), message)
      }
      assert.deepEqual(readdirSync(at.folder), [kind.file])
      assert.equal(at.ring.requests.length, 0)
    })

    it(`${kind.name}: a rejected token needs a login, until another one is pasted`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      at.ring.revokeAll()
      const rejected = failure(await at.run(['refresh', '--json']), 'REFRESH_TOKEN_REJECTED', 4)
      assert.ok(rejected.message.includes(`ring-auth login ${kind.name} ${at.path}`), rejected.message)
      const needed = await at.run(['status', '--json'])
      assert.deepEqual([needed.code, json(needed).state], [3, 'needs-login'])
      writeFileSync(at.path, kind.with_(wrapped(at.ring)))
      const pasted = await at.run(['status', '--json'])
      assert.deepEqual([pasted.code, json(pasted).state, json(pasted).mirror.shows], [0, 'idle', 'new'])
    })

    it(`${kind.name}: token takes a token from standard input`, async (t) => {
      const at = await prepared(t, kind, () => kind.with_(''))
      const given = wrapped(at.ring)
      const done = await at.run(['token', '--refresh-token-stdin'], { input: `${given}\n` })
      assert.equal(done.code, 0, done.stderr)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      const late = await at.run(['token', '--refresh-token-stdin'], { input: `${given}\n` })
      assert.equal(late.stdout, done.stdout, 'it is an old copy now')
    })

    it(`${kind.name}: logout removes the token everywhere, and says how to revoke it`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      assert.equal((await at.run(['refresh'])).code, 0)
      const token = String(at.shown())
      const journal = at.journal()
      const done = await at.run(['logout', '--json'])
      assert.equal(done.code, 0, done.stderr)
      assert.deepEqual(json(done), {})
      assert.match(done.stderr, /Control Center/)
      assert.equal(at.text(), kind.cleared)
      const left = JSON.parse(readFileSync(journal, 'utf8'))
      assert.ok(left.current === null && left.loggedOutAt > 0, 'it says so')
      nowhere(at.folder, token)
      nowhere(at.folder, CANARY)
      assert.equal((await at.run(['status'])).code, 3)
      // A second logout has nothing to forget. That is no failure, and nothing is created.
      assert.equal((await at.run(['logout'])).code, 0)
      assert.equal(at.text(), kind.cleared)
      writeFileSync(at.path, kind.without)
      assert.equal((await at.run(['logout'])).code, 0)
      assert.equal(at.text(), kind.without)
      rmSync(at.path)
      assert.equal((await at.run(['logout'])).code, 0)
      assert.ok(!existsSync(at.path))
      assert.equal(at.ring.counts.tokenPosts, 1)
    })

    it(`${kind.name}: the journal is in the folder that --state-dir names`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      const dir = join(at.folder, 'elsewhere')
      const there = ['--state-dir', dir]
      assert.equal((await at.run(['refresh', ...there])).code, 0)
      assert.ok(!existsSync(at.state))
      const status = json(await at.run(['status', '--json', ...there]))
      assert.equal(dirname(status.mirror.journal), dir)
      assert.equal(held(status.mirror.journal), at.ring.newest())
      assert.equal((await at.run(['token', ...there])).code, 0)
      assert.equal(at.ring.counts.rotations, 1)
    })

    it(`${kind.name}: a login whose journal cannot be written prints the token on standard output`, async (t) => {
      for (const how of [[], ['--json']]) {
        const at = await prepared(t, kind, undefined, account('sms'))
        const dir = join(at.folder, 'state')
        const login = start([...LOGIN, ...how, '--state-dir', dir, ...at.options], { ring: at.ring })
        login.child.stdin.write(`${PASSWORD}\n`)
        await until(() => at.ring.codesSent, 'the code')
        renameSync(dir, join(at.folder, 'away'))
        writeFileSync(dir, '')
        login.child.stdin.end(`${at.ring.codeFor()}\n`)
        const done = await login.ended
        assert.equal(done.code, 6, done.stderr)
        const token = how.length ? json(done).refreshToken : printed(done.stdout)
        assert.ok(at.ring.isLive(unwrap(token).rt))
        assert.match(
          done.stderr,
          /could not be stored.* on standard output instead: keep it, its journal does not have it\./,
        )
        noSecret(done.stderr)
      }
    })

    it(`${kind.name}: a login whose file cannot be written keeps the token in the journal, and reports that`, async (t) => {
      for (const how of [[], ['--json']]) {
        const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)), account('sms'))
        const before = at.text()
        const login = start([...LOGIN, ...how, ...at.options], { ring: at.ring })
        login.child.stdin.write(`${PASSWORD}\n`)
        await until(() => at.ring.codesSent, 'the code')
        // Not even root may write it.
        chmodSync(at.path, 0o444)
        login.child.stdin.end(`${at.ring.codeFor()}\n`)
        const done = await login.ended
        assert.equal(done.code, 6, done.stderr)
        const token = how.length ? json(done).refreshToken : printed(done.stdout)
        assert.equal(unwrap(token).rt, at.ring.newest())
        if (how.length) assert.equal(json(done).persisted, true)
        assert.ok(
          done.stderr.includes(`is in the journal ${at.journal()}, but could not be written into ${at.path}.`),
          done.stderr,
        )
        assert.match(done.stderr, /The next start or refresh writes it there/)
        assert.doesNotMatch(done.stderr, /nothing else has it|Restart Homebridge/)
        noSecret(done.stderr)
        assert.equal(at.text(), before)
        assert.equal(held(at.journal()), at.ring.newest())
        chmodSync(at.path, 0o600)
        assert.equal((await at.run(['token'])).code, 0)
        assert.equal(at.shown(), token)
      }
    })

    it(`${kind.name}: a file that cannot be written stops neither access tokens nor rotations`, async (t) => {
      const at = await prepared(t, kind, (ring) => kind.with_(wrapped(ring)))
      assert.equal((await at.run(['refresh'])).code, 0)
      const before = at.text()
      chmodSync(at.path, 0o444)
      const refresh = await at.run(['refresh'])
      assert.equal(refresh.code, 6)
      assert.ok(refresh.stderr.includes('is in the journal'), refresh.stderr)
      assert.equal(refresh.stdout, '', 'nothing is lost, so nothing is shown')
      const token = await at.run(['token'])
      assert.equal(token.code, 0, token.stderr)
      assert.ok(at.ring.isAccessLive(token.stdout.trim()))
      assert.match(token.stderr, /cannot be written.*safe in the journal/)
      assert.equal(at.text(), before)
      assert.equal(json(await at.run(['status', '--json'])).mirror.shows, 'old')
      chmodSync(at.path, 0o644)
      assert.equal((await at.run(['refresh'])).code, 0)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(at.ring.counts.stalePresentations, 0)
    })
  })
}

describe('--homebridge', { concurrency: 4 }, () => {
  const kind = /** @type {Kind} */ (KINDS[0])

  it('--homebridge removes email and password, reports that, and keeps the rest', async (t) => {
    const block =
      '{ "password": "old secret", "platform": "Ring", "name": "Bells", "email": "me@example.com", "hideDoorbellSwitch": true }'
    const at = await prepared(t, kind, () => config(block))
    const done = await at.run(LOGIN, { input: `${PASSWORD}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stderr, /^Removed from it, because the token replaces them: email and password\.$/m)
    assert.doesNotMatch(done.stderr, /was added/)
    const expected = `{ "platform": "Ring", "name": "Bells", "hideDoorbellSwitch": true, "refreshToken": "${at.shown()}" }`
    assert.equal(at.text(), config(expected))
    nowhere(at.folder, 'old secret')
    // Only a login does that.
    const other = await prepared(t, kind, (ring) =>
      config(`{ "platform": "Ring", "email": "a@b", "refreshToken": "${wrapped(ring)}" }`),
    )
    assert.equal((await other.run(['refresh'])).code, 0)
    assert.ok(other.text().includes('"email": "a@b"'))
  })

  it('--homebridge shares one journal with a running plugin, also if they name the block differently', async (t) => {
    const at = await prepared(t, kind, () => config('{ "platform": "Ring", "name": "Front door" }'))
    assert.equal((await at.run(LOGIN, { input: `${PASSWORD}\n` })).code, 0)
    const { manager } = open(t, at.ring, { store: { type: 'homebridge', configPath: at.path, name: 'Front door' } })
    await manager.getAccessToken()
    const before = at.ring.counts.rotations
    assert.equal(manager.refreshToken, at.shown())
    assert.equal((await at.run(['refresh', '--platform', 'Ring'])).code, 0)
    assert.equal((await at.run(['token', '--name', 'Front door'])).code, 0)
    // A login while the plugin runs: the plugin continues with the new token, and needs no restart.
    assert.equal((await at.run(LOGIN, { input: `${PASSWORD}\n` })).code, 0)
    const linked = at.shown()
    await manager.refresh()
    assert.equal(manager.refreshToken, linked, 'adopted, without a request')
    await manager.refresh()
    assert.equal(at.ring.tokenRequests.at(-1)?.form.refresh_token, unwrap(linked).rt)
    assert.equal(manager.refreshToken, at.shown())
    assert.ok(at.ring.counts.rotations >= before + 2)
    assert.equal(at.ring.counts.stalePresentations, 0)
    assert.equal(readdirSync(at.state).filter((name) => /^config\.json-.*\.json$/.test(name)).length, 1)
  })

  it('--homebridge finds the block by platform and name', async (t) => {
    const blocks = '{"platform":"X","name":"a"},{"platform":"X","name":"b"}'
    const at = await prepared(t, kind, () => config(blocks))
    const several = failure(
      await at.run([...LOGIN, '--json', '--platform', 'X'], { input: `${PASSWORD}\n` }),
      'INVALID_ARGUMENT',
      2,
    )
    assert.match(several.message, /"a", "b".*--name/)
    assert.equal(at.ring.requests.length, 0)
    assert.deepEqual(readdirSync(at.folder), ['config.json'])
    assert.equal((await at.run([...LOGIN, '--platform', 'X', '--name', 'b'], { input: `${PASSWORD}\n` })).code, 0)
    const [, a, b] = JSON.parse(at.text()).platforms
    assert.equal(a.refreshToken, undefined)
    assert.equal(unwrap(b.refreshToken).rt, at.ring.newest())
    assert.equal((await at.run(['token', '--platform', 'X', '--name', 'b'])).code, 0)
    assert.equal(at.ring.counts.stalePresentations, 0)
    const missing = await at.run(['token', '--platform', 'X', '--name', "it's", '--json'])
    assert.ok(
      failure(missing, 'NO_REFRESH_TOKEN', 3).message.endsWith(
        `--homebridge ${at.path} --platform X --name 'it'\\''s'`,
      ),
    )
  })

  it("--homebridge uses the folder that Homebridge's own variables name", async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const path = join(folder, 'config.json')
    writeFileSync(path, linked(wrapped(ring)))
    for (const env of [{ UIX_CONFIG_PATH: path }, { UIX_STORAGE_PATH: folder }]) {
      const done = await run(['status', '--homebridge', '--json'], {
        ring,
        env: { ...env, HOME: join(folder, 'nobody') },
      })
      assert.equal(json(done).mirror.path, path)
    }
    const gone = join(folder, 'gone.json')
    const none = await run(['status', '--homebridge', '--json'], { ring, env: { UIX_CONFIG_PATH: gone } })
    const { message } = failure(none, 'INVALID_ARGUMENT', 2)
    assert.ok(message.includes('UIX_CONFIG_PATH') && message.includes(gone))
  })

  it('--homebridge names the places where it has looked', async (t) => {
    if (existsSync('/var/lib/homebridge/config.json') || existsSync('/homebridge/config.json'))
      return t.skip('this machine has a Homebridge')
    const { ring, folder } = await setUp(t)
    // Windows has another name for this folder.
    const env = { HOME: folder, USERPROFILE: folder }
    const { message } = failure(await run(['login', '--homebridge', '--json'], { ring, env }), 'INVALID_ARGUMENT', 2)
    const ofUnix = modes ? [] : ['/var/lib/homebridge/config.json', '/homebridge/config.json']
    for (const place of [join(folder, '.homebridge', 'config.json'), ...ofUnix, '--homebridge PATH'])
      assert.ok(message.includes(place), message)
    assert.equal(ring.requests.length, 0)
  })

  it('--homebridge under sudo looks in both home folders, and names the files between which it cannot choose', {
    skip: asRoot(),
  }, async (t) => {
    if (existsSync('/var/lib/homebridge/config.json') || existsSync('/homebridge/config.json'))
      return t.skip('this machine has a Homebridge')
    const { ring, folder } = await setUp(t)
    const [own, theirs] = [join(folder, 'own'), join(folder, 'theirs')]
    const env = { HOME: own, SUDO_HOME: theirs, SUDO_UID: '4711' }
    const none = failure(await run(['login', '--homebridge', '--json'], { ring, env }), 'INVALID_ARGUMENT', 2).message
    for (const home of [own, theirs]) assert.ok(none.includes(join(home, '.homebridge/config.json')), none)
    mkdirSync(join(theirs, '.homebridge'), { recursive: true })
    writeFileSync(join(theirs, '.homebridge/config.json'), linked(wrapped(ring)))
    const found = await run(['status', '--homebridge', '--json'], { ring, env })
    assert.equal(json(found).mirror.path, join(theirs, '.homebridge/config.json'))
    mkdirSync(join(own, '.homebridge'), { recursive: true })
    writeFileSync(join(own, '.homebridge/config.json'), '{}')
    const several = failure(
      await run(['login', '--homebridge', '--json'], { ring, env }),
      'INVALID_ARGUMENT',
      2,
    ).message
    for (const home of [own, theirs]) assert.ok(several.includes(join(home, '.homebridge/config.json')), several)
    assert.match(several, /Say which one: --homebridge PATH/)
    assert.equal(ring.requests.length, 0)
  })
})

describe('--env-file', { concurrency: 4 }, () => {
  const kind = /** @type {Kind} */ (KINDS[1])

  it('--dotenv creates a file that only its owner can read', async (t) => {
    const at = await prepared(t, kind, () => undefined)
    const done = await at.run([...LOGIN, '--env-key', 'RING'], { input: `${PASSWORD}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stderr, /There was no RING in it: it was added/)
    assertMode(at.path, 0o600)
    assert.match(at.text(), /^RING=\S+\n$/)
    assert.equal(readFileSync(join(at.state, '.gitignore'), 'utf8'), '*\n')
    assert.equal((await at.run(['refresh', '--env-key', 'RING'])).code, 0)
  })

  it('--env-file is the same option as --dotenv if the file exists', async (t) => {
    const at = await prepared(t, kind, (ring) => `NODE_OPTIONS=\n${kind.with_(wrapped(ring))}`)
    for (const form of [['--env-file', at.path], [`--env-file=${at.path}`]]) {
      const done = await run(['refresh', ...form], { ring: at.ring })
      assert.equal(done.code, 0, done.stderr)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
    }
    assert.equal((await at.run(['token'])).code, 0)
    assert.equal(at.ring.counts.rotations, 2)
    writeFileSync(at.path, '\n')
    rmSync(at.state, { recursive: true })
    const none = failure(
      await run(['token', '--env-file', at.path, '--json'], { ring: at.ring }),
      'NO_REFRESH_TOKEN',
      3,
    )
    assert.ok(none.message.endsWith(`ring-auth login --env-file ${at.path}`))
  })

  it('--env-file with a file that does not exist is handled by Node itself, before a question or a request', async (t) => {
    // If Node ever leaves the arguments of a script alone, remove this test and the section in docs/cli.md.
    const at = await prepared(t, kind, () => undefined)
    const done = await run([...LOGIN, '--env-file', at.path], { ring: at.ring, input: `${PASSWORD}\n` })
    assert.equal(done.code, 9)
    assert.match(done.stderr, /node(\.exe)?: .*\.env: not found/)
    assert.equal(at.ring.requests.length, 0)
    assert.deepEqual(readdirSync(at.folder), [])
    // The workaround that works on every system: BusyBox has no `env -S`.
    assert.match(readFileSync(bin, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  })

  it('--env-key refuses a key that is no name, and does not show it', async (t) => {
    const at = await prepared(t, kind)
    const done = await at.run(['status', '--env-key', `${CANARY}==`, '--json'])
    assert.match(failure(done, 'INVALID_ARGUMENT', 2).message, /--env-key/)
  })
})

describe('under sudo', { concurrency: 4 }, () => {
  const UID = 1234

  /** Runs the command line as another user. @param {FakeRing} ring @param {string[]} args */
  function as(ring, args) {
    const command = [`--regid=${UID}`, '--clear-groups', process.execPath, bin, ...args]
    return start(command, {
      ring,
      command: 'setpriv',
      script: `--reuid=${UID}`,
      env: { HOME: '/nonexistent' },
      stdin: 'ignore',
    }).ended
  }

  for (const kind of KINDS) {
    it(`what root creates beside ${kind.file} belongs to its owner, who can use it`, {
      skip: asLinuxRoot(),
    }, async (t) => {
      const at = await prepared(t, kind)
      chmodSync(at.folder, 0o755)
      for (const path of [at.folder, at.path]) chownSync(path, UID, UID)
      const done = await at.run(LOGIN, { input: `${PASSWORD}\n` })
      assert.equal(done.code, 0, done.stderr)
      for (const name of ['.', ...readdirSync(at.folder, { recursive: true }).map(String)]) {
        const { uid, gid } = statSync(join(at.folder, name))
        assert.deepEqual([uid, gid], [UID, UID], name)
      }
      assert.equal(statSync(at.state).mode & 0o777, 0o700)
      for (const command of [['status'], ['token'], ['refresh']]) {
        const theirs = await as(at.ring, [...command, ...at.options])
        assert.equal(theirs.code, 0, theirs.stderr)
      }
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(held(at.journal()), at.ring.newest())
      // And root again, with the files of that user.
      assert.equal((await at.run(['refresh'])).code, 0)
      const last = await as(at.ring, ['refresh', ...at.options])
      assert.equal(last.code, 0, last.stderr)
      assert.equal(unwrap(at.shown()).rt, at.ring.newest())
      assert.equal(at.ring.counts.stalePresentations, 0)
      assert.equal((await as(at.ring, ['logout', ...at.options])).code, 0)
      assert.equal((await as(at.ring, ['status', ...at.options])).code, 3)
    })
  }

  it('root does not follow a link that another user has placed', { skip: asLinuxRoot() }, async (t) => {
    const at = await prepared(t, /** @type {Kind} */ (KINDS[0]))
    const real = join(at.folder, 'real.json')
    renameSync(at.path, real)
    symlinkSync(real, at.path)
    execFileSync('chown', ['-h', `${UID}:${UID}`, at.path])
    const done = await at.run([...LOGIN, '--json'], { input: `${PASSWORD}\n` })
    failure(done, 'STORE', 6)
    assert.match(done.stderr, /link that belongs to another user/)
    assert.equal(at.ring.requests.length, 0)
    assert.equal(readFileSync(real, 'utf8'), config(''))
  })
})

describe('one place at a time', { concurrency: 4 }, () => {
  for (const [args, ...names] of /** @type {[string[], ...string[]][]} */ ([
    [['login', '--homebridge', 'c.json', '--state-file', 'j'], '--homebridge', '--state-file'],
    [['token', '--dotenv', '.env', '--homebridge', 'c.json'], '--dotenv', '--homebridge'],
    [['status', '--dotenv', 'a', '--dotenv', 'b'], '--dotenv', 'twice'],
    [['logout', '--homebridge', 'a', '--homebridge'], '--homebridge', 'twice'],
    [['login', '--platform', 'P'], '--platform', '--homebridge'],
    [['token', '--name', 'N', '--state-file', 'j'], '--name', '--homebridge'],
    [['login', '--env-key', 'K', '--homebridge', 'c'], '--env-key', '--dotenv'],
    [['login', '--state-dir', 'd', '--state-file', 'j'], '--state-dir', '--homebridge'],
    [['login', '--homebridge='], '--homebridge', 'empty'],
    [['login', '--dotenv'], '--dotenv', 'needs a value'],
    [['login', '--homebridge', 'token'], 'word too many'],
  ])) {
    it(`more than one place is refused by name: ${args.join(' ')}`, async (t) => {
      const { ring, folder } = await setUp(t)
      const done = await run(['--json', ...args], { ring, input: null, cwd: folder })
      const { message } = failure(done, 'INVALID_ARGUMENT', 2)
      for (const name of names) assert.ok(message.includes(name), message)
      assert.equal(ring.requests.length, 0)
      assert.deepEqual(readdirSync(folder), [])
    })
  }
})
