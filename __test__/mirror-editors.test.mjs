// @ts-check
// Another program that changes config.json or .env at the same time as the manager: an editor that replaces the file atomically
// loses no change, and one that rewrites the file in place never reads half a file.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EMAIL, atEnd, open, rawOf, startRing, tempDir } from './support/index.mjs'
import { exchange, inWine } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** How often each side changes the file. If an editor lost a change, it would be one of many. */
const TIMES = inWine ? { replace: 50, rewrite: 20 } : { replace: 1000, rewrite: 400 }
/** What an editor needs for a kind of file: its first text, its edits, and the token in it. */
const KINDS = {
  'config.json': {
    store: (/** @type {string} */ path) => ({
      type: /** @type {const} */ ('homebridge'),
      configPath: path,
      platform: 'Ring',
    }),
    text: (/** @type {string} */ token) =>
      `${JSON.stringify({ bridge: { pin: '031-45-154' }, platforms: [{ platform: 'Ring', refreshToken: token }], edits: {} }, null, 4)}\n`,
    edits: (/** @type {string} */ text) => Object.keys(JSON.parse(text).edits).map(Number),
    token: (/** @type {string} */ text) => JSON.parse(text).platforms[0].refreshToken,
    rest: (/** @type {string} */ text) => ({ ...JSON.parse(text), edits: undefined, platforms: undefined }),
    /** In the editor's process: the text with one more change of the editor. Throws if the text cannot be parsed. */
    change: `(text, n) => {
      const config = JSON.parse(text)
      if (config.bridge.pin !== '031-45-154' || config.platforms[0].refreshToken === '') throw new Error('not whole')
      config.edits[n] = true
      return JSON.stringify(config, null, 4) + '\\n'
    }`,
    has: `(text, n) => n in JSON.parse(text).edits`,
  },
  '.env': {
    store: (/** @type {string} */ path) => ({ type: /** @type {const} */ ('dotenv'), path }),
    text: (/** @type {string} */ token) => `FIRST="one"\nRING_REFRESH_TOKEN=${token} # of the app\n`,
    edits: (/** @type {string} */ text) => [...text.matchAll(/^EDIT_(\d+)=$/gm)].map(([, n]) => Number(n)),
    token: (/** @type {string} */ text) => /^RING_REFRESH_TOKEN=(\S+) # of the app$/m.exec(text)?.[1] ?? '',
    rest: (/** @type {string} */ text) =>
      text.replace(/^EDIT_\d+=\n/gm, '').replace(/(?<=^RING_REFRESH_TOKEN=)\S+/m, ''),
    change: `(text, n) => {
      if (!/^FIRST="one"\\n/.test(text) || !/^RING_REFRESH_TOKEN=ey[^ \\n]+ # of the app\\n/m.test(text) || !text.endsWith('\\n')) throw new Error('not whole')
      return text + 'EDIT_' + n + '=\\n'
    }`,
    has: `(text, n) => text.includes('EDIT_' + n + '=\\n')`,
  },
}

/**
 * An editor in a process of its own, which changes the file a number of times.
 * @param {TestContext} t
 * @param {string} path
 * @param {{ change: string, has: string }} kind
 * @param {'replace' | 'rewrite'} how
 */
function startEditor(t, path, { change, has }, how) {
  const source = `
    const { readFileSync, renameSync, writeFileSync } = require('node:fs')
    const path = ${JSON.stringify(path)}
    const change = ${change}
    const has = ${has}
    let [meetings, looks] = [0, 0]
    let isAlone = false
    process.stdin.on('data', () => (isAlone = true)).on('end', () => process.exit(1))
    let [n, token, edits] = [0, '', 0]
    const step = () => {
      const before = readFileSync(path, 'utf8')
      const text = change(before, n + 1)
      // No program can replace a file on the condition that it is still the one that it read. The manager's file can replace the editor's
      // for the time of two system calls; then the manager restores the editor's. An editor that reads in between sees the manager's, and reads again.
      if (${how === 'replace'} && n > 0 && !has(before, n)) {
        meetings += looks === 0
        looks += 1
        if (looks > 10_000) throw new Error('the change ' + n + ' does not come back')
        return setTimeout(step, 1)
      }
      looks = 0
      // Some changes for each token that the editor sees, so that neither side ends before the other one.
      const seen = /ey[\\w+/=]{20,}/.exec(before)[0]
      if (seen !== token) [token, edits] = [seen, 0]
      if (edits++ > n % 3 && !isAlone) return setTimeout(step, 1)
      if (${how === 'replace'}) {
        writeFileSync(path + '.editor', text)
        renameSync(path + '.editor', path)
      } else {
        writeFileSync(path, text)
      }
      n += 1
      if (n >= ${TIMES[how]}) {
        console.log(meetings)
        process.exit()
      }
      // Sometimes at once, sometimes with a pause in which the other side writes.
      if (n % 4 === 0) setImmediate(step)
      else setTimeout(step, n % 7)
    }
    step()
  `
  const child = spawn(process.execPath, ['-e', source], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.on('error', () => {})
  child.stdout
    .setEncoding('utf8')
    .on('data', (meetings) =>
      t.diagnostic(
        `${meetings.trim()} of ${TIMES[how]} times the editor read between our change and its own being put back`,
      ),
    )
  let hasEnded = false
  /** @type {Promise<void>} */
  const ended = new Promise((resolve, reject) => {
    child.on('close', (code) => {
      hasEnded = true
      if (code === 0) resolve()
      else reject(new Error('the editor met a file that is not whole, or lost a change: see above'))
    })
  })
  ended.catch(() => {})
  atEnd(t, 'manager', () => child.kill('SIGKILL'))
  return { finish: () => (child.stdin.write('alone\n'), ended), hasEnded: () => hasEnded }
}

/**
 * A manager and an editor that both change a file a number of times.
 * @param {TestContext} t
 * @param {keyof typeof KINDS} name
 * @param {'replace' | 'rewrite'} how
 */
async function together(t, name, how) {
  const kind = KINDS[name]
  const ring = await startRing(t)
  const folder = tempDir(t)
  const path = join(folder, name)
  const given = ring.mint(EMAIL)
  writeFileSync(path, kind.text(given))
  const before = kind.rest(readFileSync(path, 'utf8'))
  const { manager } = open(t, ring, { store: kind.store(path) })
  await manager.refresh()
  const editor = startEditor(t, path, kind, how)
  let rotations = 1
  for (; rotations < TIMES[how] || (!editor.hasEnded() && rotations < 2 * TIMES[how]); rotations++)
    await manager.refresh()
  await editor.finish()
  // The editor may have written an old copy last. The next rotation replaces it.
  await manager.refresh()
  await manager.close()
  const text = readFileSync(path, 'utf8')
  assert.equal(rawOf(kind.token(text)), ring.newest(EMAIL), 'our token is not right at the end')
  assert.ok(ring.isLive(rawOf(kind.token(text))))
  assert.deepEqual(kind.rest(text), before)
  assert.equal(ring.counts.rotations, rotations + 1)
  assert.equal(ring.counts.stalePresentations, 0)
  assert.deepEqual(
    readdirSync(folder).filter((other) => other !== name && other !== '.ring-auth'),
    [],
    'something is left over',
  )
  return kind.edits(text)
}

describe('another writer of the same file', { concurrency: 4 }, () => {
  for (const name of /** @type {(keyof typeof KINDS)[]} */ (Object.keys(KINDS))) {
    it(`${name}: an editor that replaces the file atomically loses none of its changes`, {
      skip: exchange,
    }, async (t) => {
      const edits = new Set(await together(t, name, 'replace'))
      const lost = Array.from({ length: TIMES.replace }, (_, n) => n + 1).filter((n) => !edits.has(n))
      assert.deepEqual(lost, [])
    })

    it(`${name}: an editor that rewrites the file in place never reads half of it`, async (t) => {
      // A change at the moment of the manager's write can be lost, but never the file.
      const edits = await together(t, name, 'rewrite')
      assert.equal(new Set(edits).size, edits.length)
    })
  }
})
