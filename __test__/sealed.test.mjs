// @ts-check
// Sealed journals: who can read them, what happens without the key, and that no file has a token in plain text.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { RingTokenManager, failure, fileStore, open, optionsFor, rawOf, startRing, tempDir } from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../index.js').Store} Store */

/** @param {Uint8Array} key */
const fingerprint = (key) =>
  createHash('sha256')
    .update(Buffer.concat([Buffer.from('ring-auth key\0'), key]))
    .digest('hex')
    .slice(0, 16)

/** All files below a folder, with their bytes. @param {string} folder @returns {Map<string, Buffer>} */
function filesIn(folder) {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true })
  const paths = all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(paths.map((path) => [path, readFileSync(path)]))
}

/**
 * The files that contain a token, wrapped or not.
 * @param {string} folder
 * @param {string[]} tokens
 */
function showing(folder, tokens) {
  const forms = tokens.flatMap((token) => [token, rawOf(token)])
  return [...filesIn(folder)].filter(([, bytes]) => forms.some((form) => bytes.includes(form))).map(([path]) => path)
}

/**
 * A Ring, a folder, and a journal in it that is sealed.
 * @param {TestContext} t
 */
async function sealed(t) {
  const ring = await startRing(t)
  const folder = tempDir(t)
  const path = join(folder, 'journal.json')
  const key = randomBytes(32)
  const first = ring.mint()
  const { manager } = open(t, ring, { refreshToken: first, store: { ...fileStore(path), key } })
  await manager.refresh()
  const { accessToken, refreshToken } = await manager.refresh()
  await manager.close()
  ring.clearCounts()
  ring.clearRequests()
  return { ring, folder, path, key, tokens: [first, refreshToken], accessToken, newest: refreshToken }
}

describe('a sealed journal', { concurrency: true }, () => {
  it('a sealed journal holds no token that can be read, and gives it at once with its key, in every form that a key has', async (t) => {
    const { ring, folder, path, key, tokens, accessToken, newest } = await sealed(t)
    assert.deepEqual(showing(folder, tokens), [])
    assert.equal(readFileSync(path).includes(accessToken), false)
    const { key: said, issuer } = JSON.parse(readFileSync(path, 'utf8'))
    assert.deepEqual([said, issuer], [fingerprint(key), ring.oauthUrl])
    for (const form of [
      key,
      new Uint8Array(key),
      key.toString('hex'),
      key.toString('base64'),
      key.toString('base64url'),
    ]) {
      const { manager } = open(t, ring, { store: { ...fileStore(path), key: form } })
      assert.equal(manager.refreshToken, newest)
      await manager.close()
    }
  })

  it('a sealed journal is a failure of the store without its key, or with another one: nothing is sent, and nothing changes', async (t) => {
    const { ring, folder, path, key } = await sealed(t)
    const other = randomBytes(32)
    const before = filesIn(folder)
    for (const [given, says] of /** @type {const} */ ([
      [undefined, `is sealed with the key ${fingerprint(key)}, and no key was given`],
      [other, `the key that was given is another one, ${fingerprint(other)}`],
    ])) {
      const { manager } = open(t, ring, { store: { ...fileStore(path), key: given } })
      assert.deepEqual([manager.refreshToken, manager.status.state, manager.status.code], [null, 'idle', 'STORE'])
      const { message } = await failure(manager.getAccessToken(), 'STORE')
      assert.ok(message.includes(says), message)
      await failure(manager.refresh({ force: true }), 'STORE')
      await manager.close()
    }
    const elsewhere = { ...optionsFor(ring), oauthUrl: 'http://127.0.0.1:1', store: { ...fileStore(path), key } }
    assert.throws(() => new RingTokenManager(elsewhere), { code: 'INVALID_ARGUMENT', message: /holds tokens of/ })
    before.delete(`${path}.lock`)
    const after = filesIn(folder)
    after.delete(`${path}.lock`)
    assert.deepEqual(after, before)
    assert.equal(ring.requests.length, 0)
  })

  it('a sealed journal asks a function for its key at the first call, once, and again only after a failure', async (t) => {
    const { ring, path, key, newest } = await sealed(t)
    const answers = [
      () => {
        throw Object.assign(new Error('cNaRy'), { code: 'EKEYS' })
      },
      () => 'cNaRy that is no key',
      async () => key,
    ]
    let asked = 0
    const { manager, log } = open(t, ring, {
      store: { ...fileStore(path), key: () => /** @type {any} */ (answers[asked++])() },
    })
    assert.deepEqual([manager.refreshToken, asked, manager.status.state], [null, 0, 'idle'])
    const failed = await failure(manager.getAccessToken(), 'STORE')
    assert.match(failed.message, /its key is missing\. The store's own key failed \(Error, EKEYS\)/)
    const refused = await failure(manager.getAccessToken(), 'INVALID_ARGUMENT')
    assert.match(refused.message, /What the store's own key gave is not a key/)
    const tokens = await Promise.all([manager.getAccessToken(), manager.getAccessToken(), manager.getAuth()])
    assert.equal(tokens[0], tokens[1])
    assert.equal(manager.refreshToken, newest)
    await manager.refresh()
    assert.equal(asked, 3)
    await manager.close()
    const shown = inspect([failed, refused, log, manager, manager.status], { depth: 9 })
    assert.doesNotMatch(shown, /cNaRy/)
    assert.ok(!shown.includes(key.toString('hex')))
  })

  it('a key function that calls its own manager gets INVALID_ARGUMENT, and does not hang', async (t) => {
    const { ring, path, key } = await sealed(t)
    /** @type {unknown} */
    let inside
    const { manager } = open(t, ring, {
      store: {
        ...fileStore(path),
        key: async () => {
          inside = await manager.getAccessToken().catch((error) => error.code)
          return key
        },
      },
    })
    await manager.getAccessToken()
    assert.equal(inside, 'INVALID_ARGUMENT')
    await manager.close()
  })

  it('a sealed journal is damaged only if it was changed and the key is right: then it is kept aside, and nothing is sent', async (t) => {
    const { ring, folder, path, key, tokens } = await sealed(t)
    const journal = JSON.parse(readFileSync(path, 'utf8'))
    journal.lines = journal.lines.map(
      (/** @type {string} */ line) => `${line.startsWith('A') ? 'B' : 'A'}${line.slice(1)}`,
    )
    writeFileSync(path, JSON.stringify(journal))
    const without = open(t, ring, { store: fileStore(path) })
    await failure(without.manager.getAccessToken(), 'STORE')
    await without.manager.close()
    const { manager } = open(t, ring, { store: { ...fileStore(path), key } })
    await failure(manager.getAccessToken(), 'NO_REFRESH_TOKEN')
    await manager.close()
    const kept = readdirSync(folder).filter((name) => name.includes('.damaged-'))
    assert.equal(kept.length, 1)
    assert.deepEqual(JSON.parse(readFileSync(join(folder, String(kept[0])), 'utf8')), journal)
    assert.equal(ring.requests.length, 0)
    assert.deepEqual(showing(folder, tokens), [])
  })
})

describe('a key', { concurrency: true }, () => {
  it('a key seals a plain journal at its next write', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const path = join(folder, 'journal.json')
    const first = ring.mint()
    const plain = open(t, ring, { refreshToken: first, store: fileStore(path) })
    await plain.manager.refresh()
    await plain.manager.close()
    const key = randomBytes(32)
    const { manager } = open(t, ring, { store: { ...fileStore(path), key } })
    const before = String(manager.refreshToken)
    assert.equal(showing(folder, [before]).length, 1, 'a look changes nothing')
    const { refreshToken } = await manager.refresh()
    await manager.close()
    assert.deepEqual(showing(folder, [first, before, refreshToken]), [])
  })

  it('a key seals the journal behind config.json, .env and a program, which show the token as ever', async (t) => {
    const ring = await startRing(t)
    const key = randomBytes(32)
    /** @type {string | undefined} */
    let saved
    const config = (/** @type {string} */ folder, /** @type {string} */ token) => {
      const configPath = join(folder, 'config.json')
      writeFileSync(configPath, JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken: token }] }))
      return { type: 'homebridge', configPath, key }
    }
    const dotenv = (/** @type {string} */ folder, /** @type {string} */ token) => {
      const path = join(folder, '.env')
      writeFileSync(path, `MY_TOKEN=${token}\n`)
      return { type: 'dotenv', path, envKey: 'MY_TOKEN', key: key.toString('base64') }
    }
    const custom = (/** @type {string} */ folder, /** @type {string} */ token) => {
      saved = token
      return {
        load: () => saved,
        save: (/** @type {string} */ token) => {
          saved = token
        },
        statePath: folder,
        key: async () => key,
      }
    }
    for (const store of [config, dotenv, custom]) {
      const folder = tempDir(t)
      const first = ring.mint()
      const { manager } = open(t, ring, { store: /** @type {Store} */ (store(folder, first)) })
      await manager.getAccessToken()
      const { refreshToken } = await manager.refresh()
      await manager.close()
      const shows = showing(folder, [first, refreshToken]).filter((path) => !/(config\.json|\.env)$/.test(path))
      assert.deepEqual(shows, [], store.name)
      assert.ok(
        [...filesIn(folder).values()].some((bytes) => bytes.includes(fingerprint(key))),
        store.name,
      )
      const again = open(t, ring, { store: /** @type {Store} */ (store(folder, refreshToken)) })
      assert.equal((await again.manager.getAuth()).refreshToken, refreshToken)
      await again.manager.close()
    }
  })

  it('a key in the option key of a .env file is told from the name of the variable', async (t) => {
    const ring = await startRing(t)
    const folder = tempDir(t)
    const path = join(folder, '.env')
    const key = randomBytes(32)
    const first = ring.mint()
    writeFileSync(path, `RING_REFRESH_TOKEN=${first}\nOTHER=\n`)
    for (const form of [key.toString('hex'), key.toString('base64'), key, () => key]) {
      const { manager } = open(t, ring, { store: { type: 'dotenv', path, key: form } })
      await manager.getAccessToken()
      await manager.close()
    }
    const [journal] = readdirSync(join(folder, '.ring-auth')).filter((name) => name.endsWith('.json'))
    assert.equal(JSON.parse(readFileSync(join(folder, '.ring-auth', String(journal)), 'utf8')).key, fingerprint(key))
    // The text may be a key with a mistake in it.
    const wrong = /** @type {Store} */ ({ type: 'dotenv', path, key: `${key.toString('base64')}cNaRy=` })
    assert.throws(
      () => open(t, ring, { store: wrong }),
      (/** @type {any} */ error) => {
        assert.equal(error.code, 'INVALID_ARGUMENT')
        return !error.message.includes('cNaRy')
      },
    )
  })

  it('a key of another length or kind is refused by the constructor, without being shown', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'journal.json')
    const wrong = [
      '',
      'cNaRy',
      'cNaRy'.repeat(20),
      new Uint8Array(31),
      new Uint8Array(33),
      Buffer.alloc(64),
      'ab'.repeat(31),
    ]
    const kinds = [null, 7, {}, [], new ArrayBuffer(32), new Uint16Array(16), new Array(32).fill(1)]
    for (const key of [...wrong, ...kinds]) {
      const store = /** @type {Store} */ ({ ...fileStore(path), key })
      assert.throws(
        () => open(t, ring, { store }),
        (/** @type {any} */ error) => {
          assert.equal(error.code, 'INVALID_ARGUMENT', inspect(key))
          assert.match(error.message, /^options\.store\.key .*32 bytes/)
          return !error.message.includes('cNaRy')
        },
      )
    }
    const key = randomBytes(32)
    const nowhere = [
      { type: 'memory', key },
      { load: () => null, save: () => {}, key },
    ]
    for (const store of /** @type {Store[]} */ (nowhere)) {
      assert.throws(() => open(t, ring, { store }), { code: 'INVALID_ARGUMENT', message: /seals a journal/ })
    }
    assert.deepEqual([...filesIn(join(path, '..'))], [])
  })
})
