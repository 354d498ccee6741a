import { randomBytes } from 'node:crypto'
import { closeSync, constants, fsyncSync, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import {
  FsError,
  isErrno,
  isRegular,
  type Name,
  type PathText,
  systemPath,
  unlessFailed,
  withFsError,
} from '../base/index.ts'
import {
  linkAt,
  linkFd,
  O_PATH,
  openAt,
  openUnnamed,
  renameAt,
  reopenDirectory,
  unlinkAt,
} from '../sys/files/at.ts'
import { statAt } from '../sys/files/statx.ts'
import { nameOf } from '../sys/files/walk.ts'

export interface NewFileOptions {
  /** Replaces a regular file that has the name. */
  readonly force: boolean
}

/** A file that has no name yet, or one that nobody looks for. */
interface Unfinished {
  readonly fd: number
  /** Absent where the file system can hold a file without a name: then not even SIGKILL leaves anything. */
  readonly name?: Name
}

const MODE = 0o666

/**
 * Makes a file that gets its name only when it is whole and on the disk.
 * @param fill gets a descriptor open for reading and writing, which it must not close
 * @throws FsError EEXIST if something has the name; ENOENT, EACCES, ENOSPC, … and what `fill` throws. Nothing is left
 */
export async function newFile<T>(
  path: PathText,
  { force }: NewFileOptions,
  fill: (fd: number) => Promise<T>,
): Promise<T> {
  const folder = withFsError(`${path}: its folder`, () =>
    openSync(systemPath(dirname(path)), O_PATH | constants.O_DIRECTORY),
  )
  try {
    const name = nameOf(basename(path))
    assertFree(folder, name, path, force)
    const file = begin(folder, name)
    try {
      const result = await fill(file.fd)
      withFsError(path, () => fsyncSync(file.fd))
      giveName(folder, file, name, { path, force })
      return result
    } finally {
      if (file.name !== undefined) remove(folder, file.name)
      closeSync(file.fd)
    }
  } finally {
    closeSync(folder)
  }
}

function assertFree(folder: number, name: Name, path: PathText, force: boolean): void {
  const stat = statAt(folder, name)
  if (stat === undefined) return
  if (!isRegular(stat.mode)) throw new FsError('EEXIST', `${path} exists and is no regular file`)
  if (!force) throw new FsError('EEXIST', `${path} exists; --force replaces it`)
}

function begin(folder: number, name: Name): Unfinished {
  try {
    return { fd: openUnnamed(folder, MODE) }
  } catch (error) {
    // Some network file systems, and FUSE before 6.0.
    if (!isErrno(error, 'EOPNOTSUPP', 'EISDIR', 'ENOENT')) throw error
  }
  const other = otherName(name)
  return {
    fd: openAt(folder, other, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, MODE),
    name: other,
  }
}

/** Of the same folder, short enough for every file system. */
function otherName(name: Name): Name {
  return `.${name.slice(0, 200)}.${randomBytes(6).toString('hex')}.part`
}

function giveName(
  folder: number,
  file: Unfinished,
  name: Name,
  { path, force }: { readonly path: PathText; readonly force: boolean },
): void {
  try {
    if (!force) {
      // Fails where somebody else has taken the name meanwhile, which a rename would not.
      if (file.name === undefined) linkFd(file.fd, folder, name)
      else linkAt(folder, file.name, folder, name)
    } else {
      const other = file.name ?? otherName(name)
      if (file.name === undefined) linkFd(file.fd, folder, other)
      renameAt(folder, other, folder, name, 0)
    }
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new FsError('EEXIST', `${path} was made by somebody else meanwhile`)
    throw error
  }
  const fd = reopenDirectory(folder)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function remove(folder: number, name: Name): void {
  unlessFailed(() => unlinkAt(folder, name))
}
