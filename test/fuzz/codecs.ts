import { COMPRESSOR_NAMES } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { ENCODERS } from '../codecs/compress.ts'
import { textBytes } from '../codecs/samples.ts'
import type { FuzzTarget } from './driver.ts'

const ROOM = 4096
const GUARD = 64
const PLAIN = [textBytes(700, 3), new Uint8Array(3000), textBytes(ROOM, 5)]

/** Each decoder of each compressor that this machine has: no byte outside of the output, no more than its length. */
export const CODEC_TARGETS: readonly FuzzTarget[] = COMPRESSOR_NAMES.flatMap((name) => {
  const samples = ENCODERS[name].flatMap((encoder) => PLAIN.map((bytes) => encoder.compress(bytes)))
  return CANDIDATES[name].flatMap((candidate) => {
    const codec = openCandidate(candidate)
    if (codec === undefined || samples.length === 0) return []
    const all = new Uint8Array(ROOM + 2 * GUARD).fill(0xa5)
    const guards = [all.subarray(0, GUARD), all.subarray(GUARD + ROOM)]
    const run = (bytes: Uint8Array): void => {
      const length = codec.decode(bytes, all.subarray(GUARD, GUARD + ROOM))
      if (!(length >= 0 && length <= ROOM)) throw new RangeError(`${length} bytes`)
      if (guards.some((guard) => guard.some((byte) => byte !== 0xa5))) throw new RangeError('wrote outside')
    }
    return [{ name: `${name}, ${codec.library}`, samples, run }]
  })
})
