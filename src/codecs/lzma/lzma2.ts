import { type LzmaDecoder, LzmaError } from './decoder.ts'

/**
 * LZMA2: chunks of LZMA or of stored bytes, each with its sizes (xz: doc/xz-file-format.txt §5.3.1; the chunk
 * header as in the kernel's lib/xz/xz_dec_lzma2.c).
 */

const END = 0
const STORED_NEW_DICTIONARY = 1
const STORED = 2
const LZMA = 0x80
// What an LZMA chunk resets, in the two bits below the highest: each includes those before it.
const RESET_STATE = 1
const RESET_PROPERTIES = 2
const RESET_DICTIONARY = 3

/**
 * Decodes from `start` in `input` to `output` at `outputStart`; the decoder's positions are then behind the end
 * marker and behind the last byte written.
 * @throws LzmaError where the data is damaged, ends early, or does not fit
 */
export function decodeLzma2(
  decoder: LzmaDecoder,
  input: Uint8Array,
  start: number,
  output: Uint8Array,
  outputStart: number,
): void {
  let needDictionary = true
  let needProperties = true
  let needState = true
  decoder.start(input, start, output, outputStart)

  const byte = (): number => {
    const value = input[decoder.inputPosition]
    if (value === undefined) throw new LzmaError('ends early')
    decoder.inputPosition++
    return value
  }
  const sizeMinusOne = (high: number): number => {
    const middle = byte()
    return (high << 16) | (middle << 8) | byte()
  }

  for (;;) {
    const control = byte()
    if (control === END) return
    const reset = control >= LZMA ? (control >> 5) & 3 : 0
    if (control === STORED_NEW_DICTIONARY || reset === RESET_DICTIONARY) {
      needDictionary = false
      needProperties = needState = true
      decoder.resetDictionary()
    } else if (needDictionary) {
      throw new LzmaError('first chunk does not start a dictionary')
    }

    const decodedSize = sizeMinusOne(control >= LZMA ? control & 0x1f : 0) + 1
    if (decodedSize > output.length - decoder.outputPosition) {
      throw new LzmaError('decodes to more than the limit')
    }
    if (control < LZMA) {
      if (control > STORED) throw new LzmaError(`unknown chunk type ${control}`)
      if (decodedSize > input.length - decoder.inputPosition) throw new LzmaError('ends early')
      decoder.copyStored(decodedSize)
      continue
    }

    const storedSize = sizeMinusOne(0) + 1
    if (reset >= RESET_PROPERTIES) {
      decoder.setProperties(byte())
      needProperties = false
    } else if (needProperties) {
      throw new LzmaError('chunk without properties')
    }
    if (reset >= RESET_STATE) {
      decoder.resetState()
      needState = false
    } else if (needState) {
      throw new LzmaError('chunk without state reset')
    }
    const end = decoder.inputPosition + storedSize
    if (end > input.length) throw new LzmaError('ends early')
    decoder.startRangeCoder(end)
    if (decoder.decodeTo(decoder.outputPosition + decodedSize)) throw new LzmaError('end marker in a chunk')
    if (!decoder.finishRangeCoder() || decoder.inputPosition !== end) {
      throw new LzmaError(`chunk does not end at ${end}`)
    }
  }
}
