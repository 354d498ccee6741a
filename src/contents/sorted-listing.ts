import type { FileSystem, Name, NodeId } from '../base/index.ts'
import { type Listed, listDirectory, listNames, lookupAgain } from './listing.ts'

/** Directories up to so many names are held and sorted. */
const HELD_NAMES = 4096

/**
 * As `listDirectory`, in byte order of the names. A large directory whose file system gives the names in that order, as
 * images do, is read twice and never held; of any other one the names are held.
 * @throws FsError EIO where the directory is damaged
 */
export function* sortedListing(fileSystem: FileSystem, directory: NodeId): Generator<Listed> {
  const names = firstNames(fileSystem, directory)
  if (names === 'sorted') {
    yield* listDirectory(fileSystem, directory)
    return
  }
  if (names.length > HELD_NAMES) {
    for (const name of names.sort(byBytes)) yield lookupAgain(fileSystem, directory, name)
    return
  }
  const listed = [...listDirectory(fileSystem, directory)]
  yield* listed.sort((a, b) => byBytes(a.name, b.name))
}

/** @returns all names, or that they come in order */
function firstNames(fileSystem: FileSystem, directory: NodeId): Name[] | 'sorted' {
  let last = ''
  for (const name of listNames(fileSystem, directory)) {
    if (name < last) return [...listNames(fileSystem, directory)]
    last = name
  }
  return 'sorted'
}

function byBytes(a: Name, b: Name): number {
  return a < b ? -1 : a > b ? 1 : 0
}
