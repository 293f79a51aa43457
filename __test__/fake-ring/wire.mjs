// @ts-check
// Writes answers and faults to the socket. Other files decide what a normal answer is.
import { STATUS_CODES } from 'node:http'

/** @typedef {import('./answers.mjs').Answer} Answer */
/** @typedef {import('./faults.mjs').FaultSpec} FaultSpec */
/** @typedef {import('node:http').ServerResponse} Response */

// A reset makes the peer drop what it has not read yet; so it gets a moment to read.
const LINGER_MS = 20

/**
 * @typedef {object} Delivery
 * @property {Response} res
 * @property {FaultSpec | undefined} fault
 * @property {() => Answer} process handles the request for real
 * @property {number} latencyMs
 * @property {() => string} date
 * @property {(answered: number) => void} done called just before the last byte leaves, or when nothing will be sent
 * @property {(fn: () => void, ms: number) => void} later a timer that dies with the server
 */

/** @param {Delivery} delivery */
export function deliver(delivery) {
  const { res, fault, later, done } = delivery
  const answer = () => delivery.process()
  if (!fault) {
    const ready = answer()
    // Never synchronously: two requests that arrive together have to count as two at once.
    if (delivery.latencyMs > 0) return later(() => send(delivery, ready), delivery.latencyMs)
    setImmediate(() => send(delivery, ready))
    return
  }
  const held = (/** @type {() => void} */ fn) =>
    fault.until ? void fault.until.then(fn, fn) : later(fn, fault.delayMs ?? 0)
  switch (fault.kind) {
    case 'status':
      return send(delivery, given(fault))
    case 'redirect':
      return send(
        delivery,
        given({ ...fault, status: fault.status ?? 307, headers: { ...fault.headers, location: fault.location ?? '' } }),
      )
    case 'answer-after':
      answer()
      return send(delivery, given(fault))
    case 'mutate':
      return send(delivery, mutated(answer(), fault))
    case 'slow': {
      const ready = answer()
      return held(() => send(delivery, ready))
    }
    case 'delay-before':
      return held(() => send(delivery, answer()))
    case 'hang':
      return
    case 'hang-after':
      answer()
      return
    case 'reset-before':
      return reset(res)
    case 'reset-after':
      answer()
      done(0)
      return reset(res)
    case 'fin-before':
      done(0)
      res.socket?.end()
      return
    case 'fin-after':
      answer()
      done(0)
      res.socket?.end()
      return
    case 'truncate': {
      const bytes = serialise(answer(), delivery.date())
      done(0)
      res.socket?.write(bytes.whole.subarray(0, cutAt(bytes, fault.at)), () => {
        if (fault.reset) later(() => reset(res), LINGER_MS)
        else res.socket?.end()
      })
      return
    }
    case 'dribble': {
      const ready = answer()
      const { whole } = serialise(ready, delivery.date())
      const step = Math.max(1, fault.bytesPerTick ?? 1)
      let at = 0
      const tick = () => {
        if (!res.socket || res.socket.destroyed) return
        const part = whole.subarray(at, at + step)
        at += step
        if (at < whole.length) {
          res.socket.write(part)
          later(tick, fault.tickMs ?? 10)
        } else {
          done(ready.status)
          res.socket.end(part)
        }
      }
      return tick()
    }
  }
}

/** @param {Delivery} delivery @param {Answer} answer */
function send({ res, date, done }, answer) {
  done(answer.status)
  if (res.destroyed || !res.socket || res.socket.destroyed) return
  res.writeHead(answer.status, { date: date(), ...answer.headers, ...length(answer) })
  res.end(answer.body)
}

/** @param {Answer} answer @returns {Record<string, string>} */
function length(answer) {
  // Neither 204 nor 304 may say a length.
  return answer.status === 204 || answer.status === 304
    ? {}
    : { 'content-length': String(Buffer.byteLength(answer.body)) }
}

/** @param {FaultSpec} fault @returns {Answer} */
function given(fault) {
  /** @type {Record<string, string | string[]>} */
  const headers = {}
  for (const [name, value] of Object.entries(fault.headers ?? {}))
    headers[name.toLowerCase()] = Array.isArray(value) ? value : String(value)
  const { body } = fault
  if (body === undefined) return { status: fault.status ?? 500, headers, body: '' }
  const raw = typeof body === 'string' || Buffer.isBuffer(body)
  headers['content-type'] ??= raw ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  return { status: fault.status ?? 500, headers, body: raw ? body : JSON.stringify(body) }
}

/** @param {Answer} answer @param {FaultSpec} fault @returns {Answer} */
function mutated(answer, fault) {
  /** @type {any} */
  let value = String(answer.body)
  try {
    value = JSON.parse(value)
  } catch {
    // then it gets the text
  }
  if (fault.set && typeof value === 'object' && value !== null) Object.assign(value, fault.set)
  for (const name of fault.remove ?? []) delete value[name]
  if (fault.fn) value = fault.fn(value)
  const extra = given({
    kind: 'status',
    status: fault.status ?? answer.status,
    ...(fault.headers ? { headers: fault.headers } : {}),
  })
  const body = typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
  return { status: extra.status, headers: { ...answer.headers, ...extra.headers }, body }
}

/** @param {Answer} answer @param {string} date */
function serialise(answer, date) {
  const statusLine = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Unknown'}\r\n`
  let head = ''
  for (const [name, value] of Object.entries({ date, ...answer.headers, ...length(answer), connection: 'close' })) {
    for (const one of Array.isArray(value) ? value : [value]) head += `${name}: ${one}\r\n`
  }
  const start = Buffer.from(`${statusLine}${head}\r\n`, 'latin1')
  return { whole: Buffer.concat([start, Buffer.from(answer.body)]), statusLine: statusLine.length, head: start.length }
}

/** @param {ReturnType<typeof serialise>} bytes @param {FaultSpec['at']} at */
function cutAt({ whole, statusLine, head }, at) {
  if (typeof at === 'number') return at
  if (at === 'status-line') return Math.floor(statusLine / 2)
  if (at === 'headers') return statusLine + Math.floor((head - statusLine) / 2)
  return at === 'between' ? head : head + Math.floor((whole.length - head) / 2)
}

/** @param {Response} res */
function reset(res) {
  const socket = /** @type {(import('node:net').Socket & {_parent?: import('node:net').Socket}) | null} */ (res.socket)
  if (!socket || socket.destroyed) return
  // Under TLS only the socket below can be reset.
  for (const candidate of [socket, socket._parent]) {
    if (!candidate || candidate.destroyed) continue
    try {
      candidate.resetAndDestroy()
      break
    } catch {
      // not a TCP handle
    }
  }
  socket.destroy()
}
