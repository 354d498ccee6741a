import { type Layer, MergedTree } from '../../overlay/index.ts'
import { MetadataCache, openCodec, SquashfsBlockReader, SquashfsImage } from '../../squashfs/index.ts'
import { type BlockRef, type BlockStore, type FileSystem, FsError } from '../base/index.ts'
import { FileSource } from '../sys/file-source.ts'
import { PageCacheProbe } from '../sys/page-cache.ts'
import { imageSource, type VerityWatch } from './image-file.ts'
import type { MoleculeSpec } from './spec.ts'

export interface OpenMolecule {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
}

/** Gives the watch over an image of the mount by its index. */
export type ImageWatch = (image: number) => VerityWatch

/**
 * Builds the file system of a mount, in the thread that will own it.
 * @param metadataBytes of decoded metadata to keep; a sensible default where absent
 * @throws FsError EIO
 */
export function openMolecule(spec: MoleculeSpec, watch?: ImageWatch, metadataBytes?: number): OpenMolecule {
  const metadataCache = new MetadataCache(metadataBytes)
  const images = spec.images.map((image, sourceId): Layer => {
    const source = imageSource(image, watch?.(sourceId), hashCache(spec))
    const codec = openCodec(image.compressor)
    return new SquashfsImage({ source, sourceId, label: image.label, codec, metadataCache })
  })
  const layers = spec.layers.map((index) => {
    const layer = images[index]
    if (layer === undefined)
      throw new FsError('EIO', `molecule: layer names image ${index} of ${images.length}`)
    return layer
  })
  const { uid, gid, subdir, plain } = spec
  const fileSystem = new MergedTree(layers, {
    plain,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(subdir === undefined ? {} : { subdir: Buffer.from(subdir).toString('latin1') }),
  })
  return { fileSystem, store: openBlockStore(spec, watch) }
}

/** Decodes data blocks of all images of a mount: all that a data worker needs. One for each thread. */
export function openBlockStore(spec: MoleculeSpec, watch?: ImageWatch): BlockStore {
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
        reader = new SquashfsBlockReader(source, openCodec(image.compressor))
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
const HASH_CACHE_BYTES = 2 << 20

/** The share of one image: many layers together take no more memory than a few. */
function hashCache(spec: MoleculeSpec): number {
  return Math.floor(HASH_CACHE_BYTES / Math.max(2, spec.images.length))
}

/** Reads from a host file on behalf of a directory layer. @throws FsError EIO when it ended early */
export function readHostFile(fd: number, position: number, target: Uint8Array): void {
  new FileSource(fd, `descriptor ${fd}`).readInto(position, target)
}
