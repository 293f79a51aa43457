// @ts-check
// A journal that disappears while a manager runs is no logout: the manager keeps and returns the token in memory, and Ring
// sends no code.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RingRestClient } from '../lib/ring-client-api/rest-client.js'
import {
  EMAIL,
  PASSWORD,
  atEnd,
  failure,
  fileStore,
  open,
  optionsFor,
  rawOf,
  readJournal,
  root,
  runScript,
  startRing,
  tempDir,
  wrap,
} from './support/index.mjs'
import { canRun, mounts, needs } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const withoutGit = needs('git', () => canRun('git', ['--version']))

/** A folder with a git repository, and a file in it that git does not track. @param {TestContext} t */
function project(t) {
  const folder = tempDir(t)
  const git = (/** @type {string[]} */ ...args) => execFileSync('git', ['-C', folder, ...args], { stdio: 'pipe' })
  git('init', '-q')
  writeFileSync(join(folder, '.gitignore'), 'data/\n')
  git('add', '.gitignore')
  return { folder, git }
}

/**
 * The command that runs a program in a mount namespace of its own, as far as this user may.
 * @returns {string[] | undefined}
 */
function namespace() {
  if (mounts) return undefined
  const kinds = [
    ['-m', '--propagation', 'private'],
    ['-r', '-m', '--propagation', 'private'],
  ]
  return kinds.find((kind) => spawnSync('unshare', [...kind, 'true']).status === 0)
}

describe('a journal that is gone without a logout', { concurrency: true }, () => {
  it('a journal that git clean -fdx removed beside a mirror is written again before the next request', {
    skip: withoutGit,
  }, async (t) => {
    const ring = await startRing(t)
    const { folder, git } = project(t)
    const path = join(folder, '.env')
    writeFileSync(path, `A=1\nRING_REFRESH_TOKEN=${wrap({ rt: ring.mint() })}\n`)
    git('add', '.env')
    const { manager, said } = open(t, ring, { store: { type: 'dotenv', path } })
    await manager.refresh()
    const { accessToken } = await manager.refresh()
    git('clean', '-fdxq')
    assert.ok(!existsSync(join(folder, '.ring-auth')))
    assert.equal(await manager.getAccessToken(), accessToken)
    const { refreshToken } = await manager.refresh()
    assert.match(said(), /although there was no logout/)
    assert.ok(readFileSync(path, 'utf8').includes(refreshToken))
    assert.equal(readFileSync(join(folder, '.ring-auth', '.gitignore'), 'utf8'), '*\n')
    const [journal] = readdirSync(join(folder, '.ring-auth')).filter((name) => name.endsWith('.json'))
    assert.equal(readJournal(join(folder, '.ring-auth', String(journal))).current.token, refreshToken)
    assert.equal(manager.status.persisted, true)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal that git clean -fdx removed with its folder is STORE until the folder is back', {
    skip: withoutGit,
  }, async (t) => {
    const ring = await startRing(t)
    const { folder, git } = project(t)
    const path = join(folder, 'data', 'ring.json')
    mkdirSync(join(folder, 'data'))
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    const { accessToken, refreshToken } = await manager.refresh()
    git('clean', '-fdxq')
    const posts = ring.counts.tokenPosts
    for (let i = 0; i < 3; i++) {
      const error = await failure(manager.refresh({ force: true }), 'STORE')
      assert.match(error.message, /its folder is gone/)
      assert.equal(await manager.getAccessToken(), accessToken)
      assert.equal(manager.refreshToken, refreshToken)
      assert.equal(manager.status.state, 'ready')
      assert.equal(manager.status.code, 'STORE')
    }
    assert.equal(ring.counts.tokenPosts, posts, 'nothing is sent')
    assert.deepEqual(readdirSync(folder).sort(), ['.git', '.gitignore'], 'nothing is made')
    mkdirSync(join(folder, 'data'))
    await manager.refresh()
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal in a folder that was renamed is STORE, and is used again when the folder has its name back', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const path = join(folder, 'data', 'ring.json')
    mkdirSync(join(folder, 'data'))
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    await manager.refresh()
    renameSync(join(folder, 'data'), join(folder, 'moved'))
    await failure(manager.refresh(), 'STORE')
    renameSync(join(folder, 'moved'), join(folder, 'data'))
    await manager.refresh()
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
    assert.equal(manager.status.code, undefined)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal that is gone without a logout is no reason for a login: the drop-in with e-mail and password causes no code', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const path = join(folder, 'data', 'ring.json')
    mkdirSync(join(folder, 'data'))
    const given = wrap({ rt: ring.mint() })
    const first = open(t, ring, { refreshToken: given, store: fileStore(path) })
    await first.manager.refresh()
    await first.manager.close()
    const options = { email: EMAIL, password: PASSWORD, ...optionsFor(ring), store: fileStore(path) }
    const client = new RingRestClient(/** @type {any} */ (options))
    atEnd(t, 'manager', () => client.close())
    await client.getCurrentAuth()
    renameSync(join(folder, 'data'), join(folder, 'moved'))
    const logins = () => ring.tokenRequests.filter((request) => request.form['grant_type'] === 'password').length
    await failure(client.getAuth(), 'STORE')
    await client.getCurrentAuth()
    await failure(client.getAuth(), 'STORE')
    assert.equal(logins(), 0)
    assert.equal(ring.codeFor(), undefined, 'Ring sent no code')
    renameSync(join(folder, 'moved'), join(folder, 'data'))
    await client.getAuth()
    assert.equal(logins(), 0)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  const words = namespace()
  for (const type of ['file', 'dotenv']) {
    it(`a journal on a volume that is not mounted, or that another one replaces, is STORE until the volume is back (${type} store)`, {
      skip: mounts || needs('the right to make a mount namespace', () => words !== undefined),
    }, async (t) => {
      const ring = await startRing(t)
      const folder = tempDir(t)
      for (const name of ['volume', 'data']) mkdirSync(join(folder, name))
      const path = join(folder, 'data', type === 'file' ? 'ring.json' : '.env')
      const options = optionsFor(ring, { refreshToken: ring.mint(), store: { type, path } })
      const inner = `
          import { execFileSync } from 'node:child_process'
          import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
          const { RingTokenManager } = await import(${JSON.stringify(join(root, 'index.js'))}).then((m) => m.default)
          const options = JSON.parse(process.env.TEST_CONFIG)
          const run = (...words) => execFileSync(words[0], words.slice(1), { stdio: 'pipe' })
          const data = ${JSON.stringify(join(folder, 'data'))}
          const volume = ${JSON.stringify(join(folder, 'volume'))}
          run('mount', '-t', 'tmpfs', 'none', volume)
          const mount = () => run('mount', '--bind', volume, data)
          mount()
          const { type, path } = options.store
          if (type === 'dotenv') writeFileSync(path, 'A=1\\n')
          const manager = new RingTokenManager(options)
          const { accessToken } = await manager.refresh()
          const seen = []
          const look = async (what) => {
            const error = await manager.refresh({ force: true }).then(() => 'rotated', (error) => error.code)
            const served = (await manager.getAccessToken()) === accessToken
            seen.push([what, error, served, manager.status.state, readdirSync(data).join()])
          }
          run('umount', data)
          await look('not mounted')
          run('mount', '-t', 'tmpfs', 'none', data)
          await look('another volume')
          run('umount', data)
          mount()
          const { refreshToken } = await manager.refresh()
          const stored = readFileSync(path, 'utf8').includes(refreshToken)
          seen.push(['back', stored, manager.status.code ?? 'well', manager.status.persisted])
          // The writes of a second later, and of the end, do not go to the mount point of the volume either.
          run('umount', data)
          await manager.close()
          seen.push(['closed', readdirSync(data).join()])
          process.stdout.write(JSON.stringify(seen))`
      const { stdout, stderr, code } = await runScript(
        t,
        `import { spawnSync } from 'node:child_process'
           const args = ${JSON.stringify([...(words ?? []), process.execPath, '--input-type=module', '-e', inner])}
           process.exitCode = spawnSync('unshare', args, { stdio: 'inherit' }).status`,
        options,
      ).ended
      assert.equal(code, 0, stderr)
      assert.deepEqual(JSON.parse(stdout), [
        ['not mounted', 'STORE', true, 'ready', ''],
        ['another volume', 'STORE', true, 'ready', ''],
        ['back', true, 'well', true],
        ['closed', ''],
      ])
      assert.equal(ring.counts.tokenPosts, 2)
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('a journal from which another process logs out meanwhile is logged out, and records that', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'ring.json')
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(path) })
    await manager.refresh()
    const env = { ...process.env, RING_AUTH_OAUTH_URL: ring.oauthUrl, RING_AUTH_API_URL: ring.apiUrl }
    const cli = (/** @type {string[]} */ ...args) =>
      spawnSync(process.execPath, [join(root, 'bin', 'ring-auth.js'), ...args, '--state-file', path], { env })
    assert.equal(cli('logout').status, 0)
    const journal = readJournal(path)
    assert.equal(journal.current, null)
    assert.ok(Math.abs(Date.now() - journal.loggedOutAt) < 600_000)
    await failure(manager.refresh(), 'NO_REFRESH_TOKEN')
    assert.equal(manager.status.state, 'needs-login')
    assert.equal(cli('status').status, 3)
    assert.equal(ring.counts.tokenPosts, 1)
  })
})
