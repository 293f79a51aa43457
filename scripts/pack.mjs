// @ts-check
// The published package.json names the platforms' packages; the one in the repository does not, so that `npm ci` works on a
// clone before any of them is published. `before` puts them in, `after` takes them out.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const path = join(root, 'package.json')
const { optionalDependencies: _, ...manifest } = JSON.parse(readFileSync(path, 'utf8'))

if (process.argv[2] === 'before') {
  /** @type {{ PLATFORMS: string[] }} */
  const { PLATFORMS } = createRequire(import.meta.url)('../lib/load.js')
  manifest.optionalDependencies = Object.fromEntries(
    PLATFORMS.map((platform) => [`ring-auth-${platform}`, manifest.version]),
  )
}
writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`)
