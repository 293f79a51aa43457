// @ts-check
// Runs each snippet of the pages on stores, Homebridge, containers and migrating unchanged, except for the
// servers and the folders. The last tests fail if a snippet was not run.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { describe, it } from 'node:test'
import {
  age,
  atEnd,
  EMAIL,
  failure,
  linkPackage,
  open,
  PASSWORD,
  rawOf,
  RingTokenManager,
  root,
  runProcess,
  startRing,
  tempDir,
  until,
  unwrap,
  wrap,
} from './support/index.mjs'
import { assertLinks, fenced, rows, take, text } from './support/pages.mjs'
import { HOMEBRIDGE } from './support/plugin.mjs'
import { mounts, shell as posix } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./support/index.mjs').FakeRing} FakeRing */

const PAGES = ['stores', 'homebridge', 'homebridge-plugins', 'docker', 'migrating']
const CLI = join(root, 'bin', 'ring-auth.js')
const HELP = spawnSync(process.execPath, [CLI, '--help'], { encoding: 'utf8' }).stdout
/** The absolute paths in the documents. Each is a folder of the test. */
const ABSOLUTE = ['/homebridge', '/data', '/state', '/srv/homebridge', '/var/lib/homebridge']

const snippets = PAGES.flatMap((page) =>
  fenced(`docs/${page}.md`)
    // Not whole programs, and changes of another project: real/rest-client.test.mjs runs these beside ring-client-api.
    .filter(({ language, text }) => language !== 'diff' && !/^\/\/ [\w-]+\.mjs$/m.test(text.split('\n')[0] ?? '')),
)

/** @param {string} page @param {string} language @param {string[]} words */
const snippet = (page, language, ...words) => take(snippets, `docs/${page}.md`, language, ...words)

/** Code with the paths of the documents moved into a folder, with slashes on every system. @param {string} source @param {string} folder */
function inside(source, folder) {
  const paths = new RegExp(String.raw`(?<=[\s'"=]|^)(?=(?:${ABSOLUTE.join('|')})(?:[/'"\s]|$))`, 'gm')
  return source.replace(paths, folder.replaceAll('\\', '/'))
}

/** A config.json with one block. @param {string} token @param {string} [platform] */
const config = (token, platform = 'ExampleRing') =>
  `${JSON.stringify({ bridge: { name: 'H' }, platforms: [{ platform, name: 'Ring', refreshToken: token }] }, null, 4)}\n`

/** @param {string} path @returns {string} */
const shownIn = (path) => JSON.parse(readFileSync(path, 'utf8')).platforms.at(-1).refreshToken

/** @param {string} path @param {string} content */
function put(path, content) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

/**
 * Runs JavaScript from a page, with these names in scope, and returns the manager that it makes, if it makes one.
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {string} folder
 * @param {string} source
 * @param {Record<string, unknown>} [scope]
 * @returns {Promise<RingTokenManager>}
 */
async function run(t, ring, folder, source, scope = {}) {
  /** A manager that uses the fake Ring, and whose relative paths lead into the folder. */
  class Manager extends RingTokenManager {
    /** @param {any} options */
    constructor(options) {
      const store = options.store && Object.assign(Object.create(options.store), options.store)
      for (const name of ['path', 'configPath', 'statePath']) {
        if (store?.[name] && !isAbsolute(store[name])) store[name] = join(folder, store[name])
      }
      super({
        ...options,
        ...(store ? { store: { ...store } } : {}),
        oauthUrl: ring.oauthUrl,
        apiUrl: ring.apiUrl,
        systemId: 'test-system',
      })
      atEnd(t, 'manager', () => this.close())
    }
  }
  const AsyncFunction = /** @type {any} */ (async () => {}).constructor
  const names = { RingTokenManager: Manager, ...scope }
  const made = /\bmanager = /.test(source) ? '\nreturn manager' : ''
  return new AsyncFunction(...Object.keys(names), inside(source, folder) + made)(...Object.values(names))
}

/** A database of a few lines. @param {string} [token] */
function database(token) {
  /** @type {Map<string, string>} */
  const kept = new Map(token === undefined ? [] : [['ring-token', token]])
  return {
    get: (/** @type {string} */ key) => kept.get(key),
    set: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
  }
}

describe('docs/stores.md', () => {
  it('docs/stores.md: a file of its own', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const source = snippet('stores', 'js', "type: 'file'")
    const manager = await run(t, ring, folder, source)
    await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    await manager.setRefreshToken(ring.mint())
    const other = await run(t, ring, folder, source)
    assert.equal(await other.getAccessToken(), await manager.getAccessToken(), 'it may be shared')
    assert.equal(ring.counts.refreshes, 1)
    assert.ok(existsSync(join(folder, 'ring-auth.json')))
  })

  it("docs/stores.md: Homebridge's config.json", async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const path = join(folder, 'var/lib/homebridge/config.json')
    for (const platform of ['ExampleRing', 'homebridge-example.ExampleRing']) {
      put(path, config(ring.mint(), platform))
      const manager = await run(t, ring, folder, snippet('stores', 'js', "type: 'homebridge'"))
      await manager.refresh()
      assert.equal(readFileSync(path, 'utf8'), config(String(manager.refreshToken), platform))
      await manager.close()
    }
  })

  it('docs/stores.md: a .env file', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    writeFileSync(join(folder, '.env'), `A=1\nRING_REFRESH_TOKEN='${ring.mint()}' # ours\n`)
    const manager = await run(t, ring, folder, snippet('stores', 'js', "type: 'dotenv'"))
    await manager.refresh()
    await manager.refresh()
    assert.equal(
      readFileSync(join(folder, '.env'), 'utf8'),
      `A=1\nRING_REFRESH_TOKEN='${manager.refreshToken}' # ours\n`,
    )
    assert.deepEqual(readdirSync(folder).sort(), ['.env', '.ring-auth'])
    assert.equal(readFileSync(join(folder, '.ring-auth', '.gitignore'), 'utf8'), '*\n')
  })

  it('docs/stores.md: code of your own, with a journal and without one', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    for (const [source, hasJournal] of /** @type {const} */ ([
      [snippet('stores', 'js', 'oldRefreshToken'), true],
      [snippet('stores', 'js', 'save: (newRefreshToken) =>'), false],
    ])) {
      const kept = database(ring.mint())
      const manager = await run(t, ring, folder, source, { database: kept })
      assert.equal(manager.refreshToken, null, 'until the first call')
      await manager.refresh()
      assert.equal(kept.get('ring-token'), manager.refreshToken)
      await manager.close()
      const names = hasJournal ? ['ring-auth.json', 'ring-auth.json.lock'] : undefined
      if (names) assert.deepEqual(readdirSync(join(folder, 'ring-auth-state')).sort(), names)
    }
    assert.deepEqual(readdirSync(folder), ['ring-auth-state'])
  })

  it('docs/stores.md: memory', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const manager = await run(t, ring, folder, snippet('stores', 'js', 'process.env.RING_REFRESH_TOKEN'), {
      process: { env: { RING_REFRESH_TOKEN: ring.mint() } },
    })
    await manager.getAccessToken()
    assert.equal(manager.status.persisted, false)
    assert.deepEqual(readdirSync(folder), [])
  })

  it('docs/stores.md: a file that cannot be written is reported', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const path = join(folder, 'config.json')
    writeFileSync(path, config(ring.mint()))
    const manager = await run(
      t,
      ring,
      folder,
      "const manager = new RingTokenManager({ store: { type: 'homebridge', configPath: 'config.json', platform: 'ExampleRing' } })",
    )
    /** @type {string[]} */
    const said = []
    await run(t, ring, folder, snippet('stores', 'js', 'onStatus'), {
      manager,
      console: { warn: (/** @type {string} */ line) => said.push(line) },
    })
    await manager.refresh()
    writeFileSync(path, '{ "platforms": [')
    await manager.refresh()
    await until(() => said.length > 0, 'the warning')
    assert.match(String(said[0]), /^The token is safe, but not where people look for it: .*not valid JSON/)
  })
})

describe('docs/homebridge-plugins.md', () => {
  it('docs/homebridge-plugins.md has a plugin that starts, keeps its block current, and stops', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const block = snippet('homebridge', 'json', '"platforms"')
    const first = ring.mint()
    const whole = (/** @type {string} */ token) => block.replace('eyJydCI6ImV5…', () => token)
    writeFileSync(join(folder, 'config.json'), whole(first))
    writeFileSync(join(folder, 'plugin.cjs'), snippet('homebridge-plugins', 'js', 'registerPlatform'))
    writeFileSync(join(folder, 'homebridge.cjs'), HOMEBRIDGE)
    const env = installed(folder, ring)
    const start = async () => {
      const { code, stdout, stderr } = await runProcess(t, ['homebridge.cjs'], { cwd: folder, env }).ended
      assert.equal(code, 0, stderr)
      return JSON.parse(stdout)
    }
    const one = await start()
    assert.deepEqual(one.status, { state: 'ready', persisted: true })
    assert.ok(
      one.lines.every((/** @type {string[]} */ [level]) => level !== 'error'),
      JSON.stringify(one.lines),
    )
    assert.equal(readFileSync(join(folder, 'config.json'), 'utf8'), whole(one.token))
    assert.notEqual(rawOf(one.token), first)

    // An old copy comes back, then a text that cannot be a token, and then two blocks: errors of the constructor do not reach
    // Homebridge.
    for (const odd of [first, 'two words', '']) {
      writeFileSync(join(folder, 'config.json'), whole(odd))
      assert.equal((await start()).token, one.token, odd)
      assert.equal(readFileSync(join(folder, 'config.json'), 'utf8'), whole(one.token), odd)
    }
    const twice = JSON.parse(whole(one.token))
    twice.platforms.push({ ...twice.platforms[0] })
    writeFileSync(join(folder, 'config.json'), JSON.stringify(twice))
    const { code, stderr } = await runProcess(t, ['homebridge.cjs'], { cwd: folder, env }).ended
    assert.equal(code, 0, stderr)
    assert.equal(ring.counts.stalePresentations, 0)
  })
})

describe('docs/docker.md', () => {
  const single = () => snippet('docker', 'js', "statePath: '/state'")
  /** @type {[string, () => string, () => string][]} */
  const services = [
    [
      "Homebridge's image",
      () => snippet('docker', 'yaml', './volumes/homebridge:/homebridge'),
      () => single().replace(", statePath: '/state'", ''),
    ],
    [
      'a service of your own',
      () => snippet('docker', 'yaml', './data:/data'),
      () => snippet('docker', 'js', "type: 'file'"),
    ],
    ['a single file', () => snippet('docker', 'yaml', '/homebridge/config.json\n'), single],
    ['a read-only config', () => snippet('docker', 'yaml', '/homebridge/config.json:ro'), single],
  ]
  for (const [what, compose, source] of services) {
    it(`docs/docker.md, ${what}: a container that is created again continues`, { skip: mounts }, async (t) => {
      const ring = await startRing(t)
      const host = tempDir(t)
      const volumes = [...compose().matchAll(/^ +- \.\/(\S+?):(\/\S+?)(:ro)?$/gm)].map(
        ([, from = '', to = '', ro]) => ({ from: join(host, from), to, isReadOnly: ro !== undefined }),
      )
      assert.ok(volumes.length > 0)
      const first = ring.mint()
      const visible = volumes.find(({ to }) => to.startsWith('/homebridge'))
      const configPath = visible && (visible.to === '/homebridge' ? join(visible.from, 'config.json') : visible.from)
      for (const { from } of volumes) if (!from.endsWith('.json')) mkdirSync(from, { recursive: true })
      if (configPath) writeFileSync(configPath, config(first))

      // The container: a new folder each time, with the mounts in it. Only the mounts outlive it. Its paths
      // are the same each time, as those of a container are.
      const boxes = tempDir(t)
      const start = async () => {
        const box = join(boxes, 'box')
        spawnSync('rm', ['-rf', box])
        const mounts = volumes.map(({ from, to, isReadOnly }) => {
          const target = join(box, to)
          if (from.endsWith('.json')) put(target, '')
          else mkdirSync(target, { recursive: true })
          return `mount --bind '${from}' '${target}'${isReadOnly ? ` && mount -o remount,ro,bind '${target}'` : ''}`
        })
        const script = join(boxes, 'start.mjs')
        const options = {
          oauthUrl: ring.oauthUrl,
          apiUrl: ring.apiUrl,
          systemId: 'test-system',
          refreshToken: configPath ? undefined : first,
        }
        writeFileSync(
          script,
          `
          import * as ours from ${JSON.stringify(new URL('../index.js', import.meta.url).href)}
          class RingTokenManager extends ours.RingTokenManager {
            constructor(options) { super({ ...${JSON.stringify(options)}, ...options }) }
          }
          ${inside(source(), box)}
          await manager.getAccessToken()
          await manager.close()
          const { refreshToken, hardwareId, status } = manager
          console.log(JSON.stringify({ refreshToken, hardwareId, status }))
        `,
        )
        const child = runProcess(
          t,
          [
            '-e',
            `
          const { spawnSync } = require('node:child_process')
          const { status } = spawnSync('unshare', ${JSON.stringify([...namespace(), 'sh', '-c', `${mounts.join(' && ')} && exec "$0" "$1"`, process.execPath, script])}, { stdio: 'inherit' })
          process.exit(status ?? 1)
        `,
          ],
          {},
        )
        const { code, stdout, stderr } = await child.ended
        assert.equal(code, 0, stderr)
        return JSON.parse(stdout)
      }
      const one = await start()
      assert.equal(ring.counts.refreshes, 1)
      const two = await start()
      assert.equal(ring.counts.refreshes, 1, 'it had a valid access token')
      assert.deepEqual([two.refreshToken, two.hardwareId], [one.refreshToken, one.hardwareId])
      assert.equal(two.status.persisted, true)
      const isReadOnly = visible?.isReadOnly
      assert.equal(two.status.code, isReadOnly ? 'STORE' : undefined)
      if (configPath) assert.equal(rawOf(shownIn(configPath)), isReadOnly ? first : rawOf(two.refreshToken))
      if (configPath && !isReadOnly) {
        // A backup of the file alone is recognised as old.
        writeFileSync(configPath, config(first))
        assert.equal((await start()).refreshToken, two.refreshToken)
        assert.equal(shownIn(configPath), two.refreshToken)
      }
      if (configPath && visible?.to === '/homebridge') {
        const outside = open(t, ring, { store: { type: 'homebridge', configPath, platform: 'ExampleRing' } })
        await outside.manager.getAccessToken()
        assert.equal(ring.counts.refreshes, 1, 'from the host it is the same journal')
      }
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('docs/docker.md has a health check that fails if a login is needed', {
    skip: posix,
  }, async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const command = snippet('docker', 'dockerfile', 'HEALTHCHECK').replace(/^HEALTHCHECK CMD /, '')
    mkdirSync(join(folder, 'data'))
    assert.equal((await shell(t, command, folder, ring)).code, 3)
    const manager = await run(t, ring, folder, snippet('docker', 'js', "type: 'file'"))
    await manager.setRefreshToken(ring.mint())
    await manager.getAccessToken()
    const { code, stdout } = await shell(t, command, folder, ring)
    assert.deepEqual([code, stdout], [0, ''])
  })

  it('docs/docker.md has a backup without the journal', { skip: posix }, async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    put(join(folder, 'volumes/homebridge/config.json'), '{}')
    put(join(folder, 'volumes/homebridge/.ring-auth/j.json'), '{}')
    const command = snippet('docker', 'sh', 'tar -czf')
    const { code, stdout, stderr } = await shell(t, `${command}tar -tzf homebridge.tar.gz`, folder, ring)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /config\.json/)
    assert.doesNotMatch(stdout, /ring-auth/)
  })
})

describe('docs/migrating.md', () => {
  it('docs/migrating.md takes an existing token by an option', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const hid = '11111111-2222-4333-8444-555555555555'
    const given = wrap({ rt: ring.mint(), hid, pnc: { fcm: { token: 'x' } } })
    const source = snippet('migrating', 'js', 'refreshToken: process.env.RING_REFRESH_TOKEN')
    const scope = { process: { env: { RING_REFRESH_TOKEN: given } } }
    const manager = await run(t, ring, folder, source, scope)
    await manager.refresh()
    assert.deepEqual(
      { ...unwrap(manager.refreshToken), rt: '' },
      { ...unwrap(given), rt: '' },
      'device id and push credentials stay',
    )
    await manager.close()
    age(join(folder, 'ring-auth.json'), 24 * 3_600_000)
    const again = await run(t, ring, folder, source, scope)
    await again.getAccessToken()
    assert.equal(ring.counts.stalePresentations, 0, 'the option may stay as it is')
  })

  it('docs/migrating.md takes an existing token by standard input', { skip: posix }, async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const { code, stdout, stderr } = await shell(t, snippet('migrating', 'sh', '--refresh-token-stdin'), folder, ring, {
      env: { RING_REFRESH_TOKEN: ring.mint() },
    })
    assert.equal(code, 0, stderr)
    assert.ok(ring.isAccessLive(stdout.trim()))
  })

  it('docs/migrating.md shows the answer of a login, which is that of ring-auth-cli', { skip: posix }, async (t) => {
    const [ring, folder] = [
      await startRing(t, { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'none' }] }),
      tempDir(t),
    ]
    const [before = '', after = ''] = snippet('migrating', '', '"refreshToken"').trim().split('eyJydCI6ImV5…')
    const { code, stdout, stderr } = await shell(t, 'npx ring-auth --email "$EMAIL" --password-stdin', folder, ring, {
      input: PASSWORD,
      env: { EMAIL },
    })
    assert.equal(code, 0, stderr)
    const line = stdout.split('\n').find((line) => line.startsWith(before) && line.endsWith(after))
    assert.ok(line, stdout)
    assert.ok(ring.isLive(rawOf(line.slice(before.length, line.length - after.length))))
    const names = ['package.json', 'npm/ring-auth-cli/package.json'].flatMap((name) =>
      Object.keys(JSON.parse(text(name)).bin),
    )
    assert.deepEqual(names, ['ring-auth', 'ring-auth-cli'])
  })

  it('docs/migrating.md shows code that loses a token, and code that does not', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const path = join(folder, 'config.json')
    const first = ring.mint()
    writeFileSync(path, config(first))
    /** @type {((update: object) => void)[]} */
    const listeners = []
    const ringApi = { onRefreshTokenUpdated: { subscribe: (/** @type {any} */ listener) => listeners.push(listener) } }
    await run(t, ring, folder, snippet('migrating', 'js', 'text.replace'), {
      ringApi,
      configPath: path,
      readFileSync,
      writeFileSync,
    })
    // The second of two rotations comes before the first one was written, or only the last one is replayed.
    listeners[0]?.({ oldRefreshToken: 'between', newRefreshToken: 'newest' })
    assert.equal(shownIn(path), first, 'nothing is found, and nothing is reported')

    /** @type {string[]} */
    const said = []
    const log = Object.fromEntries(
      ['error', 'warn', 'info', 'debug'].map((level) => [level, (/** @type {string} */ message) => said.push(message)]),
    )
    const manager = await run(t, ring, folder, snippet('migrating', 'js', 'name: config.name'), {
      configPath: path,
      config: JSON.parse(readFileSync(path, 'utf8')).platforms[0],
      log,
    })
    await manager.refresh()
    assert.equal(shownIn(path), manager.refreshToken)
    assert.ok(said.length > 0, 'the logger is wired')
  })

  it('docs/migrating.md takes over the block of homebridge-ring', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const path = join(folder, 'config.json')
    writeFileSync(path, config(ring.mint(), 'Ring'))
    const manager = await run(t, ring, folder, snippet('migrating', 'js', 'configPath: api.user.configPath() }'), {
      api: { user: { configPath: () => path } },
    })
    await manager.refresh()
    assert.equal(readFileSync(path, 'utf8'), config(String(manager.refreshToken), 'Ring'))
  })

  it('docs/migrating.md takes over a .env', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    writeFileSync(join(folder, '.env'), `A=1\r\nRING_REFRESH_TOKEN=${ring.mint()}\r\n`)
    const manager = await run(t, ring, folder, snippet('migrating', 'js', "type: 'dotenv'"))
    await manager.refresh()
    assert.equal(readFileSync(join(folder, '.env'), 'utf8'), `A=1\r\nRING_REFRESH_TOKEN=${manager.refreshToken}\r\n`)
  })
})

describe('the commands in these pages', { skip: posix }, () => {
  /** The commands that log in. A test answers their questions on standard input. */
  const logins = snippets.filter(
    ({ language, text }) => language === 'sh' && text.includes('ring-auth login --homebridge'),
  )
  for (const login of logins) {
    const command = login.text.trim()
    it(`${login.page}: ${command}`, async (t) => {
      login.isRun = true
      const [ring, folder] = [
        await startRing(t, { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'none' }] }),
        tempDir(t),
      ]
      const path = join(folder, /--homebridge (\/\S+)/.exec(command)?.[1] ?? 'homebridge/config.json')
      put(path, config('', 'Other'))
      // Without a path, the command uses the storage path that Homebridge's own variables name.
      const env = { EMAIL, UIX_STORAGE_PATH: dirname(path) }
      const bare = command.replace(/^(?:sudo|docker exec -it homebridge) /, '')
      const { code, stderr } = await shell(t, `${bare} --email "$EMAIL" --password-stdin`, folder, ring, {
        input: PASSWORD,
        env,
      })
      assert.equal(code, 0, stderr)
      const token = shownIn(path)
      assert.equal(JSON.parse(readFileSync(path, 'utf8')).platforms.at(-1).platform, 'ExampleRing')
      assert.ok(ring.isLive(rawOf(token)))
      const state = command.includes('--state-dir') ? join(folder, 'state') : join(dirname(path), '.ring-auth')
      assert.ok(
        readdirSync(state).some((name) => name.endsWith('.json')),
        'the journal is where the page says',
      )
    })
  }

  it('the status command of docs/homebridge.md works and sends nothing', async (t) => {
    const [ring, folder] = [await startRing(t), tempDir(t)]
    const path = join(folder, 'homebridge', 'config.json')
    put(path, config(ring.mint()))
    const manager = await run(
      t,
      ring,
      folder,
      `const manager = new RingTokenManager({ store: { type: 'homebridge', configPath: 'homebridge/config.json', platform: 'ExampleRing' } })`,
    )
    await manager.refresh()
    const requests = ring.requests.length
    const { code, stderr } = await shell(t, snippet('homebridge', 'sh', 'ring-auth status'), folder, ring, {
      env: { UIX_STORAGE_PATH: dirname(path) },
    })
    assert.equal(code, 0, stderr)
    assert.equal(ring.requests.length, requests)
  })
})

describe('these pages', () => {
  it('the pages of docs.test.mjs show nothing that was not run', { skip: mounts }, () => {
    const left = snippets.filter(({ isRun }) => !isRun)
    assert.deepEqual(left, [])
    assert.ok(snippets.length >= 25, String(snippets.length))
  })

  it('the pages of docs.test.mjs name only options that the help or docs/cli.md explains', () => {
    const explained = HELP + text('docs/cli.md')
    for (const page of PAGES) {
      for (const [, line = ''] of text(`docs/${page}.md`).matchAll(
        /\bring-auth ((?:login|token|refresh|status|logout)[^`\n]*)/g,
      )) {
        for (const [option] of line.matchAll(/(?<= )--[\w-]+/g)) {
          assert.ok(explained.includes(option), `${page}: ${option}`)
        }
      }
    }
  })

  const names = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
  for (const name of names) {
    it(`docs/${name} has no dead link`, () => assertLinks(`docs/${name}`))
  }

  it('all pages of docs are in the index', () => {
    const index = rows(text('docs/README.md')).flatMap(([link = '']) => /\]\(([\w-]+\.md)\)/.exec(link)?.[1] ?? [])
    assert.deepEqual(index.toSorted(), names.filter((name) => name !== 'README.md').toSorted())
  })
})

/**
 * The options of `unshare` with which this user may mount something.
 * @returns {string[]}
 */
function namespace() {
  // Root needs a mount namespace; other users need a user namespace too.
  const kinds = [['--mount'], ['--mount', '--user', '--map-root-user']]
  const works = kinds.find((kind) => spawnSync('unshare', [...kind, 'true']).status === 0)
  if (!works)
    throw new Error(
      'This machine does not let this user mount anything in a namespace (unshare). Run the tests as root.',
    )
  return works
}

/**
 * A folder in which this tree is installed as `ring-auth`, with the fake Ring as the default, because the snippets name no server.
 * @param {string} folder
 * @param {FakeRing} ring
 * @returns {NodeJS.ProcessEnv}
 */
function installed(folder, ring) {
  const modules = join(folder, 'node_modules')
  mkdirSync(modules, { recursive: true })
  linkPackage(root, modules, 'ring-auth')
  const preload = join(modules, 'preload.cjs')
  writeFileSync(
    preload,
    `
    const ours = require('ring-auth')
    const { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: apiUrl } = process.env
    ours.RingTokenManager = class RingTokenManager extends ours.RingTokenManager {
      constructor(options) { super({ ...options, oauthUrl, apiUrl }) }
    }
  `,
  )
  return { ...surroundings(folder, ring), NODE_OPTIONS: `--require ${JSON.stringify(preload)}` }
}

/** An environment without the settings of the user who runs the tests. @param {string} folder @param {FakeRing} ring @returns {NodeJS.ProcessEnv} */
function surroundings(folder, ring) {
  const { PATH, SystemRoot } = process.env
  return { PATH, SystemRoot, HOME: folder, RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl }
}

/**
 * Runs a line as a shell does, in a folder in which `npx ring-auth` is the command of this tree.
 * @param {TestContext} t
 * @param {string} line
 * @param {string} folder
 * @param {FakeRing} ring
 * @param {{ input?: string, env?: NodeJS.ProcessEnv }} [how]
 */
function shell(t, line, folder, ring, { input = '', env = {} } = {}) {
  const npx = `npx() { shift; ${JSON.stringify(process.execPath)} ${JSON.stringify(CLI)} "$@"; }`
  const child = runProcess(
    t,
    [
      '-e',
      `
    const { status } = require('node:child_process').spawnSync('sh', ['-c', process.argv[1]], { stdio: 'inherit' })
    process.exit(status ?? 1)
  `,
      `${npx}\n${inside(line, folder)}`,
    ],
    { cwd: folder, env: { ...surroundings(folder, ring), ...env } },
  )
  child.process.stdin.end(input)
  return child.ended
}
