// @ts-check
// The packages as they would be published, and projects that install them from a registry on loopback. This platform's package
// has the binary that was built; the others have a stand-in, which can be installed but not loaded.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import {
  CLI,
  PLATFORMS,
  binaryOf,
  create,
  pack,
  packFolders,
  packMain,
  place,
  readJson,
} from '../../scripts/packages.mjs'
import { root } from '../../scripts/command.mjs'
import { startRegistry } from './registry.mjs'

export { PLATFORMS, binaryOf, readJson, root }

const WINDOWS = process.platform === 'win32'
const PATIENCE_MS = 300_000

/** @typedef {{ code: number | null, stdout: string, stderr: string, output: string }} Ended */

const { platformOf, thisHost } = createRequire(import.meta.url)('../../lib/load.js')
/** The package of the platform that the tests run on. */
export const PACKAGE = `ring-auth-${platformOf(thisHost())}`
const HOST = PACKAGE.replace('ring-auth-', '')
export const { version: VERSION } = readJson(join(root, 'package.json'))

/**
 * Makes every tarball, and serves them.
 * @param {{ name: string, version: string, [key: string]: unknown }[]} [others] packages of other people
 * @param {string[]} [built] platforms whose binary is in npm/, to be used as it is
 */
export async function publish(others = [], built = []) {
  const folder = mkdtempSync(join(tmpdir(), 'ring-auth-packages-'))
  create(folder)
  for (const platform of PLATFORMS) writeFileSync(join(folder, 'npm', platform, binaryOf(platform)), 'a stand-in')
  // This platform's own is the one that the clone loads.
  copyFileSync(join(root, 'binding', binaryOf(HOST)), join(folder, 'npm', HOST, binaryOf(HOST)))
  for (const platform of built) place(join(root, 'npm', platform), folder)
  const folders = packFolders(join(folder, 'tarballs'), folder)
  const isCli = (/** @type {string} */ path) => basename(path).startsWith(CLI)
  const [cli = ''] = folders.filter(isCli)
  const platforms = folders.filter((path) => !isCli(path))
  const main = packMain(join(folder, 'tarballs'))
  const more = others.map((manifest) => {
    const name = `${manifest.name}-${manifest.version}`
    writeJson(join(folder, name, 'package.json'), manifest)
    writeFileSync(join(folder, name, 'index.js'), '')
    return name
  })
  const theirs =
    more.length > 0
      ? pack(
          more.map((name) => `./${name}`),
          folder,
          join(folder, 'others'),
        )
      : []
  const registry = await startRegistry([...theirs, ...folders, main])
  return {
    main,
    cli,
    platforms,
    folder,
    url: registry.url,
    asked: registry.asked,
    end: async () => {
      await registry.close()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/**
 * An empty project, whose package managers do not see this machine's settings.
 * @param {{ after(end: () => void): unknown }} t
 * @param {{ url: string, folder: string }} packages
 * @param {object | null} [manifest] null: an empty folder
 */
export function project(t, packages, manifest = {}) {
  // By its real name, as a program in it sees it.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ring-auth-project-')))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  if (manifest) {
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name: 'project', version: '1.0.0', private: true, ...manifest }),
    )
    writeFileSync(join(folder, '.npmrc'), `registry=${packages.url}\n`)
  }
  // The variables that npm sets for its scripts are not for another npm.
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm|pnpm)_/i.test(name)))
  const env = {
    ...clean,
    PATH: `${join(root, '__test__', 'packages', 'node_modules', '.bin')}${delimiter}${process.env.PATH}`,
    HOME: folder,
    USERPROFILE: folder,
    XDG_CACHE_HOME: join(packages.folder, 'cache'),
    XDG_DATA_HOME: join(packages.folder, 'data'),
    CI: '',
    NO_COLOR: '1',
    npm_config_registry: packages.url,
    npm_config_cache: join(packages.folder, 'npm-cache'),
    npm_config_userconfig: join(packages.folder, 'npmrc'),
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  }

  /**
   * Runs a program in the project, or in a folder of it.
   * @param {string} command
   * @param {string[]} args
   * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, shell?: boolean, timeoutMs?: number, onOutput?: ((text: string) => void) | undefined, signal?: AbortSignal | undefined }} [how]
   *   `signal`: kills it
   * @returns {Promise<Ended>}
   */
  const run = (command, args, how = {}) =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: join(folder, how.cwd ?? ''),
        env: { ...env, ...how.env },
        stdio: ['ignore', 'pipe', 'pipe'],
        shell: how.shell ?? needsShell(command),
        timeout: how.timeoutMs ?? PATIENCE_MS,
        killSignal: 'SIGKILL',
      })
      how.signal?.addEventListener('abort', () => child.kill('SIGKILL'))
      let [stdout, stderr, output] = ['', '', '']
      child.stdout.setEncoding('utf8').on('data', (text) => {
        stdout += text
        output += text
        how.onOutput?.(text)
      })
      child.stderr.setEncoding('utf8').on('data', (text) => {
        stderr += text
        output += text
      })
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, stdout, stderr, output }))
    })

  /** Runs npm, which has to succeed. @param {string[]} args @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [how] */
  const npm = async (args, how) => {
    const ended = await run('npm', args, how)
    assert.equal(ended.code, 0, `npm ${args.join(' ')}: ${ended.output}`)
    return ended
  }

  /** The packages in node_modules. */
  const installed = () =>
    Object.keys(readJson(join(folder, 'node_modules', '.package-lock.json')).packages).map((path) =>
      path.replace(/^.*node_modules\//, ''),
    )

  return { folder, env, run, npm, installed, path: (/** @type {string[]} */ ...names) => join(folder, ...names) }
}

/**
 * On Windows npm and the commands of packages are scripts. A program is started without a shell, which would take its arguments apart and
 * be killed in its place.
 * @param {string} command
 */
const needsShell = (command) => WINDOWS && !/^(node|tar)$|\.exe$/i.test(command)

/** @param {string} path @param {object} value */
export function writeJson(path, value) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** @param {string} path */
export const read = (path) => readFileSync(path, 'utf8')
