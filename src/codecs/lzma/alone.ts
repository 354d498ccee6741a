import { ByteReader } from '../../base/index.ts'
import { type LzmaDecoder, LzmaError } from './decoder.ts'

/**
 * The .lzma format, which squashfs uses for lzma: 13 bytes of header and one LZMA stream (7-Zip SDK:
 * lzma-specification.txt). mksquashfs states the size and writes an end marker as well; other tools do one of the two.
 */

export const LZMA_ALONE_HEADER_SIZE = 13

export interface LzmaAloneHeader {
  readonly properties: number
  /** Bytes; anything up to 4 GiB, not to be believed. */
  readonly dictionarySize: number
  /** Bytes; undefined where only the end marker tells. */
  readonly decodedSize: number | undefined
}

/** @throws FsError EIO where `input` is shorter than the header or the size is no size */
export function decodeLzmaAloneHeader(input: Uint8Array): LzmaAloneHeader {
  const reader = ByteReader.over(input, 'lzma header')
  const properties = reader.u8()
  const dictionarySize = reader.u32()
  const size = reader.u64()
  if (size === 0xffff_ffff_ffff_ffffn) return { properties, dictionarySize, decodedSize: undefined }
  return { properties, dictionarySize, decodedSize: Number(size) }
}

/**
 * @returns decoded length
 * @throws LzmaError where the data is damaged, ends early, or does not fit
 */
export function decodeLzmaAlone(decoder: LzmaDecoder, input: Uint8Array, output: Uint8Array): number {
  const { properties, decodedSize } = decodeLzmaAloneHeader(input)
  if (decodedSize !== undefined && decodedSize > output.length) {
    throw new LzmaError(`header says ${decodedSize} bytes, at most ${output.length} are allowed`)
  }
  decoder.start(input, LZMA_ALONE_HEADER_SIZE, output, 0)
  decoder.setProperties(properties)
  decoder.resetState()
  decoder.startRangeCoder(input.length)
  const marker = decoder.decodeTo(decodedSize ?? output.length)
  const length = decoder.outputPosition
  if (marker) {
    if (decodedSize !== undefined) throw new LzmaError(`end marker after ${length} of ${decodedSize} bytes`)
  } else if (decodedSize === undefined || !decoder.finishRangeCoder()) {
    decoder.expectEndMarker()
  }
  if (!decoder.finishRangeCoder()) throw new LzmaError('range coder does not come to its end')
  return length
}
