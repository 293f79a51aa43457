// @ts-check
// What a test file does, as `node --test-reporter` calls it: a line of JSON for each test that ended, so that a file that hangs or crashes
// leaves what it did until then. The line `{ "ended": true }` is the last one of a file that came to its end.

/**
 * @param {AsyncIterable<{ type: string, data: any }>} events
 * @returns {AsyncGenerator<string>}
 */
export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === 'test:diagnostic' && data.nesting === 0 && data.message.startsWith('duration_ms'))
      yield `${JSON.stringify({ ended: true })}\n`
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const error = data.details.error
    const skipped = data.skip !== undefined && data.skip !== false
    // A suite, or a test with tests in it, is told by those. It counts by itself if it is skipped, or if one of its hooks fails.
    const isToldByOthers =
      type === 'test:pass' ? data.details.type === 'suite' && !skipped : error?.failureType === 'subtestsFailed'
    if (isToldByOthers) continue
    const outcome = skipped ? 'skip' : type === 'test:pass' ? 'pass' : 'fail'
    const reason = error ? String(error.cause?.stack ?? error.cause ?? error.message) : undefined
    yield `${JSON.stringify({ name: data.name, outcome, reason })}\n`
  }
}
