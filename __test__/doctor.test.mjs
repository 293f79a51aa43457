// @ts-check
// `ring-auth doctor` on broken systems, each as real as this machine can make it: it prints the right line.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { certificateFor } from './support/certificate.mjs'
import { CANARY, bin, json, run, setUp, start } from './support/cli.mjs'
import { root, startRing, tempDir, until } from './support/index.mjs'
import { startProxy } from './support/proxy.mjs'
import { asLinuxRoot, canRun, links, modes, mounts, needs, only, shell, signals } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('./support/cli.mjs').Run} Run */

/** Whether a process can have mounts of its own. */
const noMounts = mounts || needs('the right to make a mount namespace', () => canRun('unshare', ['-m', 'true']))

const IDS = [
  'binary',
  'copies',
  'store',
  'lock',
  'folder',
  'space',
  'file-system',
  'mirror',
  'same-token',
  'keeper',
  'journal',
  'last-success',
  'cool-down',
  'hardware-id',
  'sealed',
  'clock',
  'name-resolution',
  'ipv4',
  'ipv6',
  'proxy',
  'tls',
  'oauth',
  'api',
]

/** The line of one check, as its state and its message. @param {{ stdout: string, stderr: string }} run @param {string} id */
function line(run, id) {
  const found = run.stdout.split('\n').filter((line) => line.slice(9, 24).trim() === id)
  assert.equal(found.length, 1, `not one line of ${id}:\n${run.stdout}\n${run.stderr}`)
  return String(found[0]).replace(/ +/g, ' ').replace(` ${id} `, ' ')
}

/** Checks that all other checks are ok or skipped. @param {Run} run @param {...string} but */
function elseWell(run, ...but) {
  for (const id of IDS.filter((id) => !but.includes(id))) assert.match(line(run, id), /^(ok|skipped) /)
}

/** A journal with a token, and the arguments to check it. @param {TestContext} t */
async function withJournal(t, settings = {}) {
  const { ring, folder, journal } = await setUp(t, settings)
  const input = ring.mint()
  const made = await run(['refresh', '--state-file', journal, '--refresh-token-stdin'], { ring, input })
  assert.equal(made.code, 0, made.stderr)
  ring.clearRequests()
  return { ring, folder, journal, doctor: ['doctor', '--state-file', journal] }
}

/**
 * Runs the command in a mount namespace, after a shell script that makes mounts.
 * @param {string} script with `$1` for the folder
 * @param {string} folder
 * @param {string[]} args
 * @param {import('./support/cli.mjs').RunOptions} options
 */
function mounted(script, folder, args, options) {
  const line = `set -e; ${script}; shift; exec "$@"`
  return run(['sh', '-c', line, 'sh', folder, process.execPath, bin, ...args], {
    ...options,
    command: 'unshare',
    script: '-m',
  })
}

/** Everything in a folder: what it is, its content, its mode and its times. @param {string} folder @returns {unknown[]} */
const everything = (folder) =>
  readdirSync(folder, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const path = join(folder, name)
      const { mode, uid, mtimeMs, ino, size } = lstatSync(path)
      return [name, mode, uid, ino, size, mtimeMs, lstatSync(path).isFile() && readFileSync(path, 'latin1')]
    })

describe('doctor', { concurrency: 4 }, () => {
  it('doctor finds no problem where there is none, changes nothing, and sends each server one request without a token', async (t) => {
    const { ring, folder, journal, doctor } = await withJournal(t)
    const before = everything(folder)
    const done = await run(doctor, { ring })
    assert.equal(done.code, 0, done.stdout)
    elseWell(done, 'file-system')
    assert.equal(
      done.stderr.endsWith('\n') && /^Nothing (is wrong here|has failed\. Warnings: 1)\.\n$/.test(done.stderr),
      true,
    )
    assert.deepEqual(everything(folder), before)
    assert.match(line(done, 'journal'), /^ok It holds a refresh token, and a valid access token\.$/)
    assert.match(line(done, 'hardware-id'), /^ok [0-9a-f-]{36}\.$/)
    assert.match(line(done, 'store'), /^ok The journal \S+ is one of ring-auth/)
    assert.ok(line(done, 'store').includes(journal))
    assert.deepEqual(
      ring.requests.map(({ method, path, search, body, status }) => [method, path, search, body, status]),
      [['GET', '/', '', '', 404]],
    )
  })

  it('doctor prints one JSON object, with the same checks in the same order', async (t) => {
    const { ring, doctor } = await withJournal(t)
    ring.fault({ kind: 'status', path: '/', status: 403, times: Infinity })
    const done = await run([...doctor, '--json'], { ring })
    assert.equal(done.code, 4)
    const { checks, ...more } = json(done)
    assert.deepEqual(more, {})
    assert.deepEqual(
      checks.map((/** @type {{ id: string }} */ { id }) => id),
      IDS,
    )
    for (const check of checks) {
      const keys = check.state === 'failed' ? ['id', 'state', 'message', 'code'] : ['id', 'state', 'message']
      assert.deepEqual(Object.keys(check), keys)
      assert.ok(['ok', 'warning', 'failed', 'skipped'].includes(check.state) && check.message.length > 0)
    }
    const text = await run(doctor, { ring })
    for (const { id, state, message, code } of checks) {
      if (id === 'last-success' || id === 'space') continue
      assert.equal(line(text, id), `${state} ${message}${code ? ` (${code})` : ''}`.replace(/ +/g, ' '))
    }
  })

  it('doctor without a store checks only the way to Ring', async (t) => {
    const ring = await startRing(t)
    const done = await run(['doctor'], { ring })
    assert.equal(done.code, 0, done.stdout)
    assert.match(line(done, 'store'), /^skipped No store was named\. Name it as for the other commands: --homebridge/)
    assert.match(line(done, 'oauth'), /^ok 127\.0\.0\.1 answers \(HTTP 404\)\.$/)
  })

  it('doctor sends nothing secret, and prints nothing secret, in any situation', async (t) => {
    const { ring, folder, journal, doctor } = await withJournal(t)
    const token = JSON.parse(readFileSync(journal, 'utf8')).current.token
    const config = join(folder, 'config.json')
    const platforms = [{ platform: 'RingTest', refreshToken: token, email: CANARY, password: CANARY }]
    writeFileSync(config, JSON.stringify({ bridge: {}, platforms }))
    const env = {
      RING_EMAIL: `${CANARY}@example.com`,
      RING_PASSWORD: CANARY,
      RING_2FA_CODE: '123456',
      RING_TOTP_SECRET: CANARY,
    }
    for (const spec of [
      { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' },
      { status: 302, headers: { location: `${ring.oauthUrl}/oauth/token` } },
      { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } },
      { status: 403 },
      { status: 503 },
    ]) {
      const fault = ring.fault({ kind: 'status', path: '/', times: Infinity, ...spec })
      await run(doctor, { ring, env })
      await run(['doctor', '--homebridge', config, '--platform', 'RingTest'], { ring, env })
      fault.remove()
    }
    const sent = JSON.stringify(
      ring.requests.map(({ method, path, search, rawHeaders, body }) => [method, path, search, rawHeaders, body]),
    )
    assert.equal(ring.requests.length, 10)
    assert.ok(!sent.includes(CANARY) && !sent.includes(token), sent)
    for (const { method, path, headers } of ring.requests) {
      assert.deepEqual([method, path], ['GET', '/'])
      assert.deepEqual(Object.keys(headers).sort(), ['accept', 'accept-encoding', 'hardware_id', 'host', 'user-agent'])
    }
  })

  it('doctor removes its files if a signal ends it', { skip: signals }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    const before = everything(folder)
    for (let wait = 0; wait < 24; wait += 1) {
      const going = start(doctor, { ring })
      // From before its first line until after its last one.
      await new Promise((resolve) => setTimeout(resolve, wait * 15))
      going.child.kill(wait % 2 ? 'SIGTERM' : 'SIGHUP')
      await going.ended
      assert.deepEqual(everything(folder), before)
    }
  })
})

describe('doctor looks at the store', { concurrency: 4 }, () => {
  it('doctor checks a store of another program', async (t) => {
    const { ring, folder } = await setUp(t)
    const path = join(folder, 'notes.txt')
    writeFileSync(path, 'Buy milk.\n')
    const before = everything(folder)
    const done = await run(['doctor', '--state-file', path], { ring })
    assert.equal(done.code, 2)
    assert.equal(
      line(done, 'store'),
      `failed ${path} is not a file of ring-auth; it looks like a text. Give another path. Nothing was changed. (INVALID_ARGUMENT)`,
    )
    assert.equal(line(done, 'journal'), 'skipped The journal cannot be read.')
    assert.match(line(done, 'oauth'), /^ok /)
    assert.deepEqual(everything(folder), before)
    const config = join(folder, 'config.json')
    writeFileSync(config, '{"bridge": {}, "platforms": []}')
    const other = await run(['doctor', '--state-file', config], { ring })
    assert.match(
      line(other, 'store'),
      /looks like Homebridge's config\.json: did you mean --homebridge\? .*\(INVALID_ARGUMENT\)$/,
    )
    const folderItself = await run(['doctor', '--state-file', folder], { ring })
    assert.match(line(folderItself, 'store'), /^failed The store's path \S+ is a folder\. .*\(INVALID_ARGUMENT\)$/)
    assert.equal(line(folderItself, 'folder'), 'skipped The store cannot be opened.')
  })

  it('doctor checks a store in a folder that is missing, and does not create the folder', async (t) => {
    const { ring, folder } = await setUp(t)
    const path = join(folder, 'none', 'deep', 'j.json')
    const done = await run(['doctor', '--state-file', path], { ring })
    assert.equal(done.code, 3)
    assert.match(
      line(done, 'store'),
      /^warning There is no journal at \S+ yet\. A login makes it\. If there should be one, check the path\.$/,
    )
    assert.equal(
      line(done, 'folder'),
      `warning The folder ${join(folder, 'none', 'deep')} is not there. The first login or refresh makes it, in ${folder}. If it should be there, check the path, and whether its volume is mounted.`,
    )
    assert.equal(
      line(done, 'journal'),
      `failed There is no refresh token in ${path} yet. Get one with: ring-auth login --state-file ${path} (NO_REFRESH_TOKEN)`,
    )
    assert.deepEqual(readdirSync(folder), [])
    writeFileSync(join(folder, 'file'), '')
    const through = await run(['doctor', '--state-file', join(folder, 'file', 'j.json')], { ring })
    assert.equal(through.code, 6)
    assert.match(line(through, 'store'), /^failed .*A part of its path is a file, not a folder\. Check the path\./)
  })

  it('doctor checks a store behind links that lead in a circle', { skip: links() }, async (t) => {
    const { ring, folder } = await setUp(t)
    const [one, other] = [join(folder, 'one'), join(folder, 'other')]
    symlinkSync(other, one)
    symlinkSync(one, other)
    const done = await run(['doctor', '--state-file', one], { ring })
    assert.equal(done.code, 6)
    assert.match(
      line(done, 'store'),
      /^failed The journal \S+one cannot be found\. .*\(its symbolic links lead in a circle\) \(STORE\)$/,
    )
  })

  it('doctor checks a store that is damaged', async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    const whole = readFileSync(journal, 'utf8')
    writeFileSync(journal, whole.slice(0, 60))
    const done = await run(doctor, { ring })
    assert.equal(done.code, 3)
    assert.match(
      line(done, 'store'),
      /^warning The journal \S+ is damaged, and there is no whole copy of it\. The next start moves it aside and makes a new journal\.$/,
    )
    assert.equal(readFileSync(journal, 'utf8'), whole.slice(0, 60))
  })

  it('doctor checks a store of another server', async (t) => {
    const { doctor } = await withJournal(t)
    const other = await startRing(t)
    const done = await run(doctor, { ring: other })
    assert.equal(done.code, 2)
    assert.match(
      line(done, 'store'),
      /^failed The journal \S+ holds tokens of http:\S+, but oauthUrl is http:\S+\. Use another store for this server, or give the other one as oauthUrl \(RING_AUTH_OAUTH_URL\)\. .*\(INVALID_ARGUMENT\)$/,
    )
  })

  it('doctor checks a store that every user of the machine may read', { skip: modes }, async (t) => {
    const { ring, folder, journal, doctor } = await withJournal(t)
    chmodSync(journal, 0o644)
    const done = await run(doctor, { ring })
    assert.equal(done.code, 0)
    assert.equal(
      line(done, 'store'),
      `warning The journal ${journal} can be used by every user of this machine (mode 0644). The next write corrects the mode; until then: chmod 600 ${journal}`,
    )
    const spaced = join(folder, "my journal's.json")
    copyFileSync(journal, spaced)
    const quoted = `chmod 600 '${join(folder, "my journal'\\''s.json")}'`
    assert.ok(line(await run(['doctor', '--state-file', spaced], { ring }), 'store').endsWith(`until then: ${quoted}`))
  })

  it('doctor checks a store of another user', { skip: asLinuxRoot() }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    chmodSync(folder, 0o755)
    const as = ['1234', '--regid', '1234', '--clear-groups', process.execPath, bin, ...doctor]
    const done = await run(as, { ring, command: 'setpriv', script: '--reuid' })
    assert.equal(done.code, 6)
    assert.match(
      line(done, 'store'),
      /^failed The journal \S+ cannot be read\. Give this user the right to read and write it and its folder\. \(Permission denied \(os error 13\)\) It belongs to user 0, and this process runs as user 1234\. \(STORE\)$/,
    )
    assert.equal(line(done, 'journal'), 'skipped The journal cannot be read.')
    assert.match(
      line(done, 'folder'),
      /^failed In \S+ a file cannot be made: Permission denied \(os error 13\)\. Give this user the right to read and write it and its folder\. \(STORE\)$/,
    )
    assert.match(
      line(done, 'lock'),
      /^failed The lock \S+\.lock cannot be taken, so another process could be using the same token\./,
    )
  })

  it('doctor checks a store in a folder that this user may not write', { skip: asLinuxRoot() }, async (t) => {
    const { ring, folder, journal, doctor } = await withJournal(t)
    chmodSync(folder, 0o555)
    for (const path of readdirSync(folder)) chownSync(join(folder, path), 1234, 1234)
    const as = ['1234', '--regid', '1234', '--clear-groups', process.execPath, bin, ...doctor]
    const done = await run(as, { ring, command: 'setpriv', script: '--reuid' })
    assert.equal(done.code, 0, done.stdout)
    assert.equal(
      line(done, 'folder'),
      `warning In ${folder} a file cannot be made: Permission denied (os error 13). Give this user the right to read and write it and its folder. Until then the journal is written in place, which a power cut can tear.`,
    )
    const asRoot = await run(doctor, { ring })
    assert.match(
      line(asRoot, 'store'),
      /belongs to user 1234, and has the mode 0600\. You are root, who may do more than the program/,
    )
    assert.ok(existsSync(journal))
  })

  it('doctor checks a store on a file system that is mounted read-only', { skip: noMounts }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    const done = await mounted('mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"', folder, doctor, { ring })
    assert.equal(done.code, 6)
    assert.match(
      line(done, 'folder'),
      /^failed In \S+ a file cannot be made: Read-only file system \(os error 30\)\. Mount that file system so that it can be written\. \(STORE\)$/,
    )
  })

  it('doctor checks a store on a disk that is full', { skip: noMounts }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    const fill =
      'cp "$1/journal.json" /tmp/ring-auth-$$; mount -t tmpfs -o size=64k tmpfs "$1"; mv /tmp/ring-auth-$$ "$1/journal.json"; dd if=/dev/zero of="$1/fill" bs=4k 2>/dev/null || true'
    const done = await mounted(fill, folder, doctor, { ring })
    assert.equal(done.code, 6, done.stdout)
    assert.match(
      line(done, 'space'),
      /^failed The disk of \S+ is full: 0 bytes free, and a rotation needs more\. Free some space on that disk\. \(STORE\)$/,
    )
    assert.equal(line(done, 'folder'), 'skipped There is no space left: see space.')
    assert.match(
      line(done, 'file-system'),
      /^warning \S+ is on tmpfs, in memory: the token is gone when this machine restarts\./,
    )
  })

  it('doctor checks a store on a disk without inodes', { skip: noMounts }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    const fill =
      'cp "$1/journal.json" /tmp/ring-auth-$$; mount -t tmpfs -o nr_inodes=8 tmpfs "$1"; mv /tmp/ring-auth-$$ "$1/journal.json"; for i in 1 2 3 4 5 6 7 8; do touch "$1/$i" || true; done 2>/dev/null'
    const done = await mounted(fill, folder, doctor, { ring })
    assert.equal(done.code, 6, done.stdout)
    assert.match(
      line(done, 'space'),
      /^failed No more files can be made in \S+: its file system has no inodes left \(df -i\)\. Remove files that are not needed\. \(STORE\)$/,
    )
  })

  it('doctor checks a store in the layer of a container', { skip: noMounts }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    const above = tempDir(t)
    const layers = `mkdir ${above}/up ${above}/work; mount -t tmpfs tmpfs /mnt; mkdir /mnt/up /mnt/work; mount -t overlay -o lowerdir="$1",upperdir=/mnt/up,workdir=/mnt/work overlay "$1"`
    const done = await mounted(layers, folder, doctor, { ring })
    assert.equal(done.code, 0, done.stdout + done.stderr)
    assert.match(
      line(done, 'file-system'),
      /^warning \S+ is in the layer of a container \(overlay\): the token is gone with the container\. Keep the journal on a volume\.$/,
    )
  })

  it('doctor checks a store that is a single file mounted into a container', { skip: noMounts }, async (t) => {
    const { ring, folder, journal, doctor } = await withJournal(t)
    const done = await mounted(
      'cp "$1/journal.json" "$1/outside"; mount --bind "$1/outside" "$1/journal.json"',
      folder,
      doctor,
      { ring },
    )
    assert.equal(done.code, 0, done.stdout + done.stderr)
    assert.equal(
      line(done, 'folder'),
      `warning ${journal} is mounted alone, so another file cannot take its place: it is written in place, and its copies stay in this container. Mount its folder instead.`,
    )
  })

  it('doctor checks a store on a mount whose server has gone', {
    // Not every container may open /dev/fuse, and the gate runs in some of them. Only this test needs it.
    skip: noMounts || (canRun('sh', ['-c', 'exec 3<>/dev/fuse']) ? false : 'this machine has no FUSE'),
  }, async (t) => {
    const { ring, folder, doctor } = await withJournal(t)
    // A file system in user space without a process that answers for it.
    const dead = 'exec 3<>/dev/fuse; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 dead "$1"'
    const done = await mounted(dead, folder, doctor, { ring })
    assert.equal(done.code, 6, done.stdout + done.stderr)
    assert.equal(
      line(done, 'store'),
      'failed The file system of the store does not answer. Check whether its server or drive is gone (mount, dmesg). (STORE)',
    )
    assert.equal(line(done, 'journal'), 'skipped The store does not answer.')
    assert.match(line(done, 'oauth'), /^ok /)
  })

  it('doctor checks a store whose lock another process holds', {
    skip: shell || needs('flock', () => canRun('flock', ['--version'])),
  }, async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    const holder = spawn('flock', [`${journal}.lock`, 'sh', '-c', 'echo held; read end'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await new Promise((resolve) => holder.stdout.once('data', resolve))
    const done = await run(doctor, { ring })
    holder.stdin.end('\n')
    assert.equal(done.code, 6)
    assert.equal(
      line(done, 'lock'),
      `failed Another process has held it for 5 s and longer. Look for a process that hangs (fuser -v ${journal}.lock) and end it. (STORE_LOCKED)`,
    )
  })

  it('doctor checks a store while a refresh is under way', async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    const fault = ring.fault({ kind: 'hang', grant: 'refresh_token', times: Infinity })
    const refreshing = start(['refresh', '--state-file', journal], { ring })
    await until(() => ring.tokenRequests.length > 0, 'the request')
    const done = await run(doctor, { ring })
    refreshing.child.kill('SIGKILL')
    await refreshing.ended
    fault.remove()
    assert.equal(done.code, 0, done.stdout)
    assert.match(
      line(done, 'lock'),
      /^warning Another process holds it for a refresh, for another (\d+ min )?\d+ s at most\.$/,
    )
    assert.match(line(done, 'journal'), /^ok /)
  })
})

describe('doctor looks at a mirror', { concurrency: 4 }, () => {
  /** A configuration with these blocks. @param {TestContext} t @param {object[]} platforms */
  async function withConfig(t, platforms) {
    const { ring, folder } = await setUp(t)
    const config = join(folder, 'config.json')
    writeFileSync(config, JSON.stringify({ bridge: {}, platforms }, null, 2))
    return { ring, folder, config }
  }

  it('doctor checks a mirror beside a block of homebridge-ring with the same token', async (t) => {
    const { ring, folder, config } = await withConfig(t, [])
    const refreshToken = ring.mint()
    const platforms = [
      { platform: 'RingTest', name: 'Mine', refreshToken },
      { platform: 'Ring', name: 'Theirs', refreshToken },
    ]
    writeFileSync(config, JSON.stringify({ bridge: {}, platforms }))
    const before = everything(folder)
    const args = ['--homebridge', config, '--platform', 'RingTest']
    const done = await run(['doctor', ...args], { ring })
    assert.equal(done.code, 0, done.stdout)
    assert.equal(
      line(done, 'keeper'),
      `warning homebridge-ring keeps the same token in its block "Ring" "Theirs": one of the two will lose it. Get a token of its own for this block: ring-auth login --homebridge ${config} --platform RingTest`,
    )
    assert.equal(
      line(done, 'same-token'),
      'warning The same token, or an older one of its family, is also in "Ring" "Theirs". One token has one keeper: log in once for each of them.',
    )
    assert.deepEqual(everything(folder), before)
    // Also after our token was rotated: homebridge-ring's is then an old one of the same family.
    assert.equal((await run(['refresh', ...args], { ring })).code, 0)
    assert.match(
      line(await run(['doctor', ...args], { ring }), 'keeper'),
      /^warning homebridge-ring keeps the same token/,
    )
  })

  it('doctor checks a mirror beside a block of homebridge-ring with a token of its own, or none', async (t) => {
    const { ring, config } = await withConfig(t, [])
    const write = (/** @type {string | undefined} */ ours, /** @type {string | undefined} */ theirs) =>
      writeFileSync(
        config,
        JSON.stringify({
          platforms: [
            { platform: 'RingTest', refreshToken: ours },
            { platform: 'homebridge-ring.Ring', refreshToken: theirs },
          ],
        }),
      )
    const args = ['doctor', '--homebridge', config, '--platform', 'RingTest']
    write(ring.mint(), ring.mint())
    assert.equal(
      line(await run(args, { ring }), 'keeper'),
      'ok homebridge-ring has a block too, "homebridge-ring.Ring" "homebridge-ring.Ring", with a token of its own.',
    )
    write(undefined, ring.mint())
    const none = await run(args, { ring })
    assert.equal(none.code, 3)
    assert.match(
      line(none, 'keeper'),
      /^warning There is a block of homebridge-ring, .*, and this one has no token\. Do not copy the token from there: ring-auth login/,
    )
  })

  it('doctor checks a block of homebridge-ring as the mirror', async (t) => {
    const { ring, config } = await withConfig(t, [])
    writeFileSync(config, JSON.stringify({ platforms: [{ platform: 'Ring', refreshToken: ring.mint() }] }))
    const done = await run(['doctor', '--homebridge', config], { ring })
    assert.equal(done.code, 0, done.stdout)
    assert.match(
      line(done, 'keeper'),
      /^warning A block of the platform "Ring" is the one of homebridge-ring, which rotates its token by itself\./,
    )
    const other = await run(['doctor', '--homebridge', config, '--platform', 'RingTest'], { ring })
    assert.equal(other.code, 3)
    assert.equal(
      line(other, 'mirror'),
      `warning ${config} has no place for the token yet. A login makes it: ring-auth login --homebridge ${config} --platform RingTest`,
    )
    assert.match(
      line(other, 'keeper'),
      /^warning There is a block of homebridge-ring, "Ring" "Ring", and this one has no token\./,
    )
  })

  it('doctor checks a mirror that shows an old copy, nonsense or nothing, or does not exist', async (t) => {
    const { ring, folder } = await setUp(t)
    const path = join(folder, '.env')
    const old = ring.mint()
    writeFileSync(path, `RING_REFRESH_TOKEN=${old}\n`)
    const args = ['--dotenv', path]
    assert.match(
      line(await run(['doctor', ...args], { ring }), 'mirror'),
      /^ok \S+ shows a token that was pasted; it is used from the next start or refresh on\.$/,
    )
    assert.equal((await run(['refresh', ...args], { ring })).code, 0)
    assert.match(line(await run(['doctor', ...args], { ring }), 'mirror'), /^ok \S+ shows the newest token\.$/)
    for (const [text, sentence] of /** @type {[string, RegExp][]} */ ([
      [`RING_REFRESH_TOKEN=${old}\n`, /^warning \S+ shows an old copy; the next start or refresh replaces it\.$/],
      ['RING_REFRESH_TOKEN=\n', /^warning \S+ shows no token\. The next start or refresh writes it there\.$/],
      [
        'RING_REFRESH_TOKEN=123456\n',
        /^warning \S+ shows something that cannot be a token: it .* Replace it: ring-auth login --dotenv \S+$/,
      ],
    ])) {
      writeFileSync(path, text)
      const done = await run(['doctor', ...args], { ring })
      assert.equal(done.code, 0, done.stdout)
      assert.match(line(done, 'mirror'), sentence)
    }
    assert.match(
      line(await run(['doctor', ...args], { ring }), 'keeper'),
      /^skipped This store is no configuration of Homebridge\.$/,
    )
    const missing = await run(['doctor', '--homebridge', join(folder, 'none.json')], { ring })
    assert.equal(missing.code, 6)
    assert.match(line(missing, 'mirror'), /^failed \S+none\.json does not exist\. Check the path\. \(STORE\)$/)
    for (const text of [undefined, '{"platforms": [']) {
      if (text) writeFileSync(join(folder, 'none.json'), text)
      const unread = await run(['doctor', '--homebridge', join(folder, 'none.json')], { ring })
      assert.equal(line(unread, 'same-token'), 'skipped The file cannot be read: see mirror.')
      assert.equal(line(unread, 'keeper'), 'skipped The file cannot be read: see mirror.')
    }
  })

  it('doctor checks a mirror with the name of a block that does not exist', async (t) => {
    const { ring, folder, config } = await withConfig(t, [
      { platform: 'RingTest', name: 'One' },
      { platform: 'Other', name: 'Two' },
    ])
    const before = everything(folder)
    const args = ['--homebridge', config, '--platform', 'RingTest', '--name', 'Typo']
    const done = await run(['doctor', ...args], { ring })
    assert.equal(
      line(done, 'mirror'),
      `warning ${config} has no place for the token yet. A login makes it: ring-auth login ${args.join(' ')} If one of these blocks is meant, correct --name: "RingTest" "One".`,
    )
    assert.deepEqual(everything(folder), before)
  })

  it('doctor checks a mirror that this user may not write', { skip: asLinuxRoot() }, async (t) => {
    const { ring, folder } = await setUp(t)
    const path = join(folder, '.env')
    chmodSync(folder, 0o777)
    writeFileSync(path, `RING_REFRESH_TOKEN=${ring.mint()}\n`, { mode: 0o644 })
    const as = ['1234', '--regid', '1234', '--clear-groups', process.execPath, bin, 'doctor', '--dotenv', path]
    const done = await run(as, { ring, command: 'setpriv', script: '--reuid' })
    assert.equal(done.code, 0, done.stdout)
    assert.match(
      line(done, 'mirror'),
      /^warning .*This user cannot write it, so the newest token will not be shown there\. Give this user the right to, or change its mode\.$/,
    )
  })
})

describe('doctor looks at the journal', { concurrency: 4 }, () => {
  it('doctor checks a journal in a cool-down, and reports its end and its reason', async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    const fault = ring.fault({ kind: 'status', status: 403, grant: 'refresh_token', times: Infinity })
    const failed = await run(['refresh', '--state-file', journal], { ring })
    assert.equal(failed.code, 4)
    fault.remove()
    const valid = await run(doctor, { ring })
    assert.equal(valid.code, 0, valid.stdout)
    assert.match(
      line(valid, 'cool-down'),
      /^warning No request is made for another \d+ min \d+ s\. Failed refreshes in a row: 1\. The last failure: Ring's edge refuses .* To try at once: ring-auth refresh --force \(The access token is valid meanwhile\.\)$/,
    )
  })

  it('doctor checks a journal in a cool-down without an access token, which is a failure', async (t) => {
    const { ring, journal, doctor } = await withJournal(t, { expiresIn: 1 })
    ring.fault({ kind: 'status', status: 403, grant: 'refresh_token', times: Infinity })
    await run(['refresh', '--state-file', journal], { ring })
    // The access token of a second has expired by the time that it can be looked at.
    let done = await run(doctor, { ring })
    while (done.code === 0) done = await run(doctor, { ring })
    assert.equal(done.code, 4)
    assert.match(line(done, 'cool-down'), /^failed No request is made for another .*\(BLOCKED\)$/)
  })

  it('doctor checks a journal that was logged out, or whose token was rejected', async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    ring.revokeAll()
    await run(['refresh', '--state-file', journal], { ring })
    const rejected = await run(doctor, { ring })
    assert.equal(rejected.code, 4)
    assert.match(
      line(rejected, 'journal'),
      /^failed .* Log in again with: ring-auth login --state-file \S+ \(REFRESH_TOKEN_REJECTED\)$/,
    )
    await run(['logout', '--state-file', journal], { ring })
    const out = await run(doctor, { ring })
    assert.equal(out.code, 3)
    assert.match(
      line(out, 'journal'),
      /^failed There is no refresh token in \S+ yet\. Get one with: ring-auth login --state-file \S+ \(NO_REFRESH_TOKEN\)$/,
    )
  })

  it('doctor checks a journal after a process that ended in the middle of a refresh', async (t) => {
    const { ring, journal, doctor } = await withJournal(t)
    const state = JSON.parse(readFileSync(journal, 'utf8'))
    assert.ok(state)
    ring.fault({ kind: 'hang', grant: 'refresh_token', times: Infinity })
    const refreshing = start(['refresh', '--state-file', journal], { ring })
    await until(() => ring.tokenRequests.length > 0, 'the request')
    refreshing.child.kill('SIGKILL')
    await refreshing.ended
    const done = await run(doctor, { ring })
    assert.equal(done.code, 0, done.stdout)
    assert.match(line(done, 'journal'), /^(ok|warning) /)
    assert.match(line(done, 'lock'), /^ok /)
  })

  it('doctor checks a journal that does not exist yet, with a first token in a file', async (t) => {
    const { ring, folder, journal } = await setUp(t)
    const file = join(folder, 'token')
    writeFileSync(file, ring.mint())
    const done = await run(['doctor', '--state-file', journal], { ring, env: { RING_REFRESH_TOKEN_FILE: file } })
    assert.equal(done.code, 0, done.stdout)
    assert.equal(line(done, 'journal'), 'ok There is a token to begin with. The first start or refresh takes it over.')
  })
})

describe('doctor looks at a sealed journal', { concurrency: 4 }, () => {
  /** @param {TestContext} t */
  async function sealed(t) {
    const { ring, folder, journal } = await setUp(t)
    const key = join(folder, 'key')
    writeFileSync(key, randomBytes(32))
    const args = ['--state-file', journal]
    const made = await run(['refresh', ...args, '--key-file', key, '--refresh-token-stdin'], {
      ring,
      input: ring.mint(),
    })
    assert.equal(made.code, 0, made.stderr)
    ring.clearRequests()
    return { ring, folder, journal, key, doctor: ['doctor', ...args] }
  }

  it('doctor checks a sealed journal with its key', async (t) => {
    const { ring, folder, journal, key, doctor } = await sealed(t)
    const before = everything(folder)
    const done = await run([...doctor, '--key-file', key], { ring })
    assert.equal(done.code, 0, done.stdout)
    assert.equal(line(done, 'sealed'), `ok Yes, with the key ${JSON.parse(readFileSync(journal, 'utf8')).key}.`)
    assert.match(line(done, 'journal'), /^ok It holds a refresh token/)
    assert.deepEqual(everything(folder), before)
  })

  it('doctor checks a sealed journal without its key, or with another one', async (t) => {
    const { ring, folder, journal, doctor } = await sealed(t)
    const other = join(folder, 'other')
    writeFileSync(other, randomBytes(32))
    const fingerprint = JSON.parse(readFileSync(journal, 'utf8')).key
    const before = everything(folder)
    for (const keys of [[], ['--key-file', other]]) {
      const done = await run([...doctor, ...keys], { ring })
      assert.equal(done.code, 6)
      const text = line(done, 'store')
      assert.match(text, /^failed The journal \S+ is sealed with the key .*\(STORE\)$/)
      assert.ok(text.includes(fingerprint), text)
      assert.doesNotMatch(done.stdout, /damaged/)
      assert.equal(line(done, 'sealed'), `ok Yes, with the key ${fingerprint}.`)
      assert.equal(line(done, 'journal'), 'skipped The journal cannot be read.')
      assert.match(line(done, 'oauth'), /^ok /)
      assert.deepEqual(everything(folder), before)
    }
    assert.ok(ring.requests.every(({ method, path }) => method === 'GET' && path === '/'))
  })
})

describe('doctor looks at the way to Ring', { concurrency: 4 }, () => {
  for (const [hours, direction] of /** @type {const} */ ([
    [1, 'slow'],
    [-48, 'fast'],
  ])) {
    it(`doctor checks the way to Ring with a clock that is ${direction}`, async (t) => {
      const ring = await startRing(t, { now: () => Date.now() + hours * 3_600_000 })
      const done = await run(['doctor'], { ring })
      assert.equal(done.code, 5)
      const off = hours > 0 ? '(1 h 0 min|59 min \\d+ s)' : '(2 d 0 h|1 d 23 h)'
      assert.match(
        line(done, 'clock'),
        new RegExp(
          `^failed The clock of this machine is ${off} ${direction}: it says \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC\\. Set it, or let it be set \\(NTP\\)\\. \\(PROTOCOL\\)$`,
        ),
      )
    })
  }

  for (const status of [403, 406]) {
    it(`doctor checks a way to Ring that Ring's edge blocks with ${status}`, async (t) => {
      const ring = await startRing(t)
      ring.fault({ kind: 'status', path: '/', status, times: Infinity })
      const done = await run(['doctor'], { ring })
      assert.equal(done.code, 4)
      assert.match(
        line(done, 'oauth'),
        new RegExp(
          `^failed Ring's edge refuses this machine at 127\\.0\\.0\\.1 \\(HTTP ${status}\\), although no token was sent: token and password are not at fault\\. Try one after the other: wait a quarter of an hour; another network .*; a new hardware id \\(ring-auth login --new-device\\); another app string .* \\(BLOCKED\\)$`,
        ),
      )
    })
  }

  /** @type {[string, Partial<import('./fake-ring/faults.mjs').FaultSpec>, string][]} */
  const portals = [
    [
      'redirects',
      { status: 302, headers: { location: 'http://login.hotel.example/?user=1' } },
      'it sends to http://login.hotel.example \\(HTTP 302\\)',
    ],
    [
      'shows a page',
      { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Welcome</title>' },
      'it shows a page \\(HTTP 200\\)',
    ],
    [
      'says so',
      { status: 511, headers: { 'content-type': 'text/html' }, body: '<html>' },
      'the network wants a login \\(HTTP 511\\)',
    ],
  ]
  for (const [what, spec, words] of portals) {
    it(`doctor checks the way to Ring through a captive portal that ${what}`, async (t) => {
      const ring = await startRing(t)
      ring.fault({ kind: 'status', path: '/', times: Infinity, ...spec })
      const done = await run(['doctor'], { ring })
      assert.equal(done.code, 5)
      assert.match(
        line(done, 'oauth'),
        new RegExp(
          `^failed Something else answers in place of 127\\.0\\.0\\.1: ${words}\\. That is a captive portal, .* Log in there with a browser, or use another network\\. \\(PROTOCOL\\)$`,
        ),
      )
      assert.equal(ring.requests.length, 1, 'no redirect is followed')
    })
  }

  it('doctor checks the way to a Ring that is in trouble, limits requests, or does not answer', async (t) => {
    const ring = await startRing(t)
    for (const [
      spec,
      code,
      exit,
    ] of /** @type {[Partial<import('./fake-ring/faults.mjs').FaultSpec>, string, number][]} */ ([
      [{ kind: 'status', status: 503 }, 'SERVER_ERROR', 5],
      [{ kind: 'status', status: 429 }, 'RATE_LIMITED', 5],
      [{ kind: 'reset-before' }, 'NETWORK', 5],
    ])) {
      const fault = ring.fault({ kind: 'status', path: '/', times: Infinity, ...spec })
      const done = await run(['doctor'], { ring })
      fault.remove()
      assert.equal(done.code, exit)
      assert.match(line(done, 'oauth'), new RegExp(`^failed .*\\(${code}\\)$`))
    }
  })

  it('doctor checks the way to Ring with no server listening', async () => {
    const done = await run(['doctor'], {
      env: { RING_AUTH_OAUTH_URL: 'http://127.0.0.1:1', RING_AUTH_API_URL: 'http://127.0.0.1:1' },
    })
    assert.equal(done.code, 5)
    assert.match(
      line(done, 'ipv4'),
      /^failed 127\.0\.0\.1:1 cannot be reached \(.+\)\. Check the network connection, and whether a firewall lets port 1 out\. \(NETWORK\)$/,
    )
    assert.match(line(done, 'oauth'), /^failed Ring could not be reached\..*\(NETWORK\)$/)
  })

  it('doctor checks the way to Ring with a name that cannot be resolved', async () => {
    const urls = { RING_AUTH_OAUTH_URL: 'https://ring.invalid', RING_AUTH_API_URL: 'https://ring.invalid' }
    const done = await run(['doctor'], { env: urls })
    assert.equal(done.code, 5)
    assert.match(
      line(done, 'name-resolution'),
      /^failed The name ring\.invalid cannot be resolved \(.*\)\. Check the network connection, and the name server \(in a container: its dns setting\)\. \(NETWORK\)$/,
    )
    assert.match(
      line(done, 'oauth'),
      /^skipped ring\.invalid was not asked: its name does not lead to it\. See name-resolution\.$/,
    )
  })

  for (const address of ['0.0.0.0', '127.0.0.1', '::']) {
    it(`doctor checks the way to Ring with a name server that answers ${address} (a sinkhole)`, {
      skip: noMounts,
    }, async (t) => {
      const folder = tempDir(t)
      writeFileSync(join(folder, 'hosts'), `127.0.0.1 localhost\n${address} oauth.ring.com api.ring.com\n`)
      const done = await mounted('mount --bind "$1/hosts" /etc/hosts', folder, ['doctor'], {})
      assert.equal(done.code, 5)
      assert.equal(
        line(done, 'name-resolution'),
        `failed oauth.ring.com is blocked by the name server: it answers with ${address}, an address of this machine instead of Ring's. Allow ring.com and its subdomains where that is set: Pi-hole, AdGuard, a router, or the hosts file. (NETWORK)`,
      )
      assert.match(line(done, 'oauth'), /^skipped oauth\.ring\.com was not asked/)
    })
  }

  /** A Ring with a name and TLS, whose root is trusted or not. @param {TestContext} t @param {string} [host] */
  async function tlsRing(t, host = 'ring.invalid') {
    const { cert, key } = certificateFor(host)
    const ring = await startRing(t, { tls: { cert, key } })
    const folder = tempDir(t)
    writeFileSync(join(folder, 'roots.pem'), cert)
    const port = Number(new URL(ring.oauthUrl).port)
    return { ring, folder, port, roots: { NODE_EXTRA_CA_CERTS: join(folder, 'roots.pem') } }
  }

  it('doctor checks the way to Ring through a proxy that inspects TLS', async (t) => {
    const { ring, port, roots } = await tlsRing(t)
    const proxy = await startProxy(t, () => port)
    const urls = { RING_AUTH_OAUTH_URL: 'https://ring.invalid', RING_AUTH_API_URL: 'https://ring.invalid' }
    const env = { ...urls, HTTPS_PROXY: proxy.url.replace('http://', 'http://user:s3cret@') }
    const trusted = await run(['doctor'], { env: { ...env, ...roots } })
    assert.equal(trusted.code, 0, trusted.stdout)
    assert.equal(line(trusted, 'proxy'), `ok ${proxy.url}, from HTTPS_PROXY.`)
    assert.equal(line(trusted, 'name-resolution'), 'skipped The proxy resolves the names.')
    assert.equal(
      line(trusted, 'tls'),
      'warning The certificate of ring.invalid was issued by ring.invalid, which is no public authority but is trusted here: a proxy or virus scanner inspects TLS, and can read every token. If that is not wanted, exempt ring.com and rings.solutions from it.',
    )
    assert.match(line(trusted, 'oauth'), /^ok ring\.invalid answers \(HTTP 404\)\.$/)
    ring.clearRequests()
    const not = await run(['doctor'], { env })
    assert.equal(not.code, 5)
    assert.match(
      line(not, 'tls'),
      /^failed The certificate of ring\.invalid, issued by ring\.invalid, is not trusted: invalid peer certificate: .*\. If a proxy or virus scanner inspects TLS here, name its root certificate \(PEM\) in NODE_EXTRA_CA_CERTS\. In a network with a login page \(captive portal\), log in there with a browser first\. \(NETWORK\)$/,
    )
    assert.match(
      line(not, 'oauth'),
      /^skipped ring\.invalid was not asked: its certificate is not trusted\. See tls\.$/,
    )
    assert.equal(ring.requests.length, 0)
    for (const { stdout, stderr } of [trusted, not]) assert.ok(!/s3cret/.test(stdout + stderr))
  })

  it('doctor checks the way to Ring through a proxy that refuses, cannot be used, or is known to npm alone', async (t) => {
    const proxy = await startProxy(t, () => undefined)
    const urls = { RING_AUTH_OAUTH_URL: 'https://ring.invalid', RING_AUTH_API_URL: 'https://ring.invalid' }
    const refusing = await run(['doctor'], { env: { ...urls, https_proxy: proxy.url } })
    assert.equal(refusing.code, 5)
    // On Windows a variable has no case.
    const name = process.platform === 'win32' ? 'HTTPS_PROXY' : 'https_proxy'
    assert.equal(line(refusing, 'proxy'), `ok ${proxy.url}, from ${name}.`)
    assert.match(
      line(refusing, 'oauth').replace(`(${name})`, '(VARIABLE)'),
      /^failed Ring could not be reached\. .* The connection goes through the proxy http:\S+ \(VARIABLE\): check whether it runs, allows ring\.invalid, and needs a user name and a password\. \(NETWORK\)$/,
    )
    const socks = await run(['doctor'], { env: { ...urls, ALL_PROXY: 'socks5://user:s3cret@127.0.0.1:1' } })
    assert.equal(socks.code, 2)
    assert.match(
      line(socks, 'proxy'),
      /^failed ALL_PROXY names a SOCKS proxy, and ring-auth can use http: and https: proxies only\..*\(INVALID_ARGUMENT\)$/,
    )
    assert.ok(!socks.stdout.includes('s3cret'))
    const npm = await run(['doctor'], { env: { ...urls, npm_config_https_proxy: 'http://user:s3cret@127.0.0.1:1' } })
    assert.match(
      line(npm, 'proxy'),
      /^warning None is used, but npm uses one here \(npm_config_https_proxy\) that other programs do not know\./,
    )
    const around = await run(['doctor'], { env: { ...urls, HTTPS_PROXY: proxy.url, NO_PROXY: 'ring.invalid' } })
    assert.match(
      line(around, 'proxy'),
      /^ok None is used: HTTPS_PROXY names one, and NO_PROXY or the address of this machine takes Ring's servers out\.$/,
    )
  })

  it('doctor checks the way to Ring with a certificate that is not valid at this time', async (t) => {
    // The certificate of the test is valid until tomorrow: the clock of the process is set on by two days.
    const { ring, port, roots } = await tlsRing(t, 'localhost')
    const url = `https://localhost:${port}`
    const done = await run(['doctor'], { env: { ...roots, RING_AUTH_OAUTH_URL: url, RING_AUTH_API_URL: url } })
    assert.equal(done.code, 0, done.stdout)
    assert.match(
      line(done, 'tls'),
      /^warning The certificate of localhost was issued by localhost, which is no public authority/,
    )
    assert.equal(ring.requests.length, 1)
  })

  it('doctor checks the way to Ring without IPv6, which is no failure', { skip: noMounts }, async (t) => {
    const { folder, port, roots } = await tlsRing(t, 'ring.test')
    writeFileSync(join(folder, 'hosts'), '127.0.0.1 localhost ring.test\n2001:db8::1 ring.test\n')
    const url = `https://ring.test:${port}`
    const env = { ...roots, RING_AUTH_OAUTH_URL: url, RING_AUTH_API_URL: url }
    const done = await mounted('mount --bind "$1/hosts" /etc/hosts', folder, ['doctor'], { env })
    assert.equal(done.code, 0, done.stdout)
    assert.match(
      line(done, 'ipv6'),
      /^ok There is no IPv6 to ring\.test here \(.*(unreachable|No route).*\)\. IPv4 is used\.$/,
    )
    assert.equal(line(done, 'ipv4'), `ok 127.0.0.1:${port} can be reached.`)
  })

  it('doctor checks the way to two servers, and asks each of them', async (t) => {
    const [oauth, api] = [await startRing(t), await startRing(t)]
    api.fault({ kind: 'status', path: '/', status: 406, times: Infinity })
    const done = await run(['doctor'], { env: { RING_AUTH_OAUTH_URL: oauth.oauthUrl, RING_AUTH_API_URL: api.apiUrl } })
    assert.equal(done.code, 4)
    assert.match(line(done, 'oauth'), /^ok /)
    assert.match(line(done, 'api'), /^failed Ring's edge refuses this machine/)
    assert.deepEqual([oauth.requests.length, api.requests.length], [1, 1])
  })
})

describe('doctor looks at the package', { concurrency: 4 }, () => {
  /** A tree with this package, and those of other platforms. @param {TestContext} t @param {Record<string, string>} platforms */
  function tree(t, platforms) {
    const folder = tempDir(t)
    const own = join(folder, 'node_modules', 'ring-auth')
    mkdirSync(own, { recursive: true })
    for (const part of ['bin', 'lib', 'index.js', 'package.json'])
      cpSync(join(root, part), join(own, part), { recursive: true })
    for (const [name, binary] of Object.entries(platforms)) {
      const there = join(folder, 'node_modules', `ring-auth-${name}`)
      mkdirSync(there)
      writeFileSync(
        join(there, 'package.json'),
        JSON.stringify({ name: `ring-auth-${name}`, version: '0.1.0', main: 'a.node' }),
      )
      if (binary) cpSync(binary, join(there, 'a.node'))
      else writeFileSync(join(there, 'a.node'), 'a binary for another system')
    }
    writeFileSync(join(folder, 'package.json'), '{"dependencies": {"ring-auth": "0.1.0"}}')
    return { folder, script: join(own, 'bin', 'ring-auth.js') }
  }

  const { failureRemedy, platformOf, thisHost, wordsOf } = createRequire(import.meta.url)('../lib/load.js')
  const platform = String(platformOf(thisHost()))
  const built = join(root, 'binding', `ring-auth.${platform}.node`)

  it('doctor checks a package of another C library', {
    skip: only('linux', 'other systems have one C library', 'the test of a binary that cannot be loaded'),
  }, async (t) => {
    const other = platform.endsWith('musl') ? platform.replace('musl', 'gnu') : platform.replace('gnu', 'musl')
    const { folder, script } = tree(t, { [other]: '' })
    const done = await run(['doctor'], { script, cwd: folder })
    assert.equal(done.code, 1)
    assert.match(
      line(done, 'binary'),
      new RegExp(
        `^failed ring-auth 0\\.1\\.0 needs the package ring-auth-${platform} on this system, and it is not installed\\. Its node_modules folder is from another system and has ring-auth-${other}: .* To fix it, run in \\S+: npm install ring-auth@0\\.1\\.0 --include=optional \\(BINARY_MISSING\\)$`,
      ),
    )
    assert.equal(line(done, 'oauth'), 'skipped This check needs the binary.')
    const asJson = await run(['doctor', '--json'], { script, cwd: folder })
    assert.deepEqual(
      json(asJson).checks.map((/** @type {{ id: string }} */ { id }) => id),
      IDS,
    )
  })

  it('doctor checks a package whose binary was linked with musl, under the name of the one for glibc', {
    skip: mounts || needs('a C compiler, and glibc', () => !platform.endsWith('musl') && canRun('cc', ['--version'])),
  }, async (t) => {
    const { folder, script } = tree(t, { [platform]: '' })
    const libc = `libc.musl-${process.arch === 'x64' ? 'x86_64' : 'aarch64'}.so.1`
    const made = tempDir(t)
    writeFileSync(join(made, 'empty.c'), 'int ring_auth;')
    // Stands for the C library where the binary was linked, and is not there where it is loaded.
    const link = (/** @type {string[]} */ ...args) =>
      execFileSync('cc', ['-shared', '-nostdlib', ...args], { cwd: made })
    link('-o', libc, `-Wl,-soname,${libc}`, 'empty.c')
    link('-o', join(folder, 'node_modules', `ring-auth-${platform}`, 'a.node'), '-Wl,--no-as-needed', 'empty.c', libc)
    const done = await run(['doctor'], { script, cwd: folder })
    assert.equal(done.code, 1)
    assert.match(
      line(done, 'binary'),
      /^failed ring-auth-\S+ 0\.1\.0 is installed, but could not be loaded: libc\.musl-\S+: cannot open shared object file: No such file or directory\. The binary is for systems with musl, and this one does not have it: node_modules was copied from another system\. To fix it, run in \S+: npm install ring-auth@0\.1\.0 --include=optional \(BINARY_FAILED\)$/,
    )
  })

  it('doctor checks a package whose binary is for the other C library, in the words of each loader', () => {
    for (const [words, sentence] of /** @type {const} */ ([
      [
        'libc.musl-aarch64.so.1: cannot open shared object file: No such file or directory',
        'The binary is for systems with musl, and',
      ],
      [
        'Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /a.node)',
        'The binary is for systems with glibc, and',
      ],
      ['/a.node: cannot open shared object file: No such file or directory', ''],
    ])) {
      const remedy = failureRemedy(words, join('node_modules', 'ring-auth-linux-x64-gnu'))
      assert.ok(sentence ? remedy.startsWith(sentence) : remedy === '', remedy)
    }
  })

  it('doctor prints what a loader says in one line, with a path as people write it', () => {
    const said = '%1 is not a valid Win32 application.\r\n\\\\?\\C:\\Users\\me\\a.node'
    assert.equal(wordsOf(new Error(said)), '%1 is not a valid Win32 application. C:\\Users\\me\\a.node')
    assert.equal(wordsOf(`${said}\r\n`), wordsOf(new Error(said)))
  })

  it('doctor checks a package whose binary cannot be loaded', async (t) => {
    const { folder, script } = tree(t, { [platform]: '' })
    const done = await run(['doctor'], { script, cwd: folder })
    assert.equal(done.code, 1)
    assert.match(
      line(done, 'binary'),
      /^failed ring-auth-\S+ 0\.1\.0 is installed, but could not be loaded: .*\(BINARY_FAILED\)$/,
    )
  })

  it('doctor checks a package with a second copy in the tree', async (t) => {
    const ring = await startRing(t)
    const { folder, script } = tree(t, { [platform]: built })
    const second = join(folder, 'node_modules', 'homebridge-x', 'node_modules', 'ring-auth')
    const third = join(folder, 'node_modules', '@scope', 'plugin', 'node_modules', 'ring-auth')
    for (const [path, version] of /** @type {const} */ ([
      [second, '0.0.9'],
      [third, '0.1.0'],
    ])) {
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'package.json'), JSON.stringify({ name: 'ring-auth', version }))
    }
    const done = await run(['doctor'], { ring, script, cwd: folder })
    assert.equal(done.code, 0, done.stdout + done.stderr)
    const text = line(done, 'copies')
    assert.match(
      text,
      /^warning Beside \S+ring-auth \(0\.1\.0\) there is also .*\. Programs can use different versions: run npm dedupe, or update what brings the other one \(npm ls ring-auth\)\.$/,
    )
    assert.ok(text.includes(`${second} (0.0.9)`) && text.includes(`${third} (0.1.0)`), text)
    assert.match(line(done, 'binary'), /^ok ring-auth 0\.1\.0, \S+, Node\.js \d/)
  })
})
