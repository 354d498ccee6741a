import { type Layer, MergedTree } from '../../overlay/index.ts'
import {
  BlockScratch,
  MetadataCache,
  openCodec,
  SquashfsBlockReader,
  SquashfsImage,
} from '../../squashfs/index.ts'
import { type BlockRef, type BlockStore, type ByteSource, type FileSystem, FsError } from '../base/index.ts'
import { FileSource } from '../sys/file-source.ts'
import { PageCacheProbe } from '../sys/page-cache.ts'
import { imageSource, type VerityWatch } from './image-file.ts'
import type { ImageSpec, MoleculeSpec } from './spec.ts'

export interface OpenMolecule {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
}

/** Gives the watch over an image of the mount by its index. */
export type ImageWatch = (image: number) => VerityWatch

/** Builds the file system of a mount, in the thread that will own it. @throws FsError EIO */
export function openMolecule(spec: MoleculeSpec, watch?: ImageWatch): OpenMolecule {
  const sourceOf: SourceOf = (image, sourceId) => imageSource(image, watch?.(sourceId), hashCache(spec))
  return { fileSystem: openTree(spec, sourceOf, new MetadataCache()), store: openBlockStore(spec, watch) }
}

/** Decoded metadata that a rehearsal keeps, bytes. */
const REHEARSAL_CACHE_BYTES = 512 << 10

/**
 * The same file system once more, for a rehearsal: nobody watches what it finds, its caches are small, and it never
 * waits for a disk. What does not lie in the page cache is EIO.
 * @returns gives the file system when it is wanted. @throws FsError EIO then
 */
export function prepareRehearsal(spec: MoleculeSpec): () => FileSystem {
  const files = spec.images.map(({ fd }) => fd)
  const probe = new PageCacheProbe(LARGEST_METADATA_READ, files)
  return () => {
    const sourceOf: SourceOf = (image) =>
      imageSource(image, undefined, hashCache(spec), (source) => atHandOnly(source, image, probe))
    return openTree(spec, sourceOf, new MetadataCache(REHEARSAL_CACHE_BYTES))
  }
}

/** A verified read covers whole blocks of the hash tree, 64 KiB at most, around what is asked for. */
const LARGEST_METADATA_READ = 256 << 10

function atHandOnly(source: ByteSource, { fd, offset }: ImageSpec, probe: PageCacheProbe): ByteSource {
  return {
    size: source.size,
    label: source.label,
    readInto(position, target) {
      if (!probe.isAtHand(fd, offset + position, target.length)) {
        throw new FsError('EIO', `${source.label}: ${target.length} bytes at ${position} are not at hand`)
      }
      source.readInto(position, target)
    },
  }
}

type SourceOf = (image: ImageSpec, sourceId: number) => ByteSource

function openTree(spec: MoleculeSpec, sourceOf: SourceOf, metadataCache: MetadataCache): FileSystem {
  const images = spec.images.map((image, sourceId): Layer => {
    const codec = openCodec(image.compressor)
    const source = sourceOf(image, sourceId)
    return new SquashfsImage({ source, sourceId, label: image.label, codec, metadataCache })
  })
  const layers = spec.layers.map((index) => {
    const layer = images[index]
    if (layer === undefined)
      throw new FsError('EIO', `molecule: layer names image ${index} of ${images.length}`)
    return layer
  })
  const { uid, gid, subdir, plain } = spec
  return new MergedTree(layers, {
    plain,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(subdir === undefined ? {} : { subdir: Buffer.from(subdir).toString('latin1') }),
  })
}

/** Decodes data blocks of all images of a mount: all that a data worker needs. One for each thread. */
export function openBlockStore(spec: MoleculeSpec, watch?: ImageWatch): BlockStore {
  const scratch = new BlockScratch()
  const readers: (BlockStore | undefined)[] = spec.images.map(() => undefined)
  const probe = new PageCacheProbe(
    spec.blockSize,
    spec.images.map(({ fd }) => fd),
  )
  // Now, because the thread may give up the right to open their files.
  for (const image of spec.images) openCodec(image.compressor)
  return {
    readBlock(block: BlockRef, target: Uint8Array): number {
      const image = spec.images[block.source]
      if (image === undefined) throw new FsError('EIO', `block of unknown image ${block.source}`)
      let reader = readers[block.source]
      if (reader === undefined) {
        const source = imageSource(image, watch?.(block.source), hashCache(spec))
        reader = new SquashfsBlockReader(source, openCodec(image.compressor), scratch)
        readers[block.source] = reader
      }
      return reader.readBlock(block, target)
    },
    isAtHand(block: BlockRef): boolean {
      const image = spec.images[block.source]
      if (image === undefined) return false
      return probe.isAtHand(image.fd, image.offset + block.position, block.storedSize)
    },
  }
}

/** Verified hash blocks of all images that one kind of reader in one thread keeps, bytes. */
const HASH_CACHE_BYTES = 512 << 10

/** The share of one image: many layers together take no more memory than a few. */
function hashCache(spec: MoleculeSpec): number {
  return Math.floor(HASH_CACHE_BYTES / Math.max(2, spec.images.length))
}

/** Reads from a host file on behalf of a directory layer. @throws FsError EIO when it ended early */
export function readHostFile(fd: number, position: number, target: Uint8Array): void {
  new FileSource(fd, `descriptor ${fd}`).readInto(position, target)
}
