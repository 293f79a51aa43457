// @ts-check
// The fake as a process of its own: it prints one line of JSON on standard output when it listens, and messages on standard error.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { FakeRing } from './index.mjs'
import { defaultSettings } from './settings.mjs'

const USAGE = `node cli.mjs [options]
  --port N  --host ADDRESS  --tls-key FILE --tls-cert FILE  --exit-with-stdin
  --email E --password P --two-factor sms|email|totp|none|unknown|no-state --phone TEXT
  and each setting by its name, as in --expires-in 3600 --grace-ms 60000 --csrf meta --legacy blocked;
  values are JSON where they can be, else text; --expires-in omit leaves the field out, Infinity is Infinity.
`

/** @param {string} name */
const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** @param {string} text @returns {unknown} */
function value(text) {
  if (text === 'Infinity') return Infinity
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const settingNames = Object.keys(defaultSettings()).filter((name) => name !== 'now')
// Values that are compared as text stay text, even if they look like numbers.
const textual = new Set(['canary', 'csrf', 'csrfCookieName', 'csrfCookiePath', 'signinAnswer', 'userAgent'])
const own = ['port', 'host', 'tls-key', 'tls-cert', 'email', 'password', 'two-factor', 'phone']

/** @returns {import('./index.mjs').FakeRingOptions & {exitWithStdin: boolean}} */
function readOptions() {
  /** @type {Record<string, {type: 'string' | 'boolean'}>} */
  const known = { 'exit-with-stdin': { type: 'boolean' }, help: { type: 'boolean' } }
  for (const name of [...own, ...settingNames.map(kebab)]) known[name] = { type: 'string' }
  const { values } = parseArgs({ options: known, allowPositionals: false })
  if (values.help) {
    process.stderr.write(USAGE)
    process.exit(0)
  }
  const given = /** @type {Record<string, string | undefined>} */ (values)
  /** @type {any} */
  const options = { exitWithStdin: values['exit-with-stdin'] === true }
  for (const name of settingNames) {
    const text = given[kebab(name)]
    if (text !== undefined)
      options[name] = name === 'expiresIn' && text === 'omit' ? undefined : textual.has(name) ? text : value(text)
  }
  if (given.host !== undefined) options.host = given.host
  if (given.port !== undefined) options.port = Number(given.port)
  if (given['tls-key'] && given['tls-cert'])
    options.tls = { key: readFileSync(given['tls-key']), cert: readFileSync(given['tls-cert']) }
  if (
    given.email !== undefined ||
    given.password !== undefined ||
    given['two-factor'] !== undefined ||
    given.phone !== undefined
  ) {
    options.accounts = [
      {
        email: given.email ?? 'person@example.com',
        password: given.password ?? 'correct horse',
        twoFactor: given['two-factor'] ?? 'sms',
        ...(given.phone === undefined ? {} : { phone: given.phone }),
      },
    ]
  }
  return options
}

async function main() {
  const { exitWithStdin, ...options } = readOptions()
  const ring = await FakeRing.start({
    ...options,
    onCode: (email, code) => process.stderr.write(`2fa code for ${email}: ${code}\n`),
  })
  process.stdout.write(`${JSON.stringify({ oauthUrl: ring.oauthUrl, apiUrl: ring.apiUrl, pid: process.pid })}\n`)
  process.stderr.write(`fake ring listens at ${ring.oauthUrl}\n`)
  for (const { email, twoFactor } of ring.accounts.all()) {
    if (twoFactor === 'totp')
      process.stderr.write(`2fa code for ${email}: ${ring.codeFor(email)} (changes every 30 s: GET /__fake/state)\n`)
  }
  const stop = () => void ring.close().then(() => process.exit(0))
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (exitWithStdin) {
    process.stdin.on('end', stop)
    process.stdin.on('error', stop)
    process.stdin.resume()
  }
}

main().catch((error) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n${USAGE}`)
  process.exit(2)
})
