import {
  type BlobChecks,
  type Blobs,
  type BlockReader,
  type BlockStore,
  type ByteSource,
  FsError,
  type KindSession,
  omitUndefined,
  type SourceId,
  type VerityWatch,
} from '../../base/index.ts'
import { openSource } from '../../transforms/index.ts'
import { imageOver } from '../image-file.ts'
import type { ImageSpec } from '../spec.ts'

/** Where the images come from whose blocks one thread reads. */
export interface ImageBlocksOptions {
  /** An image by its number; undefined where there is none. */
  readonly imageOf: (id: SourceId) => ImageSpec | undefined
  readonly sessionOf: (image: ImageSpec) => KindSession
  readonly blobsOf: (id: SourceId) => Blobs | undefined
  /** Most bytes of verified hash blocks to keep of an image. */
  readonly hashCacheBytes: number
  readonly watch?: ((id: SourceId) => VerityWatch) | undefined
  /** Put around the file of each image, below all else. */
  readonly guard?: ((source: ByteSource, id: SourceId) => ByteSource) | undefined
}

/** Decodes blocks of images. */
export interface ImageBlocks extends BlockStore {
  /** Closes what is open of an image. */
  drop(id: SourceId): void
  close(): void
}

interface OpenBlocks {
  readonly source: ByteSource
  readonly reader: BlockReader
}

/**
 * Bytes before and behind a piece of metadata to ask the kernel for: an inode table, its directory table and the hash
 * blocks of both lie side by side, and each piece that is missing costs a request a way to a worker and back.
 */
const AROUND = 64 << 10

/** Decodes data blocks of images, each opened when its first block is read. One for each thread. */
export function imageBlocks(options: ImageBlocksOptions): ImageBlocks {
  const { imageOf, sessionOf, blobsOf, hashCacheBytes, watch, guard } = options
  const files = new Map<SourceId, ByteSource>()
  const opened = new Map<SourceId, OpenBlocks>()
  const known = (id: SourceId): ImageSpec => {
    const image = imageOf(id)
    if (image === undefined) throw new FsError('EIO', `block of unknown image ${id}`)
    return image
  }
  const fileOf = (id: SourceId): ByteSource => {
    const present = files.get(id)
    if (present !== undefined) return present
    const { source, label } = known(id)
    const bare = openSource(source, label)
    const file = guard?.(bare, id) ?? bare
    files.set(id, file)
    return file
  }
  const blocksOf = (id: SourceId): OpenBlocks => {
    const present = opened.get(id)
    if (present !== undefined) return present
    const image = known(id)
    const { label, facts } = image
    const source = imageOver(fileOf(id), image, watch?.(id), hashCacheBytes)
    const reader = sessionOf(image).openBlocks({
      source,
      sourceId: id,
      label,
      detail: facts.detail,
      hashCacheBytes,
      ...omitUndefined({ blobs: blobsOf(id), checks: checksOf(watch?.(id)) }),
    })
    const blocks = { source, reader }
    opened.set(id, blocks)
    return blocks
  }
  const drop = (id: SourceId): void => {
    opened.get(id)?.source.close?.()
    opened.delete(id)
    files.get(id)?.close?.()
    files.delete(id)
  }
  return {
    readBlock: (block, target) => blocksOf(block.source).reader.readBlock(block, target),
    isAtHand: (block) => {
      const { source, reader } = blocksOf(block.source)
      if (reader.isAtHand !== undefined) return reader.isAtHand(block)
      return source.isAtHand?.(block.position, block.storedSize) !== false
    },
    expect: (block) => {
      if (imageOf(block.source)?.blobs !== undefined) blocksOf(block.source).reader.expect?.(block)
    },
    willNeed: (id, position, length) => {
      // Blocks of other files: their positions mean nothing here.
      if (imageOf(id)?.blobs === undefined) blocksOf(id).source.willNeed?.(position, length)
    },
    readRaw: (id, position, target) => {
      const file = fileOf(id)
      file.readInto(position, target)
      const from = Math.max(0, position - AROUND)
      file.willNeed?.(from, position + target.length + AROUND - from)
    },
    drop,
    close: () => {
      for (const id of [...files.keys()]) drop(id)
    },
  }
}

/** Counts what a kind finds in blobs as blocks of its image. */
function checksOf(watch: VerityWatch | undefined): BlobChecks | undefined {
  return (
    watch && {
      watch,
      checked: (isGood) => {
        watch.counters.blocksChecked += 1
        if (!isGood) watch.counters.failures += 1
      },
    }
  )
}
