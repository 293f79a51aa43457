// @ts-check
// A fake of S3: objects with GET, and PUT with If-Match and If-None-Match. It is not S3.
import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { serve } from './server.mjs'

export async function startS3() {
  /** @type {Map<string, { body: string, etag: string }>} */
  const objects = new Map()
  /** The objects that are being written: a write with a condition beside another one is a conflict. @type {Set<string>} */
  const busy = new Set()
  const failure = (/** @type {number} */ status, /** @type {string} */ code) => ({
    status,
    headers: { 'content-type': 'application/xml' },
    body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`,
  })

  const server = await serve(async ({ method, path, headers, body }) => {
    if (!String(headers.authorization).startsWith('AWS4-HMAC-SHA256 ')) return failure(403, 'AccessDenied')
    const found = objects.get(path)
    if (method === 'GET') {
      if (!found) return failure(404, 'NoSuchKey')
      return {
        status: 200,
        headers: { etag: found.etag, 'content-type': 'application/octet-stream' },
        body: found.body,
      }
    }
    if (method !== 'PUT') return failure(405, 'MethodNotAllowed')
    const { 'if-match': match, 'if-none-match': none } = headers
    if ((match !== undefined || none !== undefined) && busy.has(path)) return failure(409, 'ConditionalRequestConflict')
    busy.add(path)
    try {
      await turn()
      if (match !== undefined && !found) return failure(404, 'NoSuchKey')
      if (match !== undefined && match !== found?.etag) return failure(412, 'PreconditionFailed')
      if (none === '*' && found) return failure(412, 'PreconditionFailed')
      const etag = `"${createHash('md5').update(body).digest('hex')}"`
      objects.set(path, { body, etag })
      return { status: 200, headers: { etag } }
    } finally {
      busy.delete(path)
    }
  })
  return { ...server, objects }
}
