// @ts-check
// Runs each snippet of the reference pages unchanged, against a fake Ring: docs/api.md, docs/cli.md and docs/errors.md, and the few
// snippets of other pages. (README.md: packages/readme.test.mjs; the pages on stores, Homebridge, containers and migrating:
// docs.test.mjs.) The last tests fail if a snippet was not run, or if the pages disagree with the code.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'
import { Screen } from './support/cli.mjs'
import {
  age,
  atEnd,
  EMAIL,
  failure,
  FakeRing,
  linkPackage,
  OUTAGE,
  parseRefreshToken,
  PASSWORD,
  rawOf,
  readJournal,
  RingAuthError,
  RingTokenManager,
  root,
  runProcess,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'
import { assertLinks, fenced, quoted, rows, section, take, text } from './support/pages.mjs'
import { isTheDialogue, logsIn, startRingCom } from './support/ring-com.mjs'
import { shell as posix, signals } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const PAGES = [
  'docs/api.md',
  'docs/cli.md',
  'docs/errors.md',
  'docs/performance.md',
  'CONTRIBUTING.md',
  '__test__/fake-ring/README.md',
]
const snippets = PAGES.flatMap(fenced)
/** @param {string} page @param {string} language @param {string[]} words */
const snippet = (page, language, ...words) => take(snippets, page, language, ...words)
const AsyncFunction = /** @type {any} */ (async () => {}).constructor

/**
 * Runs JavaScript from a page, with these names in scope, and returns the variables that it has declared.
 * @param {string} source
 * @param {Record<string, unknown>} scope
 */
async function run(source, scope) {
  // Imports are only allowed at a module's top level. The scope has the names that they import.
  const body = source.replace(/^import .*$/gm, '')
  const declared = [...body.matchAll(/^(?:const|let) (?:(\w+)|\{ (.*) \})/gm)].flatMap(
    ([, one, several]) => one ?? several?.split(', '),
  )
  return new AsyncFunction(...Object.keys(scope), `${body}\nreturn { ${declared.join(', ')} }`)(...Object.values(scope))
}

/**
 * The class for the managers of a snippet: they use the fake Ring and a folder, and are closed with the test.
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {string} [folder]
 */
function managersOf(t, ring, folder = tempDir(t)) {
  return class extends RingTokenManager {
    /** @param {any} [options] */
    constructor({ store, ...options } = {}) {
      super({
        ...options,
        ...(store ? { store: { ...store, path: join(folder, store.path) } } : {}),
        oauthUrl: ring.oauthUrl,
        apiUrl: ring.apiUrl,
        systemId: 'test-system',
      })
      atEnd(t, 'manager', () => this.close())
    }
  }
}

/** @param {TestContext} t @param {FakeRing} ring @param {any} [options] @returns {RingTokenManager} */
const managerOf = (t, ring, options) => new (managersOf(t, ring))(options ?? { refreshToken: ring.mint() })

const types = text('index.d.ts')

/** The members of a class or an interface of the types. @param {string} name */
function membersOf(name) {
  const [, body] =
    new RegExp(`^export (?:class|interface) ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(types) ??
    assert.fail(`no ${name}`)
  return new Set(
    [...String(body).matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)]
      .map(([, member = '']) => member)
      .filter((member) => member !== 'constructor'),
  )
}

describe('docs/api.md', () => {
  const PAGE = 'docs/api.md'
  const CREDENTIALS = { email: EMAIL, password: PASSWORD }

  it('docs/api.md explains each option, each member and each function of the types', () => {
    const explained = rows(section(PAGE, '## `new RingTokenManager(options?)`')).flatMap(([name = '', value]) =>
      value === 'default' ? [] : quoted(name),
    )
    assert.deepEqual(explained.toSorted(), [...membersOf('RingTokenManagerOptions')].toSorted())
    const headings = [...text(PAGE).matchAll(/^## `(?:new |manager\.)?(\w+)(?=[(`])/gm)].map(([, name]) => name)
    const functions = [...types.matchAll(/^export (?:declare )?function (\w+)/gm)].map(([, name]) => name)
    assert.deepEqual(
      headings.toSorted(),
      ['RingTokenManager', 'RingAuthError', ...membersOf('RingTokenManager'), ...functions].toSorted(),
    )
  })

  it('docs/api.md loads the package in CommonJS and in ES modules', async (t) => {
    const folder = tempDir(t)
    mkdirSync(join(folder, 'node_modules'))
    linkPackage(root, join(folder, 'node_modules'), 'ring-auth')
    const say = '\nconsole.log([RingTokenManager, RingAuthError, parseRefreshToken].map((one) => typeof one).join())'
    writeFileSync(join(folder, 'one.cjs'), snippet(PAGE, 'js', "require('ring-auth')") + say)
    writeFileSync(join(folder, 'one.mjs'), snippet(PAGE, 'js', "from 'ring-auth'") + say)
    for (const name of ['one.cjs', 'one.mjs']) {
      const { stdout, stderr } = await runProcess(t, [name], { cwd: folder }).ended
      assert.equal(stdout, 'function,function,function\n', stderr)
    }
  })

  it('docs/api.md makes a manager with a file store', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const scope = {
      RingTokenManager: managersOf(t, ring, folder),
      process: { env: { RING_REFRESH_TOKEN: ring.mint() } },
    }
    const { manager } = await run(snippet(PAGE, 'js', 'refreshToken: process.env.RING_REFRESH_TOKEN'), scope)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.ok(existsSync(join(folder, 'ring-auth.json')))
  })

  it('docs/api.md saves each new token of a memory store', async (t) => {
    const ring = await startRing(t)
    /** @type {string[]} */
    const saved = []
    const scope = {
      RingTokenManager: managersOf(t, ring),
      load: async () => ring.mint(),
      save: (/** @type {string} */ token) => saved.push(token),
    }
    const { manager } = await run(snippet(PAGE, 'js', 'await load()'), scope)
    await manager.getAccessToken()
    assert.equal(saved.at(-1), manager.refreshToken)
    assert.equal(manager.status.persisted, false)
  })

  it('docs/api.md logs in, and asks again after a wrong code', async (t) => {
    const ring = await startRing(t, { accounts: [{ ...CREDENTIALS, twoFactor: 'sms' }] })
    const manager = managerOf(t, ring, {})
    const codes = [() => '000000x', () => ring.codeFor()]
    const { step } = await run(snippet(PAGE, 'js', 'await ask('), {
      manager,
      ...CREDENTIALS,
      ask: async () => codes.shift()?.(),
    })
    assert.equal(step.authenticated, true)
    assert.equal(codes.length, 0)
    assert.equal(ring.codesSent, 1)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  })

  it('docs/api.md calls an API, and once more after a 401', async (t) => {
    const ring = await startRing(t)
    const manager = managerOf(t, ring)
    /** @type {any} */
    let sent
    const url = `${ring.apiUrl}/clients_api/ring_devices`
    const fetch = async (/** @type {string} */ url, /** @type {any} */ options) => {
      sent = options
      const { status } = await globalThis.fetch(url, options)
      assert.equal(status, 200, 'the API takes the request as it is shown')
      return { status: 401 }
    }
    const { response } = await run(snippet(PAGE, 'js', 'await fetch('), { manager, url, fetch })
    const accessToken = sent.headers.authorization.replace('Bearer ', '')
    assert.ok(ring.isAccessLive(accessToken))
    await run(snippet(PAGE, 'js', 'invalidateAccessToken(accessToken)'), { manager, response, accessToken })
    assert.notEqual(await manager.getAccessToken(), accessToken)
    assert.equal(ring.counts.rotations, 2)
  })

  it('docs/api.md waits for a login', async (t) => {
    const manager = managerOf(t, await startRing(t))
    /** @type {string[]} */
    const said = []
    await run(snippet(PAGE, 'js', 'manager.waitForLogin()'), {
      manager,
      console: { log: (/** @type {string} */ text) => said.push(text) },
    })
    await until(() => said.length > 0, 'the login')
  })

  it('docs/api.md subscribes, and ends the subscription', async (t) => {
    const ring = await startRing(t)
    const manager = managerOf(t, ring)
    /** @type {string[]} */
    const states = []
    await run(snippet(PAGE, 'js', 'manager.onStatus.subscribe('), {
      manager,
      console: { log: (/** @type {string} */ state) => states.push(state) },
    })
    await manager.getAccessToken()
    assert.deepEqual(states, [])
  })

  it('docs/api.md uses an observable with RxJS', async (t) => {
    const ring = await startRing(t)
    const manager = managerOf(t, ring)
    await manager.getAccessToken()
    const { firstValueFrom, from } = createRequire(join(root, '__test__', 'real', 'package.json'))('rxjs')
    const { newRefreshToken } = await run(snippet(PAGE, 'js', "from 'rxjs'"), { manager, firstValueFrom, from })
    assert.equal(newRefreshToken, manager.refreshToken)
  })

  it('docs/api.md has a manager that closes by itself', async (t) => {
    const ring = await startRing(t)
    // `await using` is newer than the oldest supported Node, so the test does by hand what it means.
    const source = snippet(PAGE, 'js', 'await using')
    assert.match(source, /^await using manager = new RingTokenManager\(options\) \/\/ .*\n$/)
    const { manager } = await run(source.replace('await using', 'const'), {
      RingTokenManager: managersOf(t, ring),
      options: {},
    })
    await manager[Symbol.asyncDispose]()
    await failure(manager.getAccessToken(), 'CLOSED')
  })

  it('docs/api.md looks into a token', async (t) => {
    const ring = await startRing(t)
    const manager = managerOf(t, ring)
    await manager.getAccessToken()
    const { raw, hardwareId, hasPushCredentials } = await run(snippet(PAGE, 'js', '= parseRefreshToken(token)'), {
      token: manager.refreshToken,
      parseRefreshToken,
    })
    assert.deepEqual([raw, hardwareId, hasPushCredentials], [ring.newest(), manager.hardwareId, false])
  })
})

describe('docs/errors.md', () => {
  it('docs/errors.md tells what passes by itself from what does not', async (t) => {
    const ring = await startRing(t)
    const source = snippet('docs/errors.md', 'js', 'instanceof RingAuthError')
      .replace('// Wait', "say('wait') // Wait")
      .replace('// A person', "say('act') // A person")
    /** @param {object} manager */
    const said = async (manager) => {
      /** @type {string[]} */
      const all = []
      const require = () => ({ RingAuthError })
      await new AsyncFunction('require', 'manager', 'say', source)(require, manager, (/** @type {string} */ word) =>
        all.push(word),
      )
      return all
    }
    const manager = managerOf(t, ring)
    assert.deepEqual(await said(manager), [])
    assert.deepEqual(await said(managerOf(t, ring, {})), ['act'])
    ring.fault(OUTAGE)
    assert.deepEqual(await said(managerOf(t, ring)), ['wait'])
    await assert.rejects(said({ getAccessToken: () => Promise.reject(new Error('another')) }), /another/)
  })

  it('docs/errors.md has the fields of the types', () => {
    const fields = rows(String(text('docs/errors.md').split('\n## ')[0])).flatMap(([field = '']) => quoted(field))
    assert.deepEqual(fields.toSorted(), ['message', ...membersOf('RingAuthError')].toSorted())
  })

  it('docs/errors.md has each code of the types, as transient and with the exit code that it has, and what to do', () => {
    const [, union = ''] = /^export type ErrorCode =\n((?: {2}\| '\w+'\n)+)/m.exec(types) ?? []
    const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => String(code))
    const known = [...text('src/error.rs').matchAll(/^ {4}row\(ErrorCode::\w+, "(\w+)", (true|false), (\d)\),$/gm)]
    const exits = new Map(known.map(([, code, , exit]) => [code, exit]))
    const transient = new Map(known.map(([, code, isTransient]) => [code, isTransient === 'true' ? 'yes' : 'no']))
    const expected = codes.map((code) => {
      const [, says = ''] = new RegExp(`^ \\* - \`${code}\`: (.*)$`, 'm').exec(types) ?? assert.fail(code)
      assert.equal(says.endsWith(' Transient.') ? 'yes' : 'no', transient.get(code), code)
      return [code, transient.get(code), exits.get(code)]
    })
    assert.ok(expected.length > 10)
    const table = rows(section('docs/errors.md', '## At a glance')).flatMap(([code = '', ...rest]) =>
      code.startsWith('[') ? [[...quoted(code), ...rest]] : [],
    )
    assert.deepEqual(
      table.map((row) => row.slice(0, 3)),
      expected,
    )
    for (const [code, , , next = ''] of table) assert.match(next, /^[A-Z].*\.$/, code)
    const headings = [...text('docs/errors.md').matchAll(/^## `(\w+)`$/gm)].map(([, code]) => code)
    assert.deepEqual(headings, codes)
    const shown = rows(section('docs/cli.md', '## Exit codes')).flatMap(([code = '']) =>
      /^\d+$/.test(code) ? [code] : [],
    )
    assert.deepEqual(
      shown,
      [...new Set(['0', '1', ...exits.values(), '130'])].sort((a, b) => Number(a) - Number(b)),
    )
  })
})

describe('docs/cli.md', { skip: posix }, () => {
  const PAGE = 'docs/cli.md'
  const PERSON = { email: EMAIL, password: PASSWORD }
  /** The absolute paths in these commands. Each is a folder of the test. */
  const inside = (/** @type {string} */ line, /** @type {string} */ folder) =>
    line.replace(/(?<=\s)(?=\/(?:data|var)\/)/g, folder)
  const lines = (/** @type {string} */ source) =>
    source
      .split('\n')
      .map((line) => line.replace(/ +# .*$/, ''))
      .filter((line) => line !== '')

  /**
   * A home with the commands that the page uses: that of this package, as if it were installed, and simple versions of others.
   * @param {TestContext} t
   * @param {Record<string, string>} [others]
   */
  async function house(t, others = {}) {
    const { ring, env: way } = await startRingCom(t, {
      accounts: [{ ...PERSON, twoFactor: 'sms', phone: '+1xxxxxxxx89' }],
    })
    const folder = tempDir(t)
    const bin = join(folder, 'bin')
    for (const name of ['bin', 'data', 'var/lib/homebridge', '.homebridge'])
      mkdirSync(join(folder, name), { recursive: true })
    const program = `exec '${process.execPath}' '${join(root, 'bin', 'ring-auth.js')}' "$@"`
    const commands = { 'ring-auth': program, npx: `shift; ${program}`, sudo: 'exec "$@"', ...others }
    for (const [name, source] of Object.entries(commands))
      writeFileSync(join(bin, name), `#!/bin/sh\n${inside(source, folder)}\n`, { mode: 0o755 })
    const env = { PATH: `${bin}${delimiter}${process.env['PATH']}`, HOME: folder, ...way }
    return {
      ring,
      folder,
      /** Runs a command with a person at the terminal. @param {string} line */
      login: (line) => logsIn(new Screen(t, 'sh', ['-c', inside(line, folder)], { env, cwd: folder }), ring, PERSON),
      /** @param {string} line */
      sh: (line) => {
        const child = runProcess(
          t,
          [
            '-e',
            "process.exit(require('node:child_process').spawnSync('sh', ['-c', process.argv[1]], { stdio: 'inherit' }).status ?? 1)",
            inside(line, folder),
          ],
          { cwd: folder, env },
        )
        child.process.stdin.end()
        return child.ended
      },
    }
  }

  it('docs/cli.md shows the dialogue of a login', async (t) => {
    const { ring, login } = await house(t)
    const [command = '', ...dialogue] = snippet(PAGE, '', '$ npx ring-auth').split('\n')
    const [first = ''] = lines(snippet(PAGE, '', '# or ring-auth where'))
    assert.equal(command, `$ ${first}`)
    const said = await login(first)
    const token = isTheDialogue(
      said.slice(said.indexOf('Email: ')).split(/\r*\n\r*\n(?=It is)/)[0] ?? '',
      dialogue.join('\n'),
    )
    assert.equal(rawOf(token), ring.newest())
  })

  it('docs/cli.md has commands for Homebridge that work', async (t) => {
    const { ring, folder, login } = await house(t)
    const [usual = '', named = '', block = '', ...others] = lines(snippet(PAGE, 'sh', 'login --homebridge '))
    assert.deepEqual(others, [])
    const [own, system] = [join(folder, '.homebridge', 'config.json'), join(folder, 'var/lib/homebridge/config.json')]
    const config = (/** @type {string[]} */ ...names) =>
      JSON.stringify({ platforms: names.map((name) => ({ platform: 'Ring', name })) })
    const tokens = (/** @type {string} */ path) =>
      JSON.parse(readFileSync(path, 'utf8')).platforms.map(
        (/** @type {any} */ { refreshToken }) => refreshToken && rawOf(refreshToken),
      )
    writeFileSync(own, config('House'))
    await login(usual)
    assert.deepEqual(tokens(own), [ring.newest()])
    writeFileSync(system, config('House'))
    await login(named)
    assert.deepEqual(tokens(system), [ring.newest()])
    writeFileSync(own, config('House', 'Garage'))
    await login(block)
    assert.deepEqual(tokens(own), [undefined, ring.newest()])
  })

  it('docs/cli.md has commands for a .env file that work', async (t) => {
    const { ring, folder, login, sh } = await house(t)
    const [first = '', refresh = '', ...others] = lines(snippet(PAGE, 'sh', 'login --dotenv'))
    assert.deepEqual(others, [])
    await login(first)
    const before = String(ring.newest())
    const { code, stderr } = await sh(refresh)
    assert.equal(code, 0, stderr)
    assert.ok(ring.inspect(before).spent)
    const [, shown] = /^RING_REFRESH_TOKEN=(\S+)$/m.exec(readFileSync(join(folder, '.env'), 'utf8')) ?? []
    assert.equal(rawOf(shown), ring.inspect(before).newest)
  })

  it('docs/cli.md explains all commands and options', () => {
    const { stdout } = spawnSync(process.execPath, [join(root, 'bin', 'ring-auth.js'), '--help'], { encoding: 'utf8' })
    const [commands = '', ...others] = text(PAGE).split('\n## ')
    const words = rows(commands).flatMap(([command = '']) => quoted(command))
    const options = others
      .filter((one) => one.startsWith('Options'))
      .flatMap((one) => rows(one).flatMap(([option = '']) => quoted(option).filter((word) => word.startsWith('--'))))
    assert.ok(words.length >= 6 && options.length >= 30, `${words} ${options}`)
    const [, ...names] = words.map((word) => word.split(' ').slice(0, 2).join(' '))
    assert.equal(words[0], 'ring-auth [login]')
    for (const word of [...names, ...options]) assert.ok(stdout.includes(word), word)
    const inHelp = [...stdout.matchAll(/^(?:Usage:| {6}) ring-auth (\w+)/gm)].map(([, name = '']) => name)
    assert.ok(inHelp.length >= 6, `${inHelp}`)
    for (const name of inHelp) assert.ok(names.includes(`ring-auth ${name}`), `docs/cli.md has no row for ${name}`)
    assert.deepEqual(Object.keys(JSON.parse(text('package.json')).bin), ['ring-auth'])
  })

  it('docs/cli.md logs in with a known code, and shows, rotates and forgets the token', async (t) => {
    const { ring, folder, sh } = await house(t)
    // As an authenticator app makes them.
    ring.accounts.get(EMAIL).twoFactor = 'totp'
    const [login = '', ...none] = lines(snippet(PAGE, 'sh', 'printf'))
    const [status = '', refresh = '', logout = '', ...others] = lines(snippet(PAGE, 'sh', 'ring-auth logout'))
    assert.deepEqual([none, others], [[], []])
    const variables = `PASSWORD='${PASSWORD}' CODE='${ring.codeFor(EMAIL)}'`
    const journal = join(folder, 'ring-auth.json')
    const done = await sh(`${variables}; ${login.replace('me@example.com', EMAIL)}`)
    assert.equal(done.code, 0, done.stderr)
    const first = rawOf(readJournal(journal).current.token)
    assert.equal(first, ring.newest())
    const requests = ring.requests.length
    assert.match((await sh(status)).stdout, /^State: +ready$/m)
    assert.equal(ring.requests.length, requests)
    assert.equal((await sh(refresh)).code, 0)
    assert.ok(ring.inspect(first).spent)
    assert.equal(rawOf(readJournal(journal).current.token), ring.inspect(first).newest)
    assert.equal((await sh(logout)).code, 0)
    const { current, loggedOutAt } = readJournal(journal)
    assert.deepEqual({ current, says: typeof loggedOutAt }, { current: null, says: 'number' })
  })

  it('docs/cli.md has commands for cron and curl that work', async (t) => {
    const { ring, folder, login, sh } = await house(t)
    const fetch = snippet(PAGE, 'sh', 'curl')
    assert.equal((await sh(fetch)).code, 3, 'without a login')
    await login(String(lines(snippet(PAGE, 'sh', 'login --state-file ~/'))[0]))
    for (const rotations of [0, 1]) {
      const before = ring.counts.rotations
      const { code, stdout, stderr } = await sh(fetch)
      assert.equal(code, 0, stderr)
      assert.match(stdout, /Front Door/, stderr)
      assert.equal(ring.counts.rotations, before + rotations)
      age(join(folder, '.ring.json'), 24 * 3_600_000)
    }
  })

  it('docs/cli.md has commands for a login without a person, a health check and a container that work', async (t) => {
    // The code is written after Ring has sent it.
    const { ring, folder, login, sh } = await house(t, {
      pass: `echo '${PASSWORD}'`,
      'wait-for-the-code': 'until [ -s /data/code ]; do sleep 0.05; done; cat /data/code',
      notify: 'echo "$@"',
      docker: 'while [ "$1" != image ]; do shift; done; shift; exec "$@"',
    })
    const check = snippet(PAGE, 'sh', 'notify')
    assert.equal((await sh(check)).stdout, 'Ring needs a login\n')

    const alone = sh(snippet(PAGE, 'sh', 'wait-for-the-code').replace('me@example.com', EMAIL))
    await until(() => ring.codesSent === 1, 'the code')
    writeFileSync(join(folder, 'data', 'code'), `${ring.codeFor(EMAIL)}\n`)
    const { code, stderr } = await alone
    assert.equal(code, 0, stderr)
    assert.equal(rawOf(readJournal(join(folder, 'data', 'ring.json')).current.token), ring.newest())
    assert.equal((await sh(check)).stdout, '')

    const before = ring.newest()
    await login(snippet(PAGE, 'sh', 'docker run').trim())
    assert.notEqual(ring.newest(), before)
    assert.equal(rawOf(readJournal(join(folder, 'data', 'ring.json')).current.token), ring.newest())
  })
})

describe('the other pages', () => {
  it('the other pages name scripts that exist', () => {
    const { scripts } = JSON.parse(text('package.json'))
    const commands = [
      snippet('docs/performance.md', 'sh', 'npm run bench'),
      snippet('CONTRIBUTING.md', 'sh', 'npm test'),
    ]
      .join('')
      .split('\n')
      .filter(Boolean)
    for (const command of commands) assert.ok(scripts[String(/^npm (?:run )?(\S+)$/.exec(command)?.[1])], command)
    for (const page of [...PAGES, 'docs/packages.md', 'docs/releasing.md']) {
      for (const [, script] of text(page).matchAll(/`npm run ([\w:-]+)/g))
        assert.ok(scripts[String(script)], `${page}: ${script}`)
    }
    // The example in CONTRIBUTING.md, and its sentences about these tests.
    for (const [file] of text('CONTRIBUTING.md').matchAll(/__test__\/[\w/.-]+\.mjs/g))
      assert.ok(existsSync(join(root, file)), file)
  })

  it('the other pages show how the fake Ring is started', async (t) => {
    const PAGE = '__test__/fake-ring/README.md'
    const source = snippet(PAGE, 'js', 'FakeRing.start(')
    const made = await run(source.replace(/;$/gm, '').replace('await ring.close()', ''), { FakeRing })
    atEnd(t, 'server', () => made.ring.close())
    assert.equal(made.ring.counts.stalePresentations, 0)
    assert.ok(made.ring.isLive(made.raw))
    const words = [
      ...snippet(PAGE, '', 'cli.mjs')
        .trim()
        .matchAll(/'([^']*)'|(\S+)/g),
    ]
      .map(([, quoted, word]) => quoted ?? String(word))
      .slice(1)
    const child = runProcess(t, words, {})
    const { oauthUrl, pid } = JSON.parse(await until(() => /^.*(?=\n)/.exec(child.stdout())?.[0], 'its line'))
    assert.equal((await fetch(`${oauthUrl}/__fake/state`)).status, 200)
    assert.equal(pid, child.process.pid)
    child.process.kill('SIGTERM')
    // On a system without signals, the process was ended from outside.
    assert.equal((await child.ended).code, signals ? null : 0)
  })
})

describe('these pages', () => {
  it('the pages of reference.test.mjs show nothing that was not run', { skip: posix }, () => {
    assert.deepEqual(
      snippets.filter(({ isRun }) => !isRun),
      [],
    )
    assert.ok(snippets.length >= 26, String(snippets.length))
  })

  for (const page of ['CONTRIBUTING.md', 'CHANGELOG.md', 'examples/README.md', '__test__/fake-ring/README.md']) {
    it(`${page} has no dead link`, () => assertLinks(page))
  }
})
