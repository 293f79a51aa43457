// @ts-check
// Processes: how they end, how they are killed, and how they share a journal.
import assert from 'node:assert/strict'
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import {
  EMAIL,
  OUTAGE,
  PASSWORD,
  atEnd,
  editJournal,
  fileStore,
  open,
  optionsFor,
  rawOf,
  readJournal,
  root,
  runProcess,
  runScript,
  sleep,
  startRing,
  tempDir,
  until,
} from './support/index.mjs'
import { signals } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * A fake Ring, the path of a journal that does not exist yet, and the options for both.
 * @param {TestContext} t
 * @param {import('./fake-ring/index.mjs').FakeRingOptions} [settings]
 */
async function ringAndPath(t, settings = {}) {
  const ring = await startRing(t, settings)
  const path = join(tempDir(t), 'journal.json')
  const refreshToken = ring.mint()
  return { ring, path, refreshToken, config: optionsFor(ring, { refreshToken, store: fileStore(path) }) }
}

/**
 * The next start, with the same options as before: it must be able to authenticate, with nothing stale sent.
 * @param {TestContext} t
 * @param {Awaited<ReturnType<typeof ringAndPath>>} where
 */
async function nextStart(t, { ring, path, refreshToken }) {
  ring.settings.latencyMs = 0
  ring.clearFaults()
  const { manager } = open(t, ring, { refreshToken, store: fileStore(path) })
  assert.ok(ring.isAccessLive(await manager.getAccessToken()))
  assert.ok(ring.isAccessLive((await manager.refresh()).accessToken))
  assert.equal(rawOf(readJournal(path).current.token), ring.newest())
  assert.equal(ring.counts.stalePresentations, 0)
  assert.equal(ring.counts.invalidGrants, 0)
  await manager.close()
}

/** @param {{ code: number | null, signal: string | null, stdout: string, stderr: string }} end @param {number} [code] */
function endedWell(end, code = 0) {
  assert.deepEqual({ code: end.code, signal: end.signal, stderr: end.stderr }, { code, signal: null, stderr: '' })
}

describe('a process', { concurrency: 4 }, () => {
  for (const autoRefresh of [false, true]) {
    for (const store of ['memory', 'file']) {
      it(`a process with an open manager (${store}, autoRefresh ${autoRefresh}) ends by itself`, async (t) => {
        const { ring, path, refreshToken } = await ringAndPath(t)
        const config = optionsFor(ring, {
          refreshToken,
          autoRefresh,
          store: store === 'file' ? fileStore(path) : { type: 'memory' },
        })
        const end = await runScript(
          t,
          `globalThis.manager = new RingTokenManager(config);
           manager.onRefreshTokenUpdated.subscribe(() => {});
           manager.onStatus.subscribe(() => {});
           await manager.getAccessToken();`,
          config,
        ).ended
        endedWell(end)
        assert.equal(ring.counts.rotations, 1)
      })
    }
  }

  it('a process that never asks for anything ends by itself', async (t) => {
    const { ring, config } = await ringAndPath(t)
    endedWell(await runScript(t, 'globalThis.manager = new RingTokenManager(config);', config).ended)
    assert.equal(ring.requests.length, 0)
  })

  it('a process that has nothing else to do ends after a rotation that is not awaited', async (t) => {
    const where = await ringAndPath(t, { latencyMs: 500 })
    endedWell(await runScript(t, 'new RingTokenManager(config).refresh().then(() => {});', where.config).ended)
    assert.equal(where.ring.counts.rotations, 1)
    assert.equal(rawOf(readJournal(where.path).current.token), where.ring.newest())
    await nextStart(t, where)
  })

  for (const loginFlow of ['pkce', 'password']) {
    it(`a process that has nothing else to do ends after a login (${loginFlow}) that is not awaited, and its token is stored`, async (t) => {
      const ring = await startRing(t, { latencyMs: 100 })
      const path = join(tempDir(t), 'journal.json')
      const child = runScript(
        t,
        `import { readFileSync } from 'node:fs';
         const manager = new RingTokenManager(config.options);
         await manager.login(config.credentials);
         say('code?');
         await heard('code');
         manager.submitTwoFactorCode(readFileSync(config.codeFile, 'utf8')).catch(() => process.exit(9));`,
        {
          options: optionsFor(ring, { loginFlow, store: fileStore(path) }),
          credentials: { email: EMAIL, password: PASSWORD },
          codeFile: `${path}.code`,
        },
      )
      await until(() => child.stdout().includes('code?') || child.process.exitCode !== null, 'it asks for the code')
      writeFileSync(`${path}.code`, String(ring.codeFor()))
      child.say('code')
      endedWell(await child.ended)
      const { manager } = open(t, ring, { store: fileStore(path) })
      assert.ok(ring.isAccessLive((await manager.refresh()).accessToken))
      assert.equal(ring.counts.stalePresentations, 0)
    })
  }

  for (const [ending, statement, code, signal] of /** @type {const} */ ([
    ['process.exit()', 'process.exit(7)', 7, null],
    // On a system without signals, a program that ends itself by one ends with code 1.
    ['SIGTERM', "process.kill(process.pid, 'SIGTERM')", ...(signals ? [1, null] : [null, 'SIGTERM'])],
    ['SIGKILL', "process.kill(process.pid, 'SIGKILL')", ...(signals ? [1, null] : [null, 'SIGKILL'])],
  ])) {
    it(`a process that ends by ${ending} right after the event leaves the newest token behind`, async (t) => {
      const where = await ringAndPath(t)
      const end = await runScript(
        t,
        `const manager = new RingTokenManager(config);
         manager.onRefreshTokenUpdated.subscribe(() => ${statement});
         await manager.refresh();
         await new Promise((resolve) => setTimeout(resolve, 60000));`,
        where.config,
      ).ended
      assert.deepEqual({ code: end.code, signal: end.signal, stderr: end.stderr }, { code, signal, stderr: '' })
      assert.equal(where.ring.counts.rotations, 1)
      assert.equal(rawOf(readJournal(where.path).current.token), where.ring.newest())
      await nextStart(t, where)
    })
  }

  it('a process that exits right after the call leaves the newest token behind', async (t) => {
    const where = await ringAndPath(t)
    endedWell(
      await runScript(t, 'await new RingTokenManager(config).refresh(); process.exit(7);', where.config).ended,
      7,
    )
    assert.equal(rawOf(readJournal(where.path).current.token), where.ring.newest())
    await nextStart(t, where)
  })

  for (const [how, fault, graceMs] of /** @type {const} */ ([
    ['before Ring has seen the request', { kind: 'hang' }, 0],
    ['while Ring’s answer is on its way', { kind: 'hang-after' }, 60_000],
  ])) {
    for (const [ending, signal] of /** @type {const} */ ([
      ['process.exit()', undefined],
      ['SIGKILL', 'SIGKILL'],
      ['SIGTERM', 'SIGTERM'],
    ])) {
      it(`a process that ends by ${ending} in mid-refresh, ${how}, can authenticate at the next start`, async (t) => {
        const where = await ringAndPath(t, { graceMs })
        where.ring.fault({ ...fault, times: Infinity })
        const child = runScript(
          t,
          `const manager = new RingTokenManager(config);
           manager.refresh().catch(() => {});
           await heard('exit');
           process.exit(7);`,
          where.config,
        )
        await until(() => where.ring.counts.refreshes === 1, 'the request arrives')
        assert.ok(readJournal(where.path).mark, 'the mark is on disk before the request')
        if (signal) child.process.kill(signal)
        else child.say('exit')
        const end = await child.ended
        if (signal) assert.equal(end.signal, signal)
        else endedWell(end, 7)
        await nextStart(t, where)
      })
    }
  }

  it('a process killed in mid-request is followed by a start that continues by itself, within the grace', async (t) => {
    const where = await ringAndPath(t, { graceMs: 60_000 })
    where.ring.fault({ kind: 'hang-after' })
    const child = runScript(t, 'await new RingTokenManager(config).refresh();', where.config)
    await until(() => where.ring.counts.rotations === 1, 'Ring rotates')
    child.process.kill('SIGKILL')
    await child.ended
    // This manager is not used.
    const { manager, updates } = open(t, where.ring, { store: fileStore(where.path) })
    await until(() => updates.length === 1, 'an unasked rotation')
    assert.equal(rawOf(manager.refreshToken), where.ring.newest())
    assert.deepEqual(
      where.ring.tokenRequests.map((request) => request.form['refresh_token']),
      [where.refreshToken, where.refreshToken],
    )
    assert.equal(where.ring.counts.graceUses, 1)
    assert.equal(where.ring.counts.stalePresentations, 0)
    assert.equal(readJournal(where.path).mark, null)
  })

  it('a process killed in mid-request at every start of a crash loop sends a token three times, then waits', async (t) => {
    const where = await ringAndPath(t, { graceMs: Infinity })
    where.ring.fault({ kind: 'hang', times: Infinity })
    for (let i = 1; i <= 3; i++) {
      const child = runScript(t, 'new RingTokenManager(config).getAccessToken().catch(() => {});', where.config)
      await until(() => where.ring.counts.refreshes === i, `start ${i} sends its request`)
      child.process.kill('SIGKILL')
      await child.ended
    }
    for (let i = 0; i < 5; i++) {
      const end = await runScript(
        t,
        `const manager = new RingTokenManager(config);
         const error = await manager.getAccessToken().catch((error) => error);
         say(error.code + ' ' + manager.status.state);
         await manager.close();`,
        where.config,
      ).ended
      endedWell(end)
      assert.equal(end.stdout, 'NETWORK waiting\n')
      // Five starts may take longer than a wait of five seconds.
      editJournal(where.path, ({ coolDown }) => (coolDown.lengthMs = 600_000))
    }
    assert.equal(where.ring.counts.tokenPosts, 3)
    const { manager } = open(t, where.ring, { store: fileStore(where.path) })
    where.ring.clearFaults()
    assert.ok(where.ring.isAccessLive((await manager.refresh({ force: true })).accessToken))
  })

  it('a process sees no unhandled rejection of work that is not awaited', async (t) => {
    const { ring, path } = await ringAndPath(t)
    ring.fault(OUTAGE)
    const end = await runScript(
      t,
      `const managers = [];
       const manager = (options) => { const made = new RingTokenManager({ ...config, ...options }); managers.push(made); return made; };
       // Failures of an unasked refresh, of one in the background, of one without callers, of one that was given up, and of one that was closed.
       manager({ autoRefresh: true });
       manager({ autoRefresh: true, refreshToken: undefined, store: undefined });
       manager({ oauthUrl: 'http://127.0.0.1:1', store: undefined, autoRefresh: true });
       const given = new AbortController();
       const calls = [manager({ store: undefined }).getAccessToken({ signal: given.signal })];
       given.abort();
       const closing = manager({ store: undefined });
       calls.push(closing.refresh());
       closing.close();
       const throwing = manager({ store: undefined, logger: () => { throw new Error('mine'); } });
       throwing.onStatus.subscribe(async () => { throw new Error('mine'); });
       throwing.onRefreshTokenUpdated.subscribe(() => { throw new Error('mine'); });
       calls.push(throwing.refresh());
       await Promise.allSettled(calls);
       await new Promise((resolve) => setTimeout(resolve, 500));
       await Promise.all(managers.map((one) => one.close()));
       say('done');`,
      optionsFor(ring, { refreshToken: ring.mint(), store: fileStore(path) }),
    ).ended
    endedWell(end)
    assert.equal(end.stdout, 'done\n')
  })

  for (const [how, source, nodeArgs] of /** @type {const} */ ([
    [
      'import',
      `import { RingTokenManager, RingAuthError, parseRefreshToken } from 'ring-auth';
                import all from 'ring-auth';
                if (all.RingTokenManager !== RingTokenManager) throw new Error('two of them');
                const manager = new RingTokenManager();
                if (!(await manager.getAccessToken().catch((error) => error) instanceof RingAuthError)) throw new Error('no');
                console.log(typeof parseRefreshToken)`,
      ['--input-type=module'],
    ],
    [
      'require',
      `const { RingTokenManager, RingAuthError, parseRefreshToken } = require('ring-auth');
                const manager = new RingTokenManager();
                manager.getAccessToken().catch((error) => {
                  if (!(error instanceof RingAuthError)) throw new Error('no');
                  console.log(typeof parseRefreshToken);
                })`,
      ['--input-type=commonjs'],
    ],
  ])) {
    it(`a process can ${how} the package by its name`, async (t) => {
      const end = await runProcess(t, ['--unhandled-rejections=strict', ...nodeArgs, '-e', source], { cwd: root }).ended
      endedWell(end)
      assert.equal(end.stdout, 'function\n')
    })
  }
})

describe('a worker thread', { concurrency: true }, () => {
  const SOURCE = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { RingTokenManager } = require(workerData.entry);
    const manager = new RingTokenManager(workerData.options);
    manager.onRefreshTokenUpdated.subscribe(() => {});
    manager.refresh().then((auth) => parentPort.postMessage(auth.refreshToken), () => {});
    if (workerData.stays) setInterval(() => {}, 1000);
  `
  const entry = join(root, 'index.js')

  it('a worker thread can have a manager, and ends by itself', async (t) => {
    const { ring, config } = await ringAndPath(t)
    const worker = new Worker(SOURCE, { eval: true, workerData: { entry, options: config } })
    /** @type {string[]} */
    const tokens = []
    worker.on('message', (token) => tokens.push(token))
    const code = await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
    assert.equal(code, 0)
    assert.equal(rawOf(tokens[0]), ring.newest())
  })

  it('a worker thread terminated in mid-refresh takes nothing with it: the rotation is stored, and the next manager authenticates', async (t) => {
    const where = await ringAndPath(t, { latencyMs: 300 })
    for (let i = 0; i < 3; i++) {
      const seen = where.ring.counts.refreshes
      const worker = new Worker(SOURCE, { eval: true, workerData: { entry, options: where.config, stays: true } })
      atEnd(t, 'manager', () => worker.terminate())
      await until(() => where.ring.counts.refreshes > seen, 'the request arrives')
      await worker.terminate()
      await until(
        () => rawOf(readJournal(where.path).current.token) === where.ring.newest(),
        'the rotation is stored without its thread',
      )
    }
    await nextStart(t, where)
  })

  it('a worker thread terminated in mid-refresh, as the last thing its process does, neither crashes nor hangs it', async (t) => {
    const where = await ringAndPath(t, { latencyMs: 300 })
    const end = await runScript(
      t,
      `import { Worker } from 'node:worker_threads';
       for (let i = 0; i < 5; i++) {
         const worker = new Worker(config.source, { eval: true, execArgv: [], workerData: config.workerData });
         await new Promise((resolve) => worker.once('online', resolve));
         await new Promise((resolve) => setTimeout(resolve, 30 * i));
         await worker.terminate();
       }
       const manager = new RingTokenManager(config.workerData.options);
       await manager.getAccessToken();
       say('alive');`,
      { source: SOURCE, workerData: { entry, options: where.config, stays: true } },
    ).ended
    endedWell(end)
    assert.equal(end.stdout, 'alive\n')
    await nextStart(t, where)
  })
})

describe('many at once on one journal', { concurrency: false }, () => {
  it('two copies of the package in one process never refresh at the same time', async (t) => {
    const { ring, config } = await ringAndPath(t, { latencyMs: 20, expiresIn: 0.001 })
    const copy = join(tempDir(t), 'copy')
    const addon = readdirSync(join(root, 'binding'))
      .filter((name) => name.endsWith('.node'))
      .map((name) => join('binding', name))
    for (const name of ['index.js', 'lib', 'package.json', ...addon])
      cpSync(join(root, name), join(copy, name), { recursive: true })
    // In a process of its own: Windows removes no addon that is loaded.
    const end = await runScript(
      t,
      `
        import assert from 'node:assert/strict'
        import { createRequire } from 'node:module'
        const require = createRequire(config.packages[0])
        const packages = config.packages.map((path) => require(path))
        assert.notEqual(packages[0].RingTokenManager, packages[1].RingTokenManager)
        const managers = packages.map((one) => new one.RingTokenManager(config.options))
        for (let i = 0; i < 10; i++) {
          const tokens = await Promise.all(
            managers.flatMap((manager) => [manager.getAccessToken(), manager.refresh(), manager.getAuth()]),
          )
          assert.equal(tokens.length, 6)
        }
        await managers[1].close()
        await assert.rejects(
          managers[1].getAccessToken(),
          (error) => error instanceof packages[0].RingAuthError,
          'an error of the other copy is one of ours',
        )
        await managers[0].close()
      `,
      { options: config, packages: [root, copy].map((folder) => join(folder, 'index.js')) },
    ).ended
    endedWell(end)
    assert.equal(ring.counts.maxConcurrentRefreshes, 1)
    assert.equal(ring.counts.stalePresentations, 0)
    assert.ok(ring.counts.rotations >= 10)
  })

  it('eight processes of twenty callers each send nothing stale, and all succeed, without any grace', async (t) => {
    const { ring, path, config } = await ringAndPath(t, { expiresIn: 0.2, latencyMs: 5 })
    const enough = `${path}-enough`
    const children = Array.from({ length: 8 }, () =>
      runScript(
        t,
        `import { existsSync } from 'node:fs';
         const manager = new RingTokenManager(config.options);
         say('ready');
         await heard('go');
         const until = Date.now() + 3000;
         let calls = 0;
         const failed = [];
         await Promise.all(Array.from({ length: 20 }, async (_, i) => {
           while (Date.now() < until || !existsSync(config.enough)) {
             try {
               const auth = i % 10 === 0 ? await manager.refresh() : await manager.getAuth();
               if (i === 1 && Math.random() < 0.1) manager.invalidateAccessToken(auth.accessToken);
               calls += 1;
             } catch (error) {
               failed.push(error.code + ': ' + error.message);
               return;
             }
             await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
           }
         }));
         await manager.close();
         say(JSON.stringify({ calls, failed }));`,
        { options: config, enough },
      ),
    )
    await until(() => children.every((child) => child.stdout().includes('ready')), 'all have started')
    for (const child of children) child.say('go')
    await until(
      () => ring.counts.rotations > 8 || children.some(({ process }) => process.exitCode !== null),
      'rotations',
    )
    writeFileSync(enough, '')
    const ends = await Promise.all(children.map((child) => child.ended))
    let calls = 0
    for (const end of ends) {
      endedWell(end)
      const result = JSON.parse(String(end.stdout.split('\n')[1]))
      assert.deepEqual(result.failed, [])
      calls += result.calls
    }
    assert.equal(ring.counts.stalePresentations, 0)
    assert.equal(ring.counts.invalidGrants, 0)
    assert.equal(ring.counts.maxConcurrentRefreshes, 1)
    assert.equal(rawOf(readJournal(path).current.token), ring.newest())
    t.diagnostic(`${calls} calls, ${ring.counts.rotations} rotations`)
    assert.ok(ring.counts.rotations > 8)
  })

  it('a killed holder of the journal’s lock is no obstacle: the next one enters at once', async (t) => {
    const where = await ringAndPath(t, { graceMs: Infinity })
    where.ring.fault({ kind: 'hang' })
    const holder = runScript(t, 'await new RingTokenManager(config).refresh();', {
      ...where.config,
      requestTimeoutMs: 600_000,
    })
    await until(() => where.ring.counts.refreshes === 1, 'it holds the lock')
    const { manager } = open(t, where.ring, { store: fileStore(where.path) })
    let done = false
    const waiting = manager.getAccessToken().finally(() => (done = true))
    await sleep(200)
    assert.equal(done, false, 'no process continues without the lock')
    assert.equal(where.ring.counts.refreshes, 1)
    holder.process.kill('SIGKILL')
    assert.ok(where.ring.isAccessLive(await waiting))
    assert.equal(where.ring.counts.stalePresentations, 0)
  })

  it('a holder of the journal’s lock that is slower than its waiters’ own time-out is not overtaken', async (t) => {
    const where = await ringAndPath(t)
    where.ring.fault({ kind: 'slow', delayMs: 3000 })
    const slow = runScript(t, 'await new RingTokenManager(config).refresh();', where.config)
    await until(() => where.ring.counts.refreshes === 1, 'it holds the lock')
    const { manager } = open(t, where.ring, { store: fileStore(where.path), requestTimeoutMs: 100 })
    const token = await manager.getAccessToken()
    endedWell(await slow.ended)
    assert.equal(token, readJournal(where.path).access.token)
    assert.equal(where.ring.counts.tokenPosts, 1)
    assert.equal(where.ring.counts.maxConcurrentRefreshes, 1)
  })
})
