// @ts-check
// Checks docs/failures.md: each test that the page names exists in the file that it names.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const PAGE = 'docs/failures.md'

/** @typedef {{ section: string, what: string, tests: { file: string, name: string }[], open: string[], odd: string[] }} Line */

/** @param {string} page @returns {Line[]} */
function lines(page) {
  /** @type {Line[]} */
  const found = []
  let section = ''
  for (const line of page.split('\n')) {
    if (line.startsWith('## ')) section = line.slice(3)
    const [, what = '', cell = ''] = /^\| (.+?) \| (.+) \|$/.exec(line) ?? []
    if (what === '' || what === 'what went wrong') continue
    /** @type {Line} */
    const row = { section, what, tests: [], open: [], odd: [] }
    for (const item of cell.split('<br>')) {
      const [, file = '', name = ''] = /^`([^`]+)`: `([^`]+)`$/.exec(item) ?? []
      if (name !== '') row.tests.push({ file, name })
      else if (/^open: \S/.test(item)) row.open.push(item)
      else row.odd.push(item)
    }
    found.push(row)
  }
  return found
}

/** @param {string} text */
const literally = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/**
 * Whether a file has a test of that name that is run: not one that is commented out, ignored or always skipped.
 * @param {string} source
 * @param {string} file
 * @param {string} name
 */
function hasTest(source, file, name) {
  if (file.endsWith('.rs')) {
    const attributes = String.raw`(?:\s*(?:#\[(?!ignore)[^\n]*\]|//[^\n]*)\n)*`
    const test = new RegExp(
      String.raw`#\[(?:tokio::)?test(?:\([^)]*\))?\]\n${attributes}\s*(?:async )?fn ${literally(name)}\(`,
    )
    return test.test(source)
  }
  return new RegExp(`^\\s*(?:it|test)\\((['"\`])${literally(name)}\\1,`, 'm').test(source)
}

describe(PAGE, () => {
  const page = readFileSync(join(root, PAGE), 'utf8')
  const all = lines(page)

  it('docs/failures.md has a table in each of its sections, and lines that can be read', () => {
    const sections = [...page.matchAll(/^## (.*)$/gm)].map(([, title]) => title)
    assert.ok(sections.length >= 7)
    for (const section of sections)
      assert.ok(
        all.some((line) => line.section === section),
        section,
      )
    for (const line of all) {
      assert.deepEqual(line.odd, [], line.what)
      assert.ok(line.tests.length + line.open.length > 0, line.what)
    }
    assert.equal(new Set(all.map((line) => line.what)).size, all.length, 'no line is there twice')
  })

  it('docs/failures.md names tests that exist, each in the file that it names', () => {
    const missing = []
    for (const { what, tests } of all) {
      for (const { file, name } of tests) {
        if (!existsSync(join(root, file)) || !hasTest(readFileSync(join(root, file), 'utf8'), file, name))
          missing.push(`${what} ${file}: ${name}`)
      }
    }
    assert.deepEqual(missing, [])
  })

  it('the check of docs/failures.md recognises tests that exist, and no others', () => {
    const js = "  it('is there', async () => {})\n  // it('was there', () => {})\n  it.skip('is left out', () => {})\n"
    assert.deepEqual(
      ['is there', 'was there', 'is left out', 'is'].map((name) => hasTest(js, 'a.test.mjs', name)),
      [true, false, false, false],
    )
    const rust =
      '#[test]\nfn one() {}\n\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n\nfn three() {}\n\n#[test]\n#[ignore]\nfn four() {}\n'
    assert.deepEqual(
      ['one', 'two', 'three', 'four'].map((name) => hasTest(rust, 'a.rs', name)),
      [true, true, false, false],
    )
    assert.equal(lines('## S\n\n| what went wrong | the test |\n|---|---|\n| a | tested |\n')[0]?.odd.length, 1)
  })
})
