// @ts-check
// Reads the tarballs that npm makes, which have short names and regular files only.
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { Failure } from './command.mjs'

/**
 * The files of a tarball by their path in the package.
 * @param {string} path
 * @returns {Map<string, { bytes: Buffer, mode: number }>}
 */
export function unpack(path) {
  const tar = unzip(path)
  const text = (/** @type {number} */ start, /** @type {number} */ length) =>
    tar
      .subarray(start, start + length)
      .toString('utf8')
      .replace(/\0.*$/s, '')
  const files = new Map()
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const name = text(at, 100)
    const size = Number.parseInt(text(at + 124, 12), 8)
    const type = text(at + 156, 1)
    if (type !== '0' && type !== '') throw new Failure(`${path}: ${name} is no plain file (${type})`)
    const bytes = tar.subarray(at + 512, at + 512 + size)
    files.set(name.replace(/^package\//, ''), { bytes, mode: Number.parseInt(text(at + 100, 8), 8) })
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** @param {string} path */
function unzip(path) {
  const bytes = readFileSync(path)
  try {
    return gunzipSync(bytes)
  } catch (error) {
    throw new Failure(`${path} is no whole tarball: ${error instanceof Error ? error.message : error}`)
  }
}
