// @ts-check
// A logout beside running managers: no other process brings back the token that one process has forgotten.
// Needs the addon: npm run build:debug
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { account, run, setUp } from './support/cli.mjs'
import { optionsFor, readJournal, runScript, until, wrap } from './support/index.mjs'

const ROUNDS = 4
const BUSY = 4

/** Rotates as fast as the store lets it, until there is no token any more. */
const rotatesAllTheTime = `
  const manager = new RingTokenManager(config);
  for (let rotations = 0; ; rotations++) {
    try {
      await manager.refresh();
    } catch (error) {
      if (error.code === 'NO_REFRESH_TOKEN') break;
      throw error;
    }
    if (rotations === 0) say('rotates');
  }
  await manager.close();
  say('ended without a token');
`

it('a logout beside busy managers in other processes stays a logout', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { ring, folder } = await setUp(t, account('none'))
    const path = join(folder, '.env')
    writeFileSync(path, `A=1\nRING_REFRESH_TOKEN=${wrap({ rt: ring.mint() })}\n`)
    const store = { type: 'dotenv', path }
    const busy = Array.from({ length: BUSY }, () => runScript(t, rotatesAllTheTime, optionsFor(ring, { store })))
    await until(
      () => busy.every((child) => child.stdout().includes('rotates')),
      () => `rotations, not ${busy.map((child) => child.stderr())}`,
    )

    const done = await run(['logout', '--dotenv', path], { ring })
    assert.equal(done.code, 0, done.stderr)
    for (const child of busy) {
      const { code, stdout, stderr } = await child.ended
      assert.equal(code, 0, stderr)
      assert.match(stdout, /ended without a token/)
    }
    assert.equal(readFileSync(path, 'utf8'), 'A=1\nRING_REFRESH_TOKEN=\n', `round ${round}`)
    const state = join(folder, '.ring-auth')
    const journals = readdirSync(state)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(state, name))
    for (const journal of journals) assert.equal(readJournal(journal).current, null, `round ${round}`)
  }
})
