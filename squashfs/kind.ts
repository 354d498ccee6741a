import type {
  BlockReader,
  ByteSource,
  ImageFacts,
  ImageKind,
  ImageSummary,
  KindSession,
  Layer,
  OpenOptions,
  Region,
  SessionOptions,
} from '../src/base/index.ts'
import { type CompressorName, openCodec } from '../src/codecs/index.ts'
import { BlockScratch, SquashfsBlockReader } from './block-reader.ts'
import { SquashfsImage } from './image.ts'
import { isSquashfsMediaType } from './media-type.ts'
import { MetadataCache } from './metadata/metadata-cache.ts'
import { summarize } from './summary.ts'
import { NO_TABLE, readSuperblock, SUPERBLOCK_SIZE } from './superblock.ts'

/** `hsqs`, the magic number of little-endian images (squashfs: Superblock). */
const MAGIC = [0x68, 0x73, 0x71, 0x73]

/** The only door to this folder for those who mount images; the library offers `index.ts` beside it. */
export const SQUASHFS: ImageKind = {
  name: 'squashfs',
  title: 'a squashfs image',
  mediaTypes:
    'squashfs layers (application/vnd.stacker.image.layer.squashfs[+gzip|+zstd|…], ' +
    'application/vnd.sylabs.image.layer.v1.squashfs, application/vnd.*.image.layer.squashfs*)',

  isMediaType: isSquashfsMediaType,

  probe: (head) => MAGIC.every((byte, i) => head[i] === byte),

  describe(source: ByteSource): ImageFacts {
    const { bytesUsed, blockSize, inodeTable, compressor } = readSuperblock(source)
    return { bytesUsed, blockSize, metadataStart: inodeTable, detail: compressor }
  },

  open: (options) => new SquashfsSession(options),

  summarize(source: ByteSource): ImageSummary {
    const { label } = source
    return {
      kind: 'squashfs',
      ...summarize(new SquashfsImage({ source, sourceId: 0, label, codec: openCodec })),
    }
  },

  regions(source: ByteSource): readonly Region[] {
    const superblock = readSuperblock(source)
    const tables = [
      { name: 'superblock', start: 0, end: SUPERBLOCK_SIZE },
      { name: 'inode table', start: superblock.inodeTable },
      { name: 'directory table', start: superblock.directoryTable },
      { name: 'fragment table', start: superblock.fragmentTable },
      { name: 'export table', start: superblock.exportTable },
      { name: 'id table', start: superblock.idTable },
      { name: 'xattr table', start: superblock.xattrTable },
    ]
      .filter(({ start }) => start !== NO_TABLE)
      .sort((a, b) => a.start - b.start)
    // A table ends where the next begins.
    return tables.map(({ name, start, end }, i) => {
      return { name, start, end: end ?? tables[i + 1]?.start ?? superblock.bytesUsed }
    })
  },
}

class SquashfsSession implements KindSession {
  readonly #metadataCache: MetadataCache
  readonly #scratch = new BlockScratch()

  constructor({ details, metadataBytes }: SessionOptions) {
    this.#metadataCache = new MetadataCache(metadataBytes)
    for (const compressor of details) openCodec(compressor as CompressorName)
  }

  openLayer({ source, sourceId, label, detail, pause }: OpenOptions): Layer {
    const codec = openCodec(detail as CompressorName)
    return new SquashfsImage({
      source,
      sourceId,
      label,
      codec,
      metadataCache: this.#metadataCache,
      ...(pause === undefined ? {} : { pause }),
    })
  }

  openBlocks({ source, detail }: OpenOptions): BlockReader {
    return new SquashfsBlockReader(source, openCodec(detail as CompressorName), this.#scratch)
  }
}
