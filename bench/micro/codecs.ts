import { COMPRESSOR_NAMES, type CompressorName } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { ENCODERS } from '../../test/codecs/compress.ts'
import { binaryBytes } from '../../test/codecs/samples.ts'
import { repeat } from './protocol.ts'
import type { MicroCase } from './timer.ts'

/** What mksquashfs does by default, by the label of the encoder. */
const ENCODER: Readonly<Record<CompressorName, string>> = {
  gzip: 'level 9',
  lzma: 'size and end marker',
  lzo: 'lzo1x_999',
  xz: 'CRC32',
  lz4: 'fast',
  zstd: 'level 15',
}
const BLOCKS = 48

/**
 * Every decoder that this machine has, on blocks of machine code, on one thread.
 * @param blockSize bytes that a block decodes to
 * @param wanted tells by a case's name whether it is to be made: to compress the samples takes some seconds
 */
export function codecCases(blockSize: number, wanted: (name: string) => boolean): MicroCase[] {
  const output = new Uint8Array(new SharedArrayBuffer(blockSize))
  const blocks = Array.from({ length: BLOCKS }, (_, i) => binaryBytes(blockSize, (8 + i) << 20))
  return COMPRESSOR_NAMES.flatMap((compressor) => {
    const encoder = ENCODERS[compressor].find(({ label }) => label === ENCODER[compressor])
    const codecs = CANDIDATES[compressor].map(openCandidate).filter((codec) => codec !== undefined)
    const cases = codecs.map((codec) => ({ codec, name: `codec ${compressor}, ${codec.tier}` }))
    const chosen = cases.filter(({ name }) => wanted(name))
    if (encoder === undefined || chosen.length === 0) return []
    const stored = blocks.map(encoder.compress)
    return chosen.map(({ codec, name }) => ({
      name,
      operation: `a block of ${blockSize / 1024} KiB, ${codec.library}`,
      bytes: blockSize,
      run: (count: number) =>
        repeat(count, (i) => codec.decode(stored[i % BLOCKS] ?? new Uint8Array(), output)),
    }))
  })
}
