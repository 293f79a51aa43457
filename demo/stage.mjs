// The processes of the demo: the fake Ring, the command line, and scripts. The demo waits for conditions, never for times.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'

export const EMAIL = 'me@example.com'
export const PASSWORD = 'correct horse'

/** The folder and the processes of the demo. It removes and ends them, in whatever way the demo ends. */
export class Stage {
  folder = mkdtempSync(join(tmpdir(), 'ring-auth-demo-'))
  /** @type {Set<import('node:child_process').ChildProcess>} */
  #children = new Set()
  /** @type {Record<string, string | undefined>} */
  #env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('RING_')))
  #root

  /** @param {string} root */
  constructor(root) {
    this.#root = root
  }

  get journalPath() {
    return join(this.folder, 'ring-auth.json')
  }

  /** The journal as it is on the disk at this moment. */
  journal() {
    return JSON.parse(readFileSync(this.journalPath, 'utf8'))
  }

  /** @param {string[]} options */
  async startRing(options) {
    const account = ['--email', EMAIL, '--password', PASSWORD, '--two-factor', 'sms']
    const child = this.#node(['__test__/fake-ring/cli.mjs', '--exit-with-stdin', ...account, ...options])
    const first = await child.lines.next()
    const { oauthUrl, apiUrl } = JSON.parse(first.value ?? 'null') ?? {}
    Object.assign(this.#env, { RING_AUTH_OAUTH_URL: oauthUrl, RING_AUTH_API_URL: apiUrl })
    return new Ring(oauthUrl, apiUrl, child)
  }

  /** The command line, as `npx ring-auth` starts it. @param {...string} args */
  cli(...args) {
    return this.#node(['bin/ring-auth.js', ...args])
  }

  /** @param {'watch' | 'rotate'} mode */
  script(mode) {
    return this.#node(['demo/script.cjs', mode, this.journalPath])
  }

  clear() {
    for (const child of this.#children) child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** @param {string[]} args */
  #node(args) {
    const child = spawn(process.execPath, args, { cwd: this.#root, env: this.#env, stdio: 'pipe' })
    this.#children.add(child)
    child.on('exit', () => this.#children.delete(child))
    return new Running(child)
  }
}

/** A process that the demo has started. */
export class Running {
  stderr = ''
  /** @type {string[]} */
  #waiting = []
  #notify = () => {}

  /** @param {import('node:child_process').ChildProcessWithoutNullStreams} child */
  constructor(child) {
    this.child = child
    this.startedAt = Date.now()
    child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text))
    // A process that was killed does not read any more.
    child.stdin.on('error', () => {})
    const reader = createInterface({ input: child.stdout })
    reader.on('line', (line) => {
      this.#waiting.push(line)
      this.#notify()
    })
    let closed = false
    this.exited = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        closed = true
        this.#notify()
        resolve({ code, signal, ms: Date.now() - this.startedAt })
      })
    })
    this.lines = (async function* (running) {
      for (;;) {
        while (running.#waiting.length > 0) yield/** @type {string} */ (running.#waiting.shift())
        if (closed) return
        await new Promise((resolve) => (running.#notify = () => resolve(undefined)))
      }
    })(this)
  }

  /** @param {string} line */
  write(line) {
    this.child.stdin.write(`${line}\n`)
  }

  /** The rest of standard output, and how the process ended. */
  async end() {
    this.child.stdin.end()
    let stdout = ''
    for await (const line of this.lines) stdout += `${line}\n`
    return { ...(await this.exited), stdout, stderr: this.stderr }
  }

  /** `kill -9` */
  kill() {
    this.child.kill('SIGKILL')
    return this.exited
  }

  /**
   * Resolves with the first report of a script that is wanted. Each report before it goes to `seen`.
   * @param {(report: any) => boolean} wanted
   * @param {(report: any) => void} [seen]
   */
  async report(wanted, seen) {
    for (;;) {
      const { value, done } = await this.lines.next()
      if (done) throw new Error(`the script ended too early: ${this.stderr}`)
      const report = JSON.parse(value)
      seen?.(report)
      if (wanted(report)) return report
    }
  }
}

/** The fake Ring, which the demo controls over HTTP. */
class Ring {
  #process

  /** @param {string} oauthUrl @param {string} apiUrl @param {Running} process */
  constructor(oauthUrl, apiUrl, process) {
    this.oauthUrl = oauthUrl
    this.apiUrl = apiUrl
    this.#process = process
  }

  /** The code that was sent to the owner of the account. */
  async code() {
    const sent = () => this.#process.stderr.match(/^2fa code for \S+: (\d+)$/m)?.[1]
    await until(() => sent() !== undefined)
    return /** @type {string} */ (sent())
  }

  async counts() {
    return (await this.#control('GET', 'state')).counts
  }

  async mistakes() {
    return (await this.#control('GET', 'state')).internalErrors
  }

  /** The raw refresh token that was issued last. */
  async newest() {
    return (await this.#control('GET', 'state')).accounts[0].newest
  }

  /** @param {string} token */
  inspect(token) {
    return this.#control('POST', 'inspect', { token })
  }

  /** @param {Record<string, unknown>} settings */
  set(settings) {
    return this.#control('POST', 'settings', settings)
  }

  /** @param {Record<string, unknown>} fault */
  fault(fault) {
    return this.#control('POST', 'fault', fault)
  }

  clearFaults() {
    return this.#control('DELETE', 'faults')
  }

  async refreshes() {
    const requests = await this.#control('GET', 'requests')
    return requests.filter((/** @type {any} */ request) => request.grant === 'refresh_token')
  }

  /** The answer of the API to an access token. @param {string} accessToken @param {string} hardwareId */
  async apiStatus(accessToken, hardwareId) {
    const headers = {
      authorization: `Bearer ${accessToken}`,
      hardware_id: hardwareId,
      'user-agent': 'android:com.ringapp',
    }
    return (await fetch(`${this.apiUrl}/clients_api/ring_devices`, { headers })).status
  }

  /** @param {string} method @param {string} action @param {unknown} [body] @returns {Promise<any>} */
  async #control(method, action, body) {
    const response = await fetch(`${this.oauthUrl}/__fake/${action}`, {
      method,
      body: body ? JSON.stringify(body) : null,
    })
    const answer = await response.json()
    if (!response.ok) throw new Error(`the fake Ring refuses ${action}: ${JSON.stringify(answer)}`)
    return answer
  }
}

/** The inner token of a wrapped one. @param {string} wrapped */
export function inner(wrapped) {
  return JSON.parse(Buffer.from(wrapped, 'base64').toString()).rt
}

/** Waits until a condition holds. The demo's deadline ends a wait for one that never does. @param {() => boolean | Promise<boolean>} holds */
export async function until(holds) {
  while (!(await holds())) await pause(20)
}
