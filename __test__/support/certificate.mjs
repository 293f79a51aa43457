// @ts-check
// A certificate of the test's own, made when it is needed: one in a file would expire, and its key would look like a secret.
import { generateKeyPairSync, sign } from 'node:crypto'

const DAY_MS = 86_400_000

/** @param {number} tag @param {Buffer[]} parts */
function der(tag, ...parts) {
  const body = Buffer.concat(parts)
  // DER wants the shortest form of a length, and strict readers insist.
  const { length } = body
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), body])
}

/** @param {Buffer[]} parts */
const sequence = (...parts) => der(0x30, ...parts)
/** @param {string} hex */
const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'))
/** @param {Date} date */
const time = (date) => der(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`))
/** @param {string} label @param {Buffer} bytes */
const pem = (label, bytes) =>
  `-----BEGIN ${label}-----\n${bytes.toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

/**
 * A self-signed certificate for hosts, valid from yesterday until tomorrow.
 * @param {string} host
 * @param {...string} others
 */
export function certificateFor(host, ...others) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
  const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(host)))))
  const subjectAltName = sequence(
    oid('551d11'),
    der(0x04, sequence(...[host, ...others].map((name) => der(0x82, Buffer.from(name))))),
  )
  const now = Date.now()
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(time(new Date(now - DAY_MS)), time(new Date(now + DAY_MS))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(subjectAltName)),
  )
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey))
  return {
    cert: pem('CERTIFICATE', sequence(body, ecdsaWithSha256, signature)),
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}
