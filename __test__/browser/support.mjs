// @ts-check
// Debian's Chromium, controlled by playwright-core, and checks of the pages of a test.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after } from 'node:test'
import { PATIENCE_MS, atEnd, root } from '../support/index.mjs'

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').FrameLocator} FrameLocator */

const { chromium } = await import('playwright-core')
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** The reason why no browser can be used here, if none can. The gate requires one. */
export const missing = !existsSync(CHROMIUM) && `needs Chromium at ${CHROMIUM}, or where CHROMIUM says`
if (missing && process.env['RING_AUTH_GATE']) throw new Error(`The gate ${missing}: \`apt-get install chromium\``)

/** One browser serves all tests of a file; each page has a context of its own, with storage of its own. */
const browser = missing
  ? undefined
  : await chromium.launch({
      executablePath: CHROMIUM,
      headless: true,
      timeout: PATIENCE_MS,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
after(() => browser?.close())

/**
 * A page. `complaints` has the browser's errors, violations of the content security policy included.
 * @param {TestContext} t
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function openPage(t, options = {}) {
  assert.ok(browser)
  const context = await browser.newContext({ viewport: { width: 900, height: 800 }, locale: 'en-GB', ...options })
  atEnd(t, 'server', () => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  /** @type {string[]} */
  const complaints = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    const text = message.text()
    // The page shows the refusals of the server.
    if (message.type() === 'error' && !/Failed to load resource/.test(text)) complaints.push(text)
  })
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)
    })
  })
  return { page, context, complaints }
}

/**
 * The serious problems that axe-core finds in a page or a frame.
 * @param {Page | import('playwright-core').Frame} page
 * @param {string} step
 */
export async function isAccessible(page, step) {
  // Through the debugger, so that the page's own policy does not matter.
  await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run('#ring-auth'))
  const serious = violations.filter((/** @type {any} */ { impact }) => ['serious', 'critical'].includes(impact))
  const found = serious.map(
    (/** @type {any} */ { id, nodes }) =>
      `${id}: ${nodes.map((/** @type {any} */ node) => node.html + node.any.map((/** @type {any} */ x) => x.message)).join(', ')}`,
  )
  assert.deepEqual(found, [], step)
}

/** Checks that nothing is wider than the window. @param {Page} page @param {string} step */
export async function fits(page, step) {
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
  assert.ok(Number(wide) <= Number(window), `${step}: ${wide} > ${window}`)
}

/** The folder for screenshots, if `PICTURES` names one. */
const pictures = process.env['PICTURES']

/** @param {Page | import('playwright-core').Locator} what @param {string} name */
export async function picture(what, name) {
  if (pictures === undefined) return
  mkdirSync(pictures, { recursive: true })
  await what.screenshot({ path: join(pictures, `${name}.png`) })
}

/** The sentence in the live region. @param {Page | import('playwright-core').Frame | import('playwright-core').FrameLocator} page */
export const status = (page) => page.locator('#ring-auth [role=status]')

export { root }
