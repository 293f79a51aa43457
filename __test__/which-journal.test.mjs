// @ts-check
// Which journal a mirror follows: blocks with one token, blocks that are swapped, and blocks with a login or a logout of their own.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LOGIN, account, run, setUp } from './support/cli.mjs'
import { PASSWORD, open, readJournal, until, unwrap, wrap } from './support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** A config.json with blocks. @param {TestContext} t @param {(ring: Awaited<ReturnType<typeof setUp>>['ring']) => Record<string, string | undefined>} tokens */
async function prepared(t, tokens) {
  const { ring, folder } = await setUp(t, account('none'))
  const path = join(folder, 'config.json')
  /** @param {Record<string, string | undefined>} blocks */
  const write = (blocks) => {
    const platforms = Object.entries(blocks).map(([name, refreshToken]) => ({ platform: 'Ring', name, refreshToken }))
    writeFileSync(path, JSON.stringify({ bridge: { name: 'Homebridge' }, platforms }, null, 2))
  }
  /** @returns {Record<string, string>} */
  const shown = () => {
    const { platforms } = JSON.parse(readFileSync(path, 'utf8'))
    return Object.fromEntries(
      platforms.map((/** @type {{ name: string, refreshToken: string }} */ block) => [block.name, block.refreshToken]),
    )
  }
  const journals = () => {
    const own = join(folder, '.ring-auth')
    return readdirSync(own)
      .filter((name) => name.endsWith('.json'))
      .map((name) => readJournal(join(own, name)))
  }
  /** @param {string} name @param {string} [refreshToken] */
  const manager = (name, refreshToken) =>
    open(t, ring, { refreshToken, store: { type: 'homebridge', configPath: path, name } })
  write(tokens(ring))
  return { ring, path, write, shown, journals, manager }
}

/** Checks that no spent token was sent. @param {Awaited<ReturnType<typeof setUp>>['ring']} ring */
function assertNothingStale(ring) {
  assert.equal(ring.counts.stalePresentations, 0)
}

/** A config.json with one token in two blocks. @param {TestContext} t */
const sharing = (t) =>
  prepared(t, (ring) => {
    const token = wrap({ rt: ring.mint() })
    return { One: token, Two: token }
  })

describe('two blocks with one token', () => {
  it('two blocks with one token are served by two managers of one process, and both show the newest', async (t) => {
    const at = await sharing(t)
    const [one, two] = [at.manager('One'), at.manager('Two')]
    await Promise.all([one.manager.getAccessToken(), two.manager.getAccessToken()])
    for (let round = 0; round < 4; round++) await Promise.all([one.manager.refresh(), two.manager.refresh()])
    await one.manager.getAccessToken()
    await Promise.all([one.manager.close(), two.manager.close()])
    for (const name of ['One', 'Two']) await at.manager(name).manager.close()
    assertNothingStale(at.ring)
    assert.deepEqual(
      Object.values(at.shown()).map((token) => unwrap(token).rt),
      [at.ring.newest(), at.ring.newest()],
    )
    assert.equal(at.journals().length, 1)
    const said = [one, two].flatMap(({ log }) => log.filter(({ message }) => message.includes('A login for each')))
    assert.equal(said.length, 1)
    assert.equal(said[0]?.level, 'warn')
  })

  it('two blocks with one token are one keeper also if only the options have the token', async (t) => {
    const at = await prepared(t, () => ({ One: '', Two: '' }))
    const token = at.ring.mint()
    const [one, two] = [at.manager('One', token), at.manager('Two', token)]
    // The second manager finds the journal of the first one: a token in the options is enough for both.
    await Promise.all([one.manager.refresh(), two.manager.refresh()])
    for (const { manager } of [one, two, one]) await manager.refresh()
    await Promise.all([one.manager.close(), two.manager.close()])
    assertNothingStale(at.ring)
    assert.equal(at.journals().length, 1)
    // A start after the first one finds the journal that has the token.
    const next = at.manager('Two', token)
    await next.manager.refresh()
    await next.manager.close()
    assertNothingStale(at.ring)
    assert.equal(unwrap(String(at.shown().Two)).rt, at.ring.newest())
  })

  it('two blocks with one token have one token each after a login for one of them', async (t) => {
    const at = await sharing(t)
    const one = at.manager('One')
    await one.manager.refresh()
    const done = await run([...LOGIN, '--homebridge', at.path, '--name', 'Two'], {
      ring: at.ring,
      input: `${PASSWORD}\n`,
    })
    assert.equal(done.code, 0, done.stderr)
    const { One, Two } = at.shown()
    assert.equal(unwrap(String(Two)).rt, at.ring.newest())
    assert.notEqual(One, Two)
    const two = at.manager('Two')
    for (let round = 0; round < 3; round++) {
      await one.manager.refresh()
      await two.manager.refresh()
    }
    await Promise.all([one.manager.close(), two.manager.close()])
    assertNothingStale(at.ring)
    assert.equal(at.journals().length, 2)
    assert.notEqual(at.shown().One, at.shown().Two)
  })

  it('two blocks with one token are not both logged out by a logout for one of them', async (t) => {
    const at = await sharing(t)
    const [one, two] = [at.manager('One'), at.manager('Two')]
    await one.manager.refresh()
    await two.manager.refresh()
    const done = await run(['logout', '--homebridge', at.path, '--name', 'Two'], { ring: at.ring })
    assert.equal(done.code, 0, done.stderr)
    assert.match(
      done.stderr,
      /the block "One" of Ring in .*config\.json shows the same refresh token and keeps using it/,
    )
    assert.equal(at.shown().Two, undefined)
    await assert.rejects(two.manager.refresh(), { code: 'NO_REFRESH_TOKEN' })
    await one.manager.refresh()
    const status = await run(['status', '--homebridge', at.path, '--name', 'Two'], { ring: at.ring })
    assert.equal(status.code, 3, status.stdout)
    await Promise.all([one.manager.close(), two.manager.close()])
    assertNothingStale(at.ring)
    assert.equal(at.shown().Two, undefined, 'no process brings it back')
    assert.equal(unwrap(String(at.shown().One)).rt, at.ring.newest())
  })

  it('two blocks with one token go back to one journal after a token was pasted into one of them that never worked', async (t) => {
    const at = await sharing(t)
    const [one, two] = [at.manager('One'), at.manager('Two')]
    await one.manager.refresh()
    await two.manager.refresh()
    at.write({ ...at.shown(), Two: 'a-token-that-ring-never-gave-to-anybody' })
    await assert.rejects(two.manager.refresh(), { code: 'REFRESH_TOKEN_REJECTED' })
    await one.manager.refresh()
    await two.manager.refresh()
    await Promise.all([one.manager.close(), two.manager.close()])
    await at.manager('One').manager.close()
    assert.equal(at.ring.counts.stalePresentations, 0)
    assert.deepEqual(
      Object.values(at.shown()).map((token) => unwrap(token).rt),
      [at.ring.newest(), at.ring.newest()],
    )
  })
})

it('blocks whose tokens are swapped while managers run continue with the family that each shows', async (t) => {
  const at = await prepared(t, (ring) => ({ One: wrap({ rt: ring.mint() }), Two: wrap({ rt: ring.mint() }) }))
  const [one, two] = [at.manager('One'), at.manager('Two')]
  for (let round = 0; round < 3; round++) {
    await Promise.all([one.manager.refresh(), two.manager.refresh()])
    await until(
      () => unwrap(String(at.shown().One)).rt !== unwrap(String(at.shown().Two)).rt,
      () => 'two tokens',
    )
    const { One, Two } = at.shown()
    at.write({ One: Two, Two: One })
    const before = [one.manager.refreshToken, two.manager.refreshToken]
    await Promise.all([one.manager.refresh(), two.manager.refresh()])
    const families = at.journals().map(({ known }) => known)
    assert.equal(families.length, 2)
    assert.notDeepEqual([one.manager.refreshToken, two.manager.refreshToken], before)
  }
  await Promise.all([one.manager.close(), two.manager.close()])
  assertNothingStale(at.ring)
  assert.equal(at.journals().length, 2)
})

it('a manager that starts before its block has a token finds the journal of the token that is pasted later', async (t) => {
  const at = await prepared(t, (ring) => ({ One: wrap({ rt: ring.mint() }), Two: '' }))
  const [one, two] = [at.manager('One'), at.manager('Two')]
  await one.manager.refresh()
  await assert.rejects(two.manager.refresh(), { code: 'NO_REFRESH_TOKEN' })
  at.write({ ...at.shown(), Two: at.shown().One })
  await two.manager.refresh()
  await one.manager.refresh()
  await Promise.all([one.manager.close(), two.manager.close()])
  assertNothingStale(at.ring)
})
