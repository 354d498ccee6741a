import { type ByteSource, type FileSystem, FsError } from '../base/index.ts'
import { imageSource } from './image-file.ts'
import { hashCache, OpenSources, openTree } from './open.ts'
import { hasHostDirectories, type MoleculeSpec } from './spec.ts'

/** Decoded metadata that a rehearsal keeps, bytes. */
const METADATA_BYTES = 512 << 10

/** Where a rehearsal takes place. */
export interface Stage {
  /** Gives the file system when it is wanted. @throws FsError EIO */
  open(): FileSystem
  /** Closes the sources of its images. The file system is not used any more. */
  close(): void
}

/**
 * Opens the images of a mount once more, for a rehearsal: failures are not reported, caches are small, and reading never
 * waits for a disk. Bytes that are not in the page cache are EIO.
 * @returns undefined where host directories are among the layers, which would be opened a second time
 */
export function prepareRehearsal(spec: MoleculeSpec): Stage | undefined {
  if (hasHostDirectories(spec)) return undefined
  const sources = new OpenSources((image) => imageSource(image, undefined, hashCache(spec), atHandOnly))
  return {
    open: () => openTree(spec, sources.of, openNoBlob, METADATA_BYTES),
    close: () => sources.close(),
  }
}

/** Opening one could wait for a disk. */
function openNoBlob(): never {
  throw new FsError('EIO', 'a rehearsal opens no blobs')
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
    close: () => source.close?.(),
  }
}
