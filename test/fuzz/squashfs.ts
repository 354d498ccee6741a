import { readCompressorOptions } from '../../squashfs/compressor-options.ts'
import { decodeSuperblock, readSuperblock, SUPERBLOCK_SIZE } from '../../squashfs/superblock.ts'
import { COMPRESSOR_NAMES } from '../../src/codecs/index.ts'
import { cat, u16, u32 } from '../squashfs/support/bytes.ts'
import { MemorySource } from '../squashfs/support/sources.ts'
import type { FuzzTarget } from './driver.ts'
import { partsTarget } from './image-parts.ts'
import { indexedImage, richImage } from './images.ts'

const RICH = richImage()
const HEAD = RICH.bytes.slice(0, SUPERBLOCK_SIZE)

const SUPERBLOCK: FuzzTarget = {
  name: 'squashfs superblock',
  samples: [HEAD],
  run: (bytes) => void decodeSuperblock(bytes, RICH.bytes.length, 'fuzz'),
  codes: ['EIO', 'EINVAL'],
}

const OPTIONS: readonly FuzzTarget[] = COMPRESSOR_NAMES.map((compressor) => ({
  name: `squashfs options of ${compressor}`,
  samples: [cat(u16(0x8008), u32(1), u32(1)), cat(u16(0x8008), u32(9), u16(15), u16(1))],
  run: (bytes) => {
    const source = new MemorySource(cat(HEAD, bytes, new Uint8Array(64)))
    const inodeTable = SUPERBLOCK_SIZE + bytes.length
    readCompressorOptions(source, {
      ...readSuperblock(new MemorySource(RICH.bytes)),
      compressor,
      flags: 0x400,
      inodeTable,
    })
  },
}))

/** What is read at mount, and whole images: one with all kinds of inodes, one with an indexed directory. */
export const SQUASHFS_TARGETS: readonly FuzzTarget[] = [
  SUPERBLOCK,
  ...OPTIONS.map((target) => ({
    ...target,
    samples: target.samples.filter((sample) => accepts(target, sample)),
  })),
  partsTarget('squashfs image', RICH, [
    (sb) => [sb.inodeTable, sb.directoryTable],
    (sb) => [sb.directoryTable, sb.fragmentTable],
    (sb) => [sb.fragmentTable - 40, sb.idTable + 8],
    (sb) => [sb.idTable + 8, sb.bytesUsed],
    (sb) => [0, sb.bytesUsed],
  ]),
  partsTarget('squashfs image with an index', indexedImage(), [(sb) => [sb.inodeTable, sb.directoryTable]]),
]

/** The options of the compressors differ, so not every sample is one for all. */
function accepts(target: FuzzTarget, sample: Uint8Array): boolean {
  try {
    target.run(sample)
    return true
  } catch {
    return false
  }
}
