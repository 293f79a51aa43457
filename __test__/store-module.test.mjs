// @ts-check
// `--store-module`: the command line with a store of the user's own code, as a process and at a terminal.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { LOGIN, Screen, account, failure, json, noSecret, run, setUp, start } from './support/cli.mjs'
import { EMAIL, PASSWORD, failure as rejection, open, readJournal, root, until, unwrap } from './support/index.mjs'
import { fileEngine } from './support/file-engine.mjs'
import { links, terminal } from './support/systems.mjs'

const ENGINE = pathToFileURL(join(root, '__test__', 'support', 'file-engine.mjs')).href
const STORE = ['--store-module', './ring-store.mjs']

/**
 * A folder with a module whose store several processes share, and a client that keeps the event loop alive.
 * @param {import('node:test').TestContext} t
 * @param {{ fields?: string }} [options]
 */
async function withModule(t, { fields = "statePath: './state'" } = {}) {
  const { ring, folder } = await setUp(t, account('none'))
  writeFileSync(
    join(folder, 'ring-store.mjs'),
    `import { createServer } from 'node:net'
     import { fileEngine } from ${JSON.stringify(ENGINE)}
     createServer().listen(0, '127.0.0.1')
     setInterval(() => {}, 1000)
     export default { ...fileEngine('engine.json'), ${fields} }`,
  )
  const engine = join(folder, 'engine.json')
  const command = (/** @type {string[]} */ args, /** @type {object} */ more = {}) =>
    run([...args, ...STORE], { ring, cwd: folder, ...more })
  const stored = () => JSON.parse(JSON.parse(readFileSync(engine, 'utf8')).value)
  return { ring, folder, engine, command, stored }
}

describe('--store-module', () => {
  it('logs in, gives tokens, rotates, shows and forgets, and each command ends although the client lives', async (t) => {
    const { ring, folder, command, stored } = await withModule(t)
    const before = await command(['status'])
    assert.equal(before.code, 3, before.stderr)
    assert.match(before.stdout, /needs-login/)
    const nothing = await command(['token'])
    assert.equal(nothing.code, 3)
    assert.match(
      nothing.stderr,
      /no refresh token in the store of \.\/ring-store\.mjs yet.*login --store-module \.\/ring-store\.mjs/,
    )

    const login = await command(LOGIN, { input: `${PASSWORD}\n` })
    assert.equal(login.code, 0, login.stderr)
    assert.equal(login.stdout, '', 'the token is not printed')
    assert.match(login.stderr, /stored in the store of \.\/ring-store\.mjs/)
    assert.ok(stored().current)

    const token = await command(['token'])
    assert.equal(token.code, 0, token.stderr)
    assert.ok(ring.isAccessLive(token.stdout.trim()))

    const requests = ring.tokenRequests.length
    const refresh = await command(['refresh', '--json'])
    assert.equal(refresh.code, 0, refresh.stderr)
    const { refreshToken, hardwareId, persisted } = json(refresh)
    assert.equal(persisted, true)
    assert.equal(ring.tokenRequests.length, requests + 1)

    const status = json(await command(['status', '--json']))
    assert.deepEqual([status.state, status.persisted, status.hardwareId], ['ready', true, hardwareId])
    assert.match((await command(['status'])).stdout, /Store: .*\nSpool: .*shared-default-/)

    // Another host with the same store, and no spool yet.
    const other = open(t, ring, {
      store: { ...fileEngine(join(folder, 'engine.json')), statePath: join(folder, 'other') },
    })
    assert.equal((await other.manager.getAuth()).refreshToken, refreshToken)

    const logout = await command(['logout'])
    assert.equal(logout.code, 0, logout.stderr)
    assert.match(logout.stderr, /Every other host/)
    assert.equal((await command(['status'])).code, 3)
    assert.ok(!readFileSync(join(folder, 'engine.json'), 'utf8').includes(refreshToken))
    for (const name of readdirSync(join(folder, 'state'))) {
      assert.ok(!readFileSync(join(folder, 'state', name), 'utf8').includes(refreshToken), name)
    }
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('asks a person at a terminal, and then ends by itself', { skip: terminal }, async (t) => {
    const { ring, folder, stored } = await withModule(t)
    const screen = Screen.login(t, ['login', ...STORE], { ring, cwd: folder })
    await screen.sees('It will be kept in the store of ./ring-store.mjs.')
    await screen.answers('Email: ', `${EMAIL}\r`)
    await screen.answers('Password: ', `${PASSWORD}\r`)
    await screen.sees('Successfully logged in to Ring.')
    assert.equal(await screen.exits(), 0)
    assert.ok(stored().current)
  })

  it('says that an answer is only in the spool, and the next command brings it to the store', async (t) => {
    const { ring, engine, command, stored } = await withModule(t)
    await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    const before = stored().current.token
    writeFileSync(`${engine}.budget`, '1')
    const refresh = await command(['refresh', '--json'])
    assert.equal(refresh.code, 0, refresh.stderr)
    assert.equal(json(refresh).persisted, false)
    assert.match(
      refresh.stderr,
      /has not taken the new refresh token\. It is in the spool .*shared-default-.* of this host/,
    )
    assert.equal(stored().current.token, before)
    writeFileSync(`${engine}.budget`, '1')
    // A valid access token is at hand.
    const text = await command(['token'])
    assert.equal(text.code, 0, text.stderr)
    rmSync(`${engine}.budget`)
    const requests = ring.tokenRequests.length
    const status = json(await command(['status', '--json']))
    assert.equal(status.state, 'ready')
    await command(['refresh'])
    assert.notEqual(stored().current.token, before)
    assert.equal(ring.tokenRequests.length, requests + 1)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('is STORE while the store does not answer, for every command, and asks nobody for a password or a code', async (t) => {
    const { ring, engine, command } = await withModule(t)
    await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    const requests = ring.requests.length
    writeFileSync(`${engine}.down`, '')
    for (const args of [['refresh'], ['status'], ['logout'], LOGIN]) {
      const error = failure(await command([...args, '--json'], { input: `${PASSWORD}\n` }), 'STORE', 6)
      assert.match(error.message, /connection refused/, args[0])
      assert.equal(error.transient, true)
    }
    assert.equal(ring.requests.length, requests, 'nothing is sent')
    const doctor = await command(['doctor', '--json'])
    assert.equal(doctor.code, 6, doctor.stdout)
    const { checks } = json(doctor)
    const message = (/** @type {string} */ wanted) => checks.find((/** @type {any} */ { id }) => id === wanted).message
    assert.match(message('store'), /connection refused/)
    assert.equal(message('journal'), 'The shared store cannot be read.')
    rmSync(`${engine}.down`)
    const well = json(await command(['doctor', '--json'])).checks
    assert.equal(well.find((/** @type {any} */ { id }) => id === 'store').state, 'ok')
    assert.equal(well.find((/** @type {any} */ { id }) => id === 'journal').state, 'ok')
    noSecret(JSON.stringify(well))
  })

  it('only loads for status and doctor', async (t) => {
    const { ring, engine, command } = await withModule(t)
    await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    writeFileSync(`${engine}.budget`, '0')
    const kept = readFileSync(engine, 'utf8')
    assert.equal((await command(['status'])).code, 0)
    assert.equal((await command(['doctor'])).code, 0)
    assert.equal(readFileSync(engine, 'utf8'), kept)
  })

  it('works on a host without a disk, and makes no file there', async (t) => {
    const { ring, folder, command } = await withModule(t, { fields: 'statePath: null' })
    assert.equal((await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })).code, 0)
    const token = await command(['token'])
    assert.ok(ring.isAccessLive(token.stdout.trim()), token.stderr)
    assert.equal(json(await command(['status', '--json'])).state, 'ready')
    const { checks } = json(await command(['doctor', '--json']))
    assert.deepEqual(
      checks.filter((/** @type {any} */ { state }) => state === 'failed'),
      [],
    )
    assert.deepEqual(readdirSync(folder).sort(), ['engine.json', 'ring-store.mjs'])
  })

  it('waits for a login in watch, and ends with the signal', { skip: terminal }, async (t) => {
    const { ring, folder, command } = await withModule(t)
    const screen = Screen.login(t, ['watch', ...STORE], { ring, cwd: folder })
    await screen.sees('needs-login')
    await command(LOGIN, { input: `${PASSWORD}\n` })
    await screen.sees('ready')
    screen.pty.kill('SIGTERM')
    assert.equal(await screen.exits(), 0)
  })

  it('ends watch at the second Ctrl-C while the store hangs, and loses nothing', { skip: terminal }, async (t) => {
    // It takes the mark before a request, and hangs when it is to take the answer.
    const hangs = `((engine, { existsSync }) => (value, version) =>
      existsSync('hangs') && !JSON.parse(value).mark ? new Promise(() => {}) : engine.commit(value, version)
    )(fileEngine('engine.json'), await import('node:fs'))`
    const { ring, folder, command, stored } = await withModule(t, { fields: `statePath: './state', commit: ${hangs}` })
    ring.settings.expiresIn = 1
    const first = await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    assert.equal(first.code, 0, first.stderr)
    ring.settings.expiresIn = 3600
    writeFileSync(join(folder, 'hangs'), '')
    const screen = Screen.login(t, ['watch', ...STORE], { ring, cwd: folder })
    const state = join(folder, 'state')
    const spool = join(state, String(readdirSync(state).find((name) => name.endsWith('.json'))))
    await until(
      () => ring.counts.rotations === 2 && unwrap(readJournal(spool).current.token).rt === ring.newest(),
      'the answer is in the spool',
    )
    screen.pty.write('\x03')
    await screen.sees('^C')
    // Two signals that come before a busy process runs are one for it: a person presses the keys again.
    const presses = setInterval(() => screen.pty.write('\x03'), 200)
    const { signal } = await screen.ended.finally(() => clearInterval(presses))
    assert.equal(signal, constants.signals.SIGINT, 'it waits for the store no longer')
    rmSync(join(folder, 'hangs'))
    assert.notEqual(unwrap(stored().current.token).rt, ring.newest())
    const next = await command(['token'])
    assert.equal(next.code, 0, next.stderr)
    assert.ok(ring.isAccessLive(next.stdout.trim()))
    assert.equal(unwrap(stored().current.token).rt, ring.newest())
    assert.equal(ring.counts.rotations, 2)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('takes a store of any kind, from an ES module, from CommonJS and from a promise', async (t) => {
    const { ring, folder } = await setUp(t)
    const kinds = /** @type {[string, string, string][]} */ ([
      ['file.cjs', "module.exports = { type: 'file', path: 'file.json' }", 'file.json'],
      ['promise.mjs', "export default Promise.resolve({ type: 'file', path: 'promise.json' })", 'promise.json'],
      ['dotenv.mjs', "export default { type: 'dotenv', path: 'here.env' }", 'here.env'],
      [
        'translated.js',
        "Object.defineProperty(exports, '__esModule', { value: true }); exports.default = { type: 'file', path: 'translated.json' }",
        'translated.json',
      ],
      [
        'custom.mjs',
        `import { existsSync, readFileSync, writeFileSync } from 'node:fs'
         class Mine { #path = 'custom.txt'
           load() { return existsSync(this.#path) ? readFileSync(this.#path, 'utf8') : null }
           async save(token) { writeFileSync(this.#path, token) } }
         export default new Mine()`,
        'custom.txt',
      ],
    ])
    for (const [name, text, kept] of kinds) {
      writeFileSync(join(folder, name), text)
      const command = (/** @type {string[]} */ args, input = '') =>
        run([...args, '--store-module', name], { ring, cwd: folder, input })
      const refresh = await command(['refresh', '--refresh-token-stdin', '--json'], ring.mint())
      assert.equal(refresh.code, 0, `${name}: ${refresh.stderr}`)
      const { refreshToken, persisted } = json(refresh)
      assert.equal(persisted, true, name)
      assert.ok(readFileSync(join(folder, kept), 'utf8').includes(refreshToken), name)
      const status = await command(['status'])
      assert.equal(status.code, 0, `${name}: ${status.stdout}`)
      assert.ok(ring.isAccessLive((await command(['token'])).stdout.trim()), name)
      assert.equal((await command(['doctor'])).code, 0, name)
      const logout = await command(['logout'])
      assert.equal(logout.code, name === 'custom.mjs' ? 2 : 0, `${name}: ${logout.stderr}`)
    }
  })

  it('uses the key of the store and no other', async (t) => {
    const { ring, folder, engine, command } = await withModule(t, {
      fields: "statePath: './state', key: async () => new Uint8Array(32).fill(7)",
    })
    const { refreshToken } = json(await command(['refresh', '--refresh-token-stdin', '--json'], { input: ring.mint() }))
    assert.ok(!readFileSync(engine, 'utf8').includes(refreshToken))
    writeFileSync(join(folder, 'key'), Buffer.alloc(32, 8))
    const env = { RING_AUTH_KEY_FILE: join(folder, 'key') }
    const status = json(await command(['status', '--json'], { env }))
    assert.equal(status.state, 'ready')
    assert.equal((await command(['doctor'], { env })).code, 0)
    failure(await command(['token', '--json', '--key-file', 'key']), 'INVALID_ARGUMENT', 2)
  })

  it('names a module that cannot be used, says what to do, and sends nothing', async (t) => {
    const { ring, folder } = await setUp(t)
    const modules = /** @type {[string, string, RegExp][]} */ ([
      ['absent.mjs', '', /store module absent\.mjs cannot be loaded: Cannot find module .*Correct it, or the path\.$/],
      ['syntax.mjs', 'export default {', /store module syntax\.mjs cannot be loaded: Unexpected/],
      ['throws.mjs', "throw new Error('no database')", /store module throws\.mjs cannot be loaded: no database/],
      ['rejects.mjs', "export default Promise.reject(new Error('no'))", /cannot be loaded: no\./],
      ['package.mjs', "import 'absent-package'", /Cannot find package 'absent-package'/],
      ['waits.mjs', 'await new Promise(() => {})', /cannot be loaded: it does not come to an end\./],
      ['pending.mjs', 'export default new Promise(() => {})', /it does not come to an end/],
      ['none.mjs', 'export const store = {}', /has no default export\. End it with: export default store\.$/],
      [
        'memory.mjs',
        "export default { type: 'memory' }",
        /exports a store in memory\. Export one that keeps the token\./,
      ],
      ['text.mjs', "export default 'a.json'", /does not export a store: store must be an object, got a string/],
      ['half.mjs', 'export default { load() {}, commit() {} }', /store\.statePath is missing/],
      [
        'both.mjs',
        'export default { load() {}, commit() {}, save() {}, statePath: null }',
        /store has save and commit/,
      ],
      ['odd.mjs', "export default { type: 'fil', path: 'a' }", /did you mean "file"\?/],
      ['key.mjs', "export default { type: 'file', path: 'a', key: 'short' }", /key/i],
      ['folder.mjs', "export default { type: 'file', path: '.' }", /folder|directory/i],
    ])
    for (const [name, text, message] of modules) {
      if (text !== '') writeFileSync(join(folder, name), text)
      const ended = await run(['refresh', '--store-module', name, '--json'], { ring, cwd: folder })
      const error = failure(ended, 'INVALID_ARGUMENT', 2)
      assert.match(error.message.replaceAll('\n', ' '), message, name)
    }
    assert.equal(ring.tokenRequests.length, 0)
    const plain = await run(['status', '--store-module', 'none.mjs'], { cwd: folder })
    assert.equal(plain.code, 2)
    assert.match(plain.stderr, /^ring-auth: The store module none\.mjs has no default export/)
  })

  it('says once that a package which the module imports cannot be loaded', async (t) => {
    const { ring, folder } = await setUp(t)
    writeFileSync(join(folder, 'client.cjs'), "require('not-installed')")
    writeFileSync(join(folder, 'imports.mjs'), "import client from './client.cjs'; export default client")
    const ended = await run(['status', '--store-module', './imports.mjs'], { ring, cwd: folder })
    assert.equal(ended.code, 2, ended.stderr)
    assert.match(
      ended.stderr,
      /^ring-auth: The store module \.\/imports\.mjs cannot be loaded: Cannot find module 'not-installed'/,
    )
    assert.equal(ended.stderr.trim().split('\n').length, 1, ended.stderr)
    // A rejection that has nothing to do with it ends the process, as it does in every program.
    writeFileSync(join(folder, 'stray.mjs'), "Promise.reject(new Error('stray')); export default new Promise(() => {})")
    const stray = await run(['status', '--store-module', './stray.mjs'], { ring, cwd: folder })
    assert.equal(stray.code, 1)
    assert.match(stray.stderr, /Error: stray/)
  })

  it('finds packages behind links also if standard input is a pipe', { skip: links() }, async (t) => {
    const { folder } = await setUp(t)
    // As pnpm and npm link make it: what a package needs stands beside the place that the link leads to.
    const write = (/** @type {string} */ path, /** @type {string} */ text) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    write('kept/node_modules/client/index.js', "module.exports = require('./lib')")
    write('kept/node_modules/client/lib/index.js', "module.exports = require('types')")
    write('kept/node_modules/types/index.js', 'module.exports = { load: async () => null, commit: async () => null }')
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(join(folder, 'kept', 'node_modules', 'client'), join(folder, 'node_modules', 'client'), 'junction')
    write('linked.mjs', "import client from 'client'; export default { ...client, statePath: null }")
    const ended = await run(['status', '--store-module', './linked.mjs'], { cwd: folder, input: '' })
    assert.equal(ended.code, 3, ended.stderr)
    assert.match(ended.stdout, /needs-login/)
  })

  it('gives a module thirty seconds to load', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { folder } = await setUp(t)
    writeFileSync(join(folder, 'slow.mjs'), 'export default new Promise(() => {})')
    const { loadStoreModule } = createRequire(import.meta.url)('../lib/store-module.js')
    const addon = { BindingModule: { refused: (/** @type {string} */ problem) => problem } }
    const loading = loadStoreModule(addon, join(folder, 'slow.mjs'))
    t.mock.timers.tick(29_999)
    const early = await Promise.race([loading, new Promise((done) => setImmediate(done, 'waits'))])
    assert.equal(early, 'waits')
    t.mock.timers.tick(1)
    assert.match((await loading).native, /slow\.mjs cannot be loaded: it does not come to an end/)
  })

  it('is not loaded if the arguments are refused, or for help', async (t) => {
    const { folder } = await setUp(t)
    writeFileSync(join(folder, 'trace.mjs'), "import { writeFileSync } from 'node:fs'; writeFileSync('loaded', '')")
    for (const [args, code] of /** @type {[string[], number][]} */ ([
      [['token', '--state-file', 'a'], 2],
      [['token', '--homebridge', 'a'], 2],
      [['token', '--dotenv', 'a'], 2],
      [['token', '--state-dir', 'a'], 2],
      [['--help'], 0],
    ])) {
      const ended = await run([...args, '--store-module', 'trace.mjs'], { cwd: folder })
      assert.equal(ended.code, code, ended.stderr)
    }
    assert.ok(!existsSync(join(folder, 'loaded')))
  })

  it('forgets the token without a request, although a process was killed in a refresh', async (t) => {
    const { ring, folder, engine, command } = await withModule(t, {
      fields: "statePath: './state', mirror: { type: 'dotenv', path: './ring.env' }",
    })
    await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    const hangs = ring.fault({ kind: 'hang' })
    const killed = start(['refresh', ...STORE], { ring, cwd: folder })
    await until(() => ring.tokenRequests.length === 2, 'the request')
    killed.child.kill('SIGKILL')
    await killed.ended
    hangs.remove()
    const spool = readdirSync(join(folder, 'state')).find((name) => name.endsWith('.json'))
    assert.ok(JSON.parse(readFileSync(join(folder, 'state', String(spool)), 'utf8')).mark)
    const logout = await command(['logout'])
    assert.equal(logout.code, 0, logout.stderr)
    assert.equal(ring.tokenRequests.length, 2)
    assert.equal(JSON.parse(JSON.parse(readFileSync(engine, 'utf8')).value).current, null)
    assert.equal((await command(['status'])).code, 3)
  })

  it('is emptied by a logout, and each host that sees it empties its spool and uses its access token to the end', async (t) => {
    const { ring, folder, engine, command } = await withModule(t)
    await command(['refresh', '--refresh-token-stdin'], { input: ring.mint() })
    const statePath = join(folder, 'other')
    const { manager } = open(t, ring, { store: { ...fileEngine(engine), statePath } })
    const { accessToken, refreshToken } = await manager.getAuth()
    const spools = () =>
      readdirSync(statePath)
        .map((name) => readFileSync(join(statePath, name), 'utf8'))
        .join('')
    assert.ok(spools().includes(refreshToken))
    assert.equal((await command(['logout'])).code, 0)
    await rejection(manager.refresh(), 'NO_REFRESH_TOKEN')
    assert.ok(!spools().includes(refreshToken))
    assert.equal(manager.status.state, 'needs-login')
    assert.equal(manager.refreshToken, null)
    for (let i = 0; i < 2; i++) assert.equal(await manager.getAccessToken(), accessToken)
    // Ring does not take it any more.
    manager.invalidateAccessToken(accessToken)
    await rejection(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    await rejection(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    assert.equal(ring.tokenRequests.length, 1)
  })

  it('shows the page of login --web, and ends after it', { skip: terminal }, async (t) => {
    const { ring, folder } = await withModule(t)
    mkdirSync(join(folder, 'elsewhere'))
    const screen = Screen.login(t, ['login', '--web', ...STORE], { ring, cwd: folder })
    await screen.sees(/http:\/\/127\.0\.0\.1:\d+/)
    screen.pty.write('\x03')
    assert.equal(await screen.exits(), 130)
  })
})
