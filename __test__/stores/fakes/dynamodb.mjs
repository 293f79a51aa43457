// @ts-check
// A fake of DynamoDB: one table, GetItem and PutItem with a condition. It is not DynamoDB.
import { serve } from './server.mjs'

const MOST_BYTES = 400 * 1024

/** @param {{ table: string, key: string }} options */
export async function startDynamoDb({ table, key }) {
  /** The items, and what each was before: a read that is not consistent gives that. @type {Map<string, { now: any, before: any }>} */
  const items = new Map()
  const json = (/** @type {number} */ status, /** @type {object} */ body) => ({
    status,
    headers: { 'content-type': 'application/x-amz-json-1.0' },
    body: JSON.stringify(body),
  })
  const failure = (/** @type {string} */ type, message = type) =>
    json(400, { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message })

  const server = await serve(({ method, headers, body }) => {
    const [, call] = /^DynamoDB_20120810\.(\w+)$/.exec(String(headers['x-amz-target'])) ?? []
    if (method !== 'POST' || call === undefined) return failure('UnknownOperationException')
    if (!String(headers.authorization).startsWith('AWS4-HMAC-SHA256 '))
      return failure('MissingAuthenticationTokenException')
    const request = JSON.parse(body)
    if (request.TableName !== table) return failure('ResourceNotFoundException')
    if (call === 'GetItem') {
      const found = items.get(request.Key[key].S)
      const item = request.ConsistentRead === true ? found?.now : found?.before
      return json(200, item === undefined ? {} : { Item: item })
    }
    if (call === 'PutItem') {
      const { Item } = request
      if (Buffer.byteLength(JSON.stringify(Item)) > MOST_BYTES) {
        return failure('ValidationException', 'Item size has exceeded the maximum allowed size')
      }
      const id = Item[key].S
      const now = items.get(id)?.now
      if (!holds(request, now)) return failure('ConditionalCheckFailedException', 'The conditional request failed')
      items.set(id, { now: Item, before: now })
      return json(200, {})
    }
    return failure('UnknownOperationException')
  })
  return { ...server, items }
}

/**
 * Whether the condition of a request holds. Two kinds are known: `attribute_not_exists(#a)` and `#a IN (:b, :c)`.
 * @param {any} request
 * @param {any} item
 */
function holds({ ConditionExpression, ExpressionAttributeNames = {}, ExpressionAttributeValues = {} }, item) {
  if (ConditionExpression === undefined) return true
  const [, absent] = /^attribute_not_exists\((#\w+)\)$/.exec(ConditionExpression) ?? []
  if (absent !== undefined) return item?.[ExpressionAttributeNames[absent]] === undefined
  const [, name, values] = /^(#\w+) IN \((:\w+(?:, :\w+)*)\)$/.exec(ConditionExpression) ?? []
  if (name === undefined || values === undefined) throw new Error(`an unknown condition: ${ConditionExpression}`)
  const found = item?.[ExpressionAttributeNames[name]]?.S
  return values.split(', ').some((value) => found !== undefined && ExpressionAttributeValues[value].S === found)
}
