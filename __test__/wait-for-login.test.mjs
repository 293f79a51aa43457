// @ts-check
// A login in another manager or process: a waiting call resolves, and the login adds a missing block to config.json.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EMAIL, PASSWORD, failure, fileStore, open, rawOf, root, startRing, tempDir } from './support/index.mjs'

const NO_CODE = { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: /** @type {const} */ ('none') }] }
const ACCOUNT = { email: EMAIL, password: PASSWORD }

describe('waitForLogin', () => {
  it('waitForLogin resolves soon after the login of another process, which costs the waiting one no request', async (t) => {
    const ring = await startRing(t, NO_CODE)
    const store = fileStore(join(tempDir(t), 'ring-auth.json'))
    const waiting = open(t, ring, { store })
    assert.equal(waiting.manager.status.state, 'needs-login')
    const found = waiting.manager.waitForLogin()
    const script = `
      const { RingTokenManager } = require(${JSON.stringify(root)})
      const manager = new RingTokenManager(${JSON.stringify({ store, oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl })})
      manager.login(${JSON.stringify(ACCOUNT)}).then(() => manager.close())
    `
    const child = spawn(process.execPath, ['-e', script], { stdio: 'inherit' })
    const exit = new Promise((resolve) => child.on('exit', resolve))
    await found
    // The clock of the core's own tests stands still while they work: they hold it to the 20 seconds.
    const took = Date.now() - Number(ring.requests.at(-1)?.at)
    assert.ok(took < 60_000, `${took} ms since the login`)
    assert.equal(await exit, 0)
    assert.equal(waiting.manager.status.state, 'ready')
    assert.equal(rawOf(waiting.manager.refreshToken ?? ''), ring.newest(EMAIL))
    const requests = ring.tokenRequests.length
    await waiting.manager.getAccessToken()
    assert.equal(ring.tokenRequests.length, requests)
    assert.match(waiting.said(), /Another process has logged in/)
  })

  it('waitForLogin resolves at once with a token, rejects with the manager, and lets an aborted process end', async (t) => {
    const ring = await startRing(t)
    const { manager } = open(t, ring, { refreshToken: ring.mint(EMAIL) })
    await manager.waitForLogin()
    const empty = open(t, ring)
    const waiting = failure(empty.manager.waitForLogin(), 'CLOSED')
    await empty.manager.close()
    await waiting
    await failure(empty.manager.waitForLogin(), 'CLOSED')
    // @ts-expect-error
    await failure(manager.waitForLogin({ timeout: 5 }), 'INVALID_ARGUMENT')
    const script = `
      const { RingTokenManager } = require(${JSON.stringify(root)})
      const controller = new AbortController()
      new RingTokenManager().waitForLogin({ signal: controller.signal }).catch((error) => console.log(error.code))
      setTimeout(() => controller.abort(), 50)
    `
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (said += text))
    const code = await new Promise((resolve) => child.on('close', resolve))
    assert.deepEqual([code, said], [0, 'ABORTED\n'])
  })
})

describe('addBlock', () => {
  const empty = '{\n  "bridge": { "name": "Odd" },\n  "platforms": []\n}\n'

  it('a login with addBlock adds the block and removes what the token replaces, as the command line does', async (t) => {
    const ring = await startRing(t, NO_CODE)
    const configPath = join(tempDir(t), 'config.json')
    writeFileSync(configPath, empty)
    const block = () => JSON.parse(readFileSync(configPath, 'utf8')).platforms
    const store = /** @type {const} */ ({ type: 'homebridge', configPath, platform: 'Mine', addBlock: true })
    const { manager } = open(t, ring, { store })
    assert.equal(readFileSync(configPath, 'utf8'), empty)
    await manager.login(ACCOUNT)
    assert.deepEqual(block(), [{ platform: 'Mine', name: 'Mine', refreshToken: manager.refreshToken }])
    await manager.close()
    writeFileSync(
      configPath,
      JSON.stringify({ platforms: [{ platform: 'Mine', email: EMAIL, password: PASSWORD, other: 1 }] }),
    )
    const second = open(t, ring, { store })
    await second.manager.login(ACCOUNT)
    assert.deepEqual(block(), [{ platform: 'Mine', other: 1, refreshToken: second.manager.refreshToken }])
  })

  it('a login with addBlock reports a file that cannot be written before Ring sends a code', async (t) => {
    const ring = await startRing(t)
    const configPath = join(tempDir(t), 'config.json')
    writeFileSync(configPath, '{ "platforms": [ }')
    const { manager } = open(t, ring, { store: { type: 'homebridge', configPath, platform: 'Mine', addBlock: true } })
    const error = await failure(manager.login(ACCOUNT), 'STORE')
    assert.match(error.message, /not valid JSON/)
    assert.equal(ring.requests.length, 0)
    writeFileSync(configPath, empty)
    chmodSync(configPath, 0o444)
    await failure(manager.login(ACCOUNT), 'STORE')
    assert.equal(ring.requests.length, 0)
    chmodSync(configPath, 0o644)
    assert.equal((await manager.login(ACCOUNT)).authenticated, false)
    assert.ok(existsSync(configPath))
  })

  it('addBlock refuses several blocks, and without it no block is added', async (t) => {
    const ring = await startRing(t, NO_CODE)
    const configPath = join(tempDir(t), 'config.json')
    const two = { platforms: [{ platform: 'Mine' }, { platform: 'Mine', name: 'Second' }] }
    writeFileSync(configPath, JSON.stringify(two))
    const options = /** @type {const} */ ({ type: 'homebridge', configPath, platform: 'Mine' })
    await failure(async () => open(t, ring, { store: { ...options, addBlock: true } }), 'INVALID_ARGUMENT')
    writeFileSync(configPath, empty)
    const { manager } = open(t, ring, { store: options })
    await manager.login(ACCOUNT)
    assert.equal(readFileSync(configPath, 'utf8'), empty)
    assert.equal(manager.status.code, 'STORE')
  })
})
