// @ts-check
// Runs each snippet of docs/unattended.md unchanged, with a fake Ring and other folders.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tracingChannel } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LOGIN, account, bin, run, setUp, start } from './support/cli.mjs'
import { EMAIL, PASSWORD, atEnd, editJournal, open, readJournal, root, unwrap, until } from './support/index.mjs'
import { fenced, take } from './support/pages.mjs'
import { shell as posix } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const PAGE = 'docs/unattended.md'
const snippets = fenced(PAGE)
/** @param {string} language @param {string[]} words */
const snippet = (language, ...words) => take(snippets, PAGE, language, ...words)
const AsyncFunction = /** @type {any} */ (async () => {}).constructor

/** A fake Ring, and a folder with the paths and the programs that the page names. @param {TestContext} t @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings] */
async function house(t, settings = account('totp')) {
  const { ring, folder } = await setUp(t, settings)
  const [programs, data, secrets] = ['bin', 'data', 'run/secrets'].map((name) => join(folder, name))
  for (const made of [programs, data, secrets]) mkdirSync(String(made), { recursive: true })
  const program = (/** @type {string} */ name, /** @type {string} */ script) =>
    writeFileSync(join(String(programs), name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  program('ring-auth', `exec '${process.execPath}' '${bin}' "$@"`)
  for (const name of ['curl', 'mail']) {
    program(
      name,
      `{ printf '%s\\n' '${name}' "$@"; [ -t 0 ] || cat; } > '${folder}/said.new'; mv '${folder}/said.new' '${folder}/said'`,
    )
  }
  const totp = String(new URL(ring.totpAddress()).searchParams.get('secret'))
  const put = (/** @type {string} */ path, /** @type {string} */ content) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  put('run/secrets/ring-password', `${PASSWORD}\n`)
  put('run/secrets/ring-totp', `${totp}\n`)
  put('run/secrets/ring-token', ring.mint())
  put('run/secrets/ring/token', ring.mint())
  const inside = (/** @type {string} */ text) => text.replaceAll(/(?<=[\s'"=])(?=\/(?:data|run\/secrets)\/)/g, folder)
  const journal = join(String(data), 'ring.json')
  return {
    ring,
    folder,
    journal,
    totp,
    put,
    program,
    inside,
    said: () => readFileSync(join(folder, 'said'), 'utf8'),
    logIn: async () => {
      const args = [...LOGIN, '--state-file', journal, '--totp-secret-file', join(String(secrets), 'ring-totp')]
      const done = await run(args, { ring, input: `${PASSWORD}\n` })
      assert.equal(done.code, 0, done.stderr)
    },
    /** Runs a line as a shell does. @param {string} line @param {Record<string, string>} [env] */
    shell: (line, env = {}) => {
      // Without the variables of the real environment: the fake one must be the only Ring.
      const all = { PATH: `${programs}:${process.env['PATH']}`, ...env }
      const running = start(['-c', inside(line)], { ring, env: all, command: '/bin/sh', script: '-e' })
      atEnd(t, 'manager', async () => {
        running.child.kill('SIGKILL')
        await running.ended
      })
      return running
    },
  }
}

/** The values of a key in a unit. @param {string} unit @param {string} key */
const valuesOf = (unit, key) => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)

describe('docs/unattended.md', { concurrency: 4, skip: posix }, () => {
  it('docs/unattended.md: when it does not work', async (t) => {
    const { shell, logIn } = await house(t)
    const line = snippet('sh', 'ring-auth doctor')
    const before = await shell(line).ended
    assert.equal(before.code, 3, before.stdout)
    await logIn()
    const after = await shell(line).ended
    assert.equal(after.code, 0, after.stdout)
    // The page explains each check, and no other.
    const explained =
      readFileSync(join(root, PAGE), 'utf8').split('## When it does not work')[1]?.split('\n## ')[0] ?? ''
    const rows = [...explained.matchAll(/^\| (`[a-z0-9`, -]+`) \|/gm)].map(([, ids = '']) =>
      ids.replaceAll('`', '').split(', '),
    )
    const printed = after.stdout
      .trim()
      .split('\n')
      .map((line) => line.slice(9).split(' ')[0])
    assert.deepEqual(
      rows.flat().filter((id) => id !== 'id'),
      printed,
    )
  })

  it('docs/unattended.md: health checks', async (t) => {
    const { shell, logIn, journal } = await house(t)
    const line = snippet('sh', '--max-age 26h >/dev/null')
    assert.equal((await shell(line).ended).code, 3)
    await logIn()
    assert.equal((await shell(line).ended).code, 0)
    editJournal(journal, (state) => (state.lastSuccessAt -= 27 * 3_600_000))
    assert.equal((await shell(line).ended).code, 5)
  })

  for (const [name, words] of /** @type {const} */ ([
    ['curl', 'https://ntfy.sh'],
    ['mail', 'mail -s'],
  ])) {
    it(`docs/unattended.md: being told by ${name}`, async (t) => {
      const { shell, said } = await house(t)
      const watching = shell(`exec ${snippet('sh', words)}`)
      await until(() => {
        try {
          return said()
        } catch {
          return undefined
        }
      }, 'what the command was given')
      assert.match(said(), /There is no refresh token in .* yet\. Get one with: ring-auth login/)
      assert.match(
        said(),
        name === 'mail' ? /^mail\n-s\nRing: needs-login\n/ : /Ring \(needs-login\): .*\nhttps:\/\/ntfy\.sh/,
      )
      watching.child.kill('SIGTERM')
      assert.equal((await watching.ended).code, 0)
    })
  }

  it("docs/unattended.md: a login with an authenticator's secret, in a program and in a shell", async (t) => {
    const { ring, shell, totp } = await house(t)
    const { manager } = open(t, ring)
    const source = `${snippet('js', 'totpSecret')}\nreturn authenticated`
    const scope = { manager, email: EMAIL, password: PASSWORD, totpSecret: totp }
    assert.equal(await new AsyncFunction(...Object.keys(scope), source)(...Object.values(scope)), true)
    const line = snippet('sh', '--totp-secret-file').replace('me@example.com', EMAIL)
    const done = await shell(line).ended
    assert.equal(done.code, 0, done.stderr)
  })

  it('docs/unattended.md: a sealed journal with a key in a file, in a program, in a keyring, and as a credential', async (t) => {
    const { ring, folder, shell, put, program, inside, journal, logIn } = await house(t)
    const keys = [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64'))
    program('openssl', `[ "$*" = 'rand -base64 32' ] && cat '${folder}/random'`)
    // Keyrings keep what is given to them.
    program('secret-tool', `case "$1" in store) cat > '${folder}/ring' ;; *) cat '${folder}/ring' ;; esac`)
    program('security', `case "$1" in add*) printf %s "$7" > '${folder}/chain' ;; *) cat '${folder}/chain' ;; esac`)
    program('pass', `cat '${folder}/ring'`)
    const sealed = () => JSON.parse(readFileSync(journal, 'utf8'))['ring-auth-sealed'] !== undefined
    await logIn()
    assert.equal(sealed(), false)
    put('random', `${keys[0]}\n`)
    const first = await shell(snippet('sh', '--key-file /run/secrets/ring-auth-key')).ended
    assert.equal(first.code, 0, first.stderr)
    assert.equal(sealed(), true)
    assert.equal(readFileSync(join(folder, 'run/secrets/ring-auth-key'), 'utf8'), `${keys[0]}\n`)

    const source = inside(snippet('js', "type: 'file'").replaceAll("('/", "( '/"))
    const body = `${source.replace('new RingTokenManager(', 'create(')}\nreturn manager`
    const create = (/** @type {any} */ options) => open(t, ring, options).manager
    const manager = await new AsyncFunction('create', 'readFile', body)(create, readFile)
    assert.ok(ring.isAccessLive(await manager.getAccessToken()))
    await manager.close()

    for (const line of snippet('sh', 'secret-tool store').trim().split('\n')) {
      assert.equal((await shell(line).ended).code, 0, line)
    }
    put('ring.json', readFileSync(journal, 'utf8'))
    for (const line of snippet('sh', 'secret-tool lookup').trim().split('\n')) {
      const done = await shell(line, { HOME: folder }).ended
      assert.equal(done.code, 0, `${line}: ${done.stderr}`)
    }

    const [encrypted, unit] = [snippet('sh', '--name=ring-auth-key'), snippet('ini', 'a drop-in')]
    assert.deepEqual(valuesOf(unit, 'LoadCredentialEncrypted'), [`ring-auth-key:${encrypted.trim().split(' ').at(-1)}`])
    put('credentials/ring-auth-key', String(keys[0]))
    const status = `ring-auth status --state-file ${journal}`
    assert.equal((await shell(status, { CREDENTIALS_DIRECTORY: join(folder, 'credentials') }).ended).code, 0)
    assert.equal((await shell(status).ended).code, 6)
    assert.equal((await shell(`${status} --key-file ${join(folder, 'none')}`).ended).code, 2)
  })

  it('docs/unattended.md: cron', async (t) => {
    const { ring, shell, logIn } = await house(t)
    const lines = snippet('sh', 'token=$(ring-auth token')
    const before = await shell(lines).ended
    assert.equal(before.code, 3)
    await logIn()
    const done = await shell(`${lines}echo "$token"`).ended
    assert.equal(done.code, 0, done.stderr)
    assert.ok(ring.isAccessLive(String(done.stdout.trim().split('\n').at(-1))))
    assert.ok(!done.stdout.includes('needs a look'))
  })

  it('docs/unattended.md: systemd, a login by its credentials, and the watch', async (t) => {
    const { ring, folder, shell, put, totp, said } = await house(t)
    const [watch, login] = [snippet('ini', '/ring-auth.service'), snippet('ini', '/ring-auth-login.service')]
    // This machine may not run systemd: the test does what systemd would do with the units.
    const encrypted = snippet('sh', 'systemd-creds encrypt --name=ring-password')
    const credentials = valuesOf(login, 'LoadCredential(?:Encrypted)?').map((value) => value.split(':')[0])
    assert.deepEqual(credentials, ['ring-email', 'ring-password', 'ring-totp-secret'])
    assert.ok(encrypted.includes('--name=ring-password') && login.includes(encrypted.trim().split(' ').at(-1) ?? '-'))
    put('credentials/ring-email', `${EMAIL}\n`)
    put('credentials/ring-password', PASSWORD)
    put('credentials/ring-totp-secret', totp)
    const state = join(folder, 'state')
    mkdirSync(state)
    const env = { STATE_DIRECTORY: state }
    const watching = shell(`exec ${valuesOf(watch, 'ExecStart')[0]}`, env)
    await until(() => watching.stdout.includes('needs-login'), 'the watch')
    const done = await shell(String(valuesOf(login, 'ExecStart')[0]), {
      ...env,
      CREDENTIALS_DIRECTORY: join(folder, 'credentials'),
    }).ended
    assert.equal(done.code, 0, done.stderr)
    await until(() => watching.stdout.includes('ready'), 'the login is noticed')
    watching.child.kill('SIGTERM')
    assert.equal((await watching.ended).code, 0)
    assert.match(said(), /^curl\n-s\n-d\n/)
    assert.equal(unwrap(readJournal(join(state, 'ring.json')).current.token).rt, ring.newest())
    for (const unit of [watch, login]) assert.deepEqual(valuesOf(unit, 'User'), ['ring-auth'], 'one user for both')
  })

  for (const [name, words] of /** @type {const} */ ([
    ['Docker', 'services:'],
    ['Kubernetes', 'kind: Deployment'],
  ])) {
    it(`docs/unattended.md: ${name}, a container with a first token, and its health check`, async (t) => {
      const { ring, folder, shell, journal } = await house(t)
      const yaml = snippet('yaml', words)
      const line = (/** @type {RegExp} */ pattern) => String(pattern.exec(yaml)?.[1]).replaceAll(/[[\],]/g, '')
      const command = line(/^ +command: (.*)$/m)
      const check = line(/^ +(?:test|exec): (?:\{ command: )?(.*?)(?: \})?$/m)
      const token = line(/RING_REFRESH_TOKEN_FILE(?:, value)?: ([^ }\n]+)/)
      assert.ok(command.startsWith('ring-auth watch') && check.startsWith('ring-auth status'), yaml)
      const env = { RING_REFRESH_TOKEN_FILE: join(folder, token) }
      const watching = shell(`exec ${command}`, env)
      await until(() => watching.stdout.includes('ready'), 'the watch')
      assert.equal((await shell(check, env).ended).code, 0)
      watching.child.kill('SIGTERM')
      assert.equal((await watching.ended).code, 0)
      // The container is created again, and the secret in it is an old copy.
      const again = shell(`exec ${command}`, env)
      await until(() => again.stdout.includes('ready'), 'the watch again')
      again.child.kill('SIGTERM')
      await again.ended
      assert.equal(unwrap(readJournal(journal).current.token).rt, ring.newest())
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  it('docs/unattended.md: numbers for Prometheus, and the tracing channel', async (t) => {
    const { ring } = await house(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint() })
    /** As prom-client's metrics are collected. */
    class Metric {
      /** @type {Map<string, number>} */
      values = new Map()
      /** @param {any} options */
      constructor(options) {
        this.options = options
        metrics.set(options.name, this)
      }
      /** @param {number} value */
      set = (value) => this.values.set('', value)
      reset = () => this.values.clear()
      /** @param {any} labels @param {number} [value] */
      inc = (labels, value) =>
        typeof labels === 'number'
          ? this.values.set('', labels)
          : this.values.set(JSON.stringify(labels), Number(value))
      collect() {
        this.options.collect.call(this)
        return Object.fromEntries(this.values)
      }
    }
    /** @type {Map<string, Metric>} */
    const metrics = new Map()
    /** @type {string[]} */
    const logged = []
    const scope = {
      manager,
      Counter: Metric,
      Gauge: Metric,
      tracingChannel,
      log: (/** @type {string} */ line) => logged.push(line),
    }
    for (const source of [snippet('js', 'prom-client'), snippet('js', 'asyncEnd')]) {
      const body = source.replaceAll(/^import .*$/gm, '')
      await new AsyncFunction(...Object.keys(scope), body)(...Object.values(scope))
    }
    const collected = () => Object.fromEntries([...metrics].map(([name, metric]) => [name, metric.collect()]))
    assert.deepEqual(collected()['ring_auth_last_success_timestamp_seconds'], {})
    ring.fault({ kind: 'status', status: 503, times: 1 })
    await manager.refresh()
    const { lastSuccessAt } = manager.stats
    assert.deepEqual(collected(), {
      ring_auth_last_success_timestamp_seconds: { '': Number(lastSuccessAt) / 1000 },
      ring_auth_needs_login: { '': 0 },
      ring_auth_rotations_total: { '': 1 },
      ring_auth_request_failures_total: { '{"code":"SERVER_ERROR"}': 1 },
    })
    assert.match(String(logged[0]), /^refresh \(asked\): ok, 2 requests, \d+ ms$/)
  })
})

it('every snippet of docs/unattended.md was run', { skip: posix }, () => {
  assert.deepEqual(
    snippets.filter(({ isRun }) => !isRun).map(({ text }) => text),
    [],
  )
})
