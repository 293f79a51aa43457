// @ts-check
// The command line with sealed journals: where the key comes from, how it changes, and what happens without it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { CANARY, failure, json, run, setUp } from './support/cli.mjs'
import { OUTAGE, wrap } from './support/index.mjs'
import { shell } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/** The bytes of each file in a folder, except locks. @param {string} folder */
const filesIn = (folder) =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((name) => !name.endsWith('.lock') && name !== 'keys')
      .map((name) => [name, readFileSync(join(folder, name), 'latin1')]),
  )

/**
 * A journal that is sealed by the command line, with its key in a file.
 * @param {TestContext} t
 */
async function sealed(t) {
  const { ring, folder, journal } = await setUp(t)
  const keys = join(folder, 'keys')
  mkdirSync(keys)
  /** @param {string} name @param {string | Buffer} content */
  const keyFile = (name, content) => {
    const path = join(keys, name)
    writeFileSync(path, content)
    return path
  }
  const key = keyFile('key', `${randomBytes(32).toString('base64')}\n`)
  const store = ['--state-file', journal]
  const input = wrap({ rt: ring.mint() })
  const first = await run(['refresh', ...store, '--key-file', key, '--refresh-token-stdin'], { ring, input })
  assert.equal(first.code, 0, first.stderr)
  ring.clearCounts()
  ring.clearRequests()
  return { ring, folder, journal, keys, keyFile, key, store }
}

/** @param {string} journal */
const isSealed = (journal) => {
  const text = readFileSync(journal, 'utf8')
  return text.startsWith('{\n  "ring-auth-sealed": ') && !text.includes(CANARY) && !text.includes('"token"')
}

describe('the command line', { concurrency: true }, () => {
  it('the command line seals a journal with a key file, and names the missing key without it: exit 6, nothing sent or changed', async (t) => {
    const { ring, folder, journal, key, keyFile, store } = await sealed(t)
    assert.ok(isSealed(journal))
    const before = filesIn(folder)
    const { key: fingerprint } = JSON.parse(readFileSync(journal, 'utf8'))
    const other = ['--key-file', keyFile('other', randomBytes(32))]
    for (const command of [['status'], ['token'], ['refresh'], ['refresh', '--force'], ['logout'], ['login']]) {
      for (const keys of [[], other]) {
        const done = await run([...command, ...store, ...keys, '--json'], { ring })
        const { message } = failure(done, 'STORE', 6)
        assert.match(message, /is sealed with the key/)
        assert.ok(message.includes(fingerprint), message)
        assert.match(
          message,
          keys.length > 0 ? /the key that was given is another one/ : /with --key-file or --key-command/,
        )
      }
    }
    assert.deepEqual(filesIn(folder), before)
    assert.equal(ring.requests.length, 0)
    const status = await run(['status', ...store, '--json'], { ring, env: { RING_AUTH_KEY_FILE: key } })
    assert.equal(json(status).state, 'ready')
    const token = await run(['token', ...store], { ring, env: { CREDENTIALS_DIRECTORY: join(key, '..') } })
    assert.equal(token.code, 6, 'the credential has another name')
    writeFileSync(join(key, '..', 'ring-auth-key'), readFileSync(key))
    const withCredential = await run(['token', ...store], { ring, env: { CREDENTIALS_DIRECTORY: join(key, '..') } })
    assert.equal(withCredential.code, 0, withCredential.stderr)
  })

  it('the command line changes the key and takes it away with a refresh, and not if that fails', async (t) => {
    const { ring, journal, key, keyFile, store } = await sealed(t)
    const next = keyFile('next', randomBytes(32))
    const status = async (/** @type {string[]} */ keys) => (await run(['status', ...store, ...keys], { ring })).code
    const change = ['refresh', ...store, '--key-file', key, '--new-key-file', next, '--force']
    ring.fault(OUTAGE)
    assert.equal((await run(change, { ring })).code, 5)
    assert.deepEqual([await status(['--key-file', key]), await status(['--key-file', next])], [0, 6])
    ring.clearFaults()
    const changed = await run(change, { ring })
    assert.equal(changed.code, 0, changed.stderr)
    assert.deepEqual([await status(['--key-file', key]), await status(['--key-file', next])], [6, 0])
    assert.ok(isSealed(journal))
    const plain = await run(['refresh', ...store, '--key-file', next, '--unseal'], { ring })
    assert.equal(plain.code, 0, plain.stderr)
    assert.equal(await status([]), 0)
    assert.match(readFileSync(journal, 'utf8'), /"ring-auth-journal"/)
    const again = await run(['refresh', ...store, '--new-key-file', key], { ring })
    assert.equal(again.code, 0, again.stderr)
    assert.equal(await status(['--key-file', key]), 0)
    const { message } = failure(await run(['refresh', ...store, '--unseal', '--json'], { ring }), 'INVALID_ARGUMENT', 2)
    assert.match(message, /--unseal needs the key of the journal/)
  })

  it('status says that a journal is damaged, if it was sealed with the key that is given', async (t) => {
    const { ring, journal, key, store } = await sealed(t)
    const whole = readFileSync(journal, 'utf8')
    const { lines, ...header } = JSON.parse(whole)
    const changed = lines.map((/** @type {string} */ line) => `${line.startsWith('A') ? 'B' : 'A'}${line.slice(1)}`)
    writeFileSync(journal, JSON.stringify({ ...header, lines: changed }))
    const done = await run(['status', ...store, '--key-file', key, '--json'], { ring })
    assert.equal(done.code, 3, done.stderr)
    assert.equal(
      json(done).message,
      `The journal ${journal} is damaged, and there is no whole copy of it, so it holds no refresh token. Get one with: ring-auth login --state-file ${journal}`,
    )
    failure(await run(['status', ...store, '--json'], { ring }), 'STORE', 6)
  })

  it('the command line forgets a journal whose key is lost only with --force', async (t) => {
    const { ring, folder, journal, key, store } = await sealed(t)
    const before = filesIn(folder)
    failure(await run(['logout', ...store, '--json'], { ring }), 'STORE', 6)
    assert.deepEqual(filesIn(folder), before)
    const forced = await run(['logout', ...store, '--force'], { ring })
    assert.equal(forced.code, 0, forced.stderr)
    assert.equal((await run(['status', ...store], { ring })).code, 3)
    assert.deepEqual(Object.keys(filesIn(folder)), ['journal.json'])
    // `--force` does not bypass the other rules.
    writeFileSync(journal, '{"bridge": {}}')
    failure(await run(['logout', ...store, '--force', '--key-file', key, '--json'], { ring }), 'INVALID_ARGUMENT', 2)
    assert.equal(readFileSync(journal, 'utf8'), '{"bridge": {}}')
    writeFileSync(journal, String(before['journal.json']).replace('"version": 1', '"version": 2'))
    const later = failure(await run(['logout', ...store, '--force', '--json'], { ring }), 'STORE', 6)
    assert.match(later.message, /later version/)
  })

  it('the command line logs out of config.json with --force if the key of its journal is lost', async (t) => {
    const { ring, folder, keyFile } = await sealed(t)
    const config = join(folder, 'config.json')
    writeFileSync(
      config,
      JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken: wrap({ rt: ring.mint() }) }] }),
    )
    const store = ['--homebridge', config]
    const rotated = await run(['refresh', ...store, '--key-file', keyFile('k', randomBytes(32))], { ring })
    assert.equal(rotated.code, 0, rotated.stderr)
    const shown = readFileSync(config, 'utf8')
    for (const command of ['token', 'refresh', 'logout', 'status']) {
      failure(await run([command, ...store, '--json'], { ring }), 'STORE', 6)
    }
    assert.equal(readFileSync(config, 'utf8'), shown)
    const forced = await run(['logout', ...store, '--force'], { ring })
    assert.equal(forced.code, 0, forced.stderr)
    assert.equal(JSON.parse(readFileSync(config, 'utf8')).platforms[0].refreshToken, undefined)
    assert.equal((await run(['status', ...store], { ring })).code, 3)
  })

  it('the command line refuses a wrong key file: a folder, a device, empty, huge, unreadable, of another length', async (t) => {
    const { ring, folder, keys, keyFile, store } = await sealed(t)
    const before = filesIn(folder)
    const cases = [
      [keys, /is a folder/],
      [join(keys, 'none'), /does not exist/],
      [keyFile('empty', ''), /has nothing in it/],
      [keyFile('blank', ' \n'), /has nothing in it/],
      [keyFile('huge', 'cNaRy'.repeat(20_000)), /larger than 64 KiB/],
      [keyFile('short', randomBytes(31)), /is not a key: a key has 32 bytes/],
      [keyFile('long', randomBytes(33)), /is not a key/],
      [keyFile('half', randomBytes(16).toString('hex')), /is not a key/],
      [keyFile('words', 'cNaRy7f3a horse battery'), /is not a key/],
    ]
    if (process.platform !== 'win32') cases.push(['/dev/zero', /is a device/])
    for (const [path, says] of /** @type {[string, RegExp][]} */ (cases)) {
      for (const how of [{ args: ['--key-file', path] }, { args: [], env: { RING_AUTH_KEY_FILE: path } }]) {
        const done = await run(['status', ...store, ...how.args, '--json'], { ring, env: how.env ?? {} })
        assert.match(failure(done, 'INVALID_ARGUMENT', 2).message, says)
      }
    }
    for (const args of [
      ['status', ...store, '--key-file', 'a', '--key-file', 'b'],
      ['refresh', ...store, '--key-file', 'a', '--unseal', '--new-key-file', 'b'],
      ['token', ...store, '--new-key-file', 'b'],
      ['login', '--key-file', 'a'],
    ]) {
      failure(await run([...args, '--json'], { ring }), 'INVALID_ARGUMENT', 2)
    }
    assert.deepEqual(filesIn(folder), before)
    assert.equal(ring.requests.length, 0)
  })

  it('the command line gets the key from a command, which it ends after ten seconds, and never shows its output', {
    skip: shell,
  }, async (t) => {
    const { ring, folder, key, store } = await sealed(t)
    for (const line of [`cat ${key}`, `cat '${key}'`, `cat ${key} | cat`, `cat ${key}; sleep 60 >/dev/null 2>&1 &`]) {
      const done = await run(['token', ...store, '--key-command', line], { ring })
      assert.equal(done.code, 0, `${line}: ${done.stderr}`)
    }
    const cases = /** @type {const} */ ([
      [`echo ${CANARY}; echo ${CANARY} >&2; exit 7`, 'STORE', 6, /failed with exit code 7/],
      ['no-such-command-of-anybody', 'STORE', 6, /not found \(exit code 127\)/],
      [`yes ${CANARY}`, 'STORE', 6, /printed more than 64 KiB/],
      ['sleep 600', 'STORE', 6, /still running after 10 s/],
      ['sleep 600 & wait', 'STORE', 6, /still running after 10 s/],
      [`echo ${CANARY}`, 'INVALID_ARGUMENT', 2, /is not a key/],
      ['printenv RING_AUTH_KEY_FILE', 'STORE', 6, /failed with exit code 1/],
    ])
    const runs = cases.map(async ([line, code, exit, says]) => {
      const env = { RING_AUTH_KEY_FILE: key }
      const done = await run(['status', ...store, '--key-command', line, '--json'], { ring, env })
      assert.match(failure(done, code, exit).message, says, line)
    })
    await Promise.all(runs)
    assert.equal(ring.requests.length, 0)
    // The variable of a .env file that has a name of its own is a secret, too.
    const dotenv = ['--dotenv', join(folder, '.env'), '--env-key', 'MY_TOKEN']
    const seen = ['--key-command', `printenv MY_TOKEN > ${join(folder, 'seen')}; cat ${key}`]
    writeFileSync(join(folder, '.env'), `MY_TOKEN=${ring.mint()}\n`)
    const asked = await run(['token', ...dotenv, ...seen], { ring, env: { MY_TOKEN: CANARY } })
    assert.equal(asked.code, 0, asked.stderr)
    assert.equal(readFileSync(join(folder, 'seen'), 'utf8'), '')
    const first = await run(['token', ...store, '--key-file', key, '--key-command', 'false'], { ring })
    assert.equal(first.code, 0, 'the file comes first')
  })

  it('the command line runs a command only if the key is needed', { skip: shell }, async (t) => {
    const { ring, folder } = await sealed(t)
    const plain = ['--state-file', join(folder, 'plain.json')]
    const input = wrap({ rt: ring.mint() })
    assert.equal((await run(['refresh', ...plain, '--refresh-token-stdin'], { ring, input })).code, 0)
    assert.equal((await run(['status', ...plain, '--key-command', 'exit 3'], { ring })).code, 0)
    const refused = await run(['refresh', ...plain, '--key-command', 'exit 3', '--json'], { ring })
    assert.match(failure(refused, 'STORE', 6).message, /exit code 3/)
    assert.equal(ring.requests.length, 1)
    const text = readFileSync(join(folder, 'plain.json'), 'utf8')
    assert.match(text, /"ring-auth-journal"/, 'nothing was written in plain text')
    const script = join(folder, 'keys', 'script')
    writeFileSync(script, `echo ${randomBytes(32).toString('hex')}\n`)
    chmodSync(script, 0o755)
    const rotated = await run(['refresh', ...plain, '--key-command', script], { ring })
    assert.equal(rotated.code, 0, `a script without a first line needs the shell: ${rotated.stderr}`)
    assert.ok(isSealed(join(folder, 'plain.json')))
  })
})
