// @ts-check
// The installed package in a program that a bundler has made: with node_modules beside it, and without it.
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { PACKAGE, VERSION, project, publish, writeJson } from '../support/packages.mjs'
import { shell } from '../support/systems.mjs'

/** @typedef {ReturnType<typeof project>} Project */

const here = dirname(fileURLToPath(import.meta.url))
const modules = join(here, 'node_modules')
if (!existsSync(join(modules, 'esbuild'))) {
  throw new Error(`The bundlers are not installed in ${here}: run \`npm ci --ignore-scripts\` there (npm test does).`)
}
const bun = join(modules, '@oven', 'bun-linux-x64', 'bin', 'bun')

/** @type {Awaited<ReturnType<typeof publish>>} */
let packages
if (!shell) {
  before(async () => (packages = await publish()))
  after(() => packages.end())
}

const MAIN = `
  try {
    const { RingTokenManager, parseRefreshToken } = require('ring-auth')
    const token = Buffer.from(JSON.stringify({ rt: 'a-token-of-enough-length' })).toString('base64')
    console.log(typeof RingTokenManager, parseRefreshToken(token).raw)
  } catch (error) {
    console.log(error.code + ' ' + error.message)
  }
`
const WORKS = 'function a-token-of-enough-length\n'

const WEBPACK = (/** @type {boolean} */ isExternal) => `
  module.exports = { mode: 'none', target: 'node', entry: './main.js', output: { path: __dirname + '/dist', filename: 'out.js' },
    externals: ${isExternal ? "{ 'ring-auth': 'commonjs ring-auth' }" : '{}'} }
`
const ROLLUP = (/** @type {boolean} */ isExternal) => `
  const from = (name) => require(${JSON.stringify(modules)} + '/' + name).default ?? require(${JSON.stringify(modules)} + '/' + name)
  module.exports = { input: 'main.js', output: { file: 'dist/out.js', format: 'cjs' }, external: ${isExternal ? "['ring-auth']" : '[]'},
    plugins: [from('@rollup/plugin-node-resolve')({ preferBuiltins: true }), from('@rollup/plugin-commonjs')({ ignoreDynamicRequires: true }), from('@rollup/plugin-json')()] }
`

/**
 * How each bundler is called, and what it makes.
 * @type {Record<string, { make: (there: Project, isExternal: boolean) => Promise<{ code: number | null, output: string }>, runs?: string[] }>}
 */
const BUNDLERS = {
  esbuild: {
    make: (there, isExternal) =>
      there.run(join(modules, '@esbuild', `${process.platform}-${process.arch}`, 'bin', 'esbuild'), [
        'main.js',
        '--bundle',
        '--platform=node',
        '--outfile=dist/out.js',
        ...(isExternal ? ['--external:ring-auth'] : []),
      ]),
  },
  webpack: {
    make: (there, isExternal) => {
      writeFileSync(there.path('webpack.config.js'), WEBPACK(isExternal))
      const source = `require(${JSON.stringify(join(modules, 'webpack'))})(require('./webpack.config.js'), (error, stats) => { const bad = error || stats.hasErrors(); if (bad) { console.error(error || stats.toString()); process.exit(1) } })`
      return there.run(process.execPath, ['-e', source])
    },
  },
  ncc: {
    make: async (there, isExternal) => {
      const cli = join(modules, '@vercel', 'ncc', 'dist', 'ncc', 'cli.js')
      const args = ['build', 'main.js', '-o', 'dist', ...(isExternal ? ['--external', 'ring-auth'] : [])]
      const ended = await there.run(process.execPath, [cli, ...args])
      if (ended.code === 0) cpSync(there.path('dist', 'index.js'), there.path('dist', 'out.js'))
      return ended
    },
  },
  rollup: {
    make: (there, isExternal) => {
      writeFileSync(there.path('rollup.config.cjs'), ROLLUP(isExternal))
      return there.run(process.execPath, [join(modules, 'rollup', 'dist', 'bin', 'rollup'), '-c', 'rollup.config.cjs'])
    },
  },
  'bun build --compile': {
    make: (there, isExternal) =>
      there.run(bun, [
        'build',
        '--compile',
        'main.js',
        '--outfile',
        'dist/out',
        ...(isExternal ? ['--external', 'ring-auth'] : []),
      ]),
    runs: ['dist/out'],
  },
}

describe('bundled by', { concurrency: 2, skip: shell }, () => {
  for (const [name, { make, runs }] of Object.entries(BUNDLERS)) {
    const skip = name.startsWith('bun') && !existsSync(bun) && 'npm has this Bun for Linux x64'
    /** @param {Project} there @param {string} [folder] */
    const run = (there, folder = there.folder) =>
      runs
        ? there.run(join(folder, String(runs[0])), [], {})
        : there.run(process.execPath, [join(folder, 'dist', 'out.js')], {})

    /** An app with a version of its own, which must not matter. @param {import('node:test').TestContext} t */
    const app = async (t) => {
      const there = project(t, packages, { name: 'app', version: '7.7.7' })
      await there.npm(['install', 'ring-auth'])
      writeFileSync(there.path('main.js'), MAIN)
      mkdirSync(there.path('dist'))
      return there
    }

    it(`the package in a bundle by ${name} works with node_modules beside it`, { skip }, async (t) => {
      const there = await app(t)
      const made = await make(there, false)
      assert.equal(made.code, 0, made.output)
      const { stdout, output } = await run(there)
      assert.equal(stdout, WORKS, output)
    })

    it(`the package in a bundle by ${name} without node_modules explains what each bundler needs`, {
      skip,
    }, async (t) => {
      const there = await app(t)
      const made = await make(there, false)
      assert.equal(made.code, 0, made.output)
      const elsewhere = realpathSync(mkdtempSync(join(tmpdir(), 'ring-auth-bundle-')))
      t.after(() => rmSync(elsewhere, { recursive: true }))
      cpSync(there.path('dist'), join(elsewhere, 'dist'), { recursive: true })
      writeJson(join(elsewhere, 'package.json'), { name: 'app', version: '7.7.7' })
      // The packages are gone from the folder of the build as well.
      rmSync(there.path('node_modules'), { recursive: true })
      const { stdout, output } = await run(there, elsewhere)
      assert.equal(
        stdout,
        `BINARY_MISSING ring-auth ${VERSION} was bundled into another program, and the package ${PACKAGE}, which has the binary and cannot be in a bundle, is not beside it. Leave ring-auth out of the bundle, and have node_modules with it beside the bundle: esbuild --external:ring-auth; webpack externals: { 'ring-auth': 'commonjs ring-auth' }; ncc build --external ring-auth; rollup external: ['ring-auth']; bun build --external ring-auth.\n`,
        output,
      )
    })

    it(`the package in a bundle by ${name} works with the line that the message has for that bundler`, {
      skip,
    }, async (t) => {
      const there = await app(t)
      const made = await make(there, true)
      assert.equal(made.code, 0, made.output)
      const { stdout, output } = await run(there)
      assert.equal(stdout, WORKS, output)
    })
  }
})
