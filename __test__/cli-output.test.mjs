// @ts-check
// The command line with a standard output that does not take the only copy of a token.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, cpSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { CANARY, LOGIN, account, bin, environment, noSecret, setUp } from './support/cli.mjs'
import { PASSWORD, parseRefreshToken, root, tempDir } from './support/index.mjs'
import { closedPipes, devices, fullDevice, mounts } from './support/systems.mjs'

/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

/**
 * The commands that print a token which exists nowhere else, with their standard input.
 * @type {{ name: string, args: string[], input: (ring: FakeRing) => string, grant: 'password' | 'refresh_token' }[]}
 */
const COMMANDS = [
  { name: 'login', args: [...LOGIN, '--login-flow', 'password'], input: () => PASSWORD, grant: 'password' },
  { name: 'refresh', args: ['refresh', '--refresh-token-stdin'], input: (ring) => ring.mint(), grant: 'refresh_token' },
]

/** The token in the output for a person or a program. @param {string} text @returns {string} */
function tokenIn(text) {
  const word = text
    .match(/[A-Za-z0-9+/=._-]{40,}/g)
    ?.find((word) => Buffer.from(word, 'base64').toString().includes(CANARY))
  assert.ok(word, `no token in:\n${text}`)
  return parseRefreshToken(word).raw
}

/**
 * Starts a program with a pipe as standard input and standard error.
 * @param {string} command
 * @param {string[]} args
 * @param {{ ring: FakeRing, stdout?: 'pipe' | number }} how
 */
function start(command, args, { ring, stdout = 'pipe' }) {
  const child = spawn(command, args, { env: environment(ring), stdio: ['pipe', stdout, 'pipe'] })
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => (stderr += text))
  // A program that refuses its standard output may not read its standard input.
  child.stdin?.on('error', () => {})
  return {
    child,
    /** @type {Promise<{ code: number | null, stderr: string }>} */
    ended: new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, stderr }))
    }),
  }
}

/** @param {{ code: number | null, stderr: string }} run @param {FakeRing} ring */
function isRefusedBeforeTheRequest({ code, stderr }, ring) {
  assert.equal(code, 1, stderr)
  assert.match(stderr, /could not be written to standard output/)
  assert.match(stderr, /No token was requested/)
  noSecret(stderr)
  assert.equal(ring.requests.length, 0)
}

for (const { name, args, input, grant } of COMMANDS) {
  for (const how of [[], ['--json']]) {
    const command = [name, ...how].join(' ')

    describe(command, { concurrency: 4 }, () => {
      for (const device of ['/dev/full', '/dev/null']) {
        const skip = device === '/dev/full' ? fullDevice : devices
        it(`${command} into ${device} sends nothing`, { skip }, async (t) => {
          const { ring } = await setUp(t, account('none'))
          const output = openSync(device, 'w')
          t.after(() => closeSync(output))
          const done = start(process.execPath, [bin, ...args, ...how], { ring, stdout: output })
          done.child.stdin?.end(`${input(ring)}\n`)
          isRefusedBeforeTheRequest(await done.ended, ring)
        })
      }

      it(`${command} into a closed pipe sends nothing`, { skip: closedPipes }, async (t) => {
        const { ring } = await setUp(t, account('none'))
        const done = start(process.execPath, [bin, ...args, ...how], { ring })
        done.child.stdout?.destroy()
        done.child.stdin?.end(`${input(ring)}\n`)
        isRefusedBeforeTheRequest(await done.ended, ring)
      })

      it(`${command} into a pipe that is closed during the request shows the token on standard error`, async (t) => {
        const { ring } = await setUp(t, account('none'))
        const done = start(process.execPath, [bin, ...args, ...how], { ring })
        ring.fault({
          kind: 'mutate',
          grant,
          fn: (answer) => {
            done.child.stdout?.destroy()
            return answer
          },
        })
        done.child.stdin?.end(`${input(ring)}\n`)
        const { code, stderr } = await done.ended
        assert.equal(code, 1, stderr)
        assert.match(stderr, /could not be written to standard output/)
        assert.ok(ring.isLive(tokenIn(stderr)), stderr)
        assert.equal(ring.counts.stalePresentations, 0)
      })
    })
  }
}

it('refresh into a closed pipe, with a journal that takes no answer any more, shows the token on standard error', async (t) => {
  const { ring, folder } = await setUp(t)
  const place = join(folder, 'state')
  mkdirSync(place)
  const args = [bin, 'refresh', '--refresh-token-stdin', '--state-file', join(place, 'journal.json')]
  const done = start(process.execPath, args, { ring })
  ring.fault({
    kind: 'mutate',
    fn: (answer) => {
      done.child.stdout?.destroy()
      renameSync(place, join(folder, 'away'))
      writeFileSync(place, '')
      return answer
    },
  })
  done.child.stdin?.end(`${ring.mint()}\n`)
  const { code, stderr } = await done.ended
  assert.equal(code, 6, stderr)
  assert.match(stderr, /could not be written to standard output/)
  assert.match(stderr, /It is on standard error instead/)
  assert.ok(ring.isLive(tokenIn(stderr)), stderr)
})

it('refresh into a file on a full disk sends nothing', {
  skip: mounts,
}, async (t) => {
  const { ring, folder } = await setUp(t)
  // A disk of 16 KiB in a mount namespace of its own; other users than root need a user namespace too.
  const kinds = [['--mount'], ['--mount', '--user', '--map-root-user']]
  const namespace = kinds.find((kind) => spawnSync('unshare', [...kind, 'true']).status === 0)
  assert.ok(namespace, 'this machine does not let this user mount anything in a namespace (unshare)')
  const script = `mount -t tmpfs -o size=16k none '${folder}' && exec "$0" "$@" > '${join(folder, 'output')}'`
  const args = [...namespace, 'sh', '-c', script, process.execPath, bin, 'refresh', '--refresh-token-stdin']
  const done = start('unshare', args, { ring })
  done.child.stdin?.end(`${ring.mint()}\n`)
  isRefusedBeforeTheRequest(await done.ended, ring)
})

describe('without a binary', () => {
  it('the command line without a binary reports in a sentence what is missing, without a stack trace', (t) => {
    const there = tempDir(t)
    for (const name of ['bin', 'lib', 'package.json']) cpSync(join(root, name), join(there, name), { recursive: true })
    const done = spawnSync(process.execPath, [join(there, 'bin', 'ring-auth.js'), '--version'], { encoding: 'utf8' })
    assert.equal(done.status, 1)
    assert.equal(done.stdout, '')
    assert.match(done.stderr, /^ring-auth: .* \(BINARY_MISSING\)\n$/s)
    assert.doesNotMatch(done.stderr, /^ {4}at /m)
  })
})
