// @ts-check
// The example plugin in a real Homebridge, in both versions that people run, with everything that happens to config.json in their
// homes. After each event the file is the same byte for byte, except for the token, that token is valid, and no old one was sent.
import assert from 'node:assert/strict'
import { chmodSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EMAIL, atEnd, sleep, until } from '../support/index.mjs'
import { VERSIONS, bindMount, bound, footprint, missing, raw, tokenIn, world } from './homebridge.mjs'
import { assertMode, groups, mounts } from '../support/systems.mjs'

/** @typedef {Awaited<ReturnType<typeof world>>} World */

for (const version of VERSIONS) {
  describe(version.name, { skip: groups || missing(version), concurrency: 6 }, () => {
    it(`the plugin in ${version.name} keeps config.json current through rotations, SIGTERM and SIGKILL`, async (t) => {
      const home = await world(t, version)
      const first = home.start()
      await first.says(/is running on port/)
      await home.rotations(3)
      await home.updated()
      assert.match(first.output, /Added Front Door\./)
      const { mode } = statSync(home.configPath)

      await first.stop()
      const stopped = await home.updated()
      await sleep(0)
      assert.equal(home.token(), stopped, 'nothing is rotated after the end')

      const second = home.start()
      await home.rotations(2)
      await home.updated()
      await second.kill()

      const third = home.start()
      await home.rotations(1)
      await home.updated()
      await third.stop()
      await home.updated()
      assert.equal(statSync(home.configPath).mode, mode)
      assert.equal(home.ring.counts.graceUses, 0)
      for (const { output } of [first, second, third])
        assert.doesNotMatch(output, /needs you to log in|does not start|\bat .*\.js:\d/)
    })

    it(`the plugin in ${version.name} leaves its journal in a folder that git ignores, and nothing else`, async (t) => {
      const home = await world(t, version)
      await (await home.start().says(/Added Front Door/)).stop()
      await home.updated()
      const names = footprint(home)
      assert.equal(names.filter((name) => name.endsWith('.json')).length, 1, names.join())
      assert.deepEqual(
        names.filter((name) => !/\.(json|lock|gitignore)$|^\.gitignore$/.test(name)),
        [],
      )
      assert.equal(readFileSync(join(home.state, '.gitignore'), 'utf8').trim(), '*')
      assert.deepEqual(beside(home), ['config.json'])
      assertMode(home.state, 0o700)
      for (const name of names.filter((name) => name !== '.gitignore')) assertMode(join(home.state, name), 0o600)
    })

    it(`the plugin in ${version.name} survives SIGKILL right after a rotation`, async (t) => {
      const home = await world(t, version)
      for (const delay of [0, 1, 3, 8, 20]) {
        const homebridge = home.start()
        // After the start: the second rotation of this process is interrupted.
        await home.rotations(1)
        const answered = new Promise((resolve) => {
          home.ring.fault({ kind: 'mutate', grant: 'refresh_token', fn: (answer) => (resolve(undefined), answer) })
        })
        await answered
        // A delay after the answer, and not a wait for a condition: the process may be doing anything at that moment.
        await sleep(delay)
        await homebridge.kill()
        // If the process has not read the answer, the next start sends the former token once more.
        home.ring.settings.graceMs = 60_000
      }
      const last = home.start()
      await home.rotations(1)
      await home.updated()
      await last.stop()
      await home.updated()
    })

    it(`the plugin in ${version.name} survives SIGKILL in the middle of a rotation, whether Ring has rotated or not`, async (t) => {
      const home = await world(t, version, { settings: { graceMs: 60_000 } })
      for (const kind of /** @type {const} */ (['hang', 'hang-after'])) {
        const homebridge = home.start()
        await home.rotations(1)
        const fault = home.ring.fault({ kind, grant: 'refresh_token' })
        await until(() => fault.hits > 0, 'a refresh under way')
        await homebridge.kill()
        home.ring.clearFaults()
      }
      home.start()
      await home.rotations(2)
      await home.updated()
      await home.last?.stop()
      await home.updated()
    })

    it(`the plugin in ${version.name} knows an old token that came back, while stopped and while running`, async (t) => {
      const home = await world(t, version)
      await (await home.start().says(/is running on port/)).stop()
      const backup = await home.updated()
      home.start()
      await home.rotations(2)
      await home.last?.stop()
      assert.notEqual(await home.updated(), backup)

      home.put(backup)
      const homebridge = home.start()
      await homebridge.says(/is running on port/)
      await home.updated()
      for (const [old, write] of /** @type {const} */ ([
        [backup, 'put'],
        [home.given, 'replace'],
        ['', 'put'],
      ])) {
        await home.rotations(1)
        home[write](old)
        await home.rotations(1)
        await home.updated()
      }
      await homebridge.stop()
      await home.updated()
      assert.equal(home.ring.counts.invalidGrants, 0)
    })

    it(`the plugin in ${version.name} knows its old tokens under another name too`, async (t) => {
      const home = await world(t, version)
      await (await home.start().says(/Added Front Door/)).stop()
      await home.updated()
      // A settings page that was open all the time saves the name that was changed, and its own copy of the token.
      home.template = home.template.replace(/("name" : )".*?"/, '$1"Renamed"')
      home.put(home.given)
      const homebridge = await home.start().says(/\[Renamed\]/)
      await home.rotations(1)
      await home.updated()
      await homebridge.stop()
      await home.updated()
      assert.equal(footprint(home).filter((name) => name.endsWith('.json')).length, 1)
    })

    it(`the plugin in ${version.name} takes a new token that was pasted, while stopped and while running`, async (t) => {
      const home = await world(t, version)
      await (await home.start().says(/Added Front Door/)).stop()
      await home.updated()
      const stopped = home.ring.mint(EMAIL)
      home.put(stopped)
      const homebridge = home.start()
      await used(home, stopped)
      for (const write of /** @type {const} */ (['put', 'replace'])) {
        const running = home.ring.mint(EMAIL)
        home[write](running)
        await used(home, running)
      }
      await homebridge.stop()
      assert.equal(home.ring.counts.invalidGrants, 0)
    })

    it(`the plugin in ${version.name} says in one sentence that a login is needed, and continues with the token that is pasted then`, async (t) => {
      const home = await world(t, version)
      const homebridge = home.start()
      await home.rotations(1)
      home.ring.revokeAll(EMAIL)
      await homebridge.says(/log in/)
      assert.equal(homebridge.said(/Ring needs you to log in/).length, 1)
      assert.match(
        homebridge.output,
        new RegExp(`npx ring-auth login --homebridge "${home.configPath}" --platform RingAuthExample`),
      )
      assert.equal(readFileSync(home.configPath, 'utf8'), home.text(home.token()))
      // If the newest token never worked, the manager tries the one before it once.
      assert.ok(home.ring.counts.stalePresentations <= 1)
      home.ring.clearCounts()
      const pasted = home.ring.mint(EMAIL)
      home.put(pasted)
      await used(home, pasted)
      await homebridge.stop()
      assert.equal(homebridge.said(/Ring needs you to log in/).length, 1)
      assert.equal(home.ring.counts.invalidGrants, 0, 'the dead token was sent again')
    })

    it(`the plugin in ${version.name} starts without a token, reports that, and does not disturb others`, async (t) => {
      const home = await world(t, version)
      home.put('')
      const homebridge = await home.start().says(/Ring needs you to log in/)
      await homebridge.says(/is running on port/)
      assert.equal(readFileSync(home.configPath, 'utf8'), home.text(''))
      assert.equal(home.ring.counts.tokenPosts, 0)
      await homebridge.stop()
    })

    it(`the plugin in ${version.name} starts with a text in its block that cannot be a token, and continues with the token that is pasted then`, async (t) => {
      const home = await world(t, version)
      home.put('two words')
      const homebridge = await home.start().says(/Ring needs you to log in/)
      await homebridge.says(/is running on port/)
      assert.equal(home.ring.counts.tokenPosts, 0)
      const pasted = home.ring.mint(EMAIL)
      home.put(pasted)
      await used(home, pasted)
      await homebridge.stop()
      assert.doesNotMatch(homebridge.output, /does not start/)
    })

    it(`the plugin in ${version.name} loses nothing to a settings page that replaces the file at the same moment`, async (t) => {
      const home = await world(t, version, { block: { saved: 0 } })
      const homebridge = home.start()
      await home.rotations(1)
      for (let saved = 1; saved <= 60; saved++) {
        // The page shows what it read, changes one setting, and saves at some moment around a rotation.
        const text = readFileSync(home.configPath, 'utf8')
        await sleep(saved % 3 === 0 ? 40 : 0)
        home.template = home.template.replace(/"saved" :\d+/, `"saved" :${saved}`)
        home.replace(tokenIn(text))
        await sleep(50)
        // Between two system calls of ours the file is ours, until the page's is put back.
        await until(() => readSaved(home.configPath) === saved, "the page's change")
      }
      await home.calm()
      await homebridge.stop()
      await home.updated()
    })

    it(`the plugin in ${version.name} never shows half a file to a settings page that rewrites it in place`, async (t) => {
      const home = await world(t, version, { block: { saved: 0 } })
      const homebridge = home.start()
      await home.rotations(1)
      for (let saved = 1; saved <= 60; saved++) {
        // JSON.parse would throw here if half a file were visible.
        const token = tokenIn(readFileSync(home.configPath, 'utf8'))
        home.template = home.template.replace(/"saved" :\d+/, `"saved" :${saved}`)
        home.put(token)
        await sleep(50)
      }
      const { newest } = home.ring.inspect(home.given)
      await until(
        () =>
          home.ring.inspect(home.given).newest !== newest && raw(home.token()) === home.ring.inspect(home.given).newest,
        'the newest token',
      )
      // If one program writes in place while another one replaces the file, one of them may lose its change, but never a part of it.
      home.template = home.template.replace(/"saved" :\d+/, `"saved" :${readSaved(home.configPath)}`)
      await homebridge.stop()
      await home.updated()
    })

    it(`the plugin in ${version.name} works in a child bridge, and beside one that outlives its parent`, async (t) => {
      const home = await world(t, version, { block: { _bridge: { username: '0E:00:00:00:00:02', port: 0 } } })
      const homebridge = home.start()
      await home.rotations(2)
      await home.updated()
      assert.match(homebridge.output, /child bridge/i)
      await homebridge.stop()
      await home.updated()

      const second = home.start()
      await home.rotations(1)
      second.child.kill('SIGKILL')
      home.start()
      await home.rotations(3)
      await home.updated()
      await home.last?.stop()
      await home.updated()
    })

    /** @type {[string, (path: string) => void, (path: string) => void, (path: string) => string[]][]} */
    const readOnly = [
      ['that nobody may write', (path) => chmodSync(path, 0o444), (path) => chmodSync(path, 0o644), bound],
      ['on a read-only mount', () => {}, () => {}, (path) => bindMount(path, 'ro')],
    ]
    for (const [what, hinder, allow, wrap] of readOnly) {
      it(`the plugin in ${version.name} continues with a config.json ${what}, and updates it when it can`, {
        skip: mounts,
      }, async (t) => {
        const home = await world(t, version)
        const before = readFileSync(home.configPath, 'utf8')
        hinder(home.configPath)
        const homebridge = home.start({ wrap: wrap(home.configPath) })
        await home.rotations(3)
        await homebridge.says(/config\.json cannot be written/)
        await homebridge.stop()
        assert.equal(readFileSync(home.configPath, 'utf8'), before)
        home.assertPolite()

        // The token in it is old by now, and must not be sent.
        allow(home.configPath)
        const again = home.start()
        await home.updated()
        await again.stop()
        await home.updated()
        assert.equal(home.ring.counts.invalidGrants, 0)
      })
    }

    it(`the plugin in ${version.name} writes in place in a folder that takes no new files`, {
      skip: mounts,
    }, async (t) => {
      const home = await world(t, version)
      // Homebridge makes folders of its own at its first start.
      await (await home.start().says(/Added Front Door/)).stop()
      await home.updated()
      chmodSync(home.storage, 0o555)
      atEnd(t, 'manager', () => chmodSync(home.storage, 0o755))
      const { ino } = statSync(home.configPath)
      const homebridge = home.start({ wrap: bound() })
      await home.rotations(3)
      await home.updated()
      await homebridge.stop()
      await home.updated()
      assert.equal(statSync(home.configPath).ino, ino)
    })

    it(`the plugin in ${version.name} keeps a config.json current that is mounted by itself, as into a container`, {
      skip: mounts,
    }, async (t) => {
      const home = await world(t, version)
      const { ino } = statSync(home.configPath)
      const homebridge = home.start({ wrap: bindMount(home.configPath) })
      await home.rotations(3)
      await home.updated()
      await homebridge.stop()
      await home.updated()
      assert.equal(statSync(home.configPath).ino, ino, 'it was replaced, so it was not mounted')
      assert.match(homebridge.output, /written in place/)
      // The backup that existed during the write is gone again.
      assert.deepEqual(
        footprint(home).filter((name) => name.includes('backup')),
        [],
      )
      assert.deepEqual(beside(home), ['config.json'])
    })
  })
}

/** config.json, and the files that were created beside it. @param {World} home */
const beside = ({ storage }) => readdirSync(storage).filter((name) => name.includes('config.json'))

/** Waits until a token that was pasted is used, and config.json shows what it became. @param {World} home @param {string} pasted */
async function used(home, pasted) {
  await until(
    () => home.ring.inspect(pasted).spent,
    () => `the use of the pasted token\n${home.last?.output}`,
  )
  await home.updated(pasted)
}

/** @param {string} path @returns {number} */
function readSaved(path) {
  return JSON.parse(readFileSync(path, 'utf8')).platforms.find(
    (/** @type {{ platform: string }} */ { platform }) => platform === 'RingAuthExample',
  ).saved
}
