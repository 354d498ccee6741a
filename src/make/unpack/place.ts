import { closeSync, constants } from 'node:fs'
import { FsError, isDirectory, isErrno, type Name, namesOfPath } from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, reopenFd, rmdirAt, unlinkAt } from '../../sys/files/at.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { type HostStat, statAt } from '../../sys/files/statx.ts'

const DIRECTORY = O_PATH | constants.O_DIRECTORY

/** Rights of a directory until all in it is made: nobody else sees or changes what is in it. */
const CLOSED = 0o700

/** A directory, and a name in it. */
export interface Place {
  /** O_PATH descriptor of the directory; the user of the place closes it. */
  readonly folder: number
  readonly name: Name
}

/** @returns the names of a path in a layer. @throws FsError EINVAL for one that leads out of it */
export function namesIn(path: Name): Name[] {
  return namesOfPath(path, 'layer')
}

/**
 * Goes down to the directory of a path, name by name, each below the descriptor of the one before, and through no link:
 * nothing outside is ever reached.
 * @param onMissing makes a directory that is missing; absent: it is none
 * @returns undefined where a directory is missing
 * @throws FsError ENOTDIR where something else has its name
 */
export function placeOf(
  root: number,
  names: readonly Name[],
  onMissing?: (path: Name) => void,
): Place | undefined {
  const name = names.at(-1)
  if (name === undefined) throw new FsError('EINVAL', 'the root of a layer is in no directory')
  let folder = reopenFd(root, DIRECTORY)
  for (const [i, step] of names.slice(0, -1).entries()) {
    const parent = folder
    try {
      folder = openFolder(parent, step)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw notThere(error, names.slice(0, i + 1))
      if (onMissing === undefined) return undefined
      mkdirAt(parent, step, CLOSED)
      onMissing(names.slice(0, i + 1).join('/'))
      folder = openFolder(parent, step)
    } finally {
      closeSync(parent)
    }
  }
  return { folder, name }
}

function openFolder(parent: number, name: Name): number {
  return openAt(parent, name, DIRECTORY)
}

function notThere(error: unknown, names: readonly Name[]): unknown {
  if (!isErrno(error, 'ENOTDIR', 'ELOOP')) return error
  return new FsError(
    'ENOTDIR',
    `${JSON.stringify(names.join('/'))} is no directory, and something lies below it`,
  )
}

/** Removes what has a name, with all below it. @returns what was there */
export function clear({ folder, name }: Place): HostStat | undefined {
  const stat = statAt(folder, name)
  if (stat === undefined) return undefined
  if (isDirectory(stat.mode)) removeDirectory(folder, name)
  else unlinkAt(folder, name)
  return stat
}

function removeDirectory(parent: number, name: Name): void {
  const folder = openFolder(parent, name)
  try {
    for (const child of listNames(folder)) clear({ folder, name: child })
  } finally {
    closeSync(folder)
  }
  rmdirAt(parent, name)
}

/** Makes a directory, or takes the one that is there; anything else gives way. */
export function makeDirectory(place: Place): void {
  const stat = statAt(place.folder, place.name)
  if (stat !== undefined && isDirectory(stat.mode)) return
  if (stat !== undefined) unlinkAt(place.folder, place.name)
  mkdirAt(place.folder, place.name, CLOSED)
}
