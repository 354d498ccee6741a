import { type ByteSource, type FileSystem, FsError } from '../base/index.ts'
import { imageSource } from './image-file.ts'
import { hashCache, openTree, type SourceOf } from './open.ts'
import { hasHostDirectories, type MoleculeSpec } from './spec.ts'

/** Decoded metadata that a rehearsal keeps, bytes. */
const METADATA_BYTES = 512 << 10

/**
 * Opens the images of a mount once more, for a rehearsal: failures are not reported, caches are small, and reading never
 * waits for a disk. Bytes that are not in the page cache are EIO.
 * @returns gives the file system when it is wanted, and throws FsError EIO then; undefined where host directories are
 * among the layers, which would be opened a second time
 */
export function prepareRehearsal(spec: MoleculeSpec): (() => FileSystem) | undefined {
  if (hasHostDirectories(spec)) return undefined
  return () => {
    const sourceOf: SourceOf = (image) => imageSource(image, undefined, hashCache(spec), atHandOnly)
    return openTree(spec, sourceOf, METADATA_BYTES)
  }
}

function atHandOnly(source: ByteSource): ByteSource {
  return {
    size: source.size,
    label: source.label,
    readInto(position, target) {
      if (source.isAtHand?.(position, target.length) === false) {
        throw new FsError('EIO', `${source.label}: ${target.length} bytes at ${position} are not at hand`)
      }
      source.readInto(position, target)
    },
  }
}
