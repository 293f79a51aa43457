// @ts-check
// docs/troubleshooting.md quotes the beginnings of messages: each of them is a message of the product.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, it } from 'node:test'
import { join } from 'node:path'
import { root } from './support/packages.mjs'
import { text } from './support/pages.mjs'

const PAGE = 'docs/troubleshooting.md'
/** Rows about what other programs print. */
const OF_OTHERS = /^`npm error |^`permission denied|^`\^\[\[K`/
/** What stands between two literals of the sources: a wildcard of the page, the end of a sentence or a message, a word that varies. */
const BETWEEN = /(?:RING_)?…(?:_FILE)?|; |\. |`BINARY_\w+`: |--exec|--key-command|cannot be (?=written:)/
/** The words before a text that is described. */
const BEFORE = /^(?:The refresh token|it looks like|is not) /

/** The sources with each literal on one line and without escapes. */
const sources = ['src', 'lib', 'bin']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  )
  .filter((name) => /\.(?:rs|js)$/.test(name))
  .map((name) =>
    text(name)
      .replaceAll('\r\n', '\n')
      .replaceAll(/\\\n\s*/g, '')
      .replaceAll(/\\(["'`\\])/g, '$1'),
  )
  .join('\n')

/** The cells of the first column of the tables by message. @param {string} page */
function messages(page) {
  const tables = page.split(/\n\n/).filter((part) => part.startsWith('| what you see |'))
  return tables.flatMap((table) =>
    table
      .split('\n')
      .slice(2)
      .map((row) => String(row.slice(2).split(' | ')[0])),
  )
}

/** The parts of a message that no source has. @param {string} message */
function unknown(message) {
  const parts = message.split(BETWEEN).map((part) => part.trim().replace(BEFORE, ''))
  return parts.filter((part) => part.length > 3 && !sources.includes(part))
}

describe(PAGE, () => {
  it('docs/troubleshooting.md quotes messages of the product', () => {
    const all = messages(text(PAGE)).filter((message) => !OF_OTHERS.test(message))
    assert.ok(all.length > 60, String(all.length))
    assert.deepEqual(
      all.flatMap((message) => unknown(message).map((part) => `${message}: ${part}`)),
      [],
    )
  })

  it('the check of docs/troubleshooting.md finds a message that no source has', () => {
    assert.deepEqual(unknown('The journal … is sealed with the key …; the journal was eaten'), [
      'the journal was eaten',
    ])
  })
})
