// @ts-check
// The stores that show the newest token in the files of other programs: Homebridge's config.json and .env files.
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { describe, it } from 'node:test'
import {
  OUTAGE,
  failure,
  open,
  optionsFor,
  rawOf,
  replace,
  runScript,
  startRing,
  tempDir,
  unwrap,
  until,
  wrap,
} from './support/index.mjs'
import { asRoot, assertMode, links, modes } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../index.js').Store} Store */

/**
 * A kind of mirror in a folder of its own.
 * @typedef {object} Kind
 * @property {string} name
 * @property {(folder: string) => string} path
 * @property {(path: string, more?: object) => Store} store
 * @property {(token: string) => string} text a whole file that shows a token
 * @property {string} broken
 */

/** @type {Kind[]} */
const KINDS = [
  {
    name: 'config.json',
    path: (folder) => join(folder, 'config.json'),
    store: (configPath, more) => ({ type: 'homebridge', configPath, ...more }),
    text: (token) =>
      `{\r\n\t"bridge": { "name": "Homebridge", "username": "0E:02:9A:1B:44:45", "port": 51826 },\r\n\t"accessories": [],\r\n\t"platforms": [\r\n\t\t{ "platform": "config" },\r\n\t\t{"platform":"Ring","name":"Ring","refreshToken":"${token}","unknown":1.10}\r\n\t]\r\n}`,
    broken: '{ "platforms": [',
  },
  {
    name: '.env',
    path: (folder) => join(folder, '.env'),
    store: (path, more) => ({ type: 'dotenv', path, ...more }),
    text: (token) => `# ours\r\nA=1\r\nexport RING_REFRESH_TOKEN="${token}" # the token\r\n\r\nB='x\ny'`,
    broken: 'RING_REFRESH_TOKEN=\0',
  },
]

/** The token that a file shows. @param {Kind} kind @param {string} path */
function shown(kind, path) {
  const text = readFileSync(path, 'utf8')
  const [before, after] = kind.text('|').split('|')
  assert.ok(text.startsWith(String(before)) && text.endsWith(String(after)), `only the token differs: ${text}`)
  return text.slice(String(before).length, text.length - String(after).length)
}

/** Replaces a file atomically, as careful programs do. @param {string} path @param {string} text */
function save(path, text) {
  writeFileSync(`${path}.other`, text)
  replace(`${path}.other`, path)
}

/**
 * A mirror that has seen some rotations, closed.
 * @param {TestContext} t
 * @param {Kind} kind
 * @param {number} [rotations]
 */
async function used(t, kind, rotations = 2) {
  const ring = await startRing(t)
  const folder = tempDir(t)
  const path = kind.path(folder)
  const first = ring.mint()
  writeFileSync(path, kind.text(first), { mode: 0o640 })
  const store = kind.store(path)
  const { manager } = open(t, ring, { store })
  const family = [first]
  for (let i = 0; i < rotations; i++) family.push(String((await manager.refresh()).refreshToken))
  await manager.close()
  ring.clearCounts()
  ring.clearRequests()
  return { ring, folder, path, store, family, newest: String(manager.refreshToken) }
}

const notRoot = asRoot()

for (const kind of KINDS) {
  describe(`${kind.name}`, { concurrency: true }, () => {
    it(`${kind.name} gives its token at once, shows each new one, and does not change otherwise`, async (t) => {
      const ring = await startRing(t)
      const folder = tempDir(t)
      const path = kind.path(folder)
      const first = ring.mint()
      writeFileSync(path, kind.text(first), { mode: 0o640 })
      const { manager, updates } = open(t, ring, { store: kind.store(path) })
      assert.equal(rawOf(manager.refreshToken), first, 'in the constructor')
      assert.equal(ring.requests.length, 0)
      for (let i = 0; i < 5; i++) {
        const { refreshToken } = await manager.refresh()
        assert.equal(shown(kind, path), refreshToken)
        assert.ok(ring.isLive(rawOf(refreshToken)))
      }
      assertMode(path, 0o640)
      assert.equal(manager.status.persisted, true)
      assert.equal(updates.at(-1)?.newRefreshToken, shown(kind, path))
      await manager.close()
      const inside = join(folder, '.ring-auth')
      assert.deepEqual(readdirSync(folder).sort(), ['.ring-auth', path.slice(folder.length + 1)].sort())
      assertMode(inside, 0o700)
      assert.equal(readFileSync(join(inside, '.gitignore'), 'utf8'), '*\n')
      if (!modes)
        for (const name of readdirSync(inside)) assert.equal(statSync(join(inside, name)).mode & 0o077, 0, name)
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name} shows an old copy at the start: the newest token is used, announced and shown again`, async (t) => {
      const { ring, path, store, family, newest } = await used(t, kind, 4)
      for (const ancestor of family.slice(0, -1)) {
        save(path, kind.text(ancestor))
        const { manager, updates } = open(t, ring, { store, refreshToken: ancestor })
        assert.equal(manager.refreshToken, newest)
        await until(() => shown(kind, path) === newest, 'it is put right without a request')
        await until(() => updates.length === 1, 'it is announced')
        assert.deepEqual(updates, [{ oldRefreshToken: ancestor, newRefreshToken: newest }])
        await manager.close()
      }
      assert.equal(ring.requests.length, 0)
    })

    it(`${kind.name} shows an old token of the fallback, which is never sent`, async (t) => {
      const { ring, path, store, family } = await used(t, kind)
      await open(t, ring, { store }).manager.setRefreshToken(ring.mint())
      for (const ancestor of family) {
        save(path, kind.text(ancestor))
        const { manager } = open(t, ring, { store, refreshToken: ancestor })
        const { refreshToken } = await manager.refresh()
        assert.equal(shown(kind, path), refreshToken)
        assert.ok(!family.includes(refreshToken))
        await manager.close()
      }
      assert.ok(ring.tokenRequests.every(({ form }) => !family.map(rawOf).includes(String(form.refresh_token))))
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name} belongs to another user: what root creates beside it is theirs`, { skip: notRoot }, async (t) => {
      const ring = await startRing(t)
      const folder = tempDir(t)
      const path = kind.path(folder)
      writeFileSync(path, kind.text(ring.mint()), { mode: 0o640 })
      chownSync(folder, 4243, 4242)
      chownSync(path, 4243, 4242)
      const { manager } = open(t, ring, { store: kind.store(path) })
      await manager.refresh()
      await manager.refresh()
      await manager.close()
      const all = readdirSync(folder, { recursive: true }).map(String)
      assert.ok(all.length > 4, all.join())
      for (const name of all) {
        const { uid, gid } = statSync(join(folder, name))
        assert.deepEqual([uid, gid], [4243, 4242], name)
      }
    })

    it(`${kind.name} shows an old copy again while the manager runs: it is never sent, and the next rotation replaces it`, async (t) => {
      const { ring, path, store, family } = await used(t, kind)
      const { manager } = open(t, ring, { store })
      save(path, kind.text(String(family[0])))
      const { refreshToken } = await manager.refresh()
      assert.equal(shown(kind, path), refreshToken)
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name} shows a token that was pasted before the start: it is used, with or without others in the options`, async (t) => {
      for (const option of ['none', 'an old one', 'another new one']) {
        const { ring, path, store, family } = await used(t, kind)
        const pasted = ring.mint()
        save(path, kind.text(pasted))
        const given = { none: undefined, 'an old one': family[0], 'another new one': ring.mint() }[option]
        const { manager } = open(t, ring, { store, refreshToken: given })
        assert.equal(rawOf(manager.refreshToken), pasted, option)
        await manager.getAccessToken()
        assert.equal(rawOf(ring.tokenRequests[0]?.form.refresh_token), pasted, option)
        assert.equal(shown(kind, path), manager.refreshToken)
        await manager.close()
        // The token that was not used is an old copy from now on.
        const again = open(t, ring, { store, refreshToken: given })
        assert.equal(again.manager.refreshToken, manager.refreshToken, option)
        await again.manager.getAccessToken()
        assert.equal(ring.counts.refreshes, 1, option)
      }
    })

    it(`${kind.name} shows a token that is pasted while the manager runs: it is adopted, not overwritten`, async (t) => {
      const { ring, path, store } = await used(t, kind)
      const { manager, said } = open(t, ring, { store })
      const pasted = ring.mint()
      save(path, kind.text(pasted))
      await manager.refresh()
      assert.equal(rawOf(ring.tokenRequests[0]?.form.refresh_token), pasted)
      assert.equal(shown(kind, path), manager.refreshToken)
      assert.match(said(), /new one: it is used/)
    })

    it(`${kind.name} shows a token that is pasted while Ring answers: it is adopted after the rotation`, async (t) => {
      const { ring, path, store, newest } = await used(t, kind)
      const { manager } = open(t, ring, { store })
      ring.fault({ kind: 'slow', delayMs: 300 })
      const rotation = manager.refresh()
      await until(() => ring.tokenRequests.length === 1, 'the request is sent')
      const pasted = ring.mint()
      save(path, kind.text(pasted))
      await rotation
      assert.equal(rawOf(ring.tokenRequests[0]?.form.refresh_token), rawOf(newest))
      assert.equal(rawOf(manager.refreshToken), pasted)
      await manager.getAccessToken()
      assert.equal(rawOf(ring.tokenRequests[1]?.form.refresh_token), pasted)
      assert.equal(shown(kind, path), manager.refreshToken)
    })

    it(`${kind.name} shows a pasted token that never works: the one before it is used and shown again`, async (t) => {
      const { ring, path, store, newest } = await used(t, kind)
      save(path, kind.text('never-was-a-token'))
      const { manager } = open(t, ring, { store })
      await manager.refresh()
      assert.deepEqual(
        ring.tokenRequests.map(({ form }) => rawOf(form.refresh_token)),
        ['never-was-a-token', rawOf(newest)],
      )
      assert.equal(shown(kind, path), manager.refreshToken)
    })

    it(`${kind.name} shows the newest rotation of several processes, in every order of their writes`, async (t) => {
      const { ring, path, store } = await used(t, kind)
      const managers = [0, 1, 2].map(() => open(t, ring, { store }).manager)
      for (let i = 0; i < 10; i++) await Promise.all(managers.map((manager) => manager.refresh()))
      await Promise.all(managers.map((manager) => manager.close()))
      assert.ok(ring.isLive(rawOf(shown(kind, path))))
      assert.equal(ring.counts.stalePresentations, 0)
      assert.equal(ring.counts.maxConcurrentRefreshes, 1)
    })

    it(`${kind.name} is read again after a write: an old copy that another program writes then is replaced without a rotation`, async (t) => {
      const { ring, path, store, family } = await used(t, kind)
      const { manager } = open(t, ring, { store })
      const { refreshToken } = await manager.refresh()
      // A settings page that had read the file before.
      save(path, kind.text(String(family[0])))
      await until(() => shown(kind, path) === refreshToken, 'put right')
      assert.equal(ring.counts.refreshes, 1)
    })

    it(`${kind.name} that cannot be read for a while is left alone, reported once, and updated later`, async (t) => {
      const { ring, path, store } = await used(t, kind)
      const { manager, log } = open(t, ring, { store })
      await until(() => manager.status.state === 'ready', 'ready')
      writeFileSync(path, kind.broken)
      await manager.refresh()
      const rotated = await manager.refresh()
      assert.equal(readFileSync(path, 'utf8'), kind.broken)
      assert.deepEqual(
        { ...manager.status, message: '' },
        { state: 'ready', code: 'STORE', message: '', persisted: true },
      )
      assert.equal(log.filter(({ level }) => level === 'error').length, 1)
      save(path, kind.text('x'))
      save(path, kind.text(rotated.refreshToken))
      const { refreshToken } = await manager.refresh()
      assert.equal(shown(kind, path), refreshToken)
      assert.deepEqual(manager.status, { state: 'ready', persisted: true })
    })

    it(`${kind.name} that is read-only: rotations continue in the journal, and the next start updates the file`, async (t) => {
      const { ring, path, store, newest } = await used(t, kind)
      chmodSync(path, 0o440)
      const { manager } = open(t, ring, { store })
      await manager.refresh()
      const { refreshToken } = await manager.refresh()
      assert.equal(shown(kind, path), newest)
      assert.equal(manager.status.code, 'STORE')
      assert.equal(manager.status.persisted, true)
      await manager.close()
      chmodSync(path, 0o640)
      const next = open(t, ring, { store })
      assert.equal(next.manager.refreshToken, refreshToken, 'the old copy in the file does not count')
      await until(() => shown(kind, path) === refreshToken, 'the file is put right')
      assert.equal(ring.counts.stalePresentations, 0)
    })

    it(`${kind.name} that is a link: its target is written, in its own folder`, { skip: links() }, async (t) => {
      const { ring, folder, path } = await used(t, kind)
      const elsewhere = tempDir(t)
      const link = kind.path(elsewhere)
      symlinkSync(path, link)
      const { manager } = open(t, ring, { store: kind.store(link) })
      const { refreshToken } = await manager.refresh()
      assert.equal(shown(kind, path), refreshToken)
      await manager.close()
      const name = basename(link)
      assert.deepEqual(
        readdirSync(elsewhere).sort(),
        [name, `.${name}.ring-auth.lock`].sort(),
        'nothing but the lock of the link',
      )
      assert.ok(existsSync(join(folder, '.ring-auth')))
    })

    it(`${kind.name} has its journal in statePath, for all that name the same one`, async (t) => {
      const ring = await startRing(t)
      const [folder, state] = [tempDir(t), tempDir(t)]
      const path = kind.path(folder)
      const statePath = join(state, 'deep', 'er')
      writeFileSync(path, kind.text(ring.mint()))
      const first = open(t, ring, { store: kind.store(path, { statePath }) })
      await first.manager.refresh()
      await first.manager.close()
      assert.deepEqual(readdirSync(folder).length, 1)
      assertMode(statePath, 0o700)
      const second = open(t, ring, { store: kind.store(path, { statePath }) })
      await second.manager.getAccessToken()
      assert.equal(ring.counts.refreshes, 1)
    })

    it(`${kind.name} shows other push credentials when they change, and an old wrapper that comes back does not undo them`, async (t) => {
      const { ring, path, store, newest } = await used(t, kind)
      const { manager } = open(t, ring, { store })
      await manager.setPushCredentials({ fcm: { token: 'one' } })
      const one = shown(kind, path)
      assert.deepEqual(unwrap(one).pnc, { fcm: { token: 'one' } })
      await manager.setPushCredentials({ fcm: { token: 'two' } })
      await manager.close()
      for (const old of [newest, one]) {
        save(path, kind.text(old))
        const again = open(t, ring, { store, refreshToken: old })
        await until(() => shown(kind, path) === manager.refreshToken, 'the newest wrapper is shown again')
        await again.manager.close()
      }
      // Another program wrote its own push credentials: the manager takes them over.
      const three = wrap({ ...unwrap(manager.refreshToken), pnc: { fcm: { token: 'three' } } })
      save(path, kind.text(three))
      const third = open(t, ring, { store })
      await until(() => unwrap(third.manager.refreshToken).pnc.fcm.token === 'three', 'taken over')
      await third.manager.close()
      assert.deepEqual(unwrap(shown(kind, path)).pnc, { fcm: { token: 'three' } })
      assert.equal(ring.requests.length, 0)
    })

    it(`${kind.name} keeps a login`, async (t) => {
      const { ring, path, store } = await used(t, kind)
      const { manager } = open(t, ring, { store })
      const step = await manager.login({ email: 'person@example.com', password: 'correct horse' })
      if (!step.authenticated) await manager.submitTwoFactorCode(String(ring.codeFor('person@example.com')))
      assert.equal(shown(kind, path), manager.refreshToken)
      assert.ok(ring.isLive(rawOf(manager.refreshToken)))
    })

    it(`${kind.name} is correct after a process was killed at any time`, async (t) => {
      const ring = await startRing(t, { graceMs: 60_000 })
      const path = kind.path(tempDir(t))
      writeFileSync(path, kind.text(ring.mint()))
      const store = kind.store(path)
      for (let i = 0; i < 10; i++) {
        const child = runScript(
          t,
          `const manager = new RingTokenManager(config)
           for (;;) { await manager.refresh(); say('rotated') }`,
          optionsFor(ring, { store }),
        )
        await until(() => child.stdout().split('rotated').length > 1 + i, 'some rotations')
        child.process.kill('SIGKILL')
        await child.ended
        shown(kind, path)
      }
      const { manager } = open(t, ring, { store })
      const { refreshToken } = await manager.refresh()
      assert.equal(shown(kind, path), refreshToken)
      await manager.close()
      assert.equal(ring.counts.stalePresentations, 0)
      assert.equal(readdirSync(join(path, '..')).length, 2)
    })

    it(`${kind.name} keeps the process alive until it is written, and no longer`, async (t) => {
      const { ring, path, store, family, newest } = await used(t, kind)
      save(path, kind.text(String(family[0])))
      const restores = runScript(t, 'new RingTokenManager(config)', optionsFor(ring, { store }))
      assert.equal((await restores.ended).code, 0)
      assert.equal(shown(kind, path), newest)
      const rotates = runScript(t, 'new RingTokenManager(config).refresh()', optionsFor(ring, { store }))
      assert.equal((await rotates.ended).code, 0)
      assert.ok(ring.isLive(rawOf(shown(kind, path))))
    })

    it(`${kind.name} survives an outage, and a token in the options that is the same`, async (t) => {
      const { ring, path, store, newest } = await used(t, kind)
      ring.fault(OUTAGE)
      const { manager, updates } = open(t, ring, { store, refreshToken: newest })
      await failure(manager.refresh(), 'SERVER_ERROR')
      assert.equal(shown(kind, path), newest)
      assert.deepEqual(updates, [])
    })
  })
}

describe('config.json alone', { concurrency: true }, () => {
  const CONFIG = (/** @type {unknown[]} */ ...platforms) => JSON.stringify({ bridge: {}, platforms }, undefined, 4)

  it('config.json has several blocks: each has a name, a token and a journal of its own', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const configPath = join(folder, 'config.json')
    writeFileSync(
      configPath,
      CONFIG(
        { platform: 'Ring', name: 'Home', refreshToken: ring.mint() },
        { platform: 'Other', refreshToken: 'not ours' },
        { platform: 'Ring', name: 'Cabin', refreshToken: ring.mint(), _bridge: { username: '0E:00:00:00:00:01' } },
      ),
    )
    const error = await failure(() => open(t, ring, { store: { type: 'homebridge', configPath } }), 'INVALID_ARGUMENT')
    assert.match(error.message, /2 blocks.*"Ring".*"Home", "Cabin"/)
    const [home, cabin] = ['Home', 'Cabin'].map(
      (name) => open(t, ring, { store: { type: 'homebridge', configPath, name } }).manager,
    )
    for (let i = 0; i < 10; i++) await Promise.all([home?.refresh(), cabin?.refresh()])
    const { platforms } = JSON.parse(readFileSync(configPath, 'utf8'))
    assert.deepEqual(
      platforms.map((/** @type {any} */ block) => block.refreshToken),
      [home?.refreshToken, 'not ours', cabin?.refreshToken],
    )
    await Promise.all([home?.close(), cabin?.close()])
    assert.equal(readdirSync(join(folder, '.ring-auth')).filter((name) => name.endsWith('.json')).length, 2)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('config.json has a block that gets another name together with an old copy from a settings page: nothing else changes', async (t) => {
    const kind = /** @type {Kind} */ (KINDS[0])
    const { ring, folder, path, family, newest } = await used(t, kind)
    const renamed = (/** @type {string} */ token) => kind.text(token).replace('"name":"Ring"', '"name":"Door"')
    for (const token of [String(family[0]), newest]) {
      save(path, renamed(token))
      for (const name of [undefined, 'Door']) {
        const { manager } = open(t, ring, { store: kind.store(path, name ? { name } : {}) })
        assert.equal(manager.refreshToken, newest)
        await until(() => readFileSync(path, 'utf8') === renamed(newest), 'the file is put right')
        await manager.close()
      }
    }
    assert.equal(readdirSync(join(folder, '.ring-auth')).filter((name) => name.endsWith('.json')).length, 1)
    // The block of another account beside it has a journal of its own.
    const other = ring.mint()
    const [before, after] = renamed(newest).split('{"platform":"Ring"')
    save(path, `${before}{"platform":"Ring","name":"Other","refreshToken":"${other}"},{"platform":"Ring"${after}`)
    const { manager } = open(t, ring, { store: kind.store(path, { name: 'Other' }) })
    assert.equal(rawOf(manager.refreshToken), rawOf(other))
    await manager.refresh()
    await manager.close()
    const door = open(t, ring, { store: kind.store(path, { name: 'Door' }) })
    assert.equal(door.manager.refreshToken, newest)
    await door.manager.refresh()
    await door.manager.close()
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('config.json has the same block with its name, without it, and in a folder that was moved', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const moved = join(tempDir(t), 'moved')
    mkdirSync(join(folder, 'hb'))
    writeFileSync(
      join(folder, 'hb', 'config.json'),
      CONFIG({ platform: 'Ring', name: 'Home', refreshToken: ring.mint() }),
    )
    const use = async (/** @type {string} */ path, /** @type {object} */ more = {}) => {
      const { manager } = open(t, ring, {
        store: { type: 'homebridge', configPath: join(path, 'config.json'), ...more },
      })
      await manager.getAccessToken()
      await manager.close()
    }
    await use(join(folder, 'hb'))
    await use(join(folder, 'hb'), { name: 'Home' })
    await use(join(folder, 'hb'), { platform: 'Ring' })
    renameSync(join(folder, 'hb'), moved)
    await use(moved)
    assert.equal(ring.counts.refreshes, 1, 'one journal, whose access token is valid')
  })

  it('config.json has no token yet, and gets one', async (t) => {
    const ring = await startRing(t)
    const configPath = join(tempDir(t), 'config.json')
    writeFileSync(configPath, '{"platforms":[{"platform":"Ring"}]}')
    const { manager } = open(t, ring, { store: { type: 'homebridge', configPath } })
    assert.equal(manager.status.state, 'needs-login')
    await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    await manager.setRefreshToken(ring.mint())
    assert.equal(
      readFileSync(configPath, 'utf8'),
      `{"platforms":[{"platform":"Ring","refreshToken":"${manager.refreshToken}"}]}`,
    )
  })

  it('config.json that is missing, has no such block or is no JSON is reported and not written, and no given token is lost', async (t) => {
    const ring = await startRing(t)
    for (const text of [undefined, '{"platforms":[]}', '{ // comment\n}']) {
      const configPath = join(tempDir(t), 'config.json')
      if (text !== undefined) writeFileSync(configPath, text)
      const store = /** @type {Store} */ ({ type: 'homebridge', configPath })
      const empty = open(t, ring, { store })
      assert.deepEqual(
        { ...empty.manager.status, message: '' },
        { state: 'idle', code: 'STORE', message: '', persisted: true },
      )
      const error = await failure(empty.manager.getAccessToken(), 'STORE')
      assert.ok(error.message.includes(configPath), error.message)
      await empty.manager.close()
      const { manager } = open(t, ring, { store, refreshToken: ring.mint() })
      await manager.getAccessToken()
      assert.equal(manager.status.persisted, true)
      assert.equal(manager.status.code, 'STORE')
      assert.equal(existsSync(configPath) ? readFileSync(configPath, 'utf8') : undefined, text)
      await manager.close()
      // The block comes back, empty: the journal still has the token.
      writeFileSync(configPath, '{"platforms":[{"platform":"Ring"}]}')
      const { manager: next } = open(t, ring, { store })
      await next.getAccessToken()
      await next.close()
      assert.ok(ring.isLive(rawOf(JSON.parse(readFileSync(configPath, 'utf8')).platforms[0].refreshToken)))
    }
  })

  it('config.json beside which no folder can be made: no request, and a message that names the folder', async (t) => {
    const { ring, path, store } = await used(t, /** @type {Kind} */ (KINDS[0]))
    rmSync(join(path, '..', '.ring-auth'), { recursive: true })
    writeFileSync(join(path, '..', '.ring-auth'), 'a file in its place')
    const { manager } = open(t, ring, { store })
    const error = await failure(manager.getAccessToken(), 'STORE')
    assert.match(error.message, /\.ring-auth/)
    assert.equal(ring.requests.length, 0)
  })

  for (const [what, options] of /** @type {[string, any][]} */ ([
    ['a folder', { configPath: '.' }],
    ['a state path that is a file', { configPath: 'config.json', statePath: 'config.json' }],
  ])) {
    it(`the store of config.json refuses ${what}`, async (t) => {
      const ring = await startRing(t)
      const folder = tempDir(t)
      writeFileSync(join(folder, 'config.json'), CONFIG({ platform: 'Ring' }))
      for (const key of Object.keys(options)) options[key] = join(folder, options[key])
      await failure(() => open(t, ring, { store: { type: 'homebridge', ...options } }), 'INVALID_ARGUMENT')
    })
  }
})

describe('.env alone', { concurrency: true }, () => {
  it('.env is created for its owner alone if there is none', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), '.env')
    const { manager } = open(t, ring, { store: { type: 'dotenv', path }, refreshToken: ring.mint() })
    await manager.refresh()
    assert.equal(readFileSync(path, 'utf8'), `RING_REFRESH_TOKEN=${manager.refreshToken}\n`)
    assertMode(path, 0o600)
  })

  it('.env has a key of another name, and one journal for each', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), '.env')
    const [a, b] = [ring.mint(), ring.mint()]
    writeFileSync(path, `A=${a}\nB=${b}\nA.B=c\n`)
    const managers = ['A', 'B'].map((key) => open(t, ring, { store: { type: 'dotenv', path, key } }).manager)
    for (let i = 0; i < 5; i++) await Promise.all(managers.map((manager) => manager.refresh()))
    assert.equal(readFileSync(path, 'utf8'), `A=${managers[0]?.refreshToken}\nB=${managers[1]?.refreshToken}\nA.B=c\n`)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('.env cannot have a key that no shell could read', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), '.env')
    for (const key of ['A B', '1A', 'A=B', 'A\nB']) {
      await failure(() => open(t, ring, { store: { type: 'dotenv', path, key } }), 'INVALID_ARGUMENT')
    }
  })
})

describe('for another user', {
  concurrency: true,
  skip: notRoot,
}, () => {
  const [uid, gid] = [4243, 4242]
  const kind = /** @type {Kind} */ (KINDS[0])

  /** A folder of another user with a config.json. @param {TestContext} t @param {Awaited<ReturnType<typeof startRing>>} ring */
  function theirs(t, ring) {
    const folder = tempDir(t)
    chownSync(folder, uid, gid)
    const path = kind.path(folder)
    writeFileSync(path, kind.text(ring.mint()))
    chownSync(path, uid, gid)
    return { folder, path, store: kind.store(path) }
  }

  it('a mirror of another user that root writes: every file is theirs', async (t) => {
    const ring = await startRing(t)
    const { folder, path, store } = theirs(t, ring)
    const { manager } = open(t, ring, { store })
    const { refreshToken } = await manager.refresh()
    await manager.close()
    assert.equal(shown(kind, path), refreshToken)
    const inside = readdirSync(join(folder, '.ring-auth')).map((name) => join('.ring-auth', name))
    assert.ok(inside.length >= 3)
    for (const name of ['config.json', '.ring-auth', ...inside]) {
      const there = statSync(join(folder, name))
      assert.deepEqual([there.uid, there.gid], [uid, gid], name)
    }
  })

  it('a mirror of another user beside a link that they placed: root creates nothing at its target', async (t) => {
    const ring = await startRing(t)
    const { folder, path, store } = theirs(t, ring)
    const elsewhere = tempDir(t)
    symlinkSync(elsewhere, join(folder, '.ring-auth'))
    lchownSync(join(folder, '.ring-auth'), uid, gid)
    const error = await failure(() => open(t, ring, { store }).manager.refresh(), 'STORE')
    assert.match(error.message, /link/)
    assert.deepEqual(readdirSync(elsewhere), [])
    assert.equal(ring.counts.refreshes, 0)
    assert.ok(existsSync(path))
  })

  it('a mirror of another user with a lock that is another name of a file of root: that file stays with root', async (t) => {
    const ring = await startRing(t)
    const { folder, path, store } = theirs(t, ring)
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    await manager.close()
    const inside = join(folder, '.ring-auth')
    const ours = join(tempDir(t), 'shadow')
    writeFileSync(ours, 'secret', { mode: 0o600 })
    const locks = readdirSync(inside).filter((name) => name.endsWith('.lock'))
    assert.equal(locks.length, 3)
    for (const name of locks) {
      rmSync(join(inside, name))
      linkSync(ours, join(inside, name))
    }
    const next = open(t, ring, { store })
    await next.manager.refresh().catch(() => {})
    await next.manager.close()
    assert.deepEqual([statSync(ours).uid, statSync(ours).gid], [0, 0])
    assert.equal(readFileSync(ours, 'utf8'), 'secret')
    assert.ok(existsSync(path))
  })
})
