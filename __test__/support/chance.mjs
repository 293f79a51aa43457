// @ts-check
// Random numbers that are the same at every run.

/** @param {number} seed */
export function chance(seed) {
  let state = seed >>> 0
  // mulberry32
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (/** @type {number} */ limit) => Math.floor(next() * limit)
  return {
    below,
    /** @param {number} share of 1 */
    is: (share) => next() < share,
    /** @template T @param {readonly T[]} from @returns {T} */
    pick: (from) => /** @type {T} */ (from[below(from.length)]),
    /** An array with a random number of values. @template T @param {number} atLeast @param {number} atMost @param {() => T} make */
    some: (atLeast, atMost, make) => Array.from({ length: atLeast + below(atMost - atLeast + 1) }, make),
  }
}

/** @typedef {ReturnType<typeof chance>} Chance */
