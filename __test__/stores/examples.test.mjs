// @ts-check
// The store modules of examples/shared-store, as they stand there, on real servers, with a process for each host.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { atEnd, linkPackage, root, runProcess, tempDir } from '../support/index.mjs'
import { startPostgres } from './servers/postgres.mjs'
import { startRedis } from './servers/redis.mjs'
import { newAccount, postgres, redis, valkey } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * Runs the module of a store on a host of its own.
 * @param {TestContext} t
 * @param {string} name
 * @param {Record<string, string>} environment
 */
async function host(t, name, environment) {
  const folder = tempDir(t)
  cpSync(join(root, 'examples', 'shared-store'), folder, { recursive: true })
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  linkPackage(root, modules, 'ring-auth')
  const installed = join(dirname(fileURLToPath(import.meta.url)), 'node_modules')
  for (const client of ['pg', 'ioredis']) symlinkSync(join(installed, client), join(modules, client), 'junction')
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

describe('the examples of shared stores', () => {
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
