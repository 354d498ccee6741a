import type { BlockRef } from './extent.ts'
import type { SourceId } from './id.ts'
import type { Layer } from './layer.ts'
import type { Blobs, ByteSource } from './sources/byte-source.ts'
import type { VerityWatch } from './sources/verity-watch.ts'

/**
 * A format of images: how bytes become a read-only directory tree. A format is one folder whose `kind.ts` is its only
 * door, and one line in the list of `src/kinds/kinds.ts`; nothing above that list names a format.
 *
 * Who calls: the main thread probes and describes an image once, before the mount. Then each thread that needs the
 * image opens it anew from plain data (`name` of the kind, and what its source is made of), through one `KindSession`
 * a thread and purpose: the dispatcher opens layers, the data workers open readers of blocks.
 *
 * Every method throws FsError: EIO for damage, EINVAL for what is no image of this kind or of an unknown version,
 * EOPNOTSUPP where this machine lacks a decoder.
 */
export interface ImageKind {
  /** One word, unique among the kinds: carries the kind from thread to thread, and stands in `inspect`. */
  readonly name: string
  /** What people call such an image, with its article: `a squashfs image`. */
  readonly title: string
  /** The media types of layers that `isMediaType` accepts, for messages. */
  readonly mediaTypes: string
  /** Whether a layer with this media type in an OCI manifest is such an image. */
  isMediaType(mediaType: string): boolean
  /** Whether a file that begins with these bytes is such an image. @param head the first 4 KiB, or all of a shorter file */
  probe(head: Uint8Array): boolean
  /**
   * Reads what must be known before the image is opened. With a root hash it is called twice: on the raw bytes, to learn
   * where the hash tree lies, and on the verified bytes, which must say the same.
   */
  describe(source: ByteSource): ImageFacts
  /**
   * The other blobs of its layout that the image may need. Absent where the images of this kind are single files. The kind
   * verifies what it reads from them, and the position of a block in one of them is its index in this list.
   */
  blobs?(source: ByteSource): BlobList
  /** The fs-verity digests that the image has for these blobs, hex, in the same order. They are told, not relied on. */
  blobVerity?(source: ByteSource): readonly string[]
  /**
   * Its images are verified by the digest of their file: it is read and hashed once before the mount, and every later read
   * is compared. Such an image needs no root hash. Absent: no.
   */
  readonly isVerifiedByDigest?: true
  /**
   * Why no other program should write to an image as it is, and what to do, in words that follow its name; undefined where
   * nothing keeps it. Absent where nobody writes to images of this kind. The images of the others are locked while they
   * are read.
   * @param place how the tools of the kind name the image: its file, and the byte where it begins
   */
  writeObstacle?(
    source: ByteSource,
    place: { readonly path: string; readonly offset: number },
  ): string | undefined
  /** In the manifest of an OCI image the other layers hold data of this one, and are none by themselves. Absent: no. */
  readonly standsAlone?: true
  /** Begins a session of one thread. Opens what opening images will need, as long as the thread has the right to. */
  open(options: SessionOptions): KindSession
  /** What `inspect` tells of an image. */
  summarize(source: ByteSource): ImageSummary
  /** The parts of the image that hold its structure, so that damage can be named. In order of position, data left out. */
  regions(source: ByteSource): readonly Region[]
}

/** The blobs of an image, as its metadata name them: what is made of all of them would make large images slow to mount. */
export interface BlobList {
  readonly count: number
  /** `algorithm:hex`, of all blobs by the same algorithm. @param index below `count`. @throws FsError EIO */
  digest(index: number): string
}

/** @param digests of all blobs, `algorithm:hex` */
export function blobList(digests: readonly string[]): BlobList {
  return { count: digests.length, digest: (index) => digests[index] ?? '' }
}

/** Plain data: crosses threads. */
export interface ImageFacts {
  /** Bytes from the first that the image calls its own: a hash tree must cover them, and lies behind them. */
  readonly bytesUsed: number
  /** Most bytes that one of its blocks decodes to, at most `MAX_BLOCK_SIZE`: of a part, where blocks are larger. */
  readonly blockSize: number
  /** From here to `bytesUsed` lie metadata, which `--verify=auto` checks before the mount. */
  readonly metadataStart: number
  /** What else a session must know beforehand, for instance a compressor. Understood by the kind alone. */
  readonly detail: string
  /** What people should know of the state of the image: a line for the log. Absent where all is well. */
  readonly remark?: string
  /** What data in blobs of their own are compressed with, as far as some of the files tell; `none` where they are not. */
  readonly compressor?: string
  /** Bytes of the other blobs that hold its data, where those are verified block by block; 0 where absent. */
  readonly blobBytes?: number
  /** Numbers that tell people about the image, by the format's own words. */
  readonly counts?: Readonly<Record<string, number>>
}

export interface SessionOptions {
  /** `ImageFacts.detail` of all images that the session may be asked for. */
  readonly details: readonly string[]
  /** Most bytes of decoded metadata that all layers of the session keep together; the kind's own default where absent. */
  readonly metadataBytes?: number
}

export interface OpenOptions {
  readonly source: ByteSource
  /** `BlockRef.source` of the blocks that the layer describes. */
  readonly sourceId: SourceId
  /** Digest or path, for messages. */
  readonly label: string
  readonly detail: string
  /** The blobs that `ImageKind.blobs` named. */
  readonly blobs?: Blobs
  /** Told of what the kind finds when it verifies blobs. */
  readonly checks?: BlobChecks
  /** Most bytes of verified hash blocks to keep, of blobs that are verified by a hash tree. */
  readonly hashCacheBytes?: number
  /**
   * Of a layer whose requests can be postponed: a walk that may take long calls it now and then, where it can go on later.
   * It throws `Postponed` when others have waited long enough. The next call of the layer that needs this walk must go on
   * where it was, not begin again.
   */
  readonly pause?: () => void
  /** Takes what people should know of the image and is known only later: a line for the log. */
  readonly warn?: (message: string) => void
  /** The layer is one of a merge: where an image holds the upper directory of an overlay, that directory is the layer. */
  readonly isMerged?: boolean
}

/** Counts what verifying blobs has shown. */
export interface BlobChecks {
  /** For kinds that compare blobs with a hash tree. */
  readonly watch: VerityWatch
  /** @param isGood a blob had the digest that it is named by */
  checked(isGood: boolean): void
}

/** All images of one kind in one thread: what they share (caches, decoders, scratch memory) is bounded once. */
export interface KindSession {
  openLayer(image: OpenOptions): Layer
  openBlocks(image: OpenOptions): BlockReader
}

/**
 * Decodes the blocks of one image, for one thread. A reader of blocks in parts may keep the stream of the last one open:
 * parts that are asked for in order then cost one decode. Workers share the parts of a block, so any of them may be asked
 * for any part, and for parts that are passed over.
 */
export interface BlockReader {
  /**
   * Reads and decodes one block.
   * @param target at least `block.maxSize` bytes; may lie in shared memory
   * @returns decoded length in bytes, 1..`block.maxSize`
   * @throws FsError EIO on damage; the content of `target` is then undefined
   */
  readBlock(block: BlockRef, target: Uint8Array): number
  /** Whether `readBlock` would not have to wait. Absent: the block lies in the source of the image, where it says. */
  isAtHand?(block: BlockRef): boolean
  /** A block will be read soon, by whichever thread: begins to fetch it, and does not wait. Absent: nothing to be done. */
  expect?(block: BlockRef): void
}

/** What is known of an image without mounting it. Sizes in bytes, counts in pieces. */
export interface ImageSummary {
  /** Name of the kind. */
  readonly kind: string
  readonly compressor: string
  readonly blockSize: number
  readonly inodes: number
  readonly bytesUsed: number
  readonly hasXattrs: boolean
  readonly fragments?: number
  /** When it was made, seconds since 1970. */
  readonly mkfsTime?: number
  /** As `ImageFacts.remark`. */
  readonly remark?: string
  /** More, by the format's own words. */
  readonly [detail: string]: unknown
}

/** Bytes [start, end) of an image. */
export interface Region {
  readonly name: string
  readonly start: number
  readonly end: number
}
