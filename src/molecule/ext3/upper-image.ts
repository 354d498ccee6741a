import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import {
  errnoCodeOf,
  type FoundFiles,
  type FoundLayer,
  FsError,
  type ImageFile,
  isFoundDirectory,
  systemPath,
  withSource,
} from '../../base/index.ts'
import { findImage, kindNamed, LAYER_TYPES } from '../../kinds/kinds.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { transformed } from '../../transforms/index.ts'
import type { UpperImage } from '../spec.ts'
import { lockRange } from './image-locks.ts'

/** What a kind may look at to tell its images, bytes. */
const HEAD_BYTES = 4096

/**
 * Takes the topmost layer of a source as what changes go into.
 * @returns what lies below it, and it
 * @throws FsError EINVAL where that is none that can be written, or nothing lies below it
 */
export function takeTop(
  found: FoundFiles,
  name: string,
): { readonly below: FoundFiles; readonly top: FoundLayer } {
  const top = found.layers.at(-1)
  const below = found.layers.slice(0, -1)
  if (top === undefined || below.length === 0) {
    const way = 'name an image for changes with --upper IMAGE'
    throw new FsError('EINVAL', `${name} has no ext3 overlay on top: ${way}`)
  }
  return { below: { ...found, layers: below, plain: false }, top }
}

/**
 * Opens a file system in a file for a program that writes to it, and locks its bytes.
 * @throws FsError in one line: EINVAL for what no program writes to, or should not as it is; EBUSY while others use it;
 *   EACCES, EROFS, … Nothing stays open then
 */
export function openUpperImage(layer: FoundLayer): UpperImage {
  if (isFoundDirectory(layer)) {
    throw new FsError('EINVAL', `${layer.directory} is a directory: ext3=fuse2fs writes to ext3 file systems`)
  }
  const fd = openForWriting(layer)
  try {
    const { label, path } = layer
    const size = fstatSync(fd).size
    const offset = layer.offset ?? withSource(new FileSource(fd, label, size), findImage)
    const length = layer.length ?? size - offset
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new FsError('EIO', `${label}: the image ends at ${offset + length}, and the file at ${size}`)
    }
    // First: what another program is writing looks as if nobody had unmounted it.
    lockRange(fd, { start: offset, length }, 'write', label)
    const window = { kind: 'window', offset, size: length } as const
    withSource(transformed(new FileSource(fd, label, size), [window]), (source) => {
      const head = new Uint8Array(Math.min(HEAD_BYTES, length))
      if (head.length > 0) source.readInto(0, head)
      const name = LAYER_TYPES.kindOfContent(head)
      const kind = name === undefined ? undefined : kindNamed(name)
      if (kind?.writeObstacle === undefined) {
        throw new FsError(
          'EINVAL',
          `${label} is no ext3 file system, the only one that ext3=fuse2fs writes to`,
        )
      }
      const obstacle = kind.writeObstacle(source, { path, offset })
      if (obstacle !== undefined) throw new FsError('EINVAL', `${label} ${obstacle}`)
    })
    return { label, fd, offset }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openForWriting({ label, path, open }: ImageFile): number {
  if (open !== undefined) {
    throw new FsError('EINVAL', `${label} is a blob, whose digest would be another with each change`)
  }
  try {
    return openSync(systemPath(path), constants.O_RDWR | constants.O_NONBLOCK)
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${label} cannot be written: ${code}`, { cause: error })
  }
}
