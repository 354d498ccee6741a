import { FsError, isDirectory, type Name, namesOfPath } from '../../base/index.ts'
import { mkdirAt, unlinkAt } from '../../sys/files/at.ts'
import { removeTree } from '../../sys/files/folder.ts'
import { type HostStat, statAt } from '../../sys/files/statx.ts'

/** A directory, and a name in it. */
export interface Place {
  /** O_PATH descriptor of the directory. */
  readonly folder: number
  readonly name: Name
}

/** @returns the names of a path in a layer. @throws FsError EINVAL for one that leads out of it */
export function namesIn(path: Name): Name[] {
  return namesOfPath(path, 'layer')
}

/**
 * Removes what has a name, with all below it.
 * @param onRemoved gets the path of each directory and file in it, from there
 * @returns what was there
 */
export function clear({ folder, name }: Place, onRemoved?: (path: Name) => void): HostStat | undefined {
  const stat = statAt(folder, name)
  if (stat !== undefined) removeTree(folder, name, onRemoved)
  return stat
}

/** Makes a directory, or takes the one that is there; anything else gives way. @param mode of a new one */
export function makeDirectory(place: Place, mode: number): void {
  const stat = statAt(place.folder, place.name)
  if (stat !== undefined && isDirectory(stat.mode)) return
  if (stat !== undefined) unlinkAt(place.folder, place.name)
  mkdirAt(place.folder, place.name, mode)
}

/** Puts the path of an entry before what went wrong with it, where that does not name it. */
export function withPath(error: unknown, path: Name): unknown {
  if (!(error instanceof FsError)) return error
  const name = JSON.stringify(path)
  if (error.message.includes(name)) return error
  return new FsError(error.code, `${name}: ${error.message}`, { cause: error })
}
