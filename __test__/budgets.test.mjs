// @ts-check
// The dependencies of the package, and the number of its threads. `npm run test:budgets` checks its size after a release build.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { optionsFor, root, runScript, startRing } from './support/index.mjs'
import { proc } from './support/systems.mjs'

/** @param {string} path */
const read = (path) => readFileSync(path, 'utf8')

/** Every direct dependency of every manifest in the repository, as `manifest: name`. @returns {string[]} */
function dependencies() {
  return manifests(root).flatMap((path) => {
    const names = path.endsWith('.toml') ? crates(read(path)) : packages(JSON.parse(read(path)))
    return names.map((name) => `${relative(root, path)}: ${name}`)
  })
}

/** @param {string} folder @returns {string[]} */
function manifests(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory())
      return ['node_modules', 'target', '.git', 'npm', 'build'].includes(entry.name) ? [] : manifests(path)
    return ['Cargo.toml', 'package.json'].includes(entry.name) ? [path] : []
  })
}

/** The crates of a Cargo.toml, except those of this repository. @param {string} text */
function crates(text) {
  let inside = false
  return text.split('\n').flatMap((line) => {
    if (line.startsWith('[')) inside = /^\[(?:target\..*\.)?(?:dev-|build-)?dependencies\]$/.test(line)
    const name = inside ? /^([\w-]+) *=/.exec(line)?.[1] : undefined
    return name && !line.includes('path = ') ? [name] : []
  })
}

/**
 * The packages of a package.json, by their names in the registry, except this package itself.
 * @param {Record<string, Record<string, string> | undefined>} manifest
 */
function packages(manifest) {
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']
  return kinds
    .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
    .map(([name, version]) => /^npm:(.+)@[^@]*$/.exec(version)?.[1] ?? name)
    .filter((name) => name !== 'ring-auth')
}

describe('the budget', () => {
  it('each direct dependency in every manifest has its line in docs/dependencies.md', () => {
    const tables = read(join(root, 'docs', 'dependencies.md'))
      .split('\n')
      .filter((line) => line.startsWith('|'))
    // The first cell names the dependencies, each with its version after it.
    const named = new Set(
      tables.flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map((found) => found[1])),
    )
    const all = dependencies()
    for (const known of [
      'Cargo.toml: tokio',
      'access/Cargo.toml: windows-sys',
      'binding/Cargo.toml: napi',
      'package.json: typescript',
    ])
      assert.ok(all.includes(known.replaceAll('/', join('/'))), known)
    assert.deepEqual(
      all.filter((dependency) => !named.has(dependency.slice(dependency.indexOf(': ') + 2))),
      [],
    )
  })

  it('idle managers use one thread beside those of Node, with every store', {
    skip: proc,
  }, async (t) => {
    const ring = await startRing(t)
    const script = runScript(
      t,
      `import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
       import { setTimeout } from 'node:timers/promises'
       const nameOf = (id) => {
         try {
           return readFileSync('/proc/self/task/' + id + '/comm', 'utf8')
         } catch {
           return '' // It has just ended.
         }
       }
       const ours = () => readdirSync('/proc/self/task').filter((id) => nameOf(id).startsWith('ring-auth')).length
       const folder = mkdtempSync('/tmp/ring-auth-threads-')
       const managers = config.tokens.map((refreshToken, i) => {
         const store = i % 2 === 0 ? { type: 'memory' } : { type: 'file', path: folder + '/' + i + '.json' }
         return new RingTokenManager({ ...config.options, refreshToken, store })
       })
       await Promise.all(managers.map((manager) => manager.getAuth()))
       // The threads that have waited for the disk end soon afterwards.
       for (let looks = 0; ours() > 1 && looks < 600; looks++) await setTimeout(50)
       say(String(ours()))
       await Promise.all(managers.map((manager) => manager.close()))
       rmSync(folder, { recursive: true })`,
      { options: optionsFor(ring), tokens: Array.from({ length: 6 }, () => ring.mint()) },
    )
    const { code, stdout } = await script.ended
    assert.equal(code, 0, script.stderr())
    assert.equal(stdout.trim(), '1')
  })
})
