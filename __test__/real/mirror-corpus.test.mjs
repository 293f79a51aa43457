// @ts-check
// Odd config.json and .env files, through a real rotation: every byte but the token stays, and other readers of such files
// (JSON.parse, as in Homebridge, and the package dotenv) find the token.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EMAIL, RingTokenManager, optionsFor, rawOf, startRing, tempDir } from '../support/index.mjs'
import { chance } from '../support/chance.mjs'
import { TOKEN, oddConfig, oddEnv } from './odd-files.mjs'
import { inWine } from '../support/systems.mjs'

const { parse } = /** @type {{ parse(text: Buffer): Record<string, string> }} */ (
  createRequire(import.meta.url)('dotenv')
)

const FILES = inWine ? 30 : 600
const SEED = 20_261_123
/** The number of files at a time: each waits for the disk. */
const AT_ONCE = 4

/** @typedef {import('../../index.js').Store} Store */

/**
 * Makes a manager rotate with each file as its store.
 * @param {import('node:test').TestContext} t
 * @param {(n: number) => { text: string, hasKey: boolean, name: string, store(path: string): Store, read(bytes: Buffer): unknown }} make
 */
async function roundTrip(t, make) {
  const ring = await startRing(t)
  const folder = tempDir(t)
  const left = Array.from({ length: FILES }, (_, n) => n)
  const seen = { withKey: 0, withoutKey: 0 }
  const one = async (/** @type {number} */ n) => {
    const { text, hasKey, name, store, read } = make(n)
    const given = ring.mint(EMAIL)
    // Each file is in a folder of its own, and is removed when it is done, to keep the folder small.
    const path = join(folder, `${n}`, name)
    mkdirSync(join(folder, `${n}`))
    const parts = text.split(TOKEN)
    assert.equal(parts.length, hasKey ? 2 : 1)
    const before = Buffer.from(parts.join(given))
    writeFileSync(path, before)
    try {
      const manager = new RingTokenManager({
        ...optionsFor(ring),
        store: store(path),
        ...(hasKey ? {} : { refreshToken: given }),
      })
      await manager.refresh()
      await manager.close()
      const token = String(manager.refreshToken)
      assert.equal(rawOf(token), ring.inspect(given).newest)
      const after = readFileSync(path)
      if (hasKey) {
        assert.equal(after.toString('latin1'), Buffer.from(parts.join(token)).toString('latin1'))
        seen.withKey += 1
      } else {
        // One insertion, and nothing else.
        const same = sharedStart(before, after)
        const rest = before.length - same
        assert.ok(after.length > before.length + token.length)
        assert.deepEqual(after.subarray(after.length - rest), before.subarray(same), 'more was changed than added')
        seen.withoutKey += 1
      }
      assert.equal(read(after), token)
    } catch (error) {
      throw new Error(`file ${n} of seed ${SEED}: ${/** @type {Error} */ (error).message}\n${JSON.stringify(text)}`, {
        cause: error,
      })
    }
    rmSync(join(folder, `${n}`), { recursive: true })
  }
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let n = left.shift(); n !== undefined; n = left.shift()) await one(n)
    }),
  )
  assert.equal(ring.counts.rotations, FILES)
  assert.equal(ring.counts.stalePresentations, 0)
  assert.ok(seen.withKey >= FILES * 0.75 && seen.withoutKey >= FILES / 12, JSON.stringify(seen))
}

/** @param {Buffer} one @param {Buffer} two */
function sharedStart(one, two) {
  let length = 0
  while (length < one.length && one[length] === two[length]) length += 1
  return length
}

describe('odd files', () => {
  it(`${FILES} odd config.json files keep every byte but the token`, (t) =>
    roundTrip(t, (n) => {
      const { text, platform, name, hasKey } = oddConfig(chance(SEED + n))
      return {
        text,
        hasKey,
        name: 'config.json',
        store: (path) => ({ type: 'homebridge', configPath: path, platform, ...(name === undefined ? {} : { name }) }),
        read: (bytes) => {
          const { platforms } = JSON.parse(bytes.toString().replace(/^\ufeff/, ''))
          return platforms.find(
            (/** @type {any} */ block) =>
              block?.platform === platform && (name === undefined || (block.name || platform) === name),
          ).refreshToken
        },
      }
    }))

  it(`${FILES} odd .env files keep every byte but the token`, (t) =>
    roundTrip(t, (n) => {
      const { text, key, hasKey } = oddEnv(chance(SEED + n))
      return {
        text,
        hasKey,
        name: '.env',
        store: (path) => ({ type: 'dotenv', path, key }),
        read: (bytes) => parse(bytes)[key],
      }
    }))
})
