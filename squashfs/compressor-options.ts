import { ByteReader, type ByteSource, FsError } from '../src/base/index.ts'
import type { CompressorName } from '../src/codecs/index.ts'
import { SUPERBLOCK_FLAGS, SUPERBLOCK_SIZE, type Superblock } from './superblock.ts'

/** Named values of the compressor's options, in the order of the format; empty where the image has none. */
export type CompressorOptions = Readonly<Record<string, number>>

interface OptionField {
  readonly name: string
  readonly width: 2 | 4
  readonly valid: (value: number) => boolean
}

const between =
  (low: number, high: number) =>
  (value: number): boolean =>
    value >= low && value <= high

/** squashfs: Compression Options. They inform; no decoder needs them, but a wrong one means a damaged image. */
const FIELDS: Readonly<Record<CompressorName, readonly OptionField[]>> = {
  gzip: [
    { name: 'compressionLevel', width: 4, valid: between(1, 9) },
    { name: 'windowSize', width: 2, valid: between(8, 15) },
    { name: 'strategies', width: 2, valid: between(0, 0x1f) },
  ],
  lzma: [],
  lzo: [
    { name: 'algorithm', width: 4, valid: between(0, 4) },
    { name: 'compressionLevel', width: 4, valid: between(0, 9) },
  ],
  xz: [
    { name: 'dictionarySize', width: 4, valid: isXzDictionarySize },
    { name: 'filters', width: 4, valid: () => true },
  ],
  lz4: [
    { name: 'version', width: 4, valid: (value) => value === 1 },
    { name: 'flags', width: 4, valid: () => true },
  ],
  zstd: [{ name: 'compressionLevel', width: 4, valid: between(1, 22) }],
}

/** A power of two, or the sum of two consecutive ones (fs/squashfs/xz_wrapper.c:squashfs_xz_comp_opts). */
function isXzDictionarySize(size: number): boolean {
  const lowest = size & -size
  return size !== 0 && (size === lowest >>> 0 || size === (lowest >>> 0) * 3)
}

/** @throws FsError EIO where the options are damaged, or missing where the compressor requires them (lz4) */
export function readCompressorOptions(source: ByteSource, superblock: Superblock): CompressorOptions {
  const { compressor } = superblock
  const what = `${source.label}: ${compressor} options`
  if ((superblock.flags & SUPERBLOCK_FLAGS.compressorOptions) === 0) {
    if (compressor === 'lz4') throw new FsError('EIO', `${what}: missing, but lz4 requires them`)
    return {}
  }
  const fields = FIELDS[compressor]
  const size = fields.reduce((sum, field) => sum + field.width, 0)
  const room = Math.min(superblock.inodeTable - SUPERBLOCK_SIZE, 2 + size)
  const bytes = new Uint8Array(room)
  source.readInto(SUPERBLOCK_SIZE, bytes)
  const reader = ByteReader.over(bytes, what)
  const header = reader.u16()
  if (header < (0x8000 | size)) {
    throw new FsError(
      'EIO',
      `${what}: header 0x${header.toString(16)}, expected ${size} bytes, not compressed`,
    )
  }
  const options: Record<string, number> = {}
  for (const { name, width, valid } of fields) {
    const value = width === 4 ? reader.u32() : reader.u16()
    if (!valid(value)) throw new FsError('EIO', `${what}: ${name} is ${value}`)
    options[name] = value
  }
  return options
}
