// @ts-check
// Reads the tables of a binary. A damaged one names places outside of it, or more entries than it has room for: that ends the check, before the
// check goes through the entries.

/** An error of a binary that cannot be whole. */
export class Damaged extends Error {}

/** Checks that a part of a file lies in it. @param {Buffer} bytes @param {number} offset @param {number} size */
export function inFile(bytes, offset, size) {
  if (offset + size > bytes.length)
    throw new Damaged(`a part of it ends at ${offset + size}, and the file at ${bytes.length}`)
}

/**
 * Where each entry of a table begins.
 * @param {Buffer} bytes
 * @param {{ count: number, offset: number, size: number }} table `size`: the bytes of one entry
 */
export function entries(bytes, { count, offset, size }) {
  inFile(bytes, offset, Math.floor(count) * size)
  return Array.from({ length: size > 0 ? count : 0 }, (_, index) => offset + index * size)
}

/** A text that ends with a zero. @param {Buffer} bytes @param {number} at */
export function textAt(bytes, at) {
  const end = bytes.indexOf(0, at)
  if (at >= bytes.length || end < 0) throw new Damaged('a name of it has no end')
  return bytes.toString('latin1', at, end)
}
