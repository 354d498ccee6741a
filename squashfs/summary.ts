import type { CompressorName } from '../src/codecs/index.ts'
import type { CompressorOptions } from './compressor-options.ts'
import type { SquashfsImage } from './image.ts'
import { NO_TABLE, SUPERBLOCK_FLAGS } from './superblock.ts'

/** What `inspect` tells of an image. */
export interface SquashfsSummary {
  readonly compressor: CompressorName
  readonly options: CompressorOptions
  readonly blockSize: number
  readonly inodes: number
  readonly fragments: number
  readonly ids: number
  readonly bytesUsed: number
  /** Seconds since 1970. */
  readonly mkfsTime: number
  /** Names of the superblock's flags that are set. */
  readonly flags: readonly string[]
  readonly hasXattrs: boolean
  readonly exportable: boolean
}

/** Describes an image by its superblock. */
export function summarize(image: SquashfsImage): SquashfsSummary {
  const { superblock } = image
  return {
    compressor: superblock.compressor,
    options: image.options,
    blockSize: superblock.blockSize,
    inodes: superblock.inodeCount,
    fragments: superblock.fragmentCount,
    ids: superblock.idCount,
    bytesUsed: superblock.bytesUsed,
    mkfsTime: superblock.modTime,
    flags: Object.entries(SUPERBLOCK_FLAGS)
      .filter(([, bit]) => (superblock.flags & bit) !== 0)
      .map(([name]) => name),
    hasXattrs: superblock.xattrTable !== NO_TABLE,
    exportable: superblock.exportTable !== NO_TABLE,
  }
}
