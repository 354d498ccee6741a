import fs from 'node:fs'
import {
  type ByteSource,
  codeOf,
  FsError,
  type ImageFile,
  majorOf,
  minorOf,
  systemPath,
  withSource,
} from '../../base/index.ts'
import { findImage } from '../../kinds/kinds.ts'
import { liesInMemory } from '../../sys/files/page-cache.ts'
import { openSource, type SourceSpec, type TransformSpec, transformed } from '../../transforms/index.ts'

/** The file of an image, open, and where the image lies in it. */
export interface ImageWindow {
  readonly source: SourceSpec
  /** None where the image is all of the file. */
  readonly window: readonly TransformSpec[]
}

/**
 * Opens the file of an image. The caller closes its descriptor.
 * @throws FsError with one line; nothing stays open then
 */
export function openWindow(file: ImageFile): ImageWindow {
  const fd = openFile(file)
  try {
    const source: SourceSpec = { kind: 'file', fd, size: sizeOf(fd, file), inMemory: liesInMemory(fd) }
    return { source, window: windowOf(file, source) }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

/** The bytes of an image as they lie in its file. Closing the source closes the file. @throws FsError as `openWindow` */
export function openStored(file: ImageFile): ByteSource & { close(): void } {
  const { source, window } = openWindow(file)
  const stored = transformed(openSource(source, file.label), window)
  return {
    size: stored.size,
    label: stored.label,
    readInto: (position, target) => stored.readInto(position, target),
    close: () => {
      stored.close?.()
      fs.closeSync(source.fd)
    },
  }
}

/** The part of a file that is the image. Where nobody says where it begins, its content does. */
function windowOf(file: ImageFile, source: SourceSpec): readonly TransformSpec[] {
  const { path, length, label, kind } = file
  const { size: fileSize } = source
  const isWhole = kind === undefined && length === undefined
  const offset = file.offset ?? (isWhole ? withSource(openSource(source, label), findImage) : 0)
  if (offset === 0 && length === undefined) return []
  if (offset >= fileSize && fileSize > 0) {
    throw new FsError('EINVAL', `${path}: offset ${offset} is at or behind the end (${fileSize} bytes)`)
  }
  const size = length ?? fileSize - offset
  if (offset + size > fileSize) {
    throw new FsError('EIO', `${path}: the image ends at ${offset + size}, and the file at ${fileSize}`)
  }
  return [{ kind: 'window', offset, size }]
}

function openFile(file: ImageFile): number {
  if (file.open !== undefined) return file.open()
  try {
    return fs.openSync(systemPath(file.path), 'r')
  } catch (error) {
    const code = codeOf(error) ?? 'EIO'
    const advice = code === 'EACCES' ? ' (make it readable for the user who mounts)' : ''
    throw new FsError(
      code === 'ENOENT' ? 'ENOENT' : 'EIO',
      `${file.path}: cannot be opened: ${code}${advice}`,
    )
  }
}

function sizeOf(fd: number, file: ImageFile): number {
  const stat = fs.fstatSync(fd)
  if (stat.isFile()) return stat.size
  if (stat.isBlockDevice()) {
    // fstat(2) says 0 for a device; its size is in units of 512 bytes here whatever its sectors are (sysfs-block).
    const number = `${majorOf(stat.rdev)}:${minorOf(stat.rdev)}`
    return Number(fs.readFileSync(`/sys/dev/block/${number}/size`, 'utf8')) * 512
  }
  throw new FsError('EINVAL', `${file.path}: is neither a file nor a block device`)
}
