// @ts-check
// The documents: their snippets, their links and their tables.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** @typedef {{ page: string, language: string, text: string, isRun: boolean }} Snippet */

/** The text of a file of this tree. @param {string} name */
export const text = (name) => readFileSync(join(root, name), 'utf8')

/** The fenced blocks of a page, in its order, also those within a list. @param {string} page @returns {Snippet[]} */
export function fenced(page) {
  return [...text(page).matchAll(/^( *)```(\w*)\n([^]*?)^\1```$/gm)].map(
    ([, indent = '', language = '', block = '']) => {
      const lines = block.split('\n').map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
      return { page, language, text: lines.join('\n'), isRun: false }
    },
  )
}

/**
 * Returns the snippet of a page that contains these words, and records that it is run. There must be exactly one.
 * @param {Snippet[]} snippets
 * @param {string} page
 * @param {string} language
 * @param {string[]} words
 */
export function take(snippets, page, language, ...words) {
  const found = snippets.filter(
    (one) => one.page === page && one.language === language && words.every((word) => one.text.includes(word)),
  )
  assert.equal(found.length, 1, `${found.length} snippets in ${page} with ${words}`)
  const [one] = /** @type {[Snippet]} */ (found)
  one.isRun = true
  return one.text
}

/** A section of a page, from below its heading to the next one of its kind. @param {string} page @param {string} heading as it is written, `## API` */
export function section(page, heading) {
  const [, after] = text(page).split(`\n${heading}\n`)
  assert.ok(after, `${page} has no ${heading}`)
  const [marks = ''] = heading.split(' ')
  return after.split(new RegExp(`\\n#{1,${marks.length}} `))[0] ?? ''
}

/** The cells of the tables in a text, row by row. @param {string} text */
export function rows(text) {
  return [...text.matchAll(/^\| (.*) \|$/gm)].map(([, row = '']) => row.split(' | '))
}

/** The texts between backquotes. @param {string} text */
export const quoted = (text) => [...text.matchAll(/`([^`\n]+)`/g)].map(([, word]) => /** @type {string} */ (word))

/** Checks that each link of a page leads to a file or heading of this tree, or out of it. @param {string} page */
export function assertLinks(page) {
  for (const link of links(text(page))) {
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? page : join(dirname(page), path)
    assert.ok(existsSync(join(root, target)), `${page} links to ${link}`)
    if (anchor !== undefined) assert.ok(anchors(text(target)).includes(anchor), `${page} links to ${link}`)
  }
}

/** The links of a page into this tree. @param {string} page */
function links(page) {
  const prose = page.replace(/^( *)```[^]*?^\1```$/gm, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => /** @type {string} */ (link))
    .filter((link) => !link.includes('://'))
}

/** The headings of a page, as links name them. @param {string} page */
function anchors(page) {
  return [...page.replace(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}
