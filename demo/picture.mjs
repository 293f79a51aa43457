// `node demo/picture.mjs`: runs the demo and draws the end of what it prints, as it printed it: docs/images/demo.svg, which README.md
// shows. A test compares the picture with another run.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMain } from '../scripts/command.mjs'

const FIRST = '4. kill -9 in the middle of a rotation'
const [COLUMNS, CELL, LINE, MARGIN, TITLE] = [98, 8.2, 19, 18, 32]

/**
 * The lines of the demo's output that the picture shows.
 * @param {string[]} output
 */
export const ending = (output) => ['$ npm run demo', '…', ...output.slice(output.indexOf(FIRST))]

/**
 * The lines that a picture shows.
 * @param {string} svg
 */
export const linesOf = (svg) =>
  [...svg.matchAll(/<text class="line[^>]*>(.*?)<\/text>/g)].map(([, text = '']) =>
    text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
  )

/** @param {string[]} lines */
function picture(lines) {
  const [width, height] = [Math.ceil(COLUMNS * CELL + 2 * MARGIN), TITLE + lines.length * LINE + MARGIN]
  const kind = (/** @type {string} */ line) =>
    line.includes('✓ ') ? ' holds' : /^ {4}\$|^\$/.test(line) ? ' command' : /^\S/.test(line) ? ' title' : ''
  const text = (/** @type {string} */ line, /** @type {number} */ at) => {
    const escaped = line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
    return `<text class="line${kind(line)}" x="${MARGIN}" y="${TITLE + (at + 1) * LINE - 5}" xml:space="preserve">${escaped}</text>`
  }
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="The end of npm run demo in a terminal">`,
    '<style>',
    ".line { font: 13.5px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #c9d1d9 }",
    '.holds { fill: #7ee787 }',
    '.title { fill: #ffffff; font-weight: 600 }',
    '.command { fill: #79c0ff }',
    '</style>',
    `<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>`,
    ...['#ff5f57', '#febc2e', '#28c840'].map(
      (colour, at) => `<circle cx="${MARGIN + 5 + 18 * at}" cy="17" r="5.5" fill="${colour}"/>`,
    ),
    ...lines.map(text),
    '</svg>',
  ].join('\n')}\n`
}

if (isMain(import.meta.url)) {
  const folder = dirname(fileURLToPath(import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, [join(folder, 'run.mjs')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`The demo failed: ${stdout}`)
  writeFileSync(join(dirname(folder), 'docs', 'images', 'demo.svg'), picture(ending(stdout.trimEnd().split('\n'))))
}
