// @ts-check
// The file store: what a start finds, how it treats a given token, and what a damaged file costs.
import assert from 'node:assert/strict'
import {
  chownSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  lstatSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  OUTAGE,
  RingTokenManager,
  age,
  editJournal,
  failure,
  fileStore,
  open,
  optionsFor,
  rawOf,
  readJournal,
  startRing,
  tempDir,
  runScript,
  unwrap,
  until,
  wrap,
} from './support/index.mjs'
import { asRoot, links, modes, needs, shell } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * A Ring and a journal that has seen some rotations.
 * @param {TestContext} t
 * @param {number} [rotations]
 */
async function usedJournal(t, rotations = 1) {
  const ring = await startRing(t)
  const path = join(tempDir(t), 'journal.json')
  const first = ring.mint()
  const { manager } = open(t, ring, { refreshToken: first, store: fileStore(path) })
  const family = [first]
  for (let i = 0; i < rotations; i++) family.push(rawOf((await manager.refresh()).refreshToken))
  await manager.close()
  ring.clearCounts()
  ring.clearRequests()
  return { ring, path, family, newest: String(manager.refreshToken), store: fileStore(path) }
}

describe('a journal', { concurrency: true }, () => {
  it('a journal gives its refresh token at once, in the constructor', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const { manager } = open(t, ring, { store })
    assert.equal(manager.refreshToken, newest)
    assert.equal(manager.hardwareId, unwrap(newest).hid)
    assert.equal(manager.status.state, 'ready')
    assert.equal(manager.status.persisted, true)
    assert.equal(ring.requests.length, 0)
  })

  it('a journal gives its access token without a request, at every start, as long as it is valid', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    const { token } = readJournal(path).access
    for (let i = 0; i < 10; i++) {
      const { manager } = open(t, ring, { store })
      assert.equal(await manager.getAccessToken(), token)
      await manager.close()
    }
    assert.equal(ring.requests.length, 0)
  })

  it('a journal is newer than an old token in the options: that is never sent, and the newest one is announced', async (t) => {
    const { ring, path, family, newest, store } = await usedJournal(t, 4)
    for (const ancestor of family.slice(0, -1)) {
      for (const given of [ancestor, wrap({ rt: ancestor, hid: '11111111-2222-4333-8444-555555555555' })]) {
        const { manager, updates } = open(t, ring, { refreshToken: given, store })
        assert.equal(manager.refreshToken, newest)
        await until(() => updates.length === 1, 'it is announced')
        assert.deepEqual(updates, [{ oldRefreshToken: given, newRefreshToken: newest }])
        assert.ok(ring.isAccessLive(await manager.getAccessToken()))
        await manager.close()
      }
    }
    age(path, 86_400_000)
    const { manager } = open(t, ring, { refreshToken: String(family[0]), store })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.deepEqual(
      ring.tokenRequests.map((request) => request.form['refresh_token']),
      [family.at(-1)],
    )
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal takes an unknown token, and keeps the former family as the fallback', async (t) => {
    const { ring, path, newest, store } = await usedJournal(t)
    const pasted = ring.mint()
    const { manager, updates } = open(t, ring, { refreshToken: pasted, store })
    assert.equal(rawOf(manager.refreshToken), pasted)
    await manager.getAccessToken()
    assert.equal(ring.tokenRequests[0]?.form['refresh_token'], pasted)
    assert.equal(readJournal(path).aside.current.token, newest)
    await until(() => updates.length === 1, 'the rotation is announced')
    assert.equal(updates[0]?.oldRefreshToken, pasted)
    assert.ok(ring.isLive(rawOf(newest)))
  })

  it('a journal knows every token of the fallback, and none of them is sent', async (t) => {
    const { ring, family, store } = await usedJournal(t, 3)
    const pasted = ring.mint()
    const first = open(t, ring, { refreshToken: pasted, store })
    await first.manager.refresh()
    await first.manager.close()
    for (const given of family) {
      const { manager } = open(t, ring, { refreshToken: given, store })
      await manager.refresh()
      // A user may set the newest token of the fallback again, but never an older one.
      if (given !== family.at(-1)) await manager.setRefreshToken(given)
      await manager.refresh()
      await manager.close()
    }
    const sent = ring.tokenRequests.map((request) => String(request.form['refresh_token']))
    assert.equal(sent.length, 1 + 2 * family.length)
    assert.ok(sent.every((token) => !family.includes(token)))
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal goes back to the fallback when a pasted token is dead, and reports that', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const dead = 'eyJ.never-was.a-token'
    const { manager, updates, said } = open(t, ring, { refreshToken: dead, store })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.deepEqual(
      ring.tokenRequests.map((request) => request.form['refresh_token']),
      [dead, rawOf(newest)],
    )
    await until(() => updates.length >= 1, 'it is announced')
    assert.equal(updates.at(-1)?.newRefreshToken, manager.refreshToken)
    assert.match(said(), /rejected the refresh token that was given; the one before it is used again/)
    await manager.close()
    // The next start with the same options recognises the dead token.
    ring.clearRequests()
    const again = open(t, ring, { refreshToken: dead, store })
    assert.ok(ring.isAccessLive((await again.manager.refresh()).accessToken))
    assert.equal(ring.tokenRequests.length, 1)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal does not go back to the fallback after the pasted token has succeeded', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store })
    await manager.refresh()
    await manager.refresh()
    ring.fault({ kind: 'status', status: 401, body: { error: 'invalid_grant' }, times: Infinity })
    await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
    await failure(manager.refresh({ force: true }), 'REFRESH_TOKEN_REJECTED')
    assert.ok(ring.tokenRequests.every((request) => request.form['refresh_token'] !== rawOf(newest)))
  })

  it('a journal keeps its token family if the same token comes with other push credentials', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const given = wrap({ ...unwrap(newest), pnc: { fcm: 1 } })
    const { manager } = open(t, ring, { refreshToken: given, store })
    await manager.refresh()
    assert.deepEqual(unwrap(manager.refreshToken).pnc, { fcm: 1 })
    assert.deepEqual(
      ring.tokenRequests.map((request) => request.form['refresh_token']),
      [rawOf(newest)],
    )
  })

  it('a journal keeps its hardware id through a start with another systemId', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const { manager } = open(t, ring, { store, systemId: 'a rebuilt container' })
    await manager.refresh()
    assert.equal(manager.hardwareId, unwrap(newest).hid)
  })

  it('a journal gives its hardware id to a token without one, and to a new login, on a machine with another id', async (t) => {
    const { ring, newest, store } = await usedJournal(t)
    const { hid } = unwrap(newest)
    const { manager } = open(t, ring, { store, systemId: 'another machine', refreshToken: ring.mint() })
    await manager.refresh()
    await manager.setRefreshToken(ring.mint())
    await manager.refresh()
    assert.equal(manager.hardwareId, hid)
    await manager.login({ email: 'person@example.com', password: 'correct horse' })
    await manager.submitTwoFactorCode(String(ring.codeFor()))
    assert.equal(unwrap(manager.refreshToken).hid, hid)
    assert.deepEqual(
      new Set(ring.requests.map((request) => request.headers['hardware_id'])),
      new Set([hid]),
      'one device for Ring',
    )
    // Without the journal, another hardware id would be derived.
    const fresh = open(t, ring, { systemId: 'another machine', refreshToken: ring.mint() })
    assert.notEqual(fresh.manager.hardwareId, hid)
  })

  it('a journal keeps a cool-down through 50 starts in an outage', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    age(path, 86_400_000)
    ring.fault(OUTAGE)
    for (let i = 0; i < 50; i++) {
      const { manager } = open(t, ring, { store, autoRefresh: i % 2 === 1 })
      await failure(manager.getAccessToken(), 'SERVER_ERROR')
      assert.equal(manager.status.state, 'waiting')
      await manager.close()
    }
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('a journal keeps a cool-down of its own making through 50 starts too', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    age(path, 86_400_000)
    ring.fault({ kind: 'status', status: 503, times: Infinity })
    const began = Date.now()
    for (let i = 0; i < 50; i++) {
      const { manager } = open(t, ring, { store })
      await failure(manager.getAccessToken(), 'SERVER_ERROR')
      await manager.close()
    }
    // Four in the first call, and one after each cool-down, of which each lasts 4 s at least.
    const bound = 4 + Math.ceil((Date.now() - began) / 4000)
    assert.ok(ring.counts.tokenPosts <= Math.min(bound, 20), `${ring.counts.tokenPosts} requests`)
  })

  it('a journal keeps a rejection through starts: the dead token is sent once', async (t) => {
    const { ring, store, newest } = await usedJournal(t)
    ring.revokeAll()
    for (let i = 0; i < 10; i++) {
      const { manager } = open(t, ring, { store })
      await failure(manager.refresh(), 'REFRESH_TOKEN_REJECTED')
      assert.equal(manager.status.state, 'needs-login')
      assert.equal(manager.refreshToken, newest, 'it stays on disk')
      await manager.close()
    }
    assert.equal(ring.tokenRequests.filter((request) => request.form['refresh_token'] === rawOf(newest)).length, 1)
    assert.ok(ring.counts.tokenPosts <= 2)
  })

  it('a journal is adopted by another manager on the same file, without a request', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    age(path, 86_400_000)
    const one = open(t, ring, { store })
    const other = open(t, ring, { store })
    const token = await one.manager.getAccessToken()
    assert.equal(await other.manager.getAccessToken(), token)
    assert.equal(other.manager.refreshToken, one.manager.refreshToken)
    assert.equal(ring.counts.tokenPosts, 1)
  })

  it('a journal of one account does not mix with that of another in the same folder', async (t) => {
    const ring = await startRing(t, {
      accounts: [
        { email: 'a@example.com', password: 'x' },
        { email: 'b@example.com', password: 'y' },
      ],
    })
    const dir = tempDir(t)
    const managers = ['a@example.com', 'b@example.com'].map((email) => ({
      email,
      ...open(t, ring, { refreshToken: ring.mint(email), store: fileStore(join(dir, `${email}.json`)) }),
    }))
    for (let i = 0; i < 5; i++) await Promise.all(managers.map(({ manager }) => manager.refresh()))
    for (const { email, manager } of managers) {
      assert.equal(ring.inspect(rawOf(manager.refreshToken)).email, email)
      assert.equal(readJournal(join(dir, `${email}.json`)).current.token, manager.refreshToken)
    }
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal of another issuer is refused, left as it is, and nothing is sent', async (t) => {
    const { path, store, ring } = await usedJournal(t)
    const other = await startRing(t)
    const before = readFileSync(path)
    const error = await failure(
      () => new RingTokenManager({ ...optionsFor(other), refreshToken: other.mint(), store }),
      'INVALID_ARGUMENT',
    )
    assert.match(error.message, /oauthUrl/)
    assert.deepEqual(readFileSync(path), before)
    assert.equal(other.requests.length + ring.requests.length, 0)
  })

  it('a journal written by a later version is STORE, and left as it is', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    editJournal(path, (journal) => {
      journal.version = 2
    })
    const before = readFileSync(path)
    const { manager, log } = open(t, ring, { refreshToken: ring.mint(), store })
    const error = await failure(manager.getAccessToken(), 'STORE')
    await failure(manager.setRefreshToken(ring.mint()), 'STORE')
    await failure(manager.login({ email: 'person@example.com', password: 'correct horse' }), 'STORE')
    await until(
      () => log.some((entry) => entry.level === 'error' && /later version/.test(entry.message)),
      'reported at once',
    )
    await manager.close()
    assert.equal(error.transient, false)
    assert.match(error.message, /later version/)
    assert.deepEqual(readFileSync(path), before)
    assert.equal(ring.requests.length, 0)
  })

  it('a journal keeps a token that has grown beyond what can be pasted', async (t) => {
    const { ring, store } = await usedJournal(t)
    const long = `eyJ.${'x'.repeat(60_000)}`
    const { manager } = open(t, ring, { store })
    ring.fault({ kind: 'mutate', fn: (json) => ({ ...json, refresh_token: long }) })
    await manager.refresh()
    await manager.close()
    const { manager: next, said } = open(t, ring, { store })
    assert.equal(unwrap(next.refreshToken).rt, long)
    await failure(next.refresh(), 'REFRESH_TOKEN_REJECTED')
    assert.equal(ring.tokenRequests[1]?.form['refresh_token'], long)
    assert.doesNotMatch(said(), /damaged/)
  })

  it('a journal keeps the keys that it does not know', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    editJournal(path, (journal) => {
      journal.later = { deep: ['ä', 1.5, null] }
      journal.another = 'x'
    })
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    await manager.setPushCredentials({ a: 1 })
    assert.deepEqual(readJournal(path).later, { deep: ['ä', 1.5, null] })
    assert.equal(readJournal(path).another, 'x')
  })

  it('a journal and everything beside it can be read by its owner alone', { skip: modes }, async (t) => {
    const ring = await startRing(t, { latencyMs: 200 })
    const umask = process.umask(0)
    t.after(() => process.umask(umask))
    const dir = join(tempDir(t), 'made', 'by us')
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(join(dir, 'journal.json')) })
    const check = () => {
      for (const name of readdirSync(dir)) {
        const stat = statSync(join(dir, name), { throwIfNoEntry: false })
        if (stat) assert.equal(stat.mode & 0o777, 0o600, name)
      }
    }
    const call = manager.refresh()
    await until(() => ring.counts.refreshes === 1, 'the request is under way')
    assert.ok(readJournal(join(dir, 'journal.json')).mark, 'the mark is there before the answer')
    check()
    await call
    check()
    assert.ok(readdirSync(dir).includes('journal.json'))
  })

  // Only root, or a user with a second group, can change the group of a file.
  const groups =
    process.getuid?.() === 0 ? [4242] : (process.getgroups?.() ?? []).filter((group) => group !== process.getgid?.())
  const noGroup = modes || needs('a second group of this user', () => groups.length > 0)
  it('a journal keeps the group that it was given, which can still read it', { skip: noGroup }, async (t) => {
    const { ring, path, store } = await usedJournal(t)
    const group = Number(groups[0])
    const { uid, gid } = statSync(path)
    assert.notEqual(gid, group)
    chownSync(path, uid, group)
    chmodSync(path, 0o640)
    const { manager } = open(t, ring, { store })
    for (let i = 0; i < 2; i++) {
      const { ino } = statSync(path)
      await manager.refresh()
      const after = statSync(path)
      assert.notEqual(after.ino, ino, 'it is another file, which replaced it')
      assert.deepEqual([after.uid, after.gid, after.mode & 0o777], [uid, group, 0o640])
    }
  })

  const notRoot = asRoot()
  it('a journal keeps its owner when root rotates it', { skip: notRoot }, async (t) => {
    const { ring, path, store } = await usedJournal(t)
    chownSync(path, 4243, 4242)
    const { manager } = open(t, ring, { store })
    await manager.refresh()
    const after = statSync(path)
    assert.deepEqual([after.uid, after.gid, after.mode & 0o777], [4243, 4242, 0o600])
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
  })

  it('a journal that the system refuses to write is STORE: nothing is sent or changed, and it works again when it can be written', {
    skip: shell,
  }, async (t) => {
    const { ring, path, family, store } = await usedJournal(t)
    age(path, 86_400_000)
    const before = readFileSync(path)
    // Modes do not stop root. A limit on the size of files stops every user, and the child proves that it does.
    const end = await runScript(
      t,
      `import { writeFileSync } from 'node:fs';
       let refused;
       try { writeFileSync(config.probe, 'x'.repeat(4096)) } catch (error) { refused = error.code }
       const manager = new RingTokenManager(config.options);
       const error = await manager.getAccessToken().catch((error) => error);
       const { state, persisted } = manager.status;
       say(JSON.stringify({ refused, code: error.code, transient: error.transient, state, persisted }));
       await manager.close();`,
      { probe: `${path}.probe`, options: optionsFor(ring, { store }) },
      { limit: 'ulimit -f 0' },
    ).ended
    assert.deepEqual(JSON.parse(end.stdout || end.stderr), {
      refused: 'EFBIG',
      code: 'STORE',
      transient: false,
      state: 'idle',
      persisted: true,
    })
    assert.equal(ring.requests.length, 0)
    assert.deepEqual(readFileSync(path), before)
    const { manager } = open(t, ring, { store })
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.deepEqual(
      ring.tokenRequests.map((request) => request.form['refresh_token']),
      [family.at(-1)],
    )
  })

  it('a journal behind a symbolic link is changed at its place, and the link stays', { skip: links() }, async (t) => {
    const { ring, path, newest } = await usedJournal(t)
    const link = join(tempDir(t), 'link.json')
    symlinkSync(path, link)
    const { manager } = open(t, ring, { store: fileStore(link) })
    assert.equal(manager.refreshToken, newest)
    await manager.refresh()
    assert.ok(lstatSync(link).isSymbolicLink())
    assert.equal(readJournal(path).current.token, manager.refreshToken)
    assert.equal(realpathSync(link), realpathSync(path))
  })

  it('a journal behind a link and without it is the same one, and has one lock', { skip: links() }, async (t) => {
    const { ring, path } = await usedJournal(t)
    ring.settings.latencyMs = 50
    const link = join(tempDir(t), 'link.json')
    symlinkSync(path, link)
    const managers = [path, link, path, link].map((store) => open(t, ring, { store: fileStore(store) }).manager)
    for (let i = 0; i < 3; i++) await Promise.all(managers.map((manager) => manager.refresh()))
    assert.equal(ring.counts.maxConcurrentRefreshes, 1)
    assert.equal(ring.counts.stalePresentations, 0)
  })

  it('a journal behind a link without a target is created at the target', { skip: links() }, async (t) => {
    const ring = await startRing(t)
    const dir = tempDir(t)
    mkdirSync(join(dir, 'data'))
    symlinkSync(join('data', 'journal.json'), join(dir, 'link.json'))
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(join(dir, 'link.json')) })
    await manager.getAccessToken()
    assert.ok(lstatSync(join(dir, 'link.json')).isSymbolicLink())
    assert.equal(readJournal(join(dir, 'data', 'journal.json')).current.token, manager.refreshToken)
  })
})

describe('a damaged journal', { concurrency: true }, () => {
  /** A text that begins as a journal does. @param {Buffer} rest */
  const signed = (rest) => Buffer.concat([Buffer.from('{\n  "ring-auth-journal": '), rest])
  /** @type {[string, (path: string) => void][]} */
  const damages = [
    ['cut in half', (path) => writeFileSync(path, readFileSync(path).subarray(0, 300))],
    ['without its last byte but one', (path) => writeFileSync(path, readFileSync(path).subarray(0, -2))],
    ['empty', (path) => writeFileSync(path, '')],
    ['full of zeros behind its signature', (path) => writeFileSync(path, signed(Buffer.alloc(4096)))],
    [
      'binary behind its signature',
      (path) => writeFileSync(path, signed(Buffer.from(Array.from({ length: 2048 }, (_, i) => (i * 167 + 13) & 255)))),
    ],
    ['that is its signature alone', (path) => writeFileSync(path, signed(Buffer.alloc(0)))],
    ['laid out by an editor', (path) => writeFileSync(path, '\ufeff{"version":1,"ring-auth-journal":"journal.json"}')],
    ['with a version that is a string', (path) => editJournal(path, (journal) => (journal.version = '1'))],
    ['with a current token that is a number', (path) => editJournal(path, (journal) => (journal.current.token = 7))],
    ['with a current that is a string', (path) => editJournal(path, (journal) => (journal.current = 'token'))],
    ['with rejections that are an object', (path) => editJournal(path, (journal) => (journal.rejected = {}))],
    [
      'nested too deep',
      (path) => writeFileSync(path, signed(Buffer.from(`"j","x":${'['.repeat(5000)}${']'.repeat(5000)}}`))),
    ],
  ]
  for (const [how, damage] of damages) {
    it(`a damaged journal (${how}) is kept under another name and reported, and the given token is used`, async (t) => {
      const { ring, path, store } = await usedJournal(t)
      damage(path)
      const damaged = readFileSync(path)
      const given = ring.mint()
      const { manager, said } = open(t, ring, { refreshToken: given, store })
      assert.equal(rawOf(manager.refreshToken), given)
      assert.ok(ring.isAccessLive(await manager.getAccessToken()))
      await until(() => /was damaged/.test(said()), 'it is reported')
      const kept = readdirSync(join(path, '..')).filter((name) => name.includes('damaged'))
      assert.equal(kept.length, 1)
      assert.deepEqual(readFileSync(join(path, '..', String(kept[0]))), damaged)
      assert.equal(readJournal(path).current.token, manager.refreshToken)
      assert.equal(ring.counts.stalePresentations, 0)
      await manager.close()
      const { manager: next } = open(t, ring, { refreshToken: given, store })
      assert.ok(ring.isAccessLive((await next.refresh()).accessToken))
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('a damaged journal is kept, and without a given token a login is asked for', async (t) => {
    const { ring, path, store } = await usedJournal(t)
    const text = '{\n  "ring-auth-journal": gone'
    writeFileSync(path, text)
    const { manager, said } = open(t, ring, { store })
    await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    assert.match(said(), /, and a token that was given is used instead; without one, a login is needed\./)
    const kept = readdirSync(join(path, '..')).filter((name) => name.includes('damaged'))
    assert.equal(kept.length, 1)
    assert.equal(readFileSync(join(path, '..', String(kept[0])), 'utf8'), text)
    assert.ok(!existsSync(path))
  })

  it('a damaged journal with nothing wrong but its access token, mark or cool-down keeps its refresh token', async (t) => {
    const { ring, path, store, newest } = await usedJournal(t)
    editJournal(path, (journal) => {
      journal.access = { token: 1 }
      journal.mark = 'x'
      journal.coolDown = [{}]
      journal.forcedAt = 'now'
    })
    const { manager } = open(t, ring, { store })
    assert.equal(manager.refreshToken, newest)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    assert.equal(ring.counts.tokenPosts, 1)
  })
})
