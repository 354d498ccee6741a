/** Bits of an empty block of fixed codes: type 1, and its end, seven zeros (RFC 1951, 3.2.6). */
const FIXED_BITS = 10

/** A value and its bits, the lowest first. */
type Field = readonly [value: number, bits: number]

/**
 * An empty block of dynamic codes, 93 bits: the end of the block is the only code, and there is one distance, both
 * of one bit (RFC 1951, 3.2.7). The lengths are run-length coded: 138 and 118 zeros, then two ones.
 */
const DYNAMIC: readonly Field[] = [
  // Not the last block, of type 2.
  [0, 1],
  [2, 2],
  // 257 literals and lengths, 1 distance, 19 lengths of code lengths, less 257, 1 and 4.
  [0, 5],
  [0, 5],
  [15, 4],
  // In the order 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15: the codes 18 and 1 have one bit.
  [0, 3],
  [0, 3],
  [1, 3],
  ...Array.from({ length: 14 }, (): Field => [0, 3]),
  [1, 3],
  [0, 3],
  // 1 is the code 0, and 18, the higher symbol, the code 1.
  [1, 1],
  [127, 7],
  [1, 1],
  [107, 7],
  [0, 1],
  [0, 1],
  // The end of the block: the only code.
  [0, 1],
]

/**
 * Blocks that decode to nothing and end `8 - bits` bits into a byte, followed by the `bits` upper bits of `before`: what
 * stands before bytes that begin in the middle of a byte, for decoders that begin with a whole one.
 * @param bits 1 to 7
 */
export function emptyBlocks(bits: number, before: number): Uint8Array {
  const wanted = 8 - bits
  const fields: Field[] = []
  let length = 0
  const add = (field: Field): void => {
    fields.push(field)
    length += field[1]
  }
  // A block of fixed codes has an even number of bits.
  if (wanted % 2 === 1) DYNAMIC.forEach(add)
  while (length % 8 !== wanted) {
    add([0, 1])
    add([1, 2])
    add([0, FIXED_BITS - 3])
  }
  add([before >> wanted, bits])
  return packed(fields, length)
}

function packed(fields: readonly Field[], length: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(length / 8))
  let at = 0
  for (const [value, bits] of fields) {
    for (let i = 0; i < bits; i++, at++) {
      if (((value >> i) & 1) !== 0) bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (1 << (at & 7))
    }
  }
  return bytes
}
