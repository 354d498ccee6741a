import {
  type BlockReader,
  type ByteSource,
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
import { hasMagic, PAGE } from './format/layout.ts'
import { blobSource } from './image/blob-source.ts'
import { TarBlockReader } from './image/block-reader.ts'
import { Decoder, GzipStream } from './image/gzip-stream.ts'
import { IndexPages, PAGE_CACHE_BYTES, type PageCache } from './image/index-pages.ts'
import { PLAIN_BLOCK } from './image/spans.ts'
import { TarImage } from './image/tar-image.ts'

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
    const { size, form } = new IndexPages(source, source.label).header
    const blockSize = form === 'plain' ? PLAIN_BLOCK : MAX_BLOCK_SIZE
    return { bytesUsed: size, blockSize, metadataStart: 0, detail: form }
  },

  blobs: (source: ByteSource) => [new IndexPages(source, source.label).header.digest],

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

class TarSession implements KindSession {
  readonly #cache: PageCache
  readonly #isCompressed: boolean
  #decoder: Decoder | undefined

  constructor({ details, metadataBytes }: SessionOptions) {
    this.#cache = new LruCache(metadataBytes ?? PAGE_CACHE_BYTES)
    this.#isCompressed = details.includes('gzip')
    // Now, because the thread may give up the right to open the files of decoders.
    if (this.#isCompressed) this.#decoder = new Decoder()
  }

  openLayer({ source, sourceId, label }: OpenOptions): Layer {
    return new TarImage({ source, sourceId, label, cache: this.#cache })
  }

  openBlocks({ source, label, blobs }: OpenOptions): BlockReader {
    if (blobs === undefined) throw new FsError('EINVAL', `${label}: the index of a layer without its blob`)
    const pages = new IndexPages(source, label, this.#cache)
    const blob = blobSource(blobs, source, pages.header, label)
    if (pages.header.form === 'plain') return new TarBlockReader(blob, undefined)
    this.#decoder ??= new Decoder()
    return new TarBlockReader(blob, new GzipStream(pages, blob, this.#decoder))
  }
}
