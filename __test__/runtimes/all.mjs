// @ts-check
// Tests every runtime that npm has for Linux x64: `npm run test:runtimes`.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { PACKAGE, VERSION, project, publish, readJson, root } from '../support/packages.mjs'
import { core } from '../support/core.mjs'

const modules = join(root, '__test__', 'runtimes', 'node_modules')
const bun = join(modules, '@oven', 'bun-linux-x64', 'bin', 'bun')
const deno = join(modules, '@deno', 'linux-x64-glibc', 'deno')

/** @type {Awaited<ReturnType<typeof publish>>} */
let packages
before(async () => (packages = await publish()))
after(() => packages.end())

for (const version of [20, 22, 24, 26]) {
  const node = join(modules, `node${version}`, 'bin', 'node')
  /** npm, and its scripts, on this Node. */
  const env = { PATH: `${dirname(node)}${delimiter}${process.env['PATH']}` }
  core(
    {
      name: `Node ${version}`,
      command: [node],
      install: async (there) => {
        assert.equal(
          (await there.run('node', ['-p', 'process.versions.node.split(".")[0]'], { env })).stdout.trim(),
          String(version),
        )
        await there.npm(['install', 'ring-auth'], { env })
        assert.deepEqual(there.installed(), ['ring-auth', PACKAGE])
        await there.npm(['ci'], { env })
        assert.equal((await there.npm(['exec', '--', 'ring-auth', '--version'], { env })).stdout.trim(), VERSION)
      },
    },
    () => packages,
  )
}

core(
  {
    name: 'Bun',
    command: [bun, 'run'],
    install: async (there) => {
      const { code, output } = await there.run(bun, ['add', 'ring-auth'])
      assert.equal(code, 0, output)
    },
  },
  () => packages,
)

core(
  {
    name: 'Deno',
    command: [deno, 'run', '--allow-all', '--node-modules-dir=manual'],
    install: async (there) => {
      await there.npm(['install', 'ring-auth'])
    },
  },
  () => packages,
)

describe('TypeScript', () => {
  for (const kind of ['nodenext', 'bundler', 'browser']) {
    it(`TypeScript finds the types of the installed package with the settings of ${kind}`, async (t) => {
      const there = project(t, packages)
      await there.npm(['install', 'ring-auth'])
      const types = join(root, '__test__', 'types')
      for (const name of readdirSync(types)) if (name !== 'binding.ts') cpSync(join(types, name), there.path(name))
      mkdirSync(there.path('node_modules', '@types'))
      for (const name of ['@types/node', 'undici-types'])
        cpSync(join(root, 'node_modules', name), there.path('node_modules', name), { recursive: true })
      const tsc = createRequire(import.meta.url).resolve('typescript/package.json')
      const { status, stdout } = spawnSync(
        process.execPath,
        [join(dirname(tsc), 'bin', 'tsc'), '-p', `tsconfig.${kind}.json`],
        {
          cwd: there.folder,
          encoding: 'utf8',
        },
      )
      assert.equal(status, 0, stdout)
      assert.ok(readJson(there.path('tsconfig.base.json')).compilerOptions.isolatedModules)
    })
  }
})
