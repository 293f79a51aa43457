// @ts-check
// Medians of variants that are measured in turn, so that other load on the machine affects all of them alike.

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]]
  if (low === undefined || high === undefined) throw new Error('a median of nothing')
  return (low + high) / 2
}

/**
 * Measures each variant once in each round, in another order each time, and returns the samples of all rounds. The rounds to
 * warm up do not count.
 * @template {string} Name
 * @template T
 * @param {Record<Name, () => T | Promise<T>>} variants
 * @param {{ rounds: number, warmUp: number }} how
 * @returns {Promise<Record<Name, T[]>>}
 */
export async function inTurn(variants, { rounds, warmUp }) {
  const names = /** @type {Name[]} */ (Object.keys(variants))
  const samples = /** @type {Record<Name, T[]>} */ (
    Object.fromEntries(names.map((name) => [name, /** @type {T[]} */ ([])]))
  )
  for (let round = 0; round < warmUp + rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = /** @type {Name} */ (names[(i + round) % names.length])
      const sample = await variants[name]()
      if (round >= warmUp) samples[name].push(sample)
    }
  }
  return samples
}

/**
 * The median of each variant.
 * @template {string} Name
 * @param {Record<Name, number[]>} samples
 */
export function medians(samples) {
  return /** @type {Record<Name, number>} */ (
    Object.fromEntries(
      Object.entries(samples).map(([name, values]) => [name, median(/** @type {number[]} */ (values))]),
    )
  )
}
