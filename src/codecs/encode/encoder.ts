import type { CompressorName, Tier } from '../common/codec.ts'

/** The compressors that can be written; images with lzo and lzma are read only. */
export type EncoderName = Exclude<CompressorName, 'lzo' | 'lzma'>

/** How to compress. What is absent has the default of mksquashfs. */
export interface EncoderSettings {
  readonly name: EncoderName
  /** gzip 1 to 9 (default 9), zstd 1 to 22 (default 15), xz 0 to 9 (default 6); lz4: 1 fast (default), 2 to 12 `HC`. */
  readonly level?: number
  /** Block size of the image, bytes: the dictionary of xz. */
  readonly blockSize: number
}

/** One encoder with its own context. One instance a thread: a call must end before the next one begins. */
export interface Encoder {
  readonly name: EncoderName
  readonly tier: Tier
  /** What encodes, with its version where it says one: two that are the same give the same bytes. */
  readonly library: string
  /**
   * Compresses one block.
   * @param output room for the result
   * @returns bytes of the result; 0 if it does not fit into `output`, so that the block is better stored as it is
   */
  encode(input: Uint8Array, output: Uint8Array): number
}

/** A way to encode, not yet loaded. */
export interface EncoderCandidate {
  readonly name: EncoderName
  readonly tier: Tier
  readonly library: string
  /** @returns undefined if this machine does not have it */
  open(settings: EncoderSettings): Encoder | undefined
}

export const DEFAULT_LEVELS: Readonly<Record<EncoderName, number>> = { gzip: 9, zstd: 15, xz: 6, lz4: 1 }
export const LEVEL_RANGES: Readonly<Record<EncoderName, readonly [least: number, most: number]>> = {
  gzip: [1, 9],
  zstd: [1, 22],
  xz: [0, 9],
  lz4: [1, 12],
}

/** Puts what a package has encoded where the caller wants it, as `Encoder.encode` says. */
export function placed(encoded: Uint8Array, output: Uint8Array): number {
  if (encoded.length > output.length) return 0
  output.set(encoded)
  return encoded.length
}
