import { closeSync, existsSync, fstatSync, readSync } from 'node:fs'
import { codeOf, FsError, type PathText, systemPath } from '../base/index.ts'
import { quote } from './digest.ts'
import { type LayoutPath, openLayoutFile, pathIn } from './layout-file.ts'

/** The documents of an image layout, wherever it lies: in a directory, or in an archive. */
export interface LayoutFiles {
  /** A path, for messages. */
  readonly name: PathText
  /**
   * A small file, whole.
   * @param what names it in messages
   * @throws FsError ENOENT where it is missing, EIO where it is larger than `limit` bytes or unreadable
   */
  read(place: LayoutPath, limit: number, what: string): Buffer
}

/** Whether a directory says that it is an image layout. */
export function isLayout(directory: PathText): boolean {
  return existsSync(systemPath(`${directory}/oci-layout`))
}

/** The documents of a layout in a directory. @throws FsError ENOENT where it is none */
export function layoutIn(ociDir: PathText): LayoutFiles {
  if (!isLayout(ociDir)) {
    const what = existsSync(systemPath(ociDir))
      ? 'is no OCI image layout (it has no file oci-layout)'
      : 'does not exist'
    throw new FsError('ENOENT', `image directory ${quote(ociDir)} ${what}`)
  }
  return { name: ociDir, read: (place, limit, what) => readSmallFile(ociDir, place, limit, what) }
}

/**
 * Reads a small file of a layout whole.
 * @throws FsError as `openLayoutFile`, and EIO where it is larger than `limit` or unreadable
 */
function readSmallFile(ociDir: PathText, place: LayoutPath, limit: number, what: string): Buffer {
  const path = pathIn(ociDir, place)
  const fd = openLayoutFile(ociDir, place, what)
  try {
    const { size } = fstatSync(fd)
    if (size > limit) {
      throw new FsError('EIO', `${what}: ${path} has ${size} bytes, more than the limit of ${limit}`)
    }
    const bytes = Buffer.alloc(size)
    let filled = 0
    while (filled < size) {
      const count = readSome(fd, bytes, filled, `${what}: cannot read ${path}`)
      if (count === 0) throw new FsError('EIO', `${what}: ${path} ended at ${filled} of ${size} bytes`)
      filled += count
    }
    return bytes
  } finally {
    closeSync(fd)
  }
}

function readSome(fd: number, bytes: Buffer, at: number, what: string): number {
  try {
    return readSync(fd, bytes, at, bytes.length - at, at)
  } catch (error) {
    throw new FsError('EIO', `${what}: ${codeOf(error) ?? String(error)}`, { cause: error })
  }
}
