/**
 * The LZ4 block format (lz4: doc/lz4_Block_format.md) in TypeScript. squashfs stores such blocks bare: no frame, no
 * checksum, and no end marker, so that input cut exactly after a run of literals is a shorter block.
 */

const MIN_MATCH = 4
/** From here on the engine's block copy beats a loop. */
const LONG_COPY = 32

/**
 * @returns decoded length, or the negative position in `input` minus one where it is damaged
 */
export function decodeLz4Block(input: Uint8Array, output: Uint8Array): number {
  const inputEnd = input.length
  const outputEnd = output.length
  let at = 0
  let to = 0
  while (at < inputEnd) {
    const token = input[at++] as number

    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255) {
        if (at >= inputEnd) return -at - 1
        more = input[at++] as number
        literals += more
      }
    }
    if (literals > inputEnd - at || literals > outputEnd - to) return -at - 1
    if (literals >= LONG_COPY) {
      output.set(input.subarray(at, at + literals), to)
      at += literals
      to += literals
    } else {
      for (const end = at + literals; at < end; ) output[to++] = input[at++] as number
    }
    if (at === inputEnd) return to

    if (inputEnd - at < 2) return -at - 1
    const distance = (input[at] as number) | ((input[at + 1] as number) << 8)
    at += 2
    let length = token & 15
    if (length === 15) {
      let more = 255
      while (more === 255) {
        if (at >= inputEnd) return -at - 1
        more = input[at++] as number
        length += more
      }
    }
    length += MIN_MATCH
    if (distance === 0 || distance > to || length > outputEnd - to) return -at - 1
    let from = to - distance
    if (length >= LONG_COPY && distance >= length) {
      output.copyWithin(to, from, from + length)
      to += length
    } else {
      for (const end = to + length; to < end; ) output[to++] = output[from++] as number
    }
  }
  // A block ends with literals; the end after a match, or at once, is the end of half a block.
  return -at - 1
}
