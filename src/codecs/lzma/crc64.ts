/** CRC-64 of ECMA-182, reflected, as xz uses it; in two halves of 32 bits, to do without a BigInt per byte. */

const POLYNOMIAL_LOW = 0xd7870f42
const POLYNOMIAL_HIGH = 0xc96c5795

interface Tables {
  readonly low: Int32Array
  readonly high: Int32Array
}

let tables: Tables | undefined

function makeTables(): Tables {
  const low = new Int32Array(256)
  const high = new Int32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let l = byte
    let h = 0
    for (let bit = 0; bit < 8; bit++) {
      const carry = l & 1
      l = (l >>> 1) | (h << 31)
      h >>>= 1
      if (carry !== 0) {
        l ^= POLYNOMIAL_LOW
        h ^= POLYNOMIAL_HIGH
      }
    }
    low[byte] = l
    high[byte] = h
  }
  return { low, high }
}

/** The checksum as its eight bytes are stored, little-endian. */
export function crc64(bytes: Uint8Array): Uint8Array {
  tables ??= makeTables()
  const { low, high } = tables
  let l = -1
  let h = -1
  for (let i = 0; i < bytes.length; i++) {
    const index = (l ^ (bytes[i] as number)) & 0xff
    l = ((l >>> 8) | (h << 24)) ^ (low[index] as number)
    h = (h >>> 8) ^ (high[index] as number)
  }
  const sum = new Uint8Array(8)
  const view = new DataView(sum.buffer)
  view.setUint32(0, ~l, true)
  view.setUint32(4, ~h, true)
  return sum
}
