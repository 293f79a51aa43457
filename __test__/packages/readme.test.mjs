// @ts-check
// README.md as a newcomer follows it: an empty folder, the packages from a registry, and each snippet unchanged, in the order of the
// page. Neither the snippets nor the installed package know that Ring is a fake one: see support/ring-com.mjs. The last
// tests fail if a snippet was not run, or if the page says something wrong.
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ending, linesOf } from '../../demo/picture.mjs'
import { CANARY, Homebridge, VERSIONS, missing } from '../real/homebridge.mjs'
import { Screen } from '../support/cli.mjs'
import { age, rawOf, until } from '../support/index.mjs'
import {
  PACKAGE,
  PLATFORMS,
  binaryOf,
  project,
  publish,
  read,
  readJson,
  root,
  writeJson,
} from '../support/packages.mjs'
import { assertLinks, fenced, quoted, rows, section, take, text } from '../support/pages.mjs'
import { isTheDialogue, logsIn, startRingCom } from '../support/ring-com.mjs'
import { shell as posix } from '../support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const PAGE = 'README.md'
const PERSON = { email: 'me@example.com', password: 'correct horse' }
const snippets = fenced(PAGE)

/** @type {number} */
let at = -1
/** The snippet with these words. It must come after the one that was run last. @param {string} language @param {string[]} words */
function next(language, ...words) {
  const snippet = take(snippets, PAGE, language, ...words)
  const place = snippets.findIndex((one) => one.text === snippet)
  assert.ok(place > at, `a newcomer would have come to this one earlier: ${snippet}`)
  at = place
  return snippet
}

/** @param {string} snippet */
const lines = (snippet) => snippet.split('\n').filter((line) => line !== '')

describe(PAGE, { skip: posix }, () => {
  /** @type {(() => void | Promise<void>)[]} */
  const ends = []
  const t = { after: (/** @type {() => void | Promise<void>} */ end) => ends.unshift(end) }
  /** @type {ReturnType<typeof project>} */
  let there
  /** @type {Awaited<ReturnType<typeof startRingCom>>} */
  let com
  /** @type {string} */
  let home
  /** @type {NodeJS.ProcessEnv} */
  let env

  before(async () => {
    const packages = await publish()
    t.after(() => packages.end())
    there = project(t, packages, null)
    home = realpathSync(mkdtempSync(join(tmpdir(), 'ring-auth-home-')))
    t.after(() => rmSync(home, { recursive: true, force: true, maxRetries: 5 }))
    com = await startRingCom(t, { accounts: [{ ...PERSON, twoFactor: 'sms', phone: '+1xxxxxxxx89' }], canary: CANARY })
    // Of the environment of the user who runs the tests only PATH, with this Node first.
    const npm = Object.fromEntries(Object.entries(there.env).filter(([name]) => name.startsWith('npm_config_')))
    const PATH = `${dirname(process.execPath)}:${process.env['PATH']}`
    env = { PATH, HOME: home, CI: '', NO_COLOR: '1', npm_config_progress: 'false', ...npm, ...com.env }
  })

  after(async () => {
    for (const end of ends) await end()
  })

  /** Runs one line of a snippet as a shell does. It has to succeed. @param {string} line @param {NodeJS.ProcessEnv} [more] @param {string} [cwd] */
  async function sh(line, more = {}, cwd = there.folder) {
    // Of the project's own environment only the variables in `env`.
    const others = Object.fromEntries(Object.keys(there.env).map((name) => [name, undefined]))
    const { code, stdout, stderr } = await there.run('sh', ['-c', 'cd "$0" && eval "$1"', cwd, line], {
      env: { ...others, ...env, ...more },
    })
    assert.equal(code, 0, `${line}: ${stdout}${stderr}`)
    return { stdout, stderr }
  }

  /** Runs one line that logs in, with a person at the terminal. @param {TestContext} t @param {string} line @param {string} [empty] a folder where npx has to ask first */
  async function login(t, line, empty) {
    const screen = new Screen(t, 'sh', ['-c', line], { env, cwd: empty ?? there.folder })
    if (empty !== undefined) await screen.answers('Ok to proceed? (y)', 'y\r')
    const text = await logsIn(screen, com.ring, PERSON)
    assert.ok(!text.includes(PERSON.password))
    return text
  }

  const storage = () => join(home, '.homebridge')
  const configPath = () => join(storage(), 'config.json')
  /** @param {string} platform @returns {string} */
  const shownIn = (platform) =>
    readJson(configPath()).platforms.find((/** @type {any} */ block) => block.platform === platform).refreshToken

  it('README.md installs two packages', async () => {
    const { stderr } = await sh(next('sh', 'npm install ring-auth').trim())
    assert.doesNotMatch(stderr, /npm error/)
    assert.deepEqual(there.installed(), ['ring-auth', PACKAGE])
  })

  it('README.md gets a token with npx in an empty folder too, and the dialogue is the one that is shown', async (t) => {
    const empty = join(home, 'empty')
    mkdirSync(empty)
    const said = await login(t, next('sh', 'npx ring-auth\n').trim(), empty)
    const token = isTheDialogue(said, next('', 'Email: '))
    assert.equal(rawOf(token), com.ring.newest())
    assert.ok(com.ring.isLive(rawOf(token)))
    assert.deepEqual(readdirSync(empty), [], 'it leaves nothing behind')
  })

  it('README.md puts a token into a file', async (t) => {
    await login(t, next('sh', 'npx ring-auth --state-file').trim())
    assert.equal(rawOf(readJson(there.path('ring-auth.json')).current.token), com.ring.newest())
  })

  it('README.md lists the devices by a script, and makes no request for a token that it has', async () => {
    const script = next('js', '// devices.mjs\n')
    const [name = ''] = script.match(/(?<=^\/\/ )\S+/) ?? []
    writeFileSync(there.path(name), script)
    const command = next('sh', name).trim()
    const before = com.ring.counts.rotations
    for (let i = 0; i < 2; i++) assert.match((await sh(command, com.fetchEnv)).stdout, /Front Door/)
    assert.equal(com.ring.counts.rotations, before)
    age(there.path('ring-auth.json'), 24 * 3_600_000)
    assert.match((await sh(command, com.fetchEnv)).stdout, /Front Door/)
    assert.equal(com.ring.counts.rotations, before + 1)
  })

  it('README.md shares the file with the command line', async () => {
    const { stdout } = await sh(next('sh', 'npx ring-auth token').trim())
    assert.ok(com.ring.isAccessLive(stdout.trim()))
    assert.equal(com.ring.counts.stalePresentations, 0)
  })

  /** The folder of the installed plugin. */
  const plugin = () => there.path('node_modules', 'homebridge-example-ring')

  /** The block that Homebridge creates at its first start, on loopback only. */
  const bridge = {
    name: 'Homebridge',
    username: '0E:00:00:00:00:02',
    port: 0,
    pin: '031-45-154',
    advertiser: 'ciao',
    bind: ['lo'],
  }

  it('README.md has a Homebridge plugin, whose block gets a token from the command line', async (t) => {
    const source = next('js', 'registerPlatform')
    writeJson(join(plugin(), 'package.json'), {
      name: 'homebridge-example-ring',
      version: '1.0.0',
      keywords: ['homebridge-plugin'],
      engines: { homebridge: '*' },
    })
    writeFileSync(join(plugin(), 'index.js'), source)
    mkdirSync(storage())
    writeFileSync(configPath(), JSON.stringify({ bridge, accessories: [], platforms: [] }, null, 4))
    await login(t, next('sh', '--homebridge --platform').trim())
    const { platforms, ...rest } = readJson(configPath())
    assert.deepEqual(rest, { bridge, accessories: [] })
    assert.deepEqual(
      platforms.map((/** @type {any} */ { platform }) => platform),
      ['ExampleRing'],
      'the block that the command names',
    )
    assert.equal(rawOf(shownIn('ExampleRing')), com.ring.newest())
  })

  for (const version of VERSIONS) {
    it(`README.md has a plugin that runs in ${version.name}, and keeps config.json current`, {
      skip: missing(version),
    }, async (t) => {
      const { ring } = com
      const template = read(configPath()).replace(shownIn('ExampleRing'), '@TOKEN@')
      const whole = (/** @type {string} */ token) => template.replace('@TOKEN@', () => token)
      assert.ok(read(configPath()) === whole(shownIn('ExampleRing')) && shownIn('ExampleRing').length > 50)
      const start = () =>
        new Homebridge({ t, version, folder: home, storage: storage(), plugin: plugin() }, { env: com.env })
      /** @param {string} ancestor @param {Homebridge} homebridge */
      const shows = async (ancestor, homebridge) => {
        await until(
          () => rawOf(shownIn('ExampleRing')) === ring.inspect(ancestor).newest,
          () => `the newest token\n${homebridge.output}`,
        )
        await homebridge.says(/is running on port/)
        await homebridge.stop()
        assert.ok(ring.isLive(rawOf(shownIn('ExampleRing'))))
        assert.equal(read(configPath()), whole(shownIn('ExampleRing')), 'nothing else changes')
        assert.doesNotMatch(homebridge.output, /\bat .*\.js:\d/)
        return homebridge.said(/^\[ExampleRing\] (?!Initializing)/)
      }

      // A day later an old copy comes back, of the token that is about to be rotated, and then of one that was.
      const first = shownIn('ExampleRing')
      for (let i = 0; i < 2; i++) {
        const before = ring.counts.rotations
        grownOld()
        writeFileSync(configPath(), whole(first))
        await shows(rawOf(first), start())
        assert.equal(ring.counts.rotations, before + 1)
      }
      assert.notEqual(shownIn('ExampleRing'), first)
      assert.equal(ring.counts.invalidGrants, 0, 'no old one was sent')

      const pasted = ring.mint(PERSON.email)
      writeFileSync(configPath(), whole(pasted))
      assert.equal((await shows(pasted, start())).length, 1, 'the logger is wired')
      assert.ok(ring.inspect(pasted).spent, 'a pasted token is used')
    })
  }

  /** Makes the access tokens beside config.json expire. */
  function grownOld() {
    const state = join(storage(), '.ring-auth')
    const journals = readdirSync(state).filter((name) => name.endsWith('.json'))
    assert.equal(journals.length, 1, 'one for each block')
    for (const name of journals) if (readJson(join(state, name)).access) age(join(state, name), 24 * 3_600_000)
  }

  it('README.md names stores that exist', async () => {
    const stores = rows(section(PAGE, '## Where the token is kept')).flatMap(([, store = '']) =>
      store.startsWith('`{') ? quoted(store) : [],
    )
    assert.equal(stores.length, 4)
    const config = JSON.stringify({ platforms: [{ platform: 'Example', refreshToken: '' }] })
    writeFileSync(
      there.path('stores.mjs'),
      `
      import { mkdtempSync, writeFileSync } from 'node:fs'
      import { RingTokenManager } from 'ring-auth'
      const folder = mkdtempSync('stores-')
      const [path, configPath, statePath, platform] = [folder + '/any', folder + '/config.json', folder + '/state', 'Example']
      writeFileSync(configPath, ${JSON.stringify(config)})
      const [load, save] = [() => null, () => {}]
      for (const store of [${stores.join(', ')}]) {
        const manager = new RingTokenManager({ store })
        const error = await manager.getAccessToken().catch((error) => error)
        await manager.close()
        console.log(error.code)
      }
    `,
    )
    assert.equal((await sh('node stores.mjs')).stdout, 'NO_REFRESH_TOKEN\n'.repeat(4))
  })

  it("README.md puts a token into Homebridge's config.json and into a .env file, and changes nothing else there", async (t) => {
    writeFileSync(there.path('.env'), 'OTHER=1\n')
    const [homebridge = '', dotenv = '', ...others] = lines(next('sh', '--homebridge\n', '--dotenv'))
    assert.deepEqual(others, [])
    const example = shownIn('ExampleRing')
    await login(t, homebridge)
    const { platforms, ...rest } = readJson(configPath())
    assert.deepEqual(rest, { bridge, accessories: [] })
    assert.deepEqual(
      platforms.map((/** @type {any} */ { platform }) => platform),
      ['ExampleRing', 'Ring'],
      'the block that the command line takes by itself',
    )
    assert.equal(shownIn('ExampleRing'), example)
    assert.equal(rawOf(shownIn('Ring')), com.ring.newest())
    await login(t, dotenv)
    const [other, line = ''] = read(there.path('.env')).split('\n')
    assert.equal(other, 'OTHER=1')
    assert.equal(rawOf(line.replace('RING_REFRESH_TOKEN=', '')), com.ring.newest())
  })

  it('README.md names scripts that exist, and the gate runs the tests', async () => {
    const { scripts } = readJson(join(root, 'package.json'))
    const gate = lines(text('.ci/run'))
    const commands = lines(next('sh', 'npm run demo'))
    assert.deepEqual(commands, ['npm run demo', 'npm test'])
    for (const command of commands) {
      const [, script] = /^npm (?:run )?(\S+)$/.exec(command) ?? []
      assert.ok(scripts[String(script)], command)
    }
    // Each command prepares a clone: the root's packages, those of the tests, the addon.
    const [demo, test, setup] = ['demo/run.mjs', 'scripts/test.mjs', 'scripts/setup.mjs'].map(text)
    assert.match(String(demo), /^ {2}install\(root\)\n {2}build\(\)$/m)
    assert.match(String(test), /^setUp\(\)$/m)
    const installed = [...String(setup).matchAll(/^ {2}install\(join\(root, (.*)\)\)$/gm)].map(([, parts = '']) =>
      parts.replace(/[' ]/g, '').replaceAll(',', '/'),
    )
    const locked = readdirSync(join(root, '__test__'), { withFileTypes: true }).flatMap((entry) =>
      existsSync(join(root, '__test__', entry.name, 'package-lock.json')) ? [`__test__/${entry.name}`] : [],
    )
    // scripts/runtimes.mjs installs the packages of __test__/runtimes.
    assert.deepEqual(
      installed.toSorted(),
      locked.filter((folder) => folder !== '__test__/runtimes'),
    )
    // These tests cannot run themselves, nor the install and the build that they need.
    assert.ok(gate.includes('npm test') && gate.some((line) => line.startsWith('npm ci')))
  })

  it('README.md has a demo that holds, in half a minute, and a picture of its end', async () => {
    const { stdout } = await sh('npm run --silent demo', {}, root)
    assert.match(stdout, /^\d\d claims, all of them held\./m)
    // Only numbers differ between two runs.
    const same = (/** @type {string} */ words) => words.replace(/\d+/g, '0')
    assert.deepEqual(linesOf(text('docs/images/demo.svg')).map(same), ending(stdout.trimEnd().split('\n')).map(same))
  })

  it('README.md installs a clone into a project beside it', async () => {
    const boxes = join(home, 'boxes')
    const [clone, own] = [join(boxes, 'ring-auth'), join(boxes, 'project')]
    mkdirSync(own, { recursive: true })
    // The files of a built clone that npm reads.
    for (const name of [
      ...readJson(join(root, 'package.json')).files,
      'package.json',
      'scripts/pack.mjs',
      join('binding', binaryOf(PACKAGE.replace('ring-auth-', ''))),
    ]) {
      cpSync(join(root, name), join(clone, name), { recursive: true })
    }
    await sh(next('sh', 'npm install ../ring-auth').trim(), {}, own)
    const { stdout } = await sh('npx ring-auth --version', {}, own)
    assert.equal(stdout.trim(), readJson(join(root, 'package.json')).version)
  })

  it('README.md shows nothing that was not run', () => {
    assert.deepEqual(
      snippets.filter(({ isRun }) => !isRun),
      [],
    )
    assert.ok(snippets.length >= 12, String(snippets.length))
  })
})

describe('what README.md says', () => {
  it('README.md is right about what ring-auth needs and on which systems it has run', () => {
    const { engines, scripts } = readJson(join(root, 'package.json'))
    const [, rust] = /^rust-version = "(.+)"$/m.exec(text('Cargo.toml')) ?? []
    assert.ok(
      section(PAGE, '## Development').includes(
        `Rust ${rust} or later with a C compiler, and Node ${engines.node.slice(2)} or later.`,
      ),
    )
    assert.ok(section(PAGE, '## Install').includes(`You need Node ${engines.node.slice(2)} or later`))
    for (const [, script] of text(PAGE).matchAll(/`npm run ([\w:-]+)`/g)) assert.ok(scripts[String(script)], script)
    const tried = Object.keys(readJson(join(root, '__test__', 'runtimes', 'package.json')).dependencies)
    const nodes = tried.flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? [])
    assert.ok(
      section(PAGE, '## Platforms').includes(`Node ${nodes.slice(0, -1).join(', ')} and ${nodes.at(-1)}, Bun and Deno`),
    )
    // README.md says of the same platforms as docs/releasing.md that something has run on them, and how.
    const how = (/** @type {string} */ words, /** @type {RegExp} */ node) => ({
      nodes: [...words.matchAll(node)].map((match) => match[1]),
      isEmulated: /qemu|emulation/.test(words),
      isWine: words.includes('Wine'),
      isLoaded: words.includes("in Linux's Node"),
      isRun: !/nothing here runs it|but never run/.test(words),
    })
    const said = rows(section(PAGE, '## Platforms')).flatMap(([system = '', what = '']) =>
      quoted(system).map((platform) => ({ platform, ...how(what, /(?<=Node [\d, and]*)\b(\d+)\b/g) })),
    )
    const ran = rows(section('docs/releasing.md', '### What was built and run')).flatMap(
      ([platforms = '', , on = '']) =>
        quoted(platforms).map((platform) => ({ platform, ...how(on, /(?<=Node [\d., and]*)\b(\d+)\.\d+\.\d+/g) })),
    )
    const sorted = (/** @type {{ platform: string }[]} */ all) =>
      all.toSorted((a, b) => (a.platform < b.platform ? -1 : 1))
    for (const all of [said, ran])
      assert.deepEqual(
        sorted(all).map(({ platform }) => platform),
        PLATFORMS,
      )
    // On the first platform the whole suite runs, on several versions of Node.
    const others = (/** @type {{ platform: string }[]} */ all) =>
      sorted(all).filter(({ platform }) => platform !== 'linux-x64-gnu')
    assert.deepEqual(others(said), others(ran))
  })

  it('README.md has no dead link', () => assertLinks(PAGE))
})
