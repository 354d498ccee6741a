import { FsError, isErrno, type Name } from '../../base/index.ts'
import { truncateFd } from '../../sys/files/file-io.ts'
import { statFd } from '../../sys/files/statx.ts'
import { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { type FileAttributes, giveAttributes } from './attributes.ts'
import type { Made, Manner } from './jobs.ts'

/** Rights of a file until it has its owner. */
const CLOSED = 0o600

/** A regular file that is to be made. */
export interface NewFile {
  /** Descriptor of its directory. */
  readonly folder: number
  readonly name: Name
  readonly attributes: FileAttributes
}

/** @throws FsError ENOSPC, EACCES, … */
export function beginFile({ folder, name }: NewFile): UnfinishedFile {
  return UnfinishedFile.begin(folder, name, CLOSED)
}

/**
 * Gives a file with all of its data its length, its attributes and, in the end, its name.
 * @param dataEnd where the last data ends, which were written
 * @throws FsError EEXIST, EISDIR for the name; ENOSPC, EPERM, … . It has no name then
 */
export function finishFile(
  file: UnfinishedFile,
  { name, attributes }: NewFile,
  { owners, replaces }: Manner,
  dataEnd: number,
): Made {
  const { size } = attributes.stat
  if (dataEnd < size) truncateFd(file.fd, size)
  const left = giveAttributes(file.fd, attributes, owners)
  const { dev, inode } = statFd(file.fd)
  try {
    file.giveName(name, replaces)
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new FsError('EEXIST', 'was made by somebody else meanwhile')
    if (isErrno(error, 'EISDIR')) throw new FsError('EISDIR', 'a directory has its name')
    throw error
  }
  return { left, dev, inode }
}

/**
 * Makes a file as a whole.
 * @param fill writes its data. @returns where they end
 * @throws FsError as `beginFile`, `finishFile` and `fill`. Nothing is left then
 */
export function makeFile(what: NewFile, manner: Manner, fill: (fd: number) => number): Made {
  const file = beginFile(what)
  try {
    return finishFile(file, what, manner, fill(file.fd))
  } finally {
    file.close()
  }
}
