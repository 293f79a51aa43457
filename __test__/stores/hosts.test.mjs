// @ts-check
// What happened to programs with one account on several hosts, with ring-auth in their place: real processes on a real engine.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { atEnd, linkPackage, root, runProcess, startRing, tempDir, until } from '../support/index.mjs'
import { fenced, take } from '../support/pages.mjs'
import { groups, signals } from '../support/systems.mjs'
import { Homebridge, VERSIONS, missing } from '../real/homebridge.mjs'
import { startDynamoDb } from './fakes/dynamodb.mjs'
import { startRedis } from './servers/redis.mjs'
import { redis } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('../support/index.mjs').FakeRing} FakeRing */

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')

/** A Ring that ends the family of a token that is sent a second time, and whose access tokens are valid for long. @param {TestContext} t */
const strictRing = (t) => startRing(t, { revokeFamilyOnReuse: true, graceMs: 0, expiresIn: 14_400 })

/** @param {FakeRing} ring */
function assertPolite({ counts }) {
  assert.equal(counts.refreshes, counts.rotations)
  assert.deepEqual(
    [counts.stalePresentations, counts.invalidGrants, counts.maxConcurrentRefreshes],
    [0, 0, 1],
    'no spent token was sent, and never two at once',
  )
}

/** A plugin that keeps the account of its block in Redis, and says which access token it has. It rotates at a signal. */
const PLUGIN = `
const { Redis } = require('ioredis')
const { RingTokenManager } = require('ring-auth')
const { redisStore } = require('ring-auth/stores')

module.exports = (api) => api.registerPlatform('homebridge-pair', 'Pair', class {
  constructor(log, config, api) {
    const redis = new Redis(config.redis)
    redis.on('error', () => {})
    const { oauthUrl, apiUrl, refreshToken } = config
    const statePath = require('node:path').join(api.user.storagePath(), 'ring-auth')
    const store = redisStore(redis, { account: 'home', statePath, durable: 'always' })
    const manager = new RingTokenManager({ store, oauthUrl, apiUrl, refreshToken, logger: log })
    const say = (what, auth) => auth.then(
      ({ accessToken }) => log.info(what + ' has ' + accessToken.slice(-16)),
      (error) => log.error(what + ' failed: ' + error.code),
    )
    api.on('didFinishLaunching', () => say('the start', manager.getAuth()))
    process.on('SIGUSR2', () => say('a rotation', manager.refresh()))
  }
  configureAccessory() {}
})
`

/**
 * A Homebridge with the plugin, on a storage path of its own.
 * @param {TestContext} t
 * @param {FakeRing} ring
 * @param {{ redis: string, refreshToken: string }} block
 * @param {string} [copied] the folder of another one, which this one begins with
 */
function homebridgeHost(t, ring, block, copied) {
  const folder = tempDir(t)
  const [storage, plugin] = [join(folder, 'storage'), join(folder, 'node_modules', 'homebridge-pair')]
  mkdirSync(plugin, { recursive: true })
  linkPackage(root, join(folder, 'node_modules'), 'ring-auth')
  symlinkSync(join(modules, 'ioredis'), join(folder, 'node_modules', 'ioredis'), 'junction')
  const manifest = {
    ...{ name: 'homebridge-pair', version: '1.0.0', main: 'index.js', keywords: ['homebridge-plugin'] },
    engines: { homebridge: '>=1.0.0', node: '>=20' },
  }
  writeFileSync(join(plugin, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(plugin, 'index.js'), PLUGIN)
  if (copied === undefined) {
    mkdirSync(storage)
    const bridge = { name: 'Pair', username: '0E:00:00:00:00:03', port: 0, pin: '031-45-154', bind: ['127.0.0.1'] }
    const { oauthUrl, apiUrl } = ring
    const platforms = [{ platform: 'Pair', oauthUrl, apiUrl, ...block }]
    writeFileSync(join(storage, 'config.json'), JSON.stringify({ bridge, accessories: [], platforms }))
  } else {
    cpSync(copied, storage, { recursive: true })
  }
  const [version] = VERSIONS
  assert.ok(version)
  const start = () => new Homebridge({ t, version, folder, storage, plugin })
  return { storage, start }
}

/** A signal to rotate, and what Homebridge has then. @param {Homebridge} homebridge */
async function rotated(homebridge) {
  const before = homebridge.said(/a rotation (?:has|failed)/).length
  homebridge.child.kill('SIGUSR2')
  const said = () => homebridge.said(/a rotation (?:has|failed)/)
  await until(() => said().length > before, 'a rotation')
  return String(said().at(-1))
}

const [homebridge] = VERSIONS

describe('a Homebridge failover pair on one shared store', {
  skip: redis || groups || signals || (homebridge && missing(homebridge)),
}, () => {
  it('a standby that starts with a copy of the folder that is some rotations old sends no spent token', async (t) => {
    const ring = await strictRing(t)
    const server = await startRedis('redis', { appendonly: 'yes', appendfsync: 'always' })
    atEnd(t, 'server', () => server.end())
    const block = { redis: `redis://127.0.0.1:${server.port}`, refreshToken: ring.mint() }

    const active = homebridgeHost(t, ring, block)
    const first = await active.start().says(/the start has/)
    const copy = join(tempDir(t), 'copy')
    cpSync(active.storage, copy, { recursive: true })
    for (let i = 0; i < 3; i++) assert.match(await rotated(first), /has/)
    assert.equal(ring.counts.rotations, 4)
    await first.kill()

    const standby = homebridgeHost(t, ring, block, copy)
    const second = await standby.start().says(/the start has/)
    const newest = String(first.said(/a rotation has/).at(-1)).slice(-16)
    assert.equal((await rotated(second)).slice(-16), newest, 'it takes what the other one got')
    assert.equal(ring.counts.rotations, 4)
    assert.match(await rotated(second), /has/)
    assert.equal(ring.counts.rotations, 5)
    assertPolite(ring)

    // The former one comes back, with the folder as it left it, while the standby runs.
    const third = await active.start().says(/the start has/)
    for (const one of [third, third, second, second]) assert.match(await rotated(one), /has/)
    assert.equal(ring.counts.rotations, 7, 'of two rotations of a host, the first takes what the other one got')
    assertPolite(ring)
  })
})

describe('two instances of one serverless function', { skip: signals }, () => {
  it('two instances without a disk use one token, and a third one does not send what its environment still has', async (t) => {
    const ring = await strictRing(t)
    const fake = await startDynamoDb({ table: 'ring', key: 'account' })
    atEnd(t, 'server', () => fake.end())
    const folder = tempDir(t)
    mkdirSync(join(folder, 'node_modules'))
    linkPackage(root, join(folder, 'node_modules'), 'ring-auth')
    symlinkSync(join(modules, '@aws-sdk'), join(folder, 'node_modules', '@aws-sdk'), 'junction')
    const recipe = take(fenced('docs/hosts.md'), 'docs/hosts.md', 'js', 'dynamoStore')
    writeFileSync(join(folder, 'dynamo-store.mjs'), recipe)
    writeFileSync(
      join(folder, 'function.mjs'),
      `
      import { createInterface } from 'node:readline'
      import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
      import { RingTokenManager } from 'ring-auth'
      import { dynamoStore } from './dynamo-store.mjs'

      const client = new DynamoDBClient({})
      const manager = new RingTokenManager({
        store: dynamoStore(client, { table: 'ring', account: 'home', statePath: null }),
        refreshToken: process.env.RING_REFRESH_TOKEN,
        oauthUrl: process.env.RING_URL,
        apiUrl: process.env.RING_URL,
      })
      for await (const event of createInterface({ input: process.stdin })) {
        const { accessToken } = event === 'rotate' ? await manager.refresh() : await manager.getAuth()
        console.log(accessToken)
      }`,
    )
    const env = {
      PATH: process.env['PATH'],
      ...{ AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'eu-west-1' },
      ...{ AWS_ENDPOINT_URL_DYNAMODB: fake.url, RING_REFRESH_TOKEN: ring.mint(), RING_URL: ring.oauthUrl },
    }
    const instance = () => {
      const child = runProcess(t, ['function.mjs'], { cwd: folder, env })
      let answers = 0
      /** An instance is frozen between its events. @param {'token' | 'rotate'} event */
      return async (event) => {
        child.process.kill('SIGCONT')
        child.process.stdin.write(`${event}\n`)
        const lines = () => child.stdout().split('\n').slice(0, -1)
        await until(
          () => lines().length > answers,
          () => `an answer to ${event}: ${child.stderr()}`,
        )
        child.process.kill('SIGSTOP')
        const token = String(lines()[answers++])
        assert.ok(ring.isAccessLive(token))
        return token
      }
    }
    const [one, other] = [instance(), instance()]
    const [first, second] = await Promise.all([one('token'), other('token')])
    assert.equal(first, second)
    assert.equal(ring.counts.rotations, 1, 'one rotation for both')
    for (let i = 0; i < 3; i++) await Promise.all([one('rotate'), other('rotate')])
    const newest = await one('rotate')
    assertPolite(ring)

    const { rotations } = ring.counts
    assert.equal(await instance()('token'), newest)
    assert.equal(ring.counts.rotations, rotations)
    assertPolite(ring)
  })
})
