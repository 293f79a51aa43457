// @ts-check
// The page of the stand-alone server in a real browser, against the fake Ring.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { EMAIL, PASSWORD, atEnd, fileStore, open, startRing, tempDir, until } from '../support/index.mjs'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { fits, isAccessible, missing, openPage, picture, status } from './support.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const require = createRequire(import.meta.url)
/** @type {typeof import('../../lib/web/index.js')} */
const { loginHandler, serveLogin } = require('../../lib/web/index.js')
/** @type {typeof import('../../lib/web/page.js')} */
const { program } = require('../../lib/web/page.js')

/**
 * A Ring, a manager with a journal, the server of its page, and a browser that shows it.
 * @param {TestContext} t
 * @param {import('../fake-ring/index.mjs').FakeRingOptions} [settings]
 * @param {import('playwright-core').BrowserContextOptions} [browser]
 * @param {import('../../lib/web/index.js').ServeLoginOptions} [options]
 */
async function visit(t, settings = {}, browser = {}, options = {}) {
  const ring = await startRing(t, settings)
  const { manager } = open(t, ring, { store: fileStore(join(tempDir(t), 'ring-auth.json')) })
  const server = await serveLogin(manager, options)
  atEnd(t, 'server', () => server.close())
  const { page, complaints } = await openPage(t, browser)
  await page.goto(server.url)
  await page.getByLabel('E-mail').or(page.locator('input[type=email]')).first().waitFor()
  return { ring, manager, server, page, complaints }
}

/** @param {import('playwright-core').Page} page @param {string} [password] */
async function account(page, password = PASSWORD) {
  await page.locator('input[type=email]').fill(EMAIL)
  await page.locator('input[name=password]').fill(password)
  await page.locator('button[type=submit]').click()
}

/** @param {import('playwright-core').Page} page @param {string} code */
async function submitCode(page, code) {
  await page.locator('input[name=code]').fill(code)
  await page.locator('button[type=submit]').click()
}

const NO_CODE = { accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: /** @type {const} */ ('none') }] }

describe('the login page', { skip: missing }, () => {
  it('the login page logs in with a code, each step is accessible, and it reports the end when the server has stopped', async (t) => {
    const { ring, manager, server, page, complaints } = await visit(t)
    await isAccessible(page, 'account')
    await picture(page.locator('#ring-auth'), 'account')
    assert.equal(new URL(page.url()).hash, '', 'the secret does not stay in the address')
    await account(page)
    const code = page.locator('input[name=code]')
    await code.waitFor()
    assert.equal(await code.getAttribute('inputmode'), 'numeric')
    assert.equal(await code.getAttribute('autocomplete'), 'one-time-code')
    assert.match((await page.locator('label').last().textContent()) ?? '', /\+1xxxxxxxx89/)
    assert.equal(await page.locator('input[type=email]').inputValue(), EMAIL)
    await isAccessible(page, 'code')
    await picture(page.locator('#ring-auth'), 'code')
    // If the first visitor loads the page again, it shows the step of the login.
    await page.reload()
    await code.waitFor()
    const digits = ring.codeFor() ?? ''
    await submitCode(page, ` ${digits.slice(0, 3)} - ${digits.slice(3)} `)
    await status(page).getByText('You are logged in to Ring').waitFor()
    await server.done
    assert.equal(manager.status.state, 'ready')
    assert.equal(ring.codesSent, 1)
    await isAccessible(page, 'done')
    await picture(page.locator('#ring-auth'), 'done')
    const text = await page.evaluate(
      () =>
        document.documentElement.outerHTML +
        JSON.stringify({ ...sessionStorage }) +
        JSON.stringify({ ...localStorage }),
    )
    for (const secret of [manager.refreshToken ?? '?', PASSWORD, digits]) assert.ok(!text.includes(secret))
    assert.deepEqual(complaints, [])
  })

  it('the login page logs in without a second factor', async (t) => {
    const { manager, server, page } = await visit(t, NO_CODE)
    await account(page)
    await status(page).getByText('You are logged in').waitFor()
    await server.done
    assert.equal(manager.status.state, 'ready')
  })

  it('the login page reports a wrong password beside the field', async (t) => {
    const { page, complaints } = await visit(t)
    await account(page, 'wrong')
    const password = page.locator('input[name=password]')
    await page.getByText('Ring does not accept this').waitFor()
    assert.equal(await password.getAttribute('aria-invalid'), 'true')
    assert.ok(await password.evaluate((input) => document.activeElement === input))
    const described = await password.getAttribute('aria-describedby')
    assert.match((await page.locator(`#${described}`).textContent()) ?? '', /does not accept/)
    await isAccessible(page, 'wrong password')
    await picture(page.locator('#ring-auth'), 'wrong-password')
    assert.deepEqual(complaints, [])
  })

  it('the login page reports a wrong code three times, then begins again', async (t) => {
    const { ring, page } = await visit(t)
    await account(page)
    const code = page.locator('input[name=code]')
    await code.waitFor()
    const wrong = ring.codeFor() === '111111' ? '222222' : '111111'
    for (let i = 0; i < 2; i++) {
      await submitCode(page, wrong)
      await page.getByText('The code is wrong or too old').waitFor()
      assert.equal(await code.getAttribute('aria-invalid'), 'true')
      if (i === 0) await isAccessible(page, 'wrong code')
      if (i === 0) await picture(page.locator('#ring-auth'), 'wrong-code')
      await code.fill('')
    }
    await submitCode(page, wrong)
    await status(page).getByText('wrong three times').waitFor()
    assert.equal(await page.locator('input[type=email]').inputValue(), EMAIL)
    await page.locator('input[name=password]').waitFor()
  })

  it('the login page sends another code when Ring allows it, and not before', async (t) => {
    const { ring, page } = await visit(t, { nextTimeInSecs: 20 })
    await account(page)
    const again = page.getByRole('button', { name: 'Send another code' })
    await again.waitFor()
    assert.equal(await again.getAttribute('aria-disabled'), 'true')
    // Not a click: playwright would wait until the button is enabled.
    await again.press('Enter')
    await status(page).getByText('Ring does not send another code yet').waitFor()
    assert.equal(ring.codesSent, 1)
    await page.locator('button:not([aria-disabled])', { hasText: 'Send another code' }).waitFor()
    await again.click()
    await status(page).getByText('Ring has sent another code').waitFor()
    assert.equal(ring.codesSent, 2)
    await submitCode(page, ring.codeFor() ?? '')
    await status(page).getByText('You are logged in').waitFor()
  })

  it('the login page asks for one code although Enter is pressed three times, by keyboard alone', async (t) => {
    const { ring, page, server } = await visit(t, { latencyMs: 300 })
    // The e-mail has the focus from the beginning.
    await page.keyboard.type(EMAIL)
    await page.keyboard.press('Tab')
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    assert.equal(await page.locator('input[name=password]').getAttribute('type'), 'text')
    assert.equal(await page.getByRole('button', { name: 'Hide password' }).getAttribute('aria-pressed'), 'true')
    await page.keyboard.press('Space')
    await page.keyboard.press('Tab')
    for (let i = 0; i < 3; i++) await page.keyboard.press('Enter')
    await page.locator('input[name=code]:focus').waitFor()
    assert.equal(ring.codesSent, 1)
    await page.keyboard.type(ring.codeFor() ?? '')
    await page.keyboard.press('Enter')
    await server.done
  })

  it('the login page reports in different words that Ring throttles, blocks or cannot be reached', async (t) => {
    const { ring, page } = await visit(t, {})
    for (const [fault, sentence] of /** @type {const} */ ([
      [{ kind: 'status', status: 429, body: '{}' }, 'too many requests'],
      [{ kind: 'status', status: 406, body: '<html>blocked</html>' }, 'Ring blocks'],
      [{ kind: 'status', status: 503, body: 'oops' }, 'problem of its own'],
      [{ kind: 'reset-before' }, 'cannot be reached'],
    ])) {
      const made = ring.fault({ ...fault, path: /^\/oauth/, times: 1000 })
      await account(page)
      await page.locator('form:not([aria-busy])').waitFor()
      assert.match(((await status(page).textContent()) ?? '').toLowerCase(), new RegExp(sentence.toLowerCase()))
      made.remove()
    }
    await picture(page.locator('#ring-auth'), 'no-network')
    assert.equal(ring.codesSent, 0)
    await account(page)
    await page.locator('input[name=code]').waitFor()
  })

  it('the login page fits 320 pixels, dark and right to left, and takes sentences of the program', async (t) => {
    const texts = { ar: { title: 'تسجيل الدخول إلى Ring', submit: 'تسجيل الدخول' } }
    const { page, complaints } = await visit(
      t,
      {},
      { viewport: { width: 320, height: 640 }, colorScheme: 'dark', locale: 'ar' },
      { texts },
    )
    assert.equal(
      await page.evaluate(() => `${document.documentElement.lang} ${document.documentElement.dir}`),
      'ar rtl',
    )
    assert.equal(await page.locator('h1').textContent(), texts.ar.title)
    await fits(page, 'account')
    await isAccessible(page, 'dark account')
    await picture(page, 'dark-rtl-320')
    await account(page, 'wrong')
    await page.locator('[aria-invalid=true]').waitFor()
    await fits(page, 'wrong password')
    await isAccessible(page, 'dark wrong password')
    await account(page)
    await page.locator('input[name=code]').waitFor()
    await fits(page, 'code')
    await isAccessible(page, 'dark code')
    await picture(page, 'dark-rtl-320-code')
    assert.deepEqual(complaints, [])
  })

  for (const [locale, title] of /** @type {const} */ ([
    ['de-AT', 'Bei Ring anmelden'],
    ['fr-CA', 'Se connecter à Ring'],
    ['es-MX', 'Iniciar sesión en Ring'],
    ['nl-BE', 'Inloggen bij Ring'],
    ['sv-SE', 'Log in to Ring'],
  ])) {
    it(`the login page speaks the browser's language: ${locale}`, async (t) => {
      const { page } = await visit(t, {}, { locale, viewport: { width: 320, height: 900 } })
      assert.equal(await page.locator('h1').textContent(), title)
      await fits(page, 'account')
      await account(page)
      await page.locator('input[name=code]').waitFor()
      await fits(page, 'code')
    })
  }

  it('the login page asks for the secret without the fragment, and refuses a second visitor', async (t) => {
    const { server, page } = await visit(t)
    const other = await openPage(t)
    await other.page.goto(server.url)
    await status(other.page).getByText('This link was used before').waitFor()
    await isAccessible(other.page, 'second visitor')
    const ring = await startRing(t)
    const { manager } = open(t, ring)
    const fresh = await serveLogin(manager)
    atEnd(t, 'server', () => fresh.close())
    const url = new URL(fresh.url)
    const secret = url.hash.slice(1)
    url.hash = ''
    await other.page.goto(url.href)
    const field = other.page.getByLabel('The eight characters at the end of the link')
    await field.fill('AAAA-AAAA')
    await field.press('Enter')
    await other.page.getByText('These are not the characters').waitFor()
    await isAccessible(other.page, 'secret')
    await picture(other.page.locator('#ring-auth'), 'secret')
    // As the keyboard of a phone may write it.
    await field.fill(` ${secret.toLowerCase().replace('-', ' – ')} `)
    await field.press('Enter')
    await other.page.locator('input[type=email]').waitFor()
    assert.ok(await page.locator('h1').textContent())
  })

  it('the login page shows what Ring says as text', async (t) => {
    const phone = '<img src=x onerror=alert(1)>'
    const { page, complaints } = await visit(t, {
      accounts: [{ email: EMAIL, password: PASSWORD, twoFactor: 'sms', phone }],
    })
    await account(page)
    await page.locator('input[name=code]').waitFor()
    assert.match((await page.locator('label').last().textContent()) ?? '', /<img src=x/)
    assert.equal(await page.locator('img').count(), 0)
    assert.deepEqual(complaints, [])
  })

  /**
   * The page in a window with the parts of Homebridge's UI that it needs.
   * @param {import('playwright-core').Page} page
   * @param {object[]} config
   * @param {Record<string, object>} answers
   */
  async function inHomebridge(page, config, answers) {
    await page.setContent('<div id="ring-auth"></div>')
    await page.evaluate(
      ({ code, config, answers }) => {
        const world = /** @type {any} */ (globalThis)
        world.config = config
        world.saved = 0
        world.homebridge = {
          i18nCurrentLang: async () => 'en',
          getPluginConfig: async () => structuredClone(world.config),
          updatePluginConfig: async (/** @type {any} */ config) => (world.config = config),
          savePluginConfig: async () => world.saved++,
          showSchemaForm: () => {},
          request: async (/** @type {string} */ path) => answers[path],
        }
        document.head.append(Object.assign(document.createElement('script'), { textContent: code }))
      },
      { code: program({ place: 'homebridge', platform: 'ExampleRing' }), config, answers },
    )
    /** The configuration that Save would write, and the number of saves. */
    return () =>
      page.evaluate(() => {
        const { config, saved } = /** @type {any} */ (globalThis)
        return { config, saved }
      })
  }

  it("the login page puts a token that could not be stored into the dialogue of Homebridge's UI", async (t) => {
    const { page, complaints } = await openPage(t)
    const world = await inHomebridge(
      page,
      [{ platform: 'ExampleRing', name: 'Ring', refreshToken: 'old', email: EMAIL }],
      {
        '/ring-auth/status': { step: 'account' },
        '/ring-auth/login': {
          step: 'done',
          refreshToken: 'new',
          error: { code: 'NOT_STORED', message: 'The disk is full' },
        },
      },
    )
    await account(page)
    await status(page).getByText('it could not be stored').waitFor()
    assert.deepEqual(await world(), {
      config: [{ platform: 'ExampleRing', name: 'Ring', refreshToken: 'new' }],
      saved: 1,
    })
    assert.deepEqual(complaints, [])
  })

  it('the login page puts the token into the block that was chosen, also on a page that was loaded once more, and into no other', async (t) => {
    const home = { platform: 'ExampleRing', name: 'Home', refreshToken: 'first' }
    const { page } = await openPage(t)
    let world = await inHomebridge(page, [home, { platform: 'ExampleRing', name: 'Cabin' }], {
      '/ring-auth/status': { step: 'done', block: 'Cabin', refreshToken: 'new' },
    })
    await status(page).getByText('You are logged in to Ring').waitFor()
    assert.deepEqual((await world()).config, [home, { platform: 'ExampleRing', name: 'Cabin', refreshToken: 'new' }])
    const other = await openPage(t)
    world = await inHomebridge(other.page, [home, { platform: 'ExampleRing', name: 'Renamed' }], {
      '/ring-auth/status': { step: 'done', block: 'Cabin', refreshToken: 'new' },
    })
    await status(other.page).getByText('press Save').waitFor()
    assert.deepEqual((await world()).config, [home, { platform: 'ExampleRing', name: 'Renamed' }])
  })

  it('the login page reports that the server has stopped', async (t) => {
    const { server, page } = await visit(t)
    await server.close()
    await account(page)
    await status(page).getByText('does not answer').waitFor()
  })

  it('the login page reports a store that cannot be written before it asks Ring', async (t) => {
    const ring = await startRing(t)
    // The journal's folder is a file.
    const path = join(tempDir(t), 'file')
    writeFileSync(path, '')
    const { manager } = open(t, ring, { store: fileStore(join(path, 'ring-auth.json')) })
    const server = await serveLogin(manager)
    atEnd(t, 'server', () => server.close())
    const { page } = await openPage(t)
    await page.goto(server.url)
    await account(page)
    await status(page).getByText('Ring was not asked').waitFor()
    assert.equal(ring.requests.length, 0)
    await isAccessible(page, 'store')
    await picture(page.locator('#ring-auth'), 'store')
  })

  it('the login page works on a server of node:http and in Express, behind their own login and a prefix', async (t) => {
    const { createServer } = await import('node:http')
    // The package has no types of its own.
    const { default: express } = await import(/** @type {string} */ ('express'))
    for (const kind of ['node:http', 'express']) {
      const ring = await startRing(t)
      const { manager } = open(t, ring, { store: fileStore(join(tempDir(t), 'ring-auth.json')) })
      const handler = loginHandler(manager)
      const app = express()
      app.use('/ring', handler)
      const own = createServer((request, response) =>
        request.url?.startsWith('/ring') ? handler(request, response) : response.writeHead(404).end(),
      )
      const server = kind === 'express' ? createServer(app) : own
      await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
      atEnd(t, 'server', () => void (server.close(), server.closeAllConnections()))
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
      const { page, complaints } = await openPage(t)
      // The path without its slash redirects to the one with it.
      await page.goto(`http://127.0.0.1:${port}/ring`)
      assert.equal(page.url(), `http://127.0.0.1:${port}/ring/`)
      await account(page)
      await page.locator('input[name=code]').waitFor()
      await submitCode(page, ring.codeFor() ?? '')
      await status(page).getByText('You are logged in').waitFor()
      await until(() => manager.status.state === 'ready', 'the login')
      assert.deepEqual(complaints, [], kind)
    }
  })
})
