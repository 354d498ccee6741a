import { decodePath, type Name, type PathText } from '../base/index.ts'

/** A path in an image as text. */
export function textOf(path: Name): PathText {
  return decodePath(Buffer.from(path, 'latin1'))
}

/** The path of a name in a directory; the root is the empty path. */
export function childPath(directory: Name, name: Name): Name {
  return directory === '' ? name : `${directory}/${name}`
}
