// @ts-check
// What Ring saw of a run, and what that says about those who kept the account.

/**
 * A refresh as Ring saw it.
 * @typedef {object} Seen
 * @property {string} family
 * @property {number} number of the token that was presented, within its family
 * @property {number | undefined} status 0 or undefined if the answer was cut off
 * @property {number} at when it came, in milliseconds
 */

/**
 * How many rotations behind the current token the oldest one was that was presented. The refreshes are in the order in which Ring
 * processed them. Of several answers to one token, each is one rotation after it, so that a token whose answers were lost again and again
 * stays the one before.
 * @param {Pick<Seen, 'family' | 'number' | 'status'>[]} seen
 */
export function oldest(seen) {
  /** The newest token of each family, and how many rotations each of its tokens is after the first one. */
  /** @type {Map<string, { newest: number, depths: Map<number, number> }>} */
  const families = new Map()
  let most = 0
  for (const { family, number, status } of seen) {
    const known = families.get(family) ?? { newest: number, depths: new Map([[number, 0]]) }
    families.set(family, known)
    const { newest, depths } = known
    const depthOf = (/** @type {number} */ of) => depths.get(of) ?? of - newest + (depths.get(newest) ?? 0)
    const depth = depthOf(number)
    most = Math.max(most, depthOf(newest) - depth)
    // Ring rotates before it answers: an answer that was cut off counts.
    if (status === 200 || (!status && number >= newest)) {
      known.newest = Math.max(newest, number) + 1
      depths.set(known.newest, depth + 1)
    }
  }
  return most
}

/**
 * How many refreshes of one family Ring worked on at the same time, at most.
 * @param {Pick<Seen, 'family' | 'at'>[]} seen in the order in which they came
 * @param {number} latencyMs how long Ring works on each
 */
export function atOnce(seen, latencyMs) {
  return Math.max(
    0,
    ...byFamily(seen).flatMap((times) =>
      times.map((at, i) => times.slice(i).filter((other) => other - at < latencyMs).length),
    ),
  )
}

/**
 * The shortest time between two rotations of one family, in seconds.
 * @param {Pick<Seen, 'family' | 'status' | 'at'>[]} seen in the order in which they came
 */
export function shortest(seen) {
  const rotations = seen.filter(({ status }) => status === 200)
  const gaps = byFamily(rotations).flatMap((times) => times.slice(1).map((at, i) => at - Number(times[i])))
  return gaps.length === 0 ? undefined : Math.min(...gaps) / 1000
}

/** The times of each family. @param {Pick<Seen, 'family' | 'at'>[]} seen */
function byFamily(seen) {
  /** @type {Map<string, number[]>} */
  const times = new Map()
  for (const { family, at } of seen) times.set(family, [...(times.get(family) ?? []), at])
  return [...times.values()]
}

/**
 * How long it took from the first host that had an access token to each other one, in milliseconds.
 * @param {{ host: number, token: string, at: number }[]} reports
 */
export function adoptions(reports) {
  /** @type {Map<string, Map<number, number>>} */
  const tokens = new Map()
  for (const { host, token, at } of reports) {
    const hosts = tokens.get(token) ?? new Map()
    if (!hosts.has(host)) hosts.set(host, at)
    tokens.set(token, hosts)
  }
  return [...tokens.values()].flatMap((hosts) => {
    const [first = 0, ...others] = [...hosts.values()].toSorted((a, b) => a - b)
    return others.map((at) => at - first)
  })
}

/** The value below which a share of the values lies. @param {number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}
