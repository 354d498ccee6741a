import { DEFAULT_LEVELS, type EncoderSettings } from '../../src/codecs/encode/index.ts'
import { COMPRESSORS, MAGIC, type Superblock } from '../superblock.ts'
import { RecordBuffer } from './record.ts'

/** LZ4_HC of mksquashfs' options of lz4. */
const LZ4_HIGH = 1
const GZIP_WINDOW = 15

/** squashfs: The Superblock. */
export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const id = COMPRESSORS.indexOf(superblock.compressor) + 1
  const record = new RecordBuffer()
  record.u32(MAGIC).u32(superblock.inodeCount).u32(superblock.modTime).u32(superblock.blockSize)
  record.u32(superblock.fragmentCount).u16(id).u16(superblock.blockLog).u16(superblock.flags)
  record.u16(superblock.idCount).u16(4).u16(0)
  record
    .u16(superblock.rootOffset)
    .u32(superblock.rootBlock % 2 ** 32)
    .u16(Math.floor(superblock.rootBlock / 2 ** 32))
  record.u64(superblock.bytesUsed).u64(superblock.idTable).u64(superblock.xattrTable)
  record.u64(superblock.inodeTable).u64(superblock.directoryTable)
  record.u64(superblock.fragmentTable).u64(superblock.exportTable)
  return record.bytes
}

/**
 * The block of compressor options, as a metadata block that is not compressed (squashfs: Compression Options); empty if
 * every value is the default, as mksquashfs leaves it out then. lz4 always has one.
 */
export function encodeCompressorOptions({ name, level = DEFAULT_LEVELS[name] }: EncoderSettings): Uint8Array {
  const record = new RecordBuffer()
  if (name === 'lz4')
    record
      .u16(0x8000 | 8)
      .u32(1)
      .u32(level > 1 ? LZ4_HIGH : 0)
  else if (level === DEFAULT_LEVELS[name] || name === 'xz') return record.bytes
  else if (name === 'zstd') record.u16(0x8000 | 4).u32(level)
  else
    record
      .u16(0x8000 | 8)
      .u32(level)
      .u16(GZIP_WINDOW)
      .u16(0)
  return record.bytes
}
