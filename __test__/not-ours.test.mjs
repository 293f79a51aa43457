// @ts-check
// Files of other programs at a path that a person named: every command and the constructor refuse them, and leave them exactly as they are.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RingRestClient } from '../lib/ring-client-api/rest-client.js'
import { LOGIN, account, bin, failure as cliFailure, run, setUp } from './support/cli.mjs'
import {
  PASSWORD,
  RingTokenManager,
  failure,
  fileStore,
  open,
  optionsFor,
  readJournal,
  until,
  wrap,
} from './support/index.mjs'
import { asLinuxRoot, devices, needs } from './support/systems.mjs'

/** @typedef {import('./fake-ring/index.mjs').FakeRing} FakeRing */

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)
const CONFIG = '{\n  "bridge": {"name": "Homebridge"},\n  "platforms": [{"platform": "config"}]\n}\n'
const JOURNAL = '{\n  "ring-auth-journal": "j.json",\n  "version": 1\n}\n'

/** A file at the path, the words for it, and the option that was probably meant: in the command line and in the library. */
const JOURNAL_KINDS = /** @type {const} */ ([
  ["Homebridge's config.json", CONFIG, ': did you mean --homebridge?', ": did you mean the store type 'homebridge'?"],
  ['a .env file', 'A=1\nRING_REFRESH_TOKEN=x\n', ': did you mean --dotenv?', ": did you mean the store type 'dotenv'?"],
  [
    'the file in which another tool keeps its Ring token',
    '{"ring_token":"eyJ"}',
    '. Give another path, and the token in that file with --refresh-token-stdin.',
    '. Give another path, and the token in that file as refreshToken.',
  ],
  ['a JSON file', '{"name":"my-app","version":"1.0.0"}', '. Give another path.', '. Give another path.'],
  ['a JSON file', '[1, 2]', '. Give another path.', '. Give another path.'],
  ['a JSON file', 'null', '. Give another path.', '. Give another path.'],
  ['a JSON file', '{}', '. Give another path.', '. Give another path.'],
  ['a JSON file', '{"version": 7}', '. Give another path.', '. Give another path.'],
  ['a JSON file with an error in it', '{', '. Give another path.', '. Give another path.'],
  ['a text', 'Buy milk.\n', '. Give another path.', '. Give another path.'],
  ['a picture', PNG, '. Give another path.', '. Give another path.'],
  [
    'a file of nothing but zero bytes, as a power cut can leave one',
    Buffer.alloc(4096),
    '. If no program needs it, delete it and try again.',
    '. If no program needs it, delete it and try again.',
  ],
  ['a binary file', Buffer.from([1, 2, 3, 0x80]), '. Give another path.', '. Give another path.'],
])

const CONFIG_KINDS = /** @type {const} */ ([
  ['a .env file', 'A=1\n', ': did you mean --dotenv?', ": did you mean the store type 'dotenv'?"],
  ['a JSON file', '{"name":"my-app","version":"1.0.0"}', '. Give another path.', '. Give another path.'],
  [
    'the file in which another tool keeps its Ring token',
    '{"ring_token":"eyJ"}',
    '. Give another path.',
    '. Give another path.',
  ],
  ['a text', 'Buy milk.\n', '. Give another path.', '. Give another path.'],
  ['a picture', PNG, '. Give another path.', '. Give another path.'],
  ['a journal of ring-auth', JOURNAL, ': did you mean --state-file?', ": did you mean the store type 'file'?"],
])

const DOTENV_KINDS = /** @type {const} */ ([
  ["Homebridge's config.json", CONFIG, ': did you mean --homebridge?', ": did you mean the store type 'homebridge'?"],
  ['a JSON file', '{}', '. Give another path.', '. Give another path.'],
  ['a text that is not UTF-8', Buffer.from('A=caf\xe9\n', 'latin1'), '. Save it as UTF-8.', '. Save it as UTF-8.'],
  ['a binary file', 'A=1\n\0', '. Give another path.', '. Give another path.'],
  ['a picture', PNG, '. Give another path.', '. Give another path.'],
  ['a journal of ring-auth', JOURNAL, ': did you mean --state-file?', ": did you mean the store type 'file'?"],
])

/** Everything that can be seen of a folder. @param {string} folder @returns {unknown[]} */
function snapshot(folder) {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const path = join(folder, name)
      const { mode, mtimeNs, ctimeNs, ino, uid, gid, rdev } = lstatSync(path, { bigint: true })
      const there = lstatSync(path)
      const content = there.isFile() ? readFileSync(path).toString('base64') : null
      return { name, mode, mtimeNs, ctimeNs, ino, uid, gid, rdev, content }
    })
}

/** Every command, with the option that names the file. @param {string[]} store @returns {[string[], string][]} */
function commands(store) {
  const token = `${wrap({ rt: 'eyJhbGciOiJIUzI1NiJ9.a-token-that-is-given.x' })}\n`
  return [
    [[...LOGIN, ...store], `${PASSWORD}\n`],
    [['login', '--web', ...store], ''],
    [['token', ...store], ''],
    [['token', '--refresh-token-stdin', ...store], token],
    [['refresh', ...store], ''],
    [['refresh', '--force', '--refresh-token-stdin', ...store], token],
    [['status', ...store], ''],
    [['watch', ...store], ''],
    [['logout', ...store], ''],
  ]
}

/**
 * Tries every command and the constructor, and checks that the folder is as before.
 * @param {FakeRing} ring @param {string} folder @param {string[]} option @param {any} store @param {(words: 'cli' | 'library') => string} sentence
 */
async function refusedEverywhere(ring, folder, option, store, sentence) {
  const before = snapshot(folder)
  for (const [args, input] of commands(option)) {
    const done = await run([...args, '--json'], { ring, input })
    const { message } = cliFailure(done, 'INVALID_ARGUMENT', 2)
    assert.equal(message, sentence('cli'), args.join(' '))
    assert.deepEqual(snapshot(folder), before, args.join(' '))
  }
  for (const more of [{}, { refreshToken: ring.mint() }]) {
    const options = optionsFor(ring, { store, ...more })
    const errors = [
      await failure(() => new RingTokenManager(options), 'INVALID_ARGUMENT'),
      await failure(() => new RingRestClient({ refreshToken: ring.mint(), ...options }), 'INVALID_ARGUMENT'),
    ]
    for (const { message } of errors) assert.equal(message, sentence('library'))
  }
  assert.deepEqual(snapshot(folder), before)
  assert.equal(ring.requests.length, 0)
}

/** @typedef {readonly [look: string, content: string | Buffer, cli: string, library: string]} Kind */

/** Tests for every content at one kind of path. @param {string} option @param {(path: string) => any} store @param {string} wanted @param {readonly Kind[]} kinds */
function refusesEach(option, store, wanted, kinds) {
  for (const [index, [look, content, cli, library]] of kinds.entries()) {
    it(`${option} refuses what looks like ${look} (${index}) in every command and in the constructor`, async (t) => {
      const { ring, folder } = await setUp(t)
      const path = join(folder, 'x')
      writeFileSync(path, content, { mode: 0o640 })
      const sentence = (/** @type {string} */ words) =>
        `${path} is not ${wanted}; it looks like ${look}${words === 'cli' ? cli : library} Nothing was changed.`
      await refusedEverywhere(ring, folder, [option, path], store(path), sentence)
    })
  }
}

describe('a file of another program', { concurrency: true }, () => {
  refusesEach('--state-file', fileStore, 'a file of ring-auth', JOURNAL_KINDS)
  refusesEach(
    '--homebridge',
    (configPath) => ({ type: 'homebridge', configPath }),
    "Homebridge's config.json",
    CONFIG_KINDS,
  )
  refusesEach('--dotenv', (path) => ({ type: 'dotenv', path }), 'a .env file', DOTENV_KINDS)
})

describe('what is no regular file', { concurrency: true }, () => {
  const isRoot = process.getuid?.() === 0
  /** @type {Record<string, (path: string) => unknown>} */
  const makes = {
    'a pipe (FIFO)': (path) => execFileSync('mkfifo', [path]),
    'a socket': (path) =>
      new Promise((resolve) => {
        const server = createServer().listen(path, () => resolve(server.unref()))
      }),
    ...(isRoot && { 'a device': (/** @type {string} */ path) => execFileSync('mknod', [path, 'c', '1', '3']) }),
  }
  for (const [kind, make] of Object.entries(makes)) {
    it(`a journal's path that leads to ${kind} is refused with that kind, and nothing changes`, {
      skip: devices,
    }, async (t) => {
      const { ring, folder } = await setUp(t)
      const path = join(folder, 'x')
      await make(path)
      /** @type {[string, any, string][]} */
      const ways = [
        ['--state-file', fileStore(path), `a file of ring-auth; it is ${kind}. Give the path of a regular file.`],
        [
          '--homebridge',
          { type: 'homebridge', configPath: path },
          `Homebridge's config.json; it is ${kind}. Give the path of the file that shows the token.`,
        ],
        [
          '--dotenv',
          { type: 'dotenv', path },
          `a .env file; it is ${kind}. Give the path of the file that shows the token.`,
        ],
      ]
      for (const [option, store, sentence] of ways) {
        const message = `${path} is not ${sentence} Nothing was changed.`
        await refusedEverywhere(ring, folder, [option, path], store, () => message)
      }
    })
  }

  it("a journal's path that leads to a folder is refused, and the folder stays", async (t) => {
    const { ring, folder } = await setUp(t)
    const path = join(folder, 'x')
    mkdirSync(path)
    const journal = `The store's path ${path} is a folder. Give the path of a file in it, for example ${join(path, 'ring-auth.json')}.`
    await refusedEverywhere(ring, folder, ['--state-file', path], fileStore(path), () => journal)
    const mirror = `${path} is a folder. Give the path of the file in it that shows the token.`
    await refusedEverywhere(ring, folder, ['--dotenv', path], { type: 'dotenv', path }, () => mirror)
    const homebridge = { type: 'homebridge', configPath: path }
    await refusedEverywhere(ring, folder, ['--homebridge', path], homebridge, () => mirror)
    assert.deepEqual(readdirSync(path), [])
  })

  it("a journal's path that leads to /dev/null is refused, and it stays a device, for root too", {
    skip: devices,
  }, async (t) => {
    const { ring, folder } = await setUp(t)
    const link = join(folder, 'link')
    symlinkSync('/dev/null', link)
    const before = lstatSync('/dev/null')
    for (const path of ['/dev/null', link]) {
      const message = `${path} is not a file of ring-auth; it is a device. Give the path of a regular file. Nothing was changed.`
      await refusedEverywhere(ring, folder, ['--state-file', path], fileStore(path), () => message)
    }
    const after = lstatSync('/dev/null')
    assert.ok(after.isCharacterDevice() && !existsSync('/dev/null.lock'))
    assert.deepEqual([after.ino, after.mode, after.rdev], [before.ino, before.mode, before.rdev])
  })
})

describe('a file that cannot be read', () => {
  const asNobody = /** @type {const} */ (['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath])
  const canRun = () => {
    try {
      execFileSync('setpriv', [...asNobody, bin, '--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }
  const skip = asLinuxRoot() || needs('setpriv', canRun)

  it('a file that cannot be read is STORE at the call, not in the constructor, and nothing is created beside it', {
    skip,
  }, async (t) => {
    const { ring, folder } = await setUp(t)
    chmodSync(folder, 0o777)
    const path = join(folder, 'j.json')
    writeFileSync(path, CONFIG, { mode: 0o600 })
    const before = snapshot(folder)
    for (const [args, input] of commands(['--state-file', path])) {
      const script = asNobody[0]
      const done = await run([...asNobody.slice(1), bin, ...args, '--json'], {
        ring,
        input,
        command: 'setpriv',
        script,
      })
      const { message } = cliFailure(done, 'STORE', 6)
      assert.equal(
        message,
        `The journal ${path} cannot be read. Give this user the right to read and write it and its folder.`,
        args.join(' '),
      )
      assert.deepEqual(snapshot(folder), before, args.join(' '))
    }
    const source = `
      import { RingTokenManager } from ${JSON.stringify(new URL('../index.js', import.meta.url).href)}
      const manager = new RingTokenManager({ ...JSON.parse(process.env.TEST_CONFIG), logger: () => {} })
      for (const call of [() => manager.getAccessToken(), () => manager.refresh(), () => manager.setRefreshToken('eyJhbGciOiJIUzI1NiJ9.other.x')]) {
        await call().catch((error) => console.log(error.code))
      }
      await manager.close()
    `
    const config = optionsFor(ring, { store: fileStore(path), refreshToken: ring.mint() })
    const env = { ...process.env, TEST_CONFIG: JSON.stringify(config) }
    const said = await new Promise((resolve, reject) => {
      const args = [...asNobody, '--input-type=module', '-e', source]
      execFile('setpriv', args, { env }, (error, stdout) => (error ? reject(error) : resolve(stdout)))
    })
    assert.equal(said, 'STORE\nSTORE\nSTORE\n')
    assert.deepEqual(snapshot(folder), before)
    assert.equal(ring.requests.length, 0)
  })
})

describe('beside a journal', { concurrency: true }, () => {
  const SLOTS = ['.tmp', '.next', '.spare']

  it('the files of other programs beside a journal stay as they are, from the login to the logout', async (t) => {
    const { ring, folder, journal } = await setUp(t, account('none'))
    const theirs = [...SLOTS, '.lock', '.damaged-1', '.damaged-0123456789abcdef0123456789abcdef']
    for (const ending of theirs) writeFileSync(journal + ending, `notes about ${ending}\n`)
    const before = snapshot(folder)
    const others = () => snapshot(folder).filter((/** @type {any} */ file) => file.name !== 'journal.json')
    const store = ['--state-file', journal]
    /** @type {[string[], string][]} */
    const steps = [
      [[...LOGIN, ...store], `${PASSWORD}\n`],
      [['token', ...store], ''],
      [['refresh', ...store], ''],
      [['status', ...store], ''],
      [['logout', ...store], ''],
    ]
    for (const [args, input] of steps) {
      const done = await run(args, { ring, input })
      assert.equal(done.code, 0, done.stderr)
      assert.deepEqual(others(), before, args.join(' '))
    }
    assert.equal(readJournal(journal).current, null)
    const status = await run(['status', ...store], { ring })
    assert.equal(status.code, 3, 'it was logged out')
  })

  it('a damaged journal is kept under a name with its digest, which a logout removes', async (t) => {
    const { ring, folder, journal } = await setUp(t, account('none'))
    writeFileSync(journal, '{\n  "ring-auth-journal": "journal.json",\n  "version": 1, torn')
    const store = ['--state-file', journal]
    const done = await run([...LOGIN, ...store], { ring, input: `${PASSWORD}\n` })
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stderr, /was damaged\. It was kept as .*journal\.json\.damaged-[0-9a-f]{32}, and/)
    assert.equal((await run(['logout', ...store], { ring })).code, 0)
    assert.deepEqual(readdirSync(folder).sort(), ['journal.json', 'journal.json.lock'])
  })

  it('a file with a derived name in a folder of journals is moved aside and never removed', async (t) => {
    const { ring, folder } = await setUp(t)
    for (const content of [CONFIG, 'Buy milk.', PNG, Buffer.alloc(100)]) {
      const statePath = join(folder, 'state')
      mkdirSync(statePath)
      writeFileSync(join(statePath, 'ring-auth.json'), content)
      let token = ring.mint()
      const { manager } = open(t, ring, {
        store: { load: () => token, save: (newest) => void (token = newest), statePath },
      })
      await manager.getAccessToken()
      await manager.close()
      const kept = readdirSync(statePath).filter((name) => /^ring-auth\.json\.damaged-[0-9a-f]{32}$/.test(name))
      assert.equal(kept.length, 1)
      assert.deepEqual(readFileSync(join(statePath, String(kept[0]))), Buffer.from(content))
      rmSync(statePath, { recursive: true })
    }
  })

  it('a file that another program puts in the place of a journal later stays, and the token in memory is served', async (t) => {
    const { ring, journal, folder } = await setUp(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint(), store: fileStore(journal) })
    const access = await manager.getAccessToken()
    writeFileSync(journal, CONFIG)
    const before = snapshot(folder)
    ring.clearRequests()
    const { message } = await failure(manager.refresh(), 'INVALID_ARGUMENT')
    assert.match(message, /is not a file of ring-auth; it looks like Homebridge's config\.json/)
    assert.equal(await manager.getAccessToken(), access)
    assert.equal(manager.status.code, 'INVALID_ARGUMENT', 'the status says so')
    await manager.close()
    assert.deepEqual(snapshot(folder), before)
    assert.equal(ring.requests.length, 0)
  })
})

describe('a mirror that is torn, or another file, while a manager runs', { concurrency: true }, () => {
  for (const kind of ['homebridge', 'dotenv']) {
    it(`a mirror that becomes ${kind} while a manager runs is left alone and reported, and the manager continues`, async (t) => {
      const { ring, folder } = await setUp(t)
      const path = join(folder, 'x')
      const first = ring.mint()
      const text =
        kind === 'dotenv'
          ? `A=1\nRING_REFRESH_TOKEN=${first}\n`
          : `{"platforms": [{"platform": "Ring", "refreshToken": "${first}"}]}\n`
      writeFileSync(path, text)
      const store = kind === 'dotenv' ? { type: 'dotenv', path } : { type: 'homebridge', configPath: path }
      const { manager } = open(t, ring, { store: /** @type {any} */ (store) })
      await manager.refresh()
      const torn = [
        kind === 'dotenv' ? CONFIG : text.slice(0, 20),
        kind === 'dotenv' ? Buffer.from('A=1\n\0') : 'Buy milk.',
        PNG,
      ]
      for (const content of torn) {
        writeFileSync(path, content)
        await manager.refresh()
        await until(() => manager.status.code === 'STORE', 'it is reported')
        assert.equal(manager.status.persisted, true)
        assert.deepEqual(readFileSync(path), Buffer.from(content), 'it is left alone')
      }
      writeFileSync(path, text)
      await manager.refresh()
      await until(() => readFileSync(path, 'utf8').includes(String(manager.refreshToken)), 'it is put right')
      await until(() => manager.status.code === undefined, 'nothing is wrong any more')
      assert.equal(ring.counts.stalePresentations, 0)
      await manager.close()
    })
  }
})

describe('a path that does not exist', { concurrency: true }, () => {
  it('a path that does not exist is reported', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const path = join(folder, 'nothing', 'config.json')
    for (const [args, input] of commands(['--homebridge', path])) {
      if (args[0] === 'watch') continue
      const done = await run([...args, '--json'], { ring, input })
      const { message } = cliFailure(done, 'STORE', 6)
      assert.equal(message, `${path} does not exist. Check the path.`, args.join(' '))
      assert.ok(!done.stderr.includes('Check the disk'), done.stderr)
    }
    assert.deepEqual(readdirSync(folder), [])
    assert.equal(ring.requests.length, 0)
  })

  it('a logout from a path that does not exist reports that, and creates nothing', async (t) => {
    const { ring, folder } = await setUp(t, account('none'))
    const beside = join(folder, 'config.json')
    const below = join(folder, 'nothing', 'file')
    const state = ['--state-dir', join(folder, 'nothing')]
    for (const store of [
      ['--homebridge', beside],
      ['--dotenv', beside],
      ['--dotenv', beside, ...state],
      ['--dotenv', below],
      ['--state-file', below],
    ]) {
      const done = await run(['logout', ...store, '--json'], { ring })
      const { message } = cliFailure(done, 'STORE', 6)
      assert.equal(message, `${store[1]} does not exist. Check the path.`, store.join(' '))
      assert.deepEqual(readdirSync(folder), [], store.join(' '))
    }
    // Nothing is created beside a file that cannot be read either.
    writeFileSync(beside, '{bridge: {}}')
    cliFailure(await run(['logout', '--homebridge', beside, '--json'], { ring }), 'STORE', 6)
    assert.deepEqual(readdirSync(folder), ['config.json'])
  })
})
