import {
  type BlockReader,
  type ByteSource,
  type ImageFacts,
  type ImageKind,
  type ImageSummary,
  type KindSession,
  type Layer,
  type OpenOptions,
  omitUndefined,
  type Region,
  type SessionOptions,
} from '../src/base/index.ts'
import { Ext4BlockReader } from './block-reader.ts'
import { PIECE_SIZE } from './files/file-reader.ts'
import { Ext4Image } from './image.ts'
import { remarkOf, summarize, writeObstacle } from './summary.ts'
import {
  looksLikeExt,
  readSuperblock,
  SUPERBLOCK_POSITION,
  SUPERBLOCK_SIZE,
} from './superblock/superblock.ts'
import { MetadataCache } from './volume/metadata-cache.ts'

/** The overlay of an OCI image in a SIF (`image/layer/ext3`); a writable one, of which the last state counts. */
const MEDIA_TYPE = 'application/vnd.sylabs.image.layer.v1.ext3'

/** The only door to this folder. */
export const EXT4: ImageKind = {
  name: 'ext4',
  title: 'an ext2, ext3 or ext4 file system',
  mediaTypes: `ext3 layers (${MEDIA_TYPE})`,
  isMediaType: (mediaType) => mediaType === MEDIA_TYPE,
  probe: looksLikeExt,

  /** Metadata lie everywhere, so those of a large image are verified when they are read, as its data are. */
  describe(source: ByteSource): ImageFacts {
    const image = new Ext4Image({ source, sourceId: 0, label: source.label })
    const { blockCount, blockSize } = image.superblock
    const bytesUsed = blockCount * blockSize
    const facts = { bytesUsed, blockSize: PIECE_SIZE, metadataStart: bytesUsed, detail: '' }
    return { ...facts, ...omitUndefined({ remark: remarkOf(image) }) }
  },

  writeObstacle: (source, place) => writeObstacle(readSuperblock(source), place),

  open: (options) => new Ext4Session(options),

  summarize: (source: ByteSource): ImageSummary =>
    summarize(new Ext4Image({ source, sourceId: 0, label: source.label })),

  regions(source: ByteSource): readonly Region[] {
    const { blockCount, blockSize } = readSuperblock(source)
    const start = SUPERBLOCK_POSITION + SUPERBLOCK_SIZE
    return [
      { name: 'superblock', start: SUPERBLOCK_POSITION, end: start },
      { name: 'blocks', start, end: blockCount * blockSize },
    ]
  },
}

class Ext4Session implements KindSession {
  readonly #cache: MetadataCache

  constructor({ metadataBytes }: SessionOptions) {
    this.#cache = new MetadataCache(metadataBytes)
  }

  openLayer({ source, sourceId, label, pause, isMerged }: OpenOptions): Layer {
    return new Ext4Image({ source, sourceId, label, cache: this.#cache, pause, isMerged })
  }

  openBlocks({ source }: OpenOptions): BlockReader {
    return new Ext4BlockReader(source)
  }
}
