import { accessSync, closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { basename } from 'node:path'
import { looksLikeSif } from '../../../sif/index.ts'
import { codeOf, FsError, fromNodeError, type PathText, systemPath, withFsError } from '../../base/index.ts'
import { realPath } from '../../sys/files/real-path.ts'
import { anchoredPath } from '../../sys/files/working-directory.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { assertPaths } from '../atomfs/index.ts'
import { ANY_USAGE, IMAGE_TYPE, IMAGE_USAGE, ROOT_FS } from './constants.ts'
import { ImageError } from './errors.ts'
import { checkExt3Header, checkSquashfsHeader } from './headers.ts'
import { Image, ReadOnlyImageError } from './image.ts'
import { ImageHead } from './image-head.ts'
import type { ImageFields, Section } from './image-json.ts'
import { lockSection } from './section-lock.ts'
import { sifContents } from './sif-contents.ts'

/** What the bytes of a file say; `isWritable` formats may be opened for writing. */
interface Contents extends Pick<ImageFields, 'type' | 'partitions' | 'sections' | 'usage'> {
  readonly isWritable: boolean
  readonly remarks: readonly string[]
}

/**
 * The absolute path of a file without symbolic links.
 * @throws FsError EINVAL for an empty path, else what the system said
 */
export function resolvePath(path: PathText): PathText {
  assertPaths({ path })
  if (path === '') throw new FsError('EINVAL', 'failed to get absolute path: path is empty')
  return withFsError(`failed to retrieve path for ${path}`, () => realPath(anchoredPath(path)))
}

/**
 * Opens an image and finds out what it is: a directory, a SIF, squashfs or ext3, by the content, never by the name. ext3
 * partitions are locked, each by itself: for writing where the image is, else for reading. The image is to be closed.
 * @param writable asks for a SIF or an ext3 image that can be written; where that is not permitted it is opened for reading,
 *   and `image.writable` says so. Nothing is written here
 * @throws ImageError `unknown-format`, `bad-header`, `in-use`; `ReadOnlyImageError`, with the open image, for squashfs that
 *   was to be written; FsError EACCES and others of the system
 */
export function initImage(path: PathText, writable = false): Image {
  const resolved = resolvePath(path)
  if (!isPermitted(resolved, constants.R_OK)) {
    throw new FsError('EACCES', `${resolved} is not readable by the current user, check permissions`)
  }
  const { fd, stats } = openKnown(resolved)
  const closing = new Set([fd])
  try {
    const contents = contentsOf(fd, stats, resolved)
    const opened = writable && contents.isWritable ? openForWriting(fd, resolved) : undefined
    if (opened !== undefined) closing.add(opened)
    const image = imageOf(contents, resolved, opened ?? fd, {
      // A directory stays what the caller asked for.
      writable: opened !== undefined || (writable && contents.type === IMAGE_TYPE.SANDBOX),
    })
    closing.delete(image.fd)
    if (writable && contents.type === IMAGE_TYPE.SQUASHFS) throw new ReadOnlyImageError(image)
    return image
  } finally {
    for (const one of closing) closeSync(one)
  }
}

/** A FIFO would keep the caller waiting, so it is opened without waiting, and refused. */
function openKnown(path: PathText): { readonly fd: number; readonly stats: Stats } {
  let fd: number
  try {
    fd = openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw fromNodeError(path, error)
  }
  const stats = fstatSync(fd)
  if (stats.isFile() || stats.isDirectory()) return { fd, stats }
  closeSync(fd)
  throw new ImageError(
    'unknown-format',
    `image format not recognized: ${path} is neither a file nor a directory`,
  )
}

function contentsOf(fd: number, stats: Stats, path: PathText): Contents {
  if (stats.isDirectory()) {
    return bare(IMAGE_TYPE.SANDBOX, { offset: 0, size: 0 }, false)
  }
  const head = new ImageHead(fd, stats.size)
  const bytes = head.at(0)
  const unknown = new ImageError('unknown-format', `image format not recognized: ${path}`)
  if (bytes === undefined) throw unknown
  if (looksLikeSif(bytes)) {
    return { type: IMAGE_TYPE.SIF, isWritable: true, ...sifContents(head, path) }
  }
  for (const [type, check] of [
    [IMAGE_TYPE.SQUASHFS, checkSquashfsHeader],
    [IMAGE_TYPE.EXT3, checkExt3Header],
  ] as const) {
    const offset = startOf(check, bytes)
    if (offset !== undefined) {
      return bare(type, { offset, size: stats.size - offset }, type === IMAGE_TYPE.EXT3)
    }
  }
  throw unknown
}

/** @returns undefined where there is no such header. @throws ImageError for a header that is there and wrong */
function startOf(check: (head: Uint8Array) => number, bytes: Uint8Array): number | undefined {
  try {
    return check(bytes)
  } catch (error) {
    if (error instanceof ImageError && error.fault === 'other-format') return undefined
    throw error
  }
}

function bare(
  type: number,
  place: { readonly offset: number; readonly size: number },
  isWritable: boolean,
): Contents {
  const only: Section = { name: ROOT_FS, ...place, id: 1, type, allowedUsage: ANY_USAGE }
  return { type, partitions: [only], sections: [], usage: IMAGE_USAGE.ROOT_FS, isWritable, remarks: [] }
}

/** The same file, for reading and writing. @returns undefined where that is not permitted */
function openForWriting(fd: number, path: PathText): number | undefined {
  if (!isPermitted(path, constants.W_OK)) return undefined
  try {
    return openSync(descriptorPath(fd), constants.O_RDWR)
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '')) return undefined
    throw fromNodeError(path, error)
  }
}

function imageOf(
  contents: Contents,
  path: PathText,
  fd: number,
  { writable }: { readonly writable: boolean },
): Image {
  const remarks = [...contents.remarks]
  const releases: (() => void)[] = []
  try {
    for (const partition of contents.partitions.filter(({ type }) => type === IMAGE_TYPE.EXT3)) {
      const { release, remark } = lockSection({ fd, path, writable }, partition)
      releases.push(release)
      if (remark !== undefined) remarks.push(remark)
    }
  } catch (error) {
    for (const release of releases) release()
    if (!(error instanceof ImageError)) throw error
    throw new ImageError(error.fault, `while locking ext3 partition from ${path}: ${error.message}`)
  }
  const { type, partitions, sections, usage } = contents
  const source = `/proc/self/fd/${fd}`
  const name = basename(path)
  return new Image(
    { type, partitions, sections, usage, path, name, source, fd, writable },
    { isOpen: true, remarks, releases },
  )
}

/** By the real ids of the process, as access(2) asks: a program with rights of its own does not lend them. */
function isPermitted(path: PathText, mode: number): boolean {
  try {
    accessSync(systemPath(path), mode)
    return true
  } catch {
    return false
  }
}
