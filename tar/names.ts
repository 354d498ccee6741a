import { FsError, NAME_MAX, type Name } from '../src/base/index.ts'

const PATH_MAX = 4096

/**
 * The path of an entry from the root of the tree: no `/` at its ends, no `.` and no empty names. `''` is the root.
 * @throws FsError EINVAL for a path that leads out of the tree; ENAMETOOLONG
 */
export function cleanPath(path: Name, what: string): Name {
  if (path.length > PATH_MAX) throw new FsError('ENAMETOOLONG', `${what}: a path of ${path.length} bytes`)
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  for (const name of names) {
    if (name === '..') throw new FsError('EINVAL', `${what}: ${JSON.stringify(path)} leads upwards with ".."`)
    if (name.includes('\0')) throw new FsError('EINVAL', `${what}: ${JSON.stringify(path)} has a NUL in it`)
    if (name.length > NAME_MAX) throw new FsError('ENAMETOOLONG', `${what}: a name of ${name.length} bytes`)
  }
  return names.join('/')
}
