import { FsError, type Name, namesOfPath } from '../../src/base/index.ts'

const PATH_MAX = 4096

/**
 * The path of an entry from the root of the tree: no `/` at its ends, no `.` and no empty names. `''` is the root.
 * @throws FsError EINVAL for a path that leads out of the tree; ENAMETOOLONG
 */
export function cleanPath(path: Name, what: string): Name {
  if (path.length > PATH_MAX)
    throw new FsError('ENAMETOOLONG', `${what}: a path of ${path.length} bytes, at most ${PATH_MAX}`)
  return namesOfPath(path, what).join('/')
}
