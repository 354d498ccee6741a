import type {
  BlobList,
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
import { openCodec } from '../src/codecs/index.ts'
import { ChunkReader, ChunkScratch } from './chunks/chunk-reader.ts'
import { PART_SIZE } from './chunks/part.ts'
import { PuzzleImage } from './image.ts'
import { PageCache } from './message/pages.ts'
import { Rootfs } from './rootfs/rootfs.ts'
import { seemsCompressed, summarize } from './summary.ts'

const MEDIA_TYPE = 'application/vnd.puzzlefs.image.rootfs.v1'
/** Verified pages of metadata that a thread which reads data keeps: it needs digests alone, bytes. */
const DIGEST_PAGES = 256 << 10
/** The same of the thread that opens chunks by their names. */
const NAME_PAGES = 1 << 20
/** The compressor of chunks. */
const COMPRESSOR = 'zstd'

/** The only door to this folder for those who mount images. */
export const PUZZLEFS: ImageKind = {
  name: 'puzzlefs',
  title: 'a PuzzleFS image',
  mediaTypes: `PuzzleFS images (${MEDIA_TYPE})`,
  isMediaType: (mediaType) => mediaType === MEDIA_TYPE,
  isVerifiedByDigest: true,
  standsAlone: true,
  // A message has no magic number: the media type of its layer tells.
  probe: () => false,

  describe(source: ByteSource): ImageFacts {
    const { rootfs } = open(source)
    const compressor = seemsCompressed(rootfs) ? COMPRESSOR : 'none'
    return { bytesUsed: source.size, blockSize: PART_SIZE, metadataStart: 0, detail: '', compressor }
  },

  blobs(source: ByteSource): BlobList {
    const { chunks } = new Rootfs(source, new PageCache(NAME_PAGES))
    return {
      count: chunks.count,
      digest: (index) => `sha256:${Buffer.from(chunks.digest(index), 'latin1').toString('hex')}`,
    }
  },

  blobVerity(source: ByteSource): readonly string[] {
    const { chunks } = new Rootfs(source, new PageCache())
    return Array.from({ length: chunks.count }, (_, index) => chunks.verity(index))
  },

  open: (options) => new PuzzleSession(options),

  summarize: (source: ByteSource): ImageSummary => summarize(open(source), source.size),

  regions: (source: ByteSource): readonly Region[] => [{ name: 'rootfs', start: 0, end: source.size }],
}

function open(source: ByteSource): PuzzleImage {
  return new PuzzleImage({ source, sourceId: 0, label: source.label })
}

class PuzzleSession implements KindSession {
  readonly #cache: PageCache
  readonly #digestCache = new PageCache(DIGEST_PAGES)
  readonly #scratch = new ChunkScratch()

  constructor({ metadataBytes }: SessionOptions) {
    this.#cache = new PageCache(metadataBytes)
    // Which chunks are compressed is known by each file, so the decoder is always at hand.
    openCodec(COMPRESSOR)
  }

  openLayer({ source, sourceId, label, pause, warn }: OpenOptions): Layer {
    return new PuzzleImage({ source, sourceId, label, cache: this.#cache, pause, warn })
  }

  openBlocks({ source, label, blobs, checks }: OpenOptions): BlockReader {
    const { chunks: table } = new Rootfs(source, this.#digestCache)
    const codec = openCodec(COMPRESSOR)
    return new ChunkReader({ label, table, blobs, checks, codec, scratch: this.#scratch })
  }
}
