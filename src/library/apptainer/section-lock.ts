import { fstatSync } from 'node:fs'
import { isErrno, type PathText } from '../../base/index.ts'
import { rangeLockHolder, tryRangeLock } from '../../sys/process/range-lock.ts'
import { ImageError } from './errors.ts'

/** An open image, as far as its locks go. */
interface LockedImage {
  readonly fd: number
  readonly path: PathText
  readonly writable: boolean
}

interface Held {
  readonly start: number
  readonly length: number
  readonly writable: boolean
}

/** What this process holds, by file: a lock of its own would keep it out with the words for strangers. */
const HELD = new Map<string, Set<Held>>()

/**
 * Locks the bytes of a partition while its image is open: for reading, or for writing where the image is. Locks belong to
 * the open file, so those of Apptainer (fcntl(2), of the process) and these exclude each other, and closing another
 * descriptor of the file releases none.
 * @returns what ends it for this process when the image is closed, and what could not be done
 * @throws ImageError `in-use`, naming the process where that can be found out
 */
export function lockSection(
  image: LockedImage,
  { offset: start, size: length }: { readonly offset: number; readonly size: number },
): { readonly release: () => void; readonly remark?: string } {
  const { fd, path, writable } = image
  const key = keyOf(fd)
  for (const other of HELD.get(key) ?? []) {
    const overlaps = other.start < start + length && start < other.start + other.length
    if (!overlaps || !(writable || other.writable)) continue
    const use = other.writable ? 'writing' : 'reading'
    throw inUse(path, writable, `already used for ${use} by this process`)
  }
  const remark = lockRange(image, start, length)
  const held: Held = { start, length, writable }
  const all = HELD.get(key) ?? new Set()
  HELD.set(key, all.add(held))
  const release = (): void => {
    if (all.delete(held) && all.size === 0 && HELD.get(key) === all) HELD.delete(key)
  }
  return remark === undefined ? { release } : { release, remark }
}

/** @returns a remark where the file system has no locks, which Apptainer passes over as well */
function lockRange({ fd, path, writable }: LockedImage, start: number, length: number): string | undefined {
  // All to the end of the file would be locked.
  if (length === 0) return undefined
  const kind = writable ? 'write' : 'read'
  try {
    if (tryRangeLock(fd, { start, length }, kind)) return undefined
  } catch (error) {
    if (!isErrno(error, 'ENOLCK', 'EOPNOTSUPP', 'EINVAL')) throw error
    return `${path}: its file system has no locks, so nothing keeps others from writing there`
  }
  const pid = rangeLockHolder(fd, { start, length }, kind)
  const who = pid === undefined ? '' : ` (${pid})`
  throw writable
    ? inUse(path, true, `currently in use by another process${who}`)
    : inUse(path, false, `currently in use for writing by another process${who}`)
}

function inUse(path: PathText, writable: boolean, what: string): ImageError {
  return new ImageError('in-use', `can't open ${path} for ${writable ? 'writing' : 'reading'}, ${what}`)
}

function keyOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  return `${dev}:${ino}`
}
