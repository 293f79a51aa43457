// @ts-check
// The rows of a run as a table in Markdown and as a chart in SVG.

/** @typedef {'ms' | 'µs' | 's' | 'MiB' | 'KiB' | '/s' | 'requests' | 'packages' | 'calls'} Unit */

/**
 * The goals of the project.
 * @typedef {{ versus: 'bare' | 'theirs' | 'absolute', most: number }} Goal
 */

/**
 * @typedef {object} Row
 * @property {string} group
 * @property {string} name
 * @property {Unit} unit
 * @property {number | undefined} [bare] of bare Node
 * @property {number | undefined} [ours]
 * @property {number | undefined} [theirs]
 * @property {Goal} [goal]
 */

/**
 * @typedef {object} About
 * @property {string} date
 * @property {string} commit
 * @property {string} ours
 * @property {string} theirs
 * @property {string} node
 * @property {string} platform
 * @property {number} processors
 * @property {number} processRounds
 * @property {number} latencyRounds
 */

const COUNTS = ['requests', 'packages', 'calls']

/** @param {number | undefined} value @param {Unit} unit */
function shown(value, unit) {
  if (value === undefined) return ''
  const digits = COUNTS.includes(unit) ? (Number.isInteger(value) ? 0 : 1) : value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${value.toFixed(digits)}${COUNTS.includes(unit) ? '' : unit === '/s' ? unit : ` ${unit}`}`
}

/** @param {number | undefined} value @param {number | undefined} of */
const ratio = (value, of) => (value === undefined || !of ? '' : `${(value / of).toFixed(2)}x`)

/** Whether a row meets its goal, and by how much it misses it. @param {Row} row */
function judged({ goal, ours, bare, theirs, unit }) {
  if (!goal || ours === undefined) return ''
  const of = goal.versus === 'bare' ? bare : goal.versus === 'theirs' ? theirs : 1
  if (!of) return ''
  const words = {
    bare: `≤ ${goal.most} x bare Node`,
    theirs: `≤ ${goal.most} x ring-client-api`,
    absolute: `≤ ${goal.most} ${unit}`,
  }[goal.versus]
  return `${words}: ${ours / of <= goal.most ? 'met' : '**missed**'}`
}

/** @param {readonly Row[]} rows @param {About} about */
export function table(rows, about) {
  const lines = [
    '# Measurements',
    '',
    `ring-auth ${about.ours} (${about.commit}) and ring-client-api ${about.theirs}, on ${about.date}, with Node ${about.node} on ${about.platform}, ${about.processors} processors.`,
    `Medians of ${about.processRounds} (processes) and ${about.latencyRounds} (requests), taken in turn. Made by \`npm run bench\`; how to read it: [docs/performance.md](../../docs/performance.md).`,
    '',
    '![chart](chart.svg)',
    '',
  ]
  let group = ''
  for (const row of rows) {
    if (row.group !== group) {
      if (group !== '') lines.push('')
      group = row.group
      lines.push(
        `## ${group}`,
        '',
        '| | bare Node | ring-auth | over bare | ring-client-api | ours / theirs | goal |',
        '|---|--:|--:|--:|--:|--:|---|',
      )
    }
    const { name, unit, bare, ours, theirs } = row
    const cells = [
      name,
      shown(bare, unit),
      shown(ours, unit),
      ratio(ours, bare),
      shown(theirs, unit),
      ratio(ours, theirs),
      judged(row),
    ]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  return `${lines.join('\n')}\n`
}

const WIDTH = 860
const LABELS = 24
const BAR = 13
const LONGEST = 520

/** @param {string} text */
const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replaceAll('`', '')

/** Two bars for each row in which both packages have a figure, each pair on a scale of its own. @param {readonly Row[]} rows */
export function chart(rows) {
  let y = 62
  let group = ''
  /** @type {string[]} */
  const parts = []
  for (const { group: its, name, unit, bare, ours, theirs } of rows) {
    if (ours === undefined || theirs === undefined) continue
    if (its !== group) {
      group = its
      y += 14
      parts.push(`<text class="group" x="${LABELS}" y="${y + 14}">${escaped(group)}</text>`)
      y += 26
    }
    const best = unit === '/s' ? 'more is better' : 'less is better'
    parts.push(
      `<text class="name" x="${LABELS}" y="${y + 11}">${escaped(name)} <tspan class="quiet">(${best})</tspan></text>`,
    )
    y += 17
    const most = Math.max(ours, theirs, bare ?? 0, Number.EPSILON)
    for (const [kind, value] of /** @type {[string, number | undefined][]} */ ([
      ['ours', ours],
      ['theirs', theirs],
      ['bare', bare],
    ])) {
      if (value === undefined) continue
      const length = Math.max(1.5, (Math.max(0, value) / most) * LONGEST)
      parts.push(`<rect class="${kind}" x="${LABELS}" y="${y}" width="${length.toFixed(1)}" height="${BAR}" rx="2"/>`)
      parts.push(
        `<text class="value" x="${(LABELS + length + 7).toFixed(1)}" y="${y + 10.5}">${shown(value, unit)}</text>`,
      )
      y += BAR + 2
    }
    y += 9
  }
  const height = y + 12
  const legend = [
    ['ours', 'ring-auth'],
    ['theirs', 'ring-client-api'],
    ['bare', 'bare Node'],
  ].map(
    ([kind, words], i) =>
      `<rect class="${kind}" x="${LABELS + i * 150}" y="42" width="13" height="13" rx="2"/><text class="value" x="${LABELS + 20 + i * 150}" y="53">${words}</text>`,
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="ring-auth compared with ring-client-api">
<style>
svg { background: #ffffff; font-family: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif }
text { fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.group { font-size: 14px; font-weight: 600 }
.name { font-size: 12.5px }
.value { font-size: 11.5px }
.quiet { fill: #656d76 }
.ground { fill: #ffffff }
.ours { fill: #0969da }
.theirs { fill: #bf8700 }
.bare { fill: #8c959f }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 }
text { fill: #e6edf3 }
.quiet { fill: #8d96a0 }
.ground { fill: #0d1117 }
.ours { fill: #4493f8 }
.theirs { fill: #d29922 }
.bare { fill: #6e7681 }
}
</style>
<rect class="ground" width="${WIDTH}" height="${height}"/>
<text class="title" x="${LABELS}" y="28">ring-auth and ring-client-api</text>
${[...legend, ...parts].join('\n')}
</svg>
`
}
