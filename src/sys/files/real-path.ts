import { realpathSync } from 'node:fs'
import { decodePath, type PathText, systemPath } from '../../base/index.ts'

/**
 * A path without symbolic links, as the kernel resolves it. (realpathSync itself drops `..` before it follows links.)
 * @throws an error of node:fs
 */
export function realPath(path: PathText): PathText {
  return decodePath(realpathSync.native(systemPath(path), { encoding: 'buffer' }))
}

/** As `realPath`; the path itself where it cannot be resolved. */
export function realPathOrItself(path: PathText): PathText {
  try {
    return realPath(path)
  } catch {
    return path
  }
}
