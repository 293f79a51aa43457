// @ts-check
// The store modules of examples/shared-store, as they stand there, on real servers, with a process for each host.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { EMAIL, atEnd, linkPackage, root, runProcess, startRing, tempDir } from '../support/index.mjs'
import { startPostgres } from './servers/postgres.mjs'
import { startRedis } from './servers/redis.mjs'
import { newAccount, postgres, redis, valkey } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * A host on which the examples, `ring-auth` and the clients are installed.
 * @param {TestContext} t
 */
function newHost(t) {
  const folder = tempDir(t)
  cpSync(join(root, 'examples', 'shared-store'), folder, { recursive: true })
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  linkPackage(root, modules, 'ring-auth')
  const installed = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')
  for (const client of ['pg', 'ioredis']) symlinkSync(join(installed, client), join(modules, client), 'junction')
  return folder
}

/**
 * Runs the module of a store on a host of its own.
 * @param {TestContext} t
 * @param {string} name
 * @param {Record<string, string>} environment
 */
async function host(t, name, environment) {
  const folder = newHost(t)
  writeFileSync(
    join(folder, 'host.mjs'),
    `import store, { close } from './${name}'
     const before = await store.load()
     const version = await store.commit(JSON.stringify({ from: ${JSON.stringify(folder)} }), before?.version ?? null)
     console.log(JSON.stringify({ before: before?.value ?? null, version, statePath: store.statePath }))
     await close()`,
  )
  const { PATH, HOME } = process.env
  const child = runProcess(t, ['host.mjs'], { cwd: folder, env: { PATH, HOME, ...environment } })
  const { code, stdout, stderr } = await child.ended
  assert.equal(code, 0, stderr)
  return { folder, ...JSON.parse(stdout) }
}

/**
 * Two hosts, one after the other: the second finds what the first has committed.
 * @param {TestContext} t
 * @param {string} name
 * @param {Record<string, string>} environment
 */
async function twoHosts(t, name, environment) {
  const all = { RING_ACCOUNT: newAccount(), ...environment }
  const first = await host(t, name, all)
  const second = await host(t, name, all)
  assert.equal(first.before, null)
  assert.deepEqual(JSON.parse(second.before), { from: first.folder })
  assert.ok(second.version)
  assert.equal(second.statePath, './ring-auth-state')
}

/**
 * Runs `devices.mjs` as it stands there, with a fake Ring in place of Ring, on a host of its own.
 * @param {TestContext} t
 * @param {import('../support/index.mjs').FakeRing} ring
 * @param {string} folder of the host
 * @param {string[]} args
 * @param {Record<string, string>} environment
 */
async function devices(t, { oauthUrl, apiUrl }, folder, args, environment) {
  // What the program names nowhere: Ring's addresses. Its requests to the API are led to the fake one.
  writeFileSync(
    join(folder, 'node_modules', 'preload.cjs'),
    `const ours = require('ring-auth')
     const { oauthUrl, apiUrl } = ${JSON.stringify({ oauthUrl, apiUrl })}
     ours.RingTokenManager = class RingTokenManager extends ours.RingTokenManager {
       constructor(options) { super({ ...options, oauthUrl, apiUrl }) }
     }
     const real = globalThis.fetch
     globalThis.fetch = (url, options) => {
       const { origin, pathname } = new URL(url)
       if (origin !== 'https://api.ring.com') throw new Error('not for ' + origin)
       return real(new URL(pathname, apiUrl), options)
     }`,
  )
  const { PATH, HOME } = process.env
  const child = runProcess(t, ['--require', './node_modules/preload.cjs', 'devices.mjs', ...args], {
    cwd: folder,
    env: { PATH, HOME, ...environment },
  })
  const { code, stdout, stderr } = await child.ended
  assert.equal(code, 0, stderr)
  assert.equal(stderr, '')
  return stdout
}

/**
 * The program on two hosts. The token that it is given is spent after the first run; the second host does not send it.
 * @param {TestContext} t
 * @param {string[]} args
 * @param {Record<string, string>} environment
 */
async function devicesOnTwoHosts(t, args, environment) {
  const ring = await startRing(t, { revokeFamilyOnReuse: true, graceMs: 0 })
  const all = { RING_REFRESH_TOKEN: ring.mint(EMAIL), RING_ACCOUNT: newAccount(), ...environment }
  const [one, other] = [newHost(t), newHost(t)]
  for (const [folder, requests] of /** @type {const} */ ([
    [one, 1],
    [other, 1],
    [one, 1],
  ])) {
    assert.equal(await devices(t, ring, folder, args, all), 'Front Door\nHall\nYard\nGate\n')
    assert.equal(ring.counts.refreshes, requests, 'both hosts use one access token')
  }
  assert.equal(ring.counts.stalePresentations, 0)
}

describe('the examples of shared stores', () => {
  it('the example shared-store/devices.mjs runs on two hosts with PostgreSQL', { skip: postgres }, async (t) => {
    const server = await startPostgres()
    atEnd(t, 'server', () => server.end())
    await devicesOnTwoHosts(t, [], { DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}/postgres` })
  })

  it('the example shared-store/devices.mjs runs on two hosts with Redis', { skip: redis }, async (t) => {
    const server = await startRedis('redis', { appendonly: 'yes', appendfsync: 'always' })
    atEnd(t, 'server', () => server.end())
    await devicesOnTwoHosts(t, ['./redis-store.mjs'], {
      REDIS_URL: `redis://127.0.0.1:${server.port}`,
      REDIS_DURABLE: 'always',
    })
  })

  it('the example for PostgreSQL keeps an account for two hosts', { skip: postgres }, async (t) => {
    const server = await startPostgres()
    atEnd(t, 'server', () => server.end())
    await twoHosts(t, 'postgres-store.mjs', {
      DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}/postgres`,
    })
  })

  it('the example for Redis keeps an account for two hosts on Valkey', { skip: valkey }, async (t) => {
    const server = await startRedis('valkey', { appendonly: 'yes' })
    atEnd(t, 'server', () => server.end())
    await twoHosts(t, 'redis-store.mjs', { REDIS_URL: `redis://127.0.0.1:${server.port}` })
  })

  it('the example for Redis keeps an account for two hosts on Redis 7.0', { skip: redis }, async (t) => {
    const server = await startRedis('redis', { appendonly: 'yes', appendfsync: 'always' })
    atEnd(t, 'server', () => server.end())
    await twoHosts(t, 'redis-store.mjs', {
      REDIS_URL: `redis://127.0.0.1:${server.port}`,
      REDIS_DURABLE: 'always',
    })
  })
})
