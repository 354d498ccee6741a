import { type ByteSource, type FileSystem, FsError } from '../base/index.ts'
import { PageCacheProbe } from '../sys/page-cache.ts'
import { imageSource } from './image-file.ts'
import { hashCache, openTree, type SourceOf } from './open.ts'
import { hasHostDirectories, type ImageSpec, type MoleculeSpec } from './spec.ts'

/** Decoded metadata that a rehearsal keeps, bytes. */
const METADATA_BYTES = 512 << 10
/** A verified read covers whole blocks of the hash tree, 64 KiB at most, around what is asked for. */
const LARGEST_READ = 256 << 10

/**
 * The images of a mount once more, for a rehearsal: nobody watches what it finds, its caches are small, and it never
 * waits for a disk. What does not lie in the page cache is EIO.
 * @returns gives the file system when it is wanted, and throws FsError EIO then; undefined where host directories are
 * among the layers, which would be opened a second time
 */
export function prepareRehearsal(spec: MoleculeSpec): (() => FileSystem) | undefined {
  if (hasHostDirectories(spec)) return undefined
  const files = spec.images.map(({ fd }) => fd)
  const probe = new PageCacheProbe(LARGEST_READ, files)
  return () => {
    const sourceOf: SourceOf = (image) =>
      imageSource(image, undefined, hashCache(spec), (source) => atHandOnly(source, image, probe))
    return openTree(spec, sourceOf, METADATA_BYTES)
  }
}

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
