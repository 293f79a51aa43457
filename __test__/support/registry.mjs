// @ts-check
// A package registry on loopback with only the given tarballs: as the real registry will be for `npm install ring-auth` after
// the package is published.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename } from 'node:path'
import { unpack } from '../../scripts/tar.mjs'

/** @typedef {{ name: string, version: string, [key: string]: any }} Manifest */

/** @param {string} path @returns {Manifest} */
export function manifestOf(path) {
  const file = unpack(path).get('package.json')
  if (!file) throw new Error(`${path} has no package.json`)
  return JSON.parse(file.bytes.toString('utf8'))
}

/**
 * Serves tarballs as a registry does.
 * @param {string[]} tarballs
 * @returns {Promise<{ url: string, asked: string[], close(): Promise<void> }>} `asked`: the paths that were asked for
 */
export async function startRegistry(tarballs) {
  const asked = /** @type {string[]} */ ([])
  const files = new Map(tarballs.map((path) => [basename(path), readFileSync(path)]))
  const manifests = tarballs.map((path) => {
    const manifest = manifestOf(path)
    const integrity = `sha512-${createHash('sha512').update(readFileSync(path)).digest('base64')}`
    return {
      ...manifest,
      ...(manifest.scripts?.install ? { hasInstallScript: true } : {}),
      dist: { tarball: basename(path), integrity },
    }
  })
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://registry').pathname).slice(1)
    asked.push(path)
    const file = files.get(path.replace(/^-\//, ''))
    if (path.startsWith('-/') && file) {
      response.end(file)
      return
    }
    const versions = packument(manifests, path, `http://${request.headers.host}`)
    response.writeHead(versions ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(versions ?? { error: 'not found' }))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}/`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** @param {Manifest[]} manifests @param {string} name @param {string} origin */
function packument(manifests, name, origin) {
  const versions = manifests
    .filter((manifest) => manifest.name === name)
    .map(({ dist, ...manifest }) => ({ ...manifest, dist: { ...dist, tarball: `${origin}/-/${dist.tarball}` } }))
  const newest = versions.at(-1)
  if (!newest) return
  // A date in the past: some package managers refuse packages that were published only now.
  const then = '2020-01-01T00:00:00.000Z'
  return {
    name,
    'dist-tags': { latest: newest.version },
    versions: Object.fromEntries(versions.map((manifest) => [manifest.version, manifest])),
    time: { created: then, modified: then, ...Object.fromEntries(versions.map(({ version }) => [version, then])) },
  }
}
