import {
  type BlockReader,
  type ByteSource,
  blobList,
  FsError,
  type ImageFacts,
  type ImageKind,
  type ImageSummary,
  type KindSession,
  type Layer,
  LruCache,
  MAX_BLOCK_SIZE,
  type OpenOptions,
  type Region,
  type SessionOptions,
} from '../src/base/index.ts'
import { type Form, hasMagic, PAGE } from './format/layout.ts'
import { ArchiveStream } from './image/archive-stream.ts'
import { blobSource } from './image/blob-source.ts'
import { TarBlockReader } from './image/block-reader.ts'
import { openGzipDecoder } from './image/gzip-decoder.ts'
import { IndexPages, PAGE_CACHE_BYTES, type PageCache } from './image/index-pages.ts'
import type { SpanDecoder } from './image/span-decoder.ts'
import { PLAIN_BLOCK } from './image/spans.ts'
import { TarImage } from './image/tar-image.ts'
import { openZstdDecoder } from './image/zstd-decoder.ts'

/** Layers of OCI and of Docker, whatever compresses them. */
const MEDIA_TYPE = /\.tar(?:[.+](?:gzip|zstd))?$/

/** The only door to this folder for those who mount images. An image is the index of a layer; its blob holds the data. */
export const TAR: ImageKind = {
  name: 'tar',
  title: 'an indexed tar layer',
  mediaTypes:
    'tar layers (application/vnd.oci.image.layer.v1.tar[+gzip|+zstd], application/vnd.docker.image.rootfs.diff.tar.gzip)',
  isMediaType: (mediaType) => MEDIA_TYPE.test(mediaType),
  probe: hasMagic,

  describe(source: ByteSource): ImageFacts {
    const { header } = new IndexPages(source, source.label)
    const { size, form, blobSize, checkpoints, checkpointCount } = header
    return {
      bytesUsed: size,
      blockSize: form === 'plain' ? PLAIN_BLOCK : MAX_BLOCK_SIZE,
      // Before them lie the hash tree of the blob, windows and directories: most of the index.
      metadataStart: checkpoints,
      blobBytes: blobSize,
      detail: form,
      counts: { checkpoints: checkpointCount },
    }
  },

  blobs: (source: ByteSource) => blobList([new IndexPages(source, source.label).header.digest]),

  open: (options) => new TarSession(options),

  summarize(source: ByteSource): ImageSummary {
    const { form, size, inodeCount, archiveSize, blobSize, checkpointCount } = new IndexPages(
      source,
      source.label,
    ).header
    return {
      kind: 'tar',
      compressor: form === 'plain' ? 'none' : form,
      blockSize: form === 'plain' ? PLAIN_BLOCK : MAX_BLOCK_SIZE,
      inodes: inodeCount,
      bytesUsed: size,
      hasXattrs: true,
      archiveSize,
      blobSize,
      checkpoints: checkpointCount,
    }
  },

  regions(source: ByteSource): readonly Region[] {
    const { checkpoints, inodes, size } = new IndexPages(source, source.label).header
    return [
      { name: 'header of the index', start: 0, end: PAGE },
      { name: 'hash tree of the blob, windows and directories', start: PAGE, end: checkpoints },
      { name: 'checkpoints', start: checkpoints, end: inodes },
      { name: 'inodes', start: inodes, end: size },
    ]
  },
}

type Compressed = Exclude<Form, 'plain'>

const OPEN: Readonly<Record<Compressed, () => SpanDecoder>> = {
  gzip: openGzipDecoder,
  zstd: openZstdDecoder,
}

class TarSession implements KindSession {
  readonly #cache: PageCache
  readonly #decoders = new Map<Compressed, SpanDecoder>()

  constructor({ details, metadataBytes }: SessionOptions) {
    this.#cache = new LruCache(metadataBytes ?? PAGE_CACHE_BYTES)
    // Now, because the thread may give up the right to open the files of decoders.
    for (const form of ['gzip', 'zstd'] as const) if (details.includes(form)) this.#decoder(form)
  }

  openLayer({ source, sourceId, label }: OpenOptions): Layer {
    return new TarImage({ source, sourceId, label, cache: this.#cache })
  }

  openBlocks(options: OpenOptions): BlockReader {
    const { source, label, blobs } = options
    if (blobs === undefined) throw new FsError('EINVAL', `${label}: the index of a layer without its blob`)
    const pages = new IndexPages(source, label, this.#cache)
    const blob = blobSource(blobs, options, pages.header)
    const { form } = pages.header
    if (form === 'plain') return new TarBlockReader(blob, undefined)
    return new TarBlockReader(blob, new ArchiveStream(pages, blob, this.#decoder(form)))
  }

  #decoder(form: Compressed): SpanDecoder {
    const known = this.#decoders.get(form)
    if (known !== undefined) return known
    const decoder = OPEN[form]()
    this.#decoders.set(form, decoder)
    return decoder
  }
}
