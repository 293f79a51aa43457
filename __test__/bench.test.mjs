// @ts-check
// The benchmarks still run and report: a few samples of the build that the tests use. These tests do not judge the figures.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inTurn, median, medians } from '../bench/measure.mjs'
import { chart, table } from '../bench/report.mjs'
import { atEnd, root, tempDir } from './support/index.mjs'

/** @typedef {import('../bench/report.mjs').Row} Row */

const about = {
  date: '2026-01-01',
  commit: 'abc',
  ours: '1.0.0',
  theirs: '2.0.0',
  node: 'v20.0.0',
  platform: 'linux x64',
  processors: 2,
  processRounds: 3,
  latencyRounds: 5,
}

describe('the benchmarks', () => {
  it('the benchmarks take medians, in turns, without the rounds to warm up', async () => {
    assert.equal(median([3, 1, 2]), 2)
    assert.equal(median([4, 1, 2, 3]), 2.5)
    assert.throws(() => median([]))
    /** @type {string[]} */
    const order = []
    const variant = (/** @type {string} */ name) => async () => order.push(name)
    const samples = await inTurn({ a: variant('a'), b: variant('b') }, { rounds: 2, warmUp: 1 })
    assert.deepEqual(order, ['a', 'b', 'b', 'a', 'a', 'b'])
    assert.deepEqual(samples, { a: [4, 5], b: [3, 6] })
    assert.deepEqual(medians(samples), { a: 4.5, b: 4.5 })
  })

  it('the benchmarks report for each goal whether it was met', () => {
    /** @type {Row[]} */
    const rows = [
      { group: 'One', name: 'a', unit: 'ms', bare: 100, ours: 125, theirs: 250, goal: { versus: 'bare', most: 1.25 } },
      { group: 'One', name: 'b', unit: 'ms', ours: 3, theirs: 2, goal: { versus: 'theirs', most: 1 } },
      { group: 'Two <&>', name: 'c', unit: 'KiB', ours: 4.5, theirs: 3, goal: { versus: 'absolute', most: 4 } },
      { group: 'Two <&>', name: 'd', unit: 'calls', ours: 7 },
    ]
    const page = table(rows, about)
    assert.match(page, /^\| a \| 100 ms \| 125 ms \| 1\.25x \| 250 ms \| 0\.50x \| ≤ 1\.25 x bare Node: met \|$/m)
    assert.match(
      page,
      /^\| b \| {2}\| 3\.00 ms \| {2}\| 2\.00 ms \| 1\.50x \| ≤ 1 x ring-client-api: \*\*missed\*\* \|$/m,
    )
    assert.match(page, /^\| c .* ≤ 4 KiB: \*\*missed\*\* \|$/m)
    assert.match(page, /^\| d \| {2}\| 7 \| {2}\| {2}\| {2}\| {2}\|$/m)
    const svg = chart(rows)
    assert.equal(svg.match(/<rect class="ours"/g)?.length, 4, 'three rows that can be compared, and the legend')
    assert.match(svg, /Two &lt;&amp;>/)
    assert.match(svg, /prefers-color-scheme: dark/)
  })

  it('the benchmarks run to their end, and leave a table, a chart and nothing else', async (t) => {
    const out = join(tempDir(t), 'results')
    const temporary = tempDir(t)
    const child = spawn(process.execPath, [join(root, 'bench', 'run.mjs'), '--quick', '--json', '--out', out], {
      env: { ...process.env, TMPDIR: temporary, TMP: temporary, TEMP: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
    const ended = new Promise((resolve) => child.once('close', resolve))
    atEnd(t, 'manager', async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await ended
    })
    assert.equal(await ended, 0, stderr)
    assert.deepEqual(readdirSync(temporary), [])
    assert.deepEqual(readdirSync(out).sort(), ['chart.svg', 'results.json', 'results.md'])
    /** @type {{ rows: Row[] }} */
    const { rows } = JSON.parse(stdout)
    assert.deepEqual(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')).rows, rows)
    const row = (/** @type {string} */ words) => {
      const found = rows.find(({ group, name }) => `${group}: ${name}`.includes(words))
      assert.ok(found, `no row on ${words}`)
      return found
    }
    for (const { group, name, ours } of rows) assert.ok(Number.isFinite(ours), `${group}: ${name}`)
    assert.equal(row('1000 cold callers').ours, 1)
    assert.equal(row('dead access token').ours, 1)
    assert.equal(row('how many failed').ours, 0)
    assert.equal(row('Installed: packages').ours, 2)
    assert.ok(Number(row('Installed: packages').theirs) > 10)
    for (const { group, name } of rows)
      assert.ok(readFileSync(join(out, 'results.md'), 'utf8').includes(name), `${group}: ${name}`)
  })
})
