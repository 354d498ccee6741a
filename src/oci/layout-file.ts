import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { codeOf, encodePath, FsError, isErrno, type PathText, systemPath } from '../base/index.ts'
import { O_PATH, openAt, readlinkFd } from '../sys/files/at.ts'
import { isTrustedOwner } from '../sys/plain/owner.ts'
import { descriptorPath } from '../sys/plain/proc.ts'
import type { Digest } from './digest.ts'

const { O_DIRECTORY, O_NONBLOCK, O_RDONLY } = constants

/** Where a file stands in a layout: the names of its folders and its own. */
export type LayoutPath = readonly [...folders: string[], name: string]

/** Where an image layout keeps a blob (image-layout.md, "Blobs"). */
export function blobPathOf(digest: Digest): LayoutPath {
  return ['blobs', digest.algorithm, digest.hex]
}

/** A path for messages and for other programs. Opening it may follow a link to another place. */
export function pathIn(ociDir: PathText, path: LayoutPath): PathText {
  return [ociDir, ...path].join('/')
}

/**
 * Opens a regular file of a layout that another user may have written. A file must lie in the layout itself: as a
 * symbolic link it could be any file that we may read and the writer may not. A folder may be a link to anywhere,
 * because images share a store of blobs like that; only files that are named by a digest can be reached through it. It
 * must belong to root, to this user, or to the owner of the folder in which it stands.
 *
 * Everything is opened below a descriptor of the folder before it, so that nothing can be exchanged in between.
 * @param what names the file in messages
 * @returns a descriptor; the caller closes it
 * @throws FsError ENOENT, EACCES, EPERM for a link, EIO for what is no regular file
 */
export function openLayoutFile(ociDir: PathText, path: LayoutPath, what: string): number {
  const folder = openLayoutFolder(ociDir, path.slice(0, -1), what)
  const at = pathIn(ociDir, path)
  try {
    return openFile(folder, path.at(-1) ?? '', at)
  } catch (error) {
    throw layoutError(what, at, error)
  } finally {
    closeSync(folder)
  }
}

/**
 * Opens a folder of a layout, with the rules of `openLayoutFile`.
 * @returns an O_PATH descriptor; the caller closes it
 * @throws FsError as `openLayoutFile`
 */
export function openLayoutFolder(ociDir: PathText, folders: readonly string[], what: string): number {
  let at = ociDir
  let folder: number | undefined
  try {
    folder = openSync(systemPath(ociDir), O_PATH | O_DIRECTORY)
    for (const name of folders) {
      at = `${at}/${name}`
      const next = openFolder(folder, name, at)
      closeSync(folder)
      folder = next
    }
    return folder
  } catch (error) {
    if (folder !== undefined) closeSync(folder)
    throw layoutError(what, at, error)
  }
}

function openFolder(parent: number, name: string, path: PathText): number {
  const fd = openAt(parent, name, O_PATH)
  const stat = fstatSync(fd)
  if (stat.isDirectory()) return fd
  try {
    if (!stat.isSymbolicLink()) throw new FsError('ENOTDIR', `${path} is no directory`)
    if (!isTrustedOwner(stat.uid) && stat.uid !== fstatSync(parent).uid) {
      throw new FsError('EPERM', `${path} is a symbolic link of a stranger (user ${stat.uid})`)
    }
    const target = Buffer.from(readlinkFd(fd))
    const isAbsolute = target[0] === 0x2f
    const start = isAbsolute ? Buffer.alloc(0) : encodePath(`${descriptorPath(parent)}/`)
    return openSync(Buffer.concat([start, target]), O_PATH | O_DIRECTORY)
  } finally {
    closeSync(fd)
  }
}

function openFile(folder: number, name: string, path: PathText): number {
  let fd: number
  try {
    // A fifo in place of the file must not block the open.
    fd = openAt(folder, name, O_RDONLY | O_NONBLOCK)
  } catch (error) {
    if (!isErrno(error, 'ELOOP')) throw error
    throw new FsError(
      'EPERM',
      `${path} is a symbolic link: files of an image layout must lie in it; to share blobs, make their folder a link`,
      { cause: error },
    )
  }
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new FsError('EIO', `${path} is not a regular file`)
}

function layoutError(what: string, path: PathText, error: unknown): FsError {
  const options = { cause: error }
  const code = codeOf(error)
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new FsError('ENOENT', `${what}: cannot open ${path}: no such file`, options)
  }
  if (code === 'EACCES')
    return new FsError('EACCES', `${what}: cannot open ${path}: permission denied`, options)
  if (isErrno(error, 'EPERM', 'EIO')) {
    return new FsError(error.code, `${what}: ${error.message}`, options)
  }
  return new FsError('EIO', `${what}: cannot open ${path}: ${code ?? String(error)}`, options)
}
