// @ts-check
// Figures about a run, computed from the requests that Ring saw and the tokens that the hosts reported.

/**
 * A refresh as Ring saw it.
 * @typedef {object} Seen
 * @property {string} family
 * @property {number} number the number of the token that was sent, within its family
 * @property {number | undefined} status 0 or undefined if the answer was cut off
 * @property {number} at the time at which the request arrived, in milliseconds
 */

/**
 * Returns how many rotations the oldest token that was sent was behind the current one. The refreshes are in the order in which Ring
 * processed them. If Ring answers one token several times, each answer counts as one rotation after that token. So a token whose answers
 * were lost several times stays one rotation behind.
 * @param {Pick<Seen, 'family' | 'number' | 'status'>[]} seen
 */
export function oldest(seen) {
  /** For each family: its newest token, and the number of rotations from the first token to each other one. */
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
    // Ring rotates before it answers, so an answer that was cut off counts.
    if (status === 200 || (!status && number >= newest)) {
      known.newest = Math.max(newest, number) + 1
      depths.set(known.newest, depth + 1)
    }
  }
  return most
}

/**
 * Returns the largest number of refreshes of one family on which Ring worked at the same time.
 * @param {Pick<Seen, 'family' | 'at'>[]} seen in the order of their arrival
 * @param {number} latencyMs the time for which Ring works on each
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
 * Returns the shortest time between two rotations of one family, in seconds.
 * @param {Pick<Seen, 'family' | 'status' | 'at'>[]} seen in the order of their arrival
 */
export function shortest(seen) {
  const rotations = seen.filter(({ status }) => status === 200)
  const gaps = byFamily(rotations).flatMap((times) => times.slice(1).map((at, i) => at - Number(times[i])))
  return gaps.length === 0 ? undefined : Math.min(...gaps) / 1000
}

/** Groups the times of arrival by family. @param {Pick<Seen, 'family' | 'at'>[]} seen */
function byFamily(seen) {
  /** @type {Map<string, number[]>} */
  const times = new Map()
  for (const { family, at } of seen) times.set(family, [...(times.get(family) ?? []), at])
  return [...times.values()]
}

/**
 * Returns, for each access token and each host, the time from the first host that had the token to this host, in milliseconds.
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

/** Returns the quantile of some values. @param {number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}
