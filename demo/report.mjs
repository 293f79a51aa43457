// The output of the demo, and the checks of its claims.

/** A claim that did not hold. It ends the demo with exit code 1. */
export class Broken extends Error {}

let claims = 0

/** @param {string} title */
export function step(title) {
  console.log(`\n${title}`)
}

/** @param {string} line */
export function say(line) {
  console.log(`    ${line}`)
}

/**
 * Prints a claim that holds, or ends the demo.
 * @param {boolean} holds
 * @param {string} sentence
 * @param {unknown} [found] What there was instead. No secrets.
 */
export function claim(holds, sentence, found) {
  if (holds !== true)
    throw new Broken(found === undefined ? sentence : `${sentence}\n      found: ${JSON.stringify(found)}`)
  claims += 1
  console.log(`  ✓ ${sentence}`)
}

export const proved = () => claims
