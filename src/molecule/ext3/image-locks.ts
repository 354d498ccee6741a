import { FsError, isErrno, type PathText } from '../../base/index.ts'
import { kindNamed } from '../../kinds/kinds.ts'
import { type ByteRange, rangeLockHolder, tryRangeLock } from '../../sys/process/range-lock.ts'
import type { ImageSpec } from '../spec.ts'

/**
 * Keeps others from writing to an image while it is open here, where images of its kind are written in their place:
 * Apptainer and fuse2fs, which this program starts, ask for the same lock.
 * @throws FsError EBUSY where somebody writes to it
 */
export function lockForReading({ kind, label, source, transforms }: ImageSpec): void {
  if (kindNamed(kind).writeObstacle === undefined) return
  const window = transforms.find((one) => one.kind === 'window')
  const range = window?.kind === 'window' ? window : { offset: 0, size: source.size }
  lockRange(source.fd, { start: range.offset, length: range.size }, 'read', label)
}

/** @throws FsError EBUSY, naming who has the bytes where that can be found out */
export function lockRange(fd: number, range: ByteRange, kind: 'read' | 'write', label: PathText): void {
  // All to the end of the file would be locked.
  if (range.length === 0) return
  try {
    if (tryRangeLock(fd, range, kind)) return
  } catch (error) {
    // File systems without locks: Apptainer goes on, too.
    if (isErrno(error, 'ENOLCK', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS')) return
    throw error
  }
  const pid = rangeLockHolder(fd, range, kind)
  const who = pid === undefined ? 'another process' : `process ${pid}`
  const how = kind === 'read' ? `is being changed by ${who}` : `is in use by ${who}`
  throw new FsError('EBUSY', `${label}: ${how}: wait for its end`)
}
