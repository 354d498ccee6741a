import { closeSync, constants, fsyncSync, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import {
  FsError,
  isErrno,
  isRegular,
  type Name,
  type PathText,
  systemPath,
  withFsError,
} from '../../base/index.ts'
import { O_PATH, reopenDirectory } from './at.ts'
import { statAt } from './statx.ts'
import { UnfinishedFile } from './unfinished-file.ts'
import { nameOf } from './walk.ts'

export interface NewFileOptions {
  /** Replaces a regular file that has the name. */
  readonly force: boolean
  /** What messages call the file; its path if absent. */
  readonly label?: PathText
}

const MODE = 0o666

/**
 * Makes a file that gets its name only when it is whole and on the disk.
 * @param fill gets a descriptor open for reading and writing, which it must not close
 * @throws FsError EEXIST if something has the name; ENOENT, EACCES, ENOSPC, … and what `fill` throws. Nothing is left
 */
export async function newFile<T>(
  path: PathText,
  { force, label = path }: NewFileOptions,
  fill: (fd: number) => Promise<T>,
): Promise<T> {
  const folder = withFsError(`${label}: its folder`, () =>
    openSync(systemPath(dirname(path)), O_PATH | constants.O_DIRECTORY),
  )
  try {
    const name = nameOf(basename(path))
    assertFree(folder, name, label, force)
    const file = UnfinishedFile.begin(folder, name, MODE)
    try {
      const result = await fill(file.fd)
      withFsError(label, () => fsyncSync(file.fd))
      giveName(file, name, label, force)
      syncFolder(folder)
      return result
    } finally {
      file.close()
    }
  } finally {
    closeSync(folder)
  }
}

function assertFree(folder: number, name: Name, label: PathText, force: boolean): void {
  const stat = statAt(folder, name)
  if (stat === undefined) return
  if (!isRegular(stat.mode)) throw new FsError('EEXIST', `${label} exists and is no regular file`)
  if (!force) throw new FsError('EEXIST', `${label} exists; --force replaces it`)
}

function giveName(file: UnfinishedFile, name: Name, label: PathText, force: boolean): void {
  try {
    file.giveName(name, force)
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new FsError('EEXIST', `${label} was made by somebody else meanwhile`)
    throw error
  }
}

/** Names that were made or changed in a folder are on the disk afterwards. @param folder may be O_PATH */
export function syncFolder(folder: number): void {
  const fd = reopenDirectory(folder)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
