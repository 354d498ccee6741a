import { FsError } from '../errno.ts'
import type { SourceId } from '../id.ts'

/**
 * Bytes that can be read by position: a file, a file behind dm-verity, memory in tests. Image formats and transforms
 * meet at this interface and nowhere else.
 *
 * Who calls: the thread that made the source, and no other; each thread makes its own from the same plain data. The
 * dispatcher reads metadata through it, a data worker reads blocks. All calls are synchronous.
 *
 * What may be kept: nothing. The caller owns `target` before and after the call, and it may lie in shared memory, where
 * other threads look at it only after the caller has published it.
 *
 * After an error `target` holds no meaningful bytes, the source is as it was, and the same call may be tried again.
 */
export interface ByteSource {
  /** Readable bytes; positions are 0 ≤ position < size. */
  readonly size: number
  /** For messages: the digest or path of what is read. */
  readonly label: string
  /**
   * Fills the whole of `target` from `position`. May wait for a disk.
   * @throws FsError EIO when the range lies outside the source, the file ended early, the disk failed, or
   *   the bytes did not verify
   */
  readInto(position: number, target: Uint8Array): void
  /**
   * Whether `readInto` would not have to wait, not for what it reads beside the range either (hash blocks). A thread
   * that must not wait asks first. Absent: it never waits.
   */
  isAtHand?(position: number, length: number): boolean
  /** Begins to read what will soon be asked for, and does not wait for it. Errors do not count. */
  willNeed?(position: number, length: number): void
  /**
   * Ends the use by this thread, and that of what lies below. Reading fails from then on: a descriptor may have become
   * another file by its number. Called once nothing else will be asked; a second call does nothing. The descriptor itself
   * is closed by whoever opened it for all threads. Absent: nothing is held.
   */
  close?(): void
}

/** Lends a source to one piece of work, and closes it. */
export function withSource<T>(source: ByteSource, work: (source: ByteSource) => T): T {
  try {
    return work(source)
  } finally {
    source.close?.()
  }
}

/**
 * Further files of one image, each opened when it is first needed. They are numbered in the order in which the kind named
 * them (`ImageKind.blobs`).
 *
 * Called by the thread that it was made for. The main thread opens the files, so a call may wait for it.
 */
export interface Blobs {
  /**
   * Fills the whole of `target` from `position` of a blob. May wait for the main thread and for a disk.
   * @throws FsError EIO where the blob cannot be opened or read, or ends early
   */
  readInto(blob: number, position: number, target: Uint8Array): void
  /** Bytes of a blob. May wait for the main thread. @throws FsError EIO where the blob cannot be opened */
  sizeOf(blob: number): number
  /**
   * Whether `readInto` would not have to wait: the blob is open, and the page cache has the bytes, as far as the blob has
   * them.
   */
  isAtHand(blob: number, position: number, length: number): boolean
  /** A blob will be read soon, by whichever thread: asks for it to be opened and fetched, and does not wait. */
  expect(blob: number): void
}

/** @throws FsError EIO where a range of bytes does not lie within a source */
export function checkRange(source: ByteSource, position: number, length: number): void {
  if (!(position >= 0) || position + length > source.size) {
    throw new FsError('EIO', `${source.label}: read ${position}+${length} outside ${source.size} bytes`)
  }
}

/** Bytes of an image as they lie there, below all transforms. */
export interface Piece {
  /** Index of the image among those of the mount. */
  readonly source: SourceId
  /** Byte position in the image's file. */
  readonly position: number
  /** Bytes that were asked for. */
  readonly length: number
  /** At least as many bytes; or why they cannot be read. */
  readonly content: Uint8Array | FsError
}

/** The piece that answers a read. A failure stands for reads from the same place that need no less. */
export function pieceFor(
  pieces: Iterable<Piece>,
  source: SourceId,
  position: number,
  length: number,
): Piece | undefined {
  for (const piece of pieces) {
    if (piece.source !== source) continue
    const { content } = piece
    const from = position - piece.position
    const answers =
      content instanceof Uint8Array
        ? from >= 0 && from + length <= content.length
        : from === 0 && length >= piece.length
    if (answers) return piece
  }
  return undefined
}
