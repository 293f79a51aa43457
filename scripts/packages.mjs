// @ts-check
// The packages that are published: the main package, one for each platform, and ring-auth-cli.
//   node scripts/packages.mjs create         writes npm/ again, from package.json, LICENSE and the texts below
//   node scripts/packages.mjs place [FROM]   copies each binary in FROM (by default binding/, where a build puts it) into npm/
//   node scripts/packages.mjs pack TO        packs the packages in npm/ (the platforms that have their binary) and the main one
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Failure, asCommand, isMain, root } from './command.mjs'

/** @type {{ PLATFORMS: string[] }} */
export const { PLATFORMS } = createRequire(import.meta.url)('../lib/load.js')

/** A package of its own, so that `npx ring-auth-cli` works, and so that the command does not clash with ring-client-api's. */
export const CLI = 'ring-auth-cli'

/** The binary's name in its package, and in binding/ of a clone. @param {string} platform */
export const binaryOf = (platform) => `ring-auth.${platform}.node`

/** @param {string} path @returns {any} */
export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** The files of the main package, which `files` of package.json names by their folders. */
export function publishedFiles() {
  return /** @type {string[]} */ (readJson(join(root, 'package.json')).files).flatMap(filesBelow)
}

/** @param {string} path from the root, with slashes @returns {string[]} */
function filesBelow(path) {
  if (!statSync(join(root, path)).isDirectory()) return [path]
  return readdirSync(join(root, path)).flatMap((name) => filesBelow(`${path}/${name}`))
}

/**
 * Writes the folders of npm/: each platform's, and ring-auth-cli. They are committed, and a test compares them with what this writes.
 * Binaries in these folders stay.
 * @param {string} [folder] where npm/ is to be
 */
export function create(folder = root) {
  if (folder !== root) copyFileSync(join(root, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'npm'), { recursive: true })
  run(process.execPath, [join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js'), 'create-npm-dirs'], folder)
  const { name, homepage, bugs, repository, ...manifest } = readJson(join(root, 'package.json'))
  for (const platform of PLATFORMS) {
    const path = join(folder, 'npm', platform, 'package.json')
    const { keywords: _, ...made } = readJson(path)
    write(path, { ...made, description: `The binary of ${name} for ${platform}`, homepage, bugs, repository })
    write(join(folder, 'npm', platform, 'README.md'), platformReadme(name, platform, homepage))
  }
  const cli = join(folder, 'npm', CLI)
  if (folder !== root) cpSync(join(root, 'npm', CLI, 'bin'), join(cli, 'bin'), { recursive: true })
  write(join(cli, 'package.json'), {
    name: CLI,
    version: manifest.version,
    description: `The command ${CLI}, which is that of ${name}`,
    keywords: ['ring', 'ring-client-api', 'refresh-token', '2fa'],
    license: manifest.license,
    homepage,
    bugs,
    repository,
    type: manifest.type,
    bin: { [CLI]: `bin/${CLI}.js` },
    files: ['bin'],
    engines: manifest.engines,
    dependencies: { [name]: manifest.version },
  })
  write(join(cli, 'README.md'), cliReadme(name, homepage))
  for (const each of [...PLATFORMS, CLI]) copyFileSync(join(root, 'LICENSE'), join(folder, 'npm', each, 'LICENSE'))
}

/** @param {string} path @param {unknown} content Text, or what becomes JSON. */
function write(path, content) {
  writeFileSync(path, typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`)
}

/** @param {string} name @param {string} platform @param {string} homepage */
function platformReadme(name, platform, homepage) {
  return `# ${name}-${platform}

The binary of [${name}](${homepage}) for ${platform}. \`npm install ${name}\` installs the one for your system: you do not need to name this
package yourself.
`
}

/** @param {string} name @param {string} homepage */
function cliReadme(name, homepage) {
  return `# ${CLI}

\`npx ${CLI}\` runs the command of [${name}](${homepage}): it asks for your e-mail address, your password and the two-factor code, and
prints a Ring refresh token. Its questions and its output are those of the command of the same name in ring-client-api.

All options: \`npx ${CLI} --help\`.
`
}

/**
 * Copies the binaries of a folder to where they are packed from.
 * @param {string} from
 * @param {string} [folder] where npm/ is
 */
export function place(from, folder = root) {
  const names = readdirSync(from)
  for (const platform of PLATFORMS) {
    const name = binaryOf(platform)
    if (names.includes(name)) copyFileSync(join(from, name), join(folder, 'npm', platform, name))
  }
}

/**
 * Packs the packages in npm/: the platforms that have their binary, and ring-auth-cli.
 * @param {string} destination
 * @param {string} [folder] where npm/ is
 */
export function packFolders(destination, folder = root) {
  const there = PLATFORMS.filter((platform) => existsSync(join(folder, 'npm', platform, binaryOf(platform))))
  return pack(
    [...there, CLI].map((name) => `./npm/${name}`),
    folder,
    destination,
  )
}

/**
 * Packs the main package, in a copy: its scripts change package.json for a moment, and others may be reading it.
 * @param {string} destination
 */
export function packMain(destination) {
  const copy = mkdtempSync(join(tmpdir(), 'ring-auth-pack-'))
  try {
    const { files } = readJson(join(root, 'package.json'))
    for (const file of [...files, 'package.json', 'README.md', 'LICENSE', 'scripts/pack.mjs'])
      cpSync(join(root, file), join(copy, file), { recursive: true })
    return /** @type {string} */ (pack(['.'], copy, destination)[0])
  } finally {
    rmSync(copy, { recursive: true })
  }
}

/**
 * Packs folders as `npm publish` does, and returns the paths of the tarballs.
 * @param {string[]} folders
 * @param {string} cwd
 * @param {string} destination
 */
export function pack(folders, cwd, destination) {
  mkdirSync(destination, { recursive: true })
  /** @type {{ filename: string }[]} */
  const made = Object.values(
    JSON.parse(run('npm', ['pack', '--json', '--pack-destination', destination, ...folders], cwd)),
  )
  return made.map(({ filename }) => join(destination, filename))
}

/** @param {string} command @param {string[]} args @param {string} [cwd] */
function run(command, args, cwd = root) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    // On Windows npm is a script, which needs a shell. Node does not, and its path may have spaces.
    shell: process.platform === 'win32' && command === 'npm',
  })
  if (error || status !== 0)
    throw new Failure(`${command} ${args.join(' ')} failed in ${cwd}:\n${error?.message ?? stderr}`)
  return stdout
}

if (isMain(import.meta.url)) {
  const [command, folder] = process.argv.slice(2)
  await asCommand(() => {
    if (command === 'create') create()
    else if (command === 'place') place(resolve(folder ?? join(root, 'binding')))
    else if (command === 'pack' && folder) {
      for (const tarball of [...packFolders(resolve(folder)), packMain(resolve(folder))]) console.log(tarball)
    } else {
      console.error('usage: node scripts/packages.mjs create | place [FROM] | pack TO')
      process.exitCode = 2
    }
  })
}
