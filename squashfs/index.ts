export {
  COMPRESSOR_NAMES,
  type Codec,
  type CodecReport,
  type CompressorName,
  listCodecs,
  openCodec,
  type PackageNeed,
  packageNeed,
  type Tier,
} from '../src/codecs/index.ts'
export { BlockScratch, SquashfsBlockReader } from './block-reader.ts'
export { type CompressorOptions, readCompressorOptions } from './compressor-options.ts'
export type { DirectoryEntry } from './directories/directory-entry.ts'
export { DirectoryListing } from './directories/listing.ts'
export { SquashfsImage, type SquashfsOptions } from './image.ts'
export { generateSquashfsMediaType, hasVerityMetadata, isSquashfsMediaType } from './media-type.ts'
export { METADATA_CACHE_BYTES, MetadataCache } from './metadata/metadata-cache.ts'
export { type SquashfsSummary, summarize } from './summary.ts'
export { readSuperblock, SUPERBLOCK_FLAGS, type Superblock } from './superblock.ts'
