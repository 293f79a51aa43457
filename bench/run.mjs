// @ts-check
// `npm run bench`: ring-auth and ring-client-api in the same run, taking turns. docs/performance.md says how to read it.
//   --quick        a few samples of the addon in binding/, of any build; nothing is written
//   --out FOLDER   for the table and the chart; default: bench/results
//   --json         the rows on standard output as well
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { root } from '../scripts/command.mjs'
import { install } from '../scripts/setup.mjs'
import { inTurn, median, medians } from './measure.mjs'
import { environment, startWorker, timeNode, timeToText } from './processes.mjs'
import { chart, table } from './report.mjs'
import { EMAIL, PASSWORD, startServers } from './servers.mjs'
import { buildRelease, installedTheirs, stageOurs } from './stage.mjs'

/** @typedef {import('./processes.mjs').Worker} Worker */
/** @typedef {import('./report.mjs').Row} Row */
/** @typedef {import('./servers.mjs').Servers} Servers */
/** @typedef {typeof FULL} Size */

const here = dirname(fileURLToPath(import.meta.url))
const SIDES = /** @type {const} */ (['ours', 'theirs'])

const FULL = {
  processes: { rounds: 31, warmUp: 3 },
  latency: { rounds: 41, warmUp: 5 },
  cached: { rounds: 21, warmUp: 3 },
  cachedCalls: 5000,
  callers: 1000,
  requests: 100,
  managers: 10_000,
  managersBefore: 100,
  rotations: { rounds: 21, warmUp: 2 },
  rotationsEach: 20,
  watched: 10,
}

/** @type {Size} */
const QUICK = {
  processes: { rounds: 1, warmUp: 0 },
  latency: { rounds: 2, warmUp: 1 },
  cached: { rounds: 2, warmUp: 1 },
  cachedCalls: 100,
  callers: 1000,
  requests: 100,
  managers: 50,
  managersBefore: 5,
  rotations: { rounds: 1, warmUp: 0 },
  rotationsEach: 3,
  watched: 2,
}

/** The number of managers that refresh at the same time. */
const AT_ONCE = 64

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, out: { type: 'string' } },
})
const size = options.quick ? QUICK : FULL
const log = (/** @type {string} */ text) => process.stderr.write(`${text}\n`)

if (!options.quick) for (const folder of [root, join(root, '__test__', 'real')]) install(folder)
const built = options.quick ? join(root, 'binding') : join(here, 'build')
if (!options.quick) buildRelease(built)

// Below the clone, which is on a disk: a system's folder for temporary files may be in memory.
const scratch = mkdtempSync(options.quick ? join(tmpdir(), 'ring-auth-bench-') : join(built, 'run-'))
const memory = memoryFolder()
/** @type {Servers | undefined} */
let servers
/** @type {Worker[]} */
const workers = []
try {
  const packages = { ours: stageOurs(scratch, built), theirs: installedTheirs('ring-client-api') }
  servers = await startServers(scratch)
  const rows = [
    ...(await starts(packages.ours.path, packages.theirs.path)),
    ...sizes(packages),
    ...(await latency(servers)),
    ...(await cached(servers)),
    ...(await refreshCounts(servers)),
    ...(await fleet(servers)),
    ...(await rotations(servers)),
    ...(await storageCalls(servers)),
  ]
  const about = aboutThisRun()
  const page = table(rows, about)
  if (!options.quick || options.out) {
    const out = resolve(options.out ?? join(here, 'results'))
    mkdirSync(out, { recursive: true })
    writeFileSync(join(out, 'results.md'), page)
    writeFileSync(join(out, 'chart.svg'), chart(rows))
    writeFileSync(join(out, 'results.json'), `${JSON.stringify({ about, rows }, null, 2)}\n`)
  }
  if (options.json) console.log(JSON.stringify({ about, rows }))
  else console.log(page)

  /** A worker of one of the two packages. @param {typeof SIDES[number]} side @param {string[]} [under] */
  async function start(side, under) {
    const { roots } = /** @type {Servers} */ (servers)
    const worker = await startWorker(side, packages[side].path, { roots, ...(under && { under }) })
    workers.push(worker)
    return worker
  }

  /** One worker of each package. */
  async function both() {
    return { ours: await start('ours'), theirs: await start('theirs') }
  }

  /** @param {Servers} servers @returns {Promise<Row[]>} */
  async function latency(servers) {
    log('logins and refreshes over TLS')
    const { secure, secureUrl: url } = servers
    const { ours, theirs } = await both()
    const file = { path: join(scratch, 'latency.json') }
    await ours.ask('open', { key: 'memory', url, refreshToken: secure.mint() })
    await ours.ask('open', { key: 'file', url, refreshToken: secure.mint(), ...file })
    await theirs.ask('open', { key: 'memory', url, refreshToken: secure.mint() })
    const refresh = (/** @type {Worker} */ worker, /** @type {string} */ key) => () =>
      /** @type {Promise<number>} */ (worker.ask('refresh', { key }))
    const variants = {
      ours: refresh(ours, 'memory'),
      durable: refresh(ours, 'file'),
      theirs: refresh(theirs, 'memory'),
    }
    const kept = medians(await inTurn(variants, size.latency))
    const alone = (/** @type {() => Promise<number>} */ work) => async () => {
      servers.cutConnections()
      // Until both packages have seen it.
      await new Promise((resolve) => setTimeout(resolve, 20))
      return work()
    }
    const fresh = medians(
      await inTurn(
        { ours: alone(variants.ours), durable: alone(variants.durable), theirs: alone(variants.theirs) },
        size.latency,
      ),
    )
    const login = (/** @type {Worker} */ worker, /** @type {string} */ flow) =>
      alone(async () => {
        await worker.ask('open', { key: 'login', url, flow, email: EMAIL, password: PASSWORD })
        const first = await worker.ask('login', { key: 'login' })
        if (!first.wantsCode) throw new Error('no code was wanted')
        const second = await worker.ask('submit', { key: 'login', code: secure.codeFor(EMAIL) })
        await worker.ask('close', { key: 'login' })
        return /** @type {number} */ (first.ms + second)
      })
    const logins = medians(
      await inTurn(
        { ours: login(ours, 'password'), pkce: login(ours, 'pkce'), theirs: login(theirs, 'password') },
        size.latency,
      ),
    )
    await Promise.all([ours.end(), theirs.end()])
    const group = 'Requests, over TLS on loopback'
    return [
      {
        group,
        name: 'a refresh on a new connection',
        unit: 'ms',
        ours: fresh.ours,
        theirs: fresh.theirs,
        goal: { versus: 'theirs', most: 1 },
      },
      {
        group,
        name: 'the same, durable: a file store with its fsyncs (theirs stores nothing)',
        unit: 'ms',
        ours: fresh.durable,
        theirs: fresh.theirs,
      },
      {
        group,
        name: 'a refresh on a connection that was kept',
        unit: 'ms',
        ours: kept.ours,
        theirs: kept.theirs,
        goal: { versus: 'theirs', most: 1 },
      },
      { group, name: 'the same, durable', unit: 'ms', ours: kept.durable, theirs: kept.theirs },
      {
        group,
        name: 'a login with a code, the older flow: 2 requests',
        unit: 'ms',
        ours: logins.ours,
        theirs: logins.theirs,
      },
      { group, name: 'a login with a code, the flow of the web page and a refresh', unit: 'ms', ours: logins.pkce },
    ]
  }

  /** @param {Servers} servers @returns {Promise<Row[]>} */
  async function cached({ plain, plainUrl: url }) {
    log('cached tokens')
    const pair = await both()
    for (const side of SIDES) await pair[side].ask('open', { key: 'x', url, refreshToken: plain.mint() })
    const call = (/** @type {Worker} */ worker) => async () =>
      ((await worker.ask('cached', { key: 'x', times: size.cachedCalls })) / size.cachedCalls) * 1000
    const { ours, theirs } = medians(await inTurn({ ours: call(pair.ours), theirs: call(pair.theirs) }, size.cached))
    for (const side of SIDES) await pair[side].end()
    return [
      {
        group: 'In a process',
        name: 'a cached token, awaited',
        unit: 'µs',
        ours,
        theirs,
        goal: { versus: 'absolute', most: 2 },
      },
    ]
  }

  /** @param {Servers} servers @returns {Promise<Row[]>} */
  async function refreshCounts({ plain, plainUrl: url }) {
    log('who causes refreshes')
    const pair = await both()
    /** @type {Record<string, { cold: number, storm: number, failed: number }>} */
    const counts = {}
    // Long enough for refreshes to overlap.
    plain.settings.latencyMs = 20
    for (const side of SIDES) {
      const worker = pair[side]
      const open = (/** @type {string} */ key) => worker.ask('open', { key, url, refreshToken: plain.mint() })
      await open('cold')
      plain.clearCounts()
      if ((await worker.ask('callers', { key: 'cold', times: size.callers })) !== 0)
        throw new Error(`${side}: a cold caller failed`)
      const cold = plain.counts.tokenPosts
      await open('storm')
      const ask = (/** @type {number} */ times) =>
        worker.ask('requests', { key: 'storm', times, path: '/clients_api/profile' })
      if ((await ask(1)) !== 0) throw new Error(`${side}: a request failed`)
      plain.expireAccessTokens()
      plain.clearCounts()
      const failed = await ask(size.requests)
      counts[side] = { cold, storm: plain.counts.tokenPosts, failed }
      await worker.end()
    }
    plain.settings.latencyMs = 0
    const { ours, theirs } =
      /** @type {{ ours: { cold: number, storm: number, failed: number }, theirs: typeof counts['x'] & {} }} */ (counts)
    const group = 'Token requests'
    return [
      { group, name: `caused by ${size.callers} cold callers`, unit: 'requests', ours: ours.cold, theirs: theirs.cold },
      {
        group,
        name: `caused by ${size.requests} requests at once on a dead access token`,
        unit: 'requests',
        ours: ours.storm,
        theirs: theirs.storm,
      },
      {
        group,
        name: `of those ${size.requests}, how many failed`,
        unit: 'requests',
        ours: ours.failed,
        theirs: theirs.failed,
      },
    ]
  }

  /** @param {Servers} servers @returns {Promise<Row[]>} */
  async function fleet({ plain, plainUrl: url }) {
    /** @type {Record<string, { bytes: number, large: number, seconds: number, after: number }>} */
    const seen = {}
    for (const side of SIDES) {
      log(`${size.managers} managers: ${side}`)
      const measured = async (/** @type {number} */ length, /** @type {boolean} */ refreshes) => {
        const worker = await start(side)
        const mint = (/** @type {number} */ count) => Array.from({ length: count }, () => plain.mint())
        // The first managers also allocate memory that later ones share.
        await worker.ask('make', { url, tokens: mint(size.managersBefore), length })
        await worker.ask('refreshAll', { atOnce: AT_ONCE })
        const before = await worker.ask('rss')
        const bytes = (await worker.ask('make', { url, tokens: mint(size.managers), length })) / size.managers
        const ms = refreshes ? await worker.ask('refreshAll', { atOnce: AT_ONCE }) : 0
        const after = ((await worker.ask('rss')) - before) / size.managers
        await worker.end()
        return { bytes, seconds: ms / 1000, after }
      }
      const small = await measured(0, true)
      seen[side] = { ...small, large: (await measured(2048, false)).bytes }
    }
    const { ours, theirs } = /** @type {Record<typeof SIDES[number], typeof seen['x'] & {}>} */ (seen)
    const group = `${size.managers} managers in a process`
    const kib = 1024
    return [
      {
        group,
        name: 'memory of an idle one, with a plain token',
        unit: 'KiB',
        ours: ours.bytes / kib,
        theirs: theirs.bytes / kib,
        goal: { versus: 'absolute', most: 4 },
      },
      {
        group,
        name: 'memory of an idle one, with 2 KiB of token and push credentials',
        unit: 'KiB',
        ours: ours.large / kib,
        theirs: theirs.large / kib,
        goal: { versus: 'absolute', most: 4 },
      },
      {
        group,
        name: 'memory of one that has refreshed',
        unit: 'KiB',
        ours: ours.after / kib,
        theirs: theirs.after / kib,
      },
      {
        group,
        name: `all of them refreshed, ${AT_ONCE} at once, plain HTTP`,
        unit: 's',
        ours: ours.seconds,
        theirs: theirs.seconds,
      },
    ]
  }

  /** @param {Servers} servers @returns {Promise<Row[]>} */
  async function rotations({ plain, plainUrl: url }) {
    log('rotations')
    const pair = await both()
    const times = size.rotationsEach
    const paths = { disk: join(scratch, 'rotations'), memory: memory && join(memory, 'rotations'), none: undefined }
    /** @type {Record<string, () => Promise<number>>} */
    const variants = {}
    for (const side of SIDES) {
      for (const [where, path] of Object.entries(paths)) {
        if (where === 'memory' && !path) continue
        const key = `${side} ${where}`
        await pair[side].ask('open', {
          key,
          url,
          refreshToken: plain.mint(),
          ...(path && { path: `${path}-${side}.json` }),
        })
        variants[key] = async () => (times * 1000) / (await pair[side].ask('rotate', { key, times }))
      }
    }
    const rates = medians(await inTurn(variants, size.rotations))
    for (const side of SIDES) await pair[side].end()
    const group = 'Rotations a second, one after the other, plain HTTP'
    const row = (/** @type {string} */ name, /** @type {string} */ where) => ({
      group,
      name,
      unit: /** @type {const} */ ('/s'),
      ...(rates[`ours ${where}`] !== undefined && { ours: rates[`ours ${where}`] }),
      ...(rates[`theirs ${where}`] !== undefined && { theirs: rates[`theirs ${where}`] }),
    })
    return [
      row(`stored on a disk (${fileSystem(scratch)}): fsync costs; theirs does without`, 'disk'),
      row(`stored in memory (${memory ? fileSystem(memory) : 'no tmpfs here'}): fsync costs nothing`, 'memory'),
      row('not stored at all', 'none'),
    ].filter(({ ours, theirs }) => ours !== undefined || theirs !== undefined)
  }

  /** Rows from `strace`, if the system has it. @param {Servers} servers @returns {Promise<Row[]>} */
  async function storageCalls({ plain, plainUrl: url }) {
    if (process.platform !== 'linux' || spawnSync('strace', ['-V']).status !== 0) {
      log('no strace: storage calls are not counted')
      return []
    }
    log('storage calls')
    const folder = join(scratch, 'watched')
    mkdirSync(folder)
    const record = join(scratch, 'strace')
    /** @type {Record<string, { all: number, syncs: number }>} */
    const calls = {}
    for (const side of SIDES) {
      const worker = await start(side, ['strace', '-f', '-y', '-qq', '-o', record])
      await worker.ask('open', { key: 'x', url, refreshToken: plain.mint(), path: join(folder, 'token.json') })
      await worker.ask('refresh', { key: 'x' })
      await worker.ask('mark', { path: join(folder, 'begin') })
      await worker.ask('rotate', { key: 'x', times: size.watched })
      await worker.ask('mark', { path: join(folder, 'end') })
      await worker.end()
      const lines = readFileSync(record, 'utf8').split('\n')
      const marked = (/** @type {string} */ name) => lines.findIndex((line) => line.includes(join(folder, name)))
      const between = lines
        .slice(marked('begin') + 1, marked('end'))
        .filter((line) => line.includes(folder) && !line.includes('resumed>'))
      const syncs = between.filter((line) => /\b(fsync|fdatasync|sync_file_range)\(/.test(line))
      calls[side] = { all: between.length / size.watched, syncs: syncs.length / size.watched }
    }
    const group = 'Storage calls of a rotation, by strace'
    return [
      { group, name: 'all', unit: 'calls', ours: calls['ours']?.all, theirs: calls['theirs']?.all },
      { group, name: 'of these, fsync', unit: 'calls', ours: calls['ours']?.syncs, theirs: calls['theirs']?.syncs },
    ]
  }
} finally {
  await Promise.allSettled(workers.map((worker) => worker.end()))
  await servers?.close()
  for (const folder of [scratch, memory]) if (folder) rmSync(folder, { recursive: true, force: true })
}

/** Rows of processes, measured from their start. @param {string} ours @param {string} theirs @returns {Promise<Row[]>} */
async function starts(ours, theirs) {
  log('starts of processes')
  const cli = join(ours, 'bin', 'ring-auth.js')
  const theirCli = join(theirs, 'lib', 'ring-auth-cli.js')
  const theirMain = pathToFileURL(join(theirs, 'lib', 'index.js')).href
  const theirClient = pathToFileURL(join(theirs, 'lib', 'rest-client.js')).href
  const empty = join(dirname(ours), 'empty.js')
  writeFileSync(empty, '')
  const tell = 'process.stdout.write(String(process.memoryUsage.rss())); process.exit()'
  const esm = (/** @type {string} */ source) => ['--input-type=module', '-e', source]
  const cjs = (/** @type {string} */ source) => ['-e', source]
  const node = (/** @type {string[]} */ args) => () => timeNode(args)
  const samples = await inTurn(
    {
      bare: node(['-e', '0']),
      version: node([cli, '--version']),
      bareCjs: node(cjs(tell)),
      require: node(cjs(`require(${JSON.stringify(ours)}); ${tell}`)),
      bareEsm: node(esm(tell)),
      import: node(esm(`import ${JSON.stringify(pathToFileURL(join(ours, 'index.js')).href)}; ${tell}`)),
      theirClient: node(esm(`import ${JSON.stringify(theirClient)}; ${tell}`)),
      theirMain: node(esm(`import ${JSON.stringify(theirMain)}; ${tell}`)),
      emptyRequire: node(cjs(`require(${JSON.stringify(empty)}); ${tell}`)),
      emptyImport: node(esm(`import ${JSON.stringify(pathToFileURL(empty).href)}; ${tell}`)),
    },
    size.processes,
  )
  const ms = (/** @type {{ ms: number }[]} */ runs) => median(runs.map((run) => run.ms))
  const mib = (/** @type {{ stdout: string }[]} */ runs) => median(runs.map((run) => Number(run.stdout))) / 2 ** 20
  const screens = medians(
    await inTurn(
      {
        // The least that Node can do to write a word: its console alone would cost more than the prompt of ring-auth.
        bare: () => timeToText(['-e', "fs.writeSync(1, 'Email: ')"], 'Email: '),
        ours: () => timeToText([cli], 'Email: '),
        theirs: () => timeToText([theirCli], 'Email: '),
      },
      size.processes,
    ),
  )
  const [bareCjs, bareEsm] = [mib(samples.bareCjs), mib(samples.bareEsm)]
  const group = 'Starts'
  const memory = 'Memory, over bare Node'
  return [
    {
      group,
      name: 'the command line to its first prompt, in a terminal',
      unit: 'ms',
      bare: screens.bare,
      ours: screens.ours,
      theirs: screens.theirs,
      goal: { versus: 'bare', most: 1.1 },
    },
    {
      group,
      name: '`ring-auth --version`',
      unit: 'ms',
      bare: ms(samples.bare),
      ours: ms(samples.version),
      goal: { versus: 'bare', most: 1.1 },
    },
    {
      group,
      name: '`require`',
      unit: 'ms',
      bare: ms(samples.bareCjs),
      ours: ms(samples.require),
      goal: { versus: 'bare', most: 1.06 },
    },
    {
      group,
      name: '`import` (theirs: its `rest-client` alone)',
      unit: 'ms',
      bare: ms(samples.bareEsm),
      ours: ms(samples.import),
      theirs: ms(samples.theirClient),
      goal: { versus: 'bare', most: 1.1 },
    },
    {
      group,
      name: '`import` (theirs: the whole package)',
      unit: 'ms',
      bare: ms(samples.bareEsm),
      ours: ms(samples.import),
      theirs: ms(samples.theirMain),
    },
    {
      group,
      name: '`require` of an empty CommonJS module: the least that any costs',
      unit: 'ms',
      bare: ms(samples.bareCjs),
      ours: ms(samples.emptyRequire),
    },
    {
      group,
      name: '`import` of an empty CommonJS module: the least that any costs',
      unit: 'ms',
      bare: ms(samples.bareEsm),
      ours: ms(samples.emptyImport),
    },
    {
      group: memory,
      name: 'added by `require`',
      unit: 'MiB',
      ours: mib(samples.require) - bareCjs,
      goal: { versus: 'absolute', most: 8 },
    },
    {
      group: memory,
      name: 'added by `import` (theirs: its `rest-client` alone)',
      unit: 'MiB',
      ours: mib(samples.import) - bareEsm,
      theirs: mib(samples.theirClient) - bareEsm,
      goal: { versus: 'absolute', most: 8 },
    },
    {
      group: memory,
      name: 'added by `import` (theirs: the whole package)',
      unit: 'MiB',
      ours: mib(samples.import) - bareEsm,
      theirs: mib(samples.theirMain) - bareEsm,
    },
  ]
}

/** @param {Record<typeof SIDES[number], import('./stage.mjs').Installed>} packages @returns {Row[]} */
function sizes({ ours, theirs }) {
  const group = 'Installed'
  return [
    { group, name: 'packages', unit: 'packages', ours: ours.packages, theirs: theirs.packages },
    { group, name: 'size', unit: 'MiB', ours: ours.bytes / 2 ** 20, theirs: theirs.bytes / 2 ** 20 },
  ]
}

/** A folder in memory, if the system has one. */
function memoryFolder() {
  try {
    return fileSystem('/dev/shm') === 'tmpfs' ? mkdtempSync('/dev/shm/ring-auth-bench-') : undefined
  } catch {
    return undefined
  }
}

/** @param {string} path */
function fileSystem(path) {
  /** @type {Record<number, string>} */
  const names = {
    0xef53: 'ext4',
    0x01021994: 'tmpfs',
    0x9123683e: 'btrfs',
    0x58465342: 'xfs',
    0x794c7630: 'overlayfs',
    0x2fc12fc1: 'zfs',
  }
  const { type } = statfsSync(path)
  return process.platform === 'linux' ? (names[type] ?? `type ${type.toString(16)}`) : process.platform
}

function aboutThisRun() {
  const version = (/** @type {string[]} */ path) =>
    String(JSON.parse(readFileSync(join(root, ...path, 'package.json'), 'utf8')).version)
  const commit = spawnSync('git', ['describe', '--always', '--dirty', '--abbrev=8'], {
    cwd: root,
    env: environment(),
    encoding: 'utf8',
  })
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: commit.status === 0 ? commit.stdout.trim() : 'unknown',
    ours: version([]),
    theirs: version(['__test__', 'real', 'node_modules', 'ring-client-api']),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processors: cpus().length,
    processRounds: size.processes.rounds,
    latencyRounds: size.latency.rounds,
  }
}
