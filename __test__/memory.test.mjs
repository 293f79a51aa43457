// @ts-check
// The objects that a manager keeps in memory, and for how long. bench/ measures their size.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { optionsFor, runScript, startRing, tempDir } from './support/index.mjs'

const nodeArgs = ['--expose-gc']

describe('a manager', () => {
  it('a manager keeps the token that it was given out of JavaScript’s memory', async (t) => {
    const ring = await startRing(t)
    const path = join(tempDir(t), 'heap.heapsnapshot')
    // Composed in the script, so that neither its source nor its environment contains the whole token.
    const end = await runScript(
      t,
      `import { randomBytes } from 'node:crypto'
       import { writeHeapSnapshot } from 'node:v8'
       const secret = (name) => [name, randomBytes(16).toString('hex')].join('-')
       const { path, ...options } = config
       // Functions and a turn of the event loop release their local values.
       const make = () => { globalThis.manager = new RingTokenManager({ ...options, refreshToken: secret('canary') }) }
       const control = () => { globalThis.control = { refreshToken: secret('control') } }
       make()
       control()
       await new Promise((resolve) => setTimeout(resolve))
       gc()
       writeHeapSnapshot(path)
       say(manager.status.state)`,
      { ...optionsFor(ring), path },
      { nodeArgs },
    ).ended
    assert.deepEqual(end, { code: 0, signal: null, stdout: 'idle\n', stderr: '' })
    const snapshot = readFileSync(path, 'utf8')
    assert.ok(/control-[0-9a-f]{32}/.test(snapshot), 'the search would find one')
    assert.equal(/canary-[0-9a-f]{32}/.test(snapshot), false)
  })

  it('a manager without references is collected with its listeners, closed or not', async (t) => {
    const ring = await startRing(t)
    const end = await runScript(
      t,
      `const weak = {}
       const make = (name) => {
         const logger = () => {}
         const subscriber = () => {}
         const manager = new RingTokenManager({ ...config, logger })
         manager.onStatus.subscribe(subscriber)
         weak[name] = [manager, logger, subscriber].map((held) => new WeakRef(held))
         return manager
       }
       make('dropped')
       await make('closed').close()
       globalThis.manager = make('kept')
       const left = (name) => weak[name].filter((ref) => ref.deref() !== undefined).length
       for (let i = 0; i < 500 && left('dropped') + left('closed') > 0; i++) {
         await new Promise((resolve) => setTimeout(resolve, 20))
         gc()
       }
       say([left('dropped'), left('closed'), left('kept')].join())`,
      optionsFor(ring, { refreshToken: ring.mint() }),
      { nodeArgs },
    ).ended
    assert.deepEqual(end, { code: 0, signal: null, stdout: '0,0,3\n', stderr: '' })
  })

  it('a manager without references still reports the rotation that it had begun', async (t) => {
    const ring = await startRing(t, { latencyMs: 300 })
    const end = await runScript(
      t,
      `let told = false
       const begin = () => {
         const manager = new RingTokenManager(config)
         manager.onRefreshTokenUpdated.subscribe(() => { told = true })
         void manager.refresh()
       }
       begin()
       for (let i = 0; i < 500 && !told; i++) {
         await new Promise((resolve) => setTimeout(resolve, 20))
         gc()
       }
       say(told)`,
      optionsFor(ring, { refreshToken: ring.mint() }),
      { nodeArgs },
    ).ended
    assert.deepEqual(end, { code: 0, signal: null, stdout: 'true\n', stderr: '' })
  })
})
