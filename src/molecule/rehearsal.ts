import { type Blobs, type ByteSource, FsError, type SourceId } from '../base/index.ts'
import type { Surroundings } from './open.ts'

/** Decoded metadata that a rehearsal keeps, bytes. */
const METADATA_BYTES = 512 << 10

/** One question of so many is answered with "not at hand". */
const PRETENDED = 4
/** Bytes that are asked for at a time. */
const PIECE = 64 << 10

/**
 * Surroundings in which the images of a mount are opened once more, for a rehearsal: caches are small, and reading never
 * waits for a disk. Bytes that are not in the page cache are EIO. Some bytes that are at hand are said not to be, so
 * that what fetches them is run as well.
 * @param miss told of bytes of an image that are not in the page cache; reading them was EIO
 */
export function rehearsalSurroundings(
  miss: (image: SourceId, position: number, length: number) => void,
): Pick<Surroundings, 'askForBlob' | 'guard' | 'guardBlobs' | 'metadataBytes'> {
  let questions = 0
  const isAtHand = (): boolean => {
    questions += 1
    return questions % PRETENDED !== 0
  }
  const guard = (source: ByteSource, id: SourceId): ByteSource => ({
    ...atHandOnly(source, (position, length) => miss(id, position, length)),
    isAtHand,
  })
  return { askForBlob: openNoBlob, guard, guardBlobs: atHandOnlyBlobs, metadataBytes: METADATA_BYTES }
}

/** Opening one could wait for a disk. */
function openNoBlob(): never {
  throw new FsError('EIO', 'a rehearsal opens no blobs')
}

/** They are read where the mount has read them; no other thread fetches blobs for a rehearsal. */
function atHandOnlyBlobs(blobs: Blobs): Blobs {
  return {
    readInto(blob, position, target) {
      if (!blobs.isAtHand(blob, position, target.length)) {
        throw new FsError('EIO', `blob ${blob}: ${target.length} bytes at ${position} are not at hand`)
      }
      blobs.readInto(blob, position, target)
    },
    isAtHand: (blob, position, length) => blobs.isAtHand(blob, position, length),
    expect: () => undefined,
    sizeOf: (blob) => blobs.sizeOf(blob),
  }
}

function atHandOnly(source: ByteSource, miss: (position: number, length: number) => void): ByteSource {
  return {
    size: source.size,
    label: source.label,
    readInto(position, target) {
      for (let done = 0; done < target.length; done += PIECE) {
        const length = Math.min(PIECE, target.length - done)
        if (source.isAtHand?.(position + done, length) !== false) continue
        miss(position + done, length)
        throw new FsError('EIO', `${source.label}: ${length} bytes at ${position + done} are not at hand`)
      }
      source.readInto(position, target)
    },
    close: () => source.close?.(),
  }
}
