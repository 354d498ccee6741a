import { decodePath, FsError, type Name, type PathText } from '../base/index.ts'

/** A path in an image as text. */
export function textOf(path: Name): PathText {
  return decodePath(Buffer.from(path, 'latin1'))
}

/** The path of a name in a directory; the root is the empty path. */
export function childPath(directory: Name, name: Name): Name {
  return directory === '' ? name : `${directory}/${name}`
}

/** Bytes of a path: no directory deeper than this is entered, so that a damaged image cannot lead on without an end. */
const LONGEST_PATH = 1 << 16

/** Why a directory is not entered; undefined where it is. */
export function refusalOf(path: Name): FsError | undefined {
  if (path.length <= LONGEST_PATH) return undefined
  return new FsError('ENAMETOOLONG', `a path of more than ${LONGEST_PATH} bytes`)
}
