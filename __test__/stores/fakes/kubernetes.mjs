// @ts-check
// A fake of the API server of Kubernetes: it knows secrets, and checks `resourceVersion` as the real one does. It is not Kubernetes.
import { serve } from './server.mjs'

const MOST_BYTES = 1024 * 1024

/** @param {{ token: string }} options */
export async function startKubernetes({ token }) {
  /** @type {Map<string, any>} */
  const secrets = new Map()
  let revision = 1000
  const json = (/** @type {number} */ status, /** @type {object} */ body) => ({
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const failure = (/** @type {number} */ code, /** @type {string} */ reason) =>
    json(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, code })

  /** @param {string} key @param {any} secret */
  const keep = (key, secret) => {
    const kept = {
      ...secret,
      metadata: {
        ...secret.metadata,
        resourceVersion: String(++revision),
        uid: secret.metadata.uid ?? `uid-${revision}`,
      },
    }
    secrets.set(key, kept)
    return kept
  }

  /** Why a secret is refused. @param {any} secret @param {string | undefined} name */
  const refusal = (secret, name) => {
    if (secret.apiVersion !== 'v1' || secret.kind !== 'Secret') return failure(400, 'BadRequest')
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(secret.metadata?.name ?? '')) return failure(422, 'Invalid')
    if (name !== undefined && secret.metadata.name !== name) return failure(400, 'BadRequest')
    const values = Object.values(secret.data ?? {})
    for (const value of values) {
      if (typeof value !== 'string' || Buffer.from(value, 'base64').toString('base64') !== value) {
        return failure(400, 'BadRequest')
      }
    }
    const bytes = values.reduce((sum, value) => sum + Buffer.from(value, 'base64').length, 0)
    return bytes > MOST_BYTES ? failure(422, 'Invalid') : undefined
  }

  const server = await serve(({ method, path, headers, body }) => {
    if (headers.authorization !== `Bearer ${token}`) return failure(401, 'Unauthorized')
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/secrets(?:\/([^/]+))?$/.exec(path) ?? []
    if (namespace === undefined) return failure(404, 'NotFound')
    if (method === 'GET' && name !== undefined) {
      const found = secrets.get(`${namespace}/${name}`)
      return found ? json(200, found) : failure(404, 'NotFound')
    }
    if (headers['content-type'] !== 'application/json') return failure(415, 'UnsupportedMediaType')
    const given = JSON.parse(body)
    const refused = refusal(given, name)
    if (refused) return refused
    const key = `${namespace}/${given.metadata.name}`
    const found = secrets.get(key)
    if (method === 'POST' && name === undefined) {
      if (given.metadata.resourceVersion !== undefined) return failure(400, 'BadRequest')
      return found ? failure(409, 'AlreadyExists') : json(201, keep(key, given))
    }
    if (method === 'PUT' && name !== undefined) {
      if (!found) return failure(404, 'NotFound')
      // Without a version the real one replaces whatever there is: a recipe that forgets it must fail here.
      const { resourceVersion } = given.metadata
      if (resourceVersion !== undefined && resourceVersion !== found.metadata.resourceVersion)
        return failure(409, 'Conflict')
      return json(200, keep(key, given))
    }
    return failure(405, 'MethodNotAllowed')
  })
  return { ...server, secrets }
}
