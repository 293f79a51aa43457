// @ts-check
// docs/hosts.md: its recipes, its SQL and its script are run as they stand there. The last tests fail where one was not run.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { S3Client } from '@aws-sdk/client-s3'
import { Redis } from 'ioredis'
import { atEnd, root, startRing } from '../support/index.mjs'
import { assertLinks, fenced, quoted, rows, section, take, text } from '../support/pages.mjs'
import { checkStore } from '../../lib/stores/check/index.js'
import { statements } from '../../lib/stores/postgres-sql.js'
import { COMMIT } from '../../lib/stores/redis-scripts.js'
import { postgresStore, redisStore } from '../../lib/stores/index.js'
import { POSTGRES } from './clients.mjs'
import { startDynamoDb } from './fakes/dynamodb.mjs'
import { startKubernetes } from './fakes/kubernetes.mjs'
import { startS3 } from './fakes/s3.mjs'
import { Engine, memoryStore } from './memory-store.mjs'
import { startEtcd } from './servers/etcd.mjs'
import { startPostgres } from './servers/postgres.mjs'
import { startRedis } from './servers/redis.mjs'
import { etcd, eventually, newAccount, newValue, postgres, valkey, win } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const PAGE = 'docs/hosts.md'
const snippets = fenced(PAGE)
const snippet = (/** @type {string} */ language, /** @type {string[]} */ ...words) =>
  take(snippets, PAGE, language, ...words)

/**
 * A folder in which the packages of a program are found. `ring-auth` is this tree's.
 * @param {TestContext} t
 * @param {{ oauthUrl: string, apiUrl: string, refreshToken: string }} [led] options of a manager that is led to a fake Ring
 */
function project(t, led) {
  // Below the packages of these tests, so that no link to them is needed.
  const folder = mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'node_modules', '.ring-auth-'))
  atEnd(t, 'folder', () => rmSync(folder, { recursive: true, force: true, maxRetries: 20 }))
  const own = join(folder, 'node_modules', 'ring-auth')
  mkdirSync(own, { recursive: true })
  const all = (/** @type {string} */ path) => `export * from ${JSON.stringify(pathToFileURL(join(root, path)).href)}\n`
  const files = {
    'package.json': JSON.stringify({
      name: 'ring-auth',
      type: 'module',
      exports: { '.': './index.js', './stores': './stores.js', './stores/check': './check.js' },
    }),
    'index.js': `import { RingTokenManager as Real } from ${JSON.stringify(pathToFileURL(join(root, 'index.js')).href)}
      export class RingTokenManager extends Real {
        constructor(options) { super({ ...options, ...${JSON.stringify(led)} }) }
      }
    `,
    'stores.js': all('lib/stores/index.js'),
    'check.js': all('lib/stores/check/index.js'),
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(own, name), content)
  return folder
}

/**
 * Runs a module as it stands on the page, but for the folder of its spool, and gives what it declares or exports.
 * @param {TestContext} t
 * @param {string} source
 * @param {Parameters<typeof project>[1]} [led]
 * @returns {Promise<any>}
 */
async function run(t, source, led) {
  const folder = project(t, led)
  const path = join(folder, 'snippet.mjs')
  source = source.replaceAll("'/var/lib/my-program'", JSON.stringify(join(folder, 'state')))
  const declared = [...source.matchAll(/^const (\w+)/gm)].map(([, name]) => name)
  writeFileSync(path, `${source}\nexport { ${declared.join(', ')} }\n`)
  return import(pathToFileURL(path).href)
}

/** Sets variables of the environment for one test. @param {TestContext} t @param {Record<string, string>} values */
function setEnvironment(t, values) {
  for (const [name, value] of Object.entries(values)) {
    process.env[name] = value
    t.after(() => delete process.env[name])
  }
}

/**
 * Runs a program of the page on two hosts, one after the other: Ring is asked once, and both have the token.
 * @param {TestContext} t
 * @param {string} source with a manager
 * @param {(program: any) => unknown} end Closes the program's client.
 */
async function onTwoHosts(t, source, end) {
  const ring = await startRing(t)
  const led = { oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, refreshToken: ring.mint() }
  const tokens = []
  for (let host = 0; host < 2; host++) {
    const program = await run(t, source, led)
    atEnd(t, 'manager', () => end(program))
    atEnd(t, 'server', () => program.manager.close())
    tokens.push(await program.manager.getAccessToken())
    assert.equal(program.manager.status.persisted, true)
  }
  assert.equal(tokens[1], tokens[0])
  assert.equal(ring.counts.refreshes, 1)
}

describe('the recipe for etcd', { skip: etcd }, () => {
  /** @type {Awaited<ReturnType<typeof startEtcd>>} */
  let server
  before(async () => void (server = await startEtcd()))
  after(() => server?.end())

  it('keeps the rules of shared stores on etcd', async (t) => {
    const { etcdStore } = await run(t, snippet('js', 'etcdStore'))
    const account = newAccount()
    await checkStore(() => etcdStore({ url: server.url, account, statePath: null }))
  })

  it('keeps what it has acknowledged when etcd is killed, and rejects while it is away', async (t) => {
    const { etcdStore } = await run(t, snippet('js', 'etcdStore'))
    const store = etcdStore({ url: server.url, account: newAccount(), statePath: null })
    const value = newValue()
    const version = await win(store, value, null)
    await server.kill()
    await assert.rejects(store.load())
    await assert.rejects(store.commit(newValue(), version))
    await server.again()
    assert.deepEqual(await eventually(() => store.load()), { value, version })
  })
})

describe('the recipe for a Kubernetes Secret, on a fake API server', () => {
  const TOKEN = 'a-service-account'

  it('keeps the rules of shared stores on the fake API server', async (t) => {
    const fake = await startKubernetes({ token: TOKEN })
    atEnd(t, 'server', () => fake.end())
    const { secretStore } = await run(t, snippet('js', 'secretStore'))
    const options = { namespace: 'ring', secret: 'ring-auth.home', statePath: null, api: fake.url }
    await checkStore(() => secretStore({ ...options, token: async () => `${TOKEN}\n` }))
    assert.deepEqual([...fake.secrets.keys()], ['ring/ring-auth.home'])
    await assert.rejects(secretStore({ ...options, token: async () => 'another' }).load(), /Kubernetes answered 401/)
    await assert.rejects(
      secretStore({ ...options, namespace: 'x/y', token: async () => TOKEN }).commit('a', null),
      /404/,
    )
  })

  it('loses if another host has written between its look and its write', async (t) => {
    const fake = await startKubernetes({ token: TOKEN })
    atEnd(t, 'server', () => fake.end())
    const { secretStore } = await run(t, snippet('js', 'secretStore'))
    const options = { namespace: 'ring', secret: 'home', statePath: null, api: fake.url, token: async () => TOKEN }
    const store = secretStore(options)
    const version = await win(store, newValue(), null)
    // The token is asked for before each request: the second one is the write.
    let requests = 0
    const slow = secretStore({
      ...options,
      token: async () => {
        if (++requests === 2) await win(store, newValue('faster'), version)
        return TOKEN
      },
    })
    assert.equal(await slow.commit(newValue('slower'), version), null)
    assert.match((await store.load()).value, /faster/)
  })
})

describe('the recipe for DynamoDB, on a fake', () => {
  it('keeps the rules of shared stores on the fake DynamoDB', async (t) => {
    const fake = await startDynamoDb({ table: 'ring', key: 'account' })
    atEnd(t, 'server', () => fake.end())
    const { dynamoStore } = await run(t, snippet('js', 'dynamoStore'))
    const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' }
    const client = new DynamoDBClient({ endpoint: fake.url, region: 'eu-west-1', credentials })
    t.after(() => client.destroy())
    await checkStore(() => dynamoStore(client, { table: 'ring', account: 'home', statePath: null }))
    assert.equal(fake.items.size, 1)
    await assert.rejects(dynamoStore(client, { table: 'none', account: 'home', statePath: null }).load())
  })
})

describe('the recipe for S3, on a fake', () => {
  it('keeps the rules of shared stores on the fake S3', async (t) => {
    const fake = await startS3()
    atEnd(t, 'server', () => fake.end())
    const { s3Store } = await run(t, snippet('js', 's3Store'))
    const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' }
    const client = new S3Client({ endpoint: fake.url, region: 'eu-west-1', forcePathStyle: true, credentials })
    t.after(() => client.destroy())
    await checkStore(() => s3Store(client, { bucket: 'bucket', account: 'home', statePath: null }))
    assert.deepEqual([...fake.objects.keys()], ['/bucket/ring-auth/home'])
  })
})

describe('docs/hosts.md on PostgreSQL', { skip: postgres }, () => {
  /** @type {import('./servers/postgres.mjs').Postgres} */
  let server
  before(async () => void (server = await startPostgres()))
  after(() => server?.end())

  it('shows how a program starts with PostgreSQL', async (t) => {
    setEnvironment(t, { DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}/postgres` })
    await onTwoHosts(t, snippet('js', "from 'pg'"), ({ pool }) => pool.end())
    const [kept, ...others] = await server.run('SELECT account, value FROM ring_auth')
    assert.equal(kept?.account, 'home')
    assert.match(kept?.value, /"ring-auth-journal": "shared"/)
    assert.deepEqual(others, [])
  })

  it('shows how a program starts with the package postgres', async (t) => {
    setEnvironment(t, { DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}/postgres` })
    await server.run('DELETE FROM ring_auth')
    const { store, sql } = await run(t, snippet('js', "from 'postgres'"))
    atEnd(t, 'manager', () => sql.end())
    const version = await win(store, newValue(), null)
    assert.equal((await store.load())?.version, version)
  })

  it('shows the statements as they are, with the rights that a role needs', async (t) => {
    const [create = '', grant = ''] = snippet('sql', 'CREATE TABLE').trim().split('\n')
    const sql = statements('"ring_auth"')
    assert.equal(create, `${sql.create};`)
    assert.equal(snippet('sql', 'UPDATE "ring_auth"').trim(), sql.update)
    await server.run('CREATE ROLE my_program LOGIN')
    await server.run('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
    await server.run(create)
    await server.run(grant)
    const { client, end } = await /** @type {any} */ (POSTGRES['pg, a pool'])(server.port, 'my_program')
    atEnd(t, 'manager', end)
    const store = postgresStore(client, { account: newAccount(), statePath: null })
    assert.ok(await store.commit(newValue(), await win(store, newValue(), null)))
  })
})

describe('docs/hosts.md on Valkey', { skip: valkey }, () => {
  /** @type {import('./servers/redis.mjs').Redis} */
  let server
  before(async () => void (server = await startRedis('valkey', { appendonly: 'yes', appendfsync: 'always' })))
  after(() => server?.end())

  it('shows how a program starts with Redis', async (t) => {
    setEnvironment(t, { REDIS_URL: `redis://127.0.0.1:${server.port}` })
    await onTwoHosts(t, snippet('js', "from 'ioredis'"), ({ redis }) => redis.disconnect())
    assert.deepEqual(await server.run('keys', '*'), ['ring-auth:home'])
    assert.equal(await server.run('ttl', 'ring-auth:home'), -1, 'it has no end')
  })

  it('shows the script as it is, with the rights that a user needs', async (t) => {
    const plain = (/** @type {string} */ lua) => lua.trim().replace(/\n+/g, '\n')
    assert.equal(plain(snippet('lua')), plain(COMMIT))
    const [, , user = '', ...rights] = snippet('text', 'ACL SETUSER').trim().split(' ')
    await server.run('ACL', 'SETUSER', user, ...rights)
    for (const durable of /** @type {const} */ (['waitaof', 'server'])) {
      const client = new Redis({ port: server.port, username: user, password: 'password', enableReadyCheck: false })
      atEnd(t, 'manager', () => client.disconnect())
      const store = redisStore(client, { account: newAccount(), statePath: null, durable })
      assert.ok(await store.commit(newValue(), await win(store, newValue(), null)))
      assert.ok(await store.load())
      assert.deepEqual(await store.warnings?.(), [])
    }
  })
})

describe('docs/hosts.md', () => {
  it('shows how a store of one’s own is checked', async () => {
    const [, ...body] = snippet('js', 'myStore').split("from 'ring-auth/stores/check'\n")
    const engine = new Engine()
    const AsyncFunction = /** @type {any} */ (async () => {}).constructor
    await new AsyncFunction('checkStore', 'myStore', 'randomUUID', body.join(''))(
      checkStore,
      () => memoryStore(engine),
      randomUUID,
    )
    assert.ok(engine.history.length > 10)
  })

  it('explains each option of both adapters', () => {
    const types = text('lib/stores/index.d.ts')
    const options = ['SharedStoreOptions', 'PostgresStoreOptions', 'RedisStoreOptions'].flatMap((name) => {
      const [, body = ''] = new RegExp(`interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(types) ?? []
      return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, option]) => option)
    })
    const explained = rows(section(PAGE, '## Start')).flatMap(([name = '', value]) =>
      value === 'default' ? [] : quoted(name),
    )
    assert.deepEqual(explained.toSorted(), options.toSorted())
  })

  it('has no dead link', () => assertLinks(PAGE))

  it('shows nothing that was not run', { skip: etcd || postgres || valkey }, () => {
    assert.deepEqual(
      snippets.filter(({ isRun }) => !isRun),
      [],
    )
    assert.ok(snippets.length >= 12)
  })
})
