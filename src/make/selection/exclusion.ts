import type { Name } from '../../base/index.ts'

/** Says what of a tree is left out. What lies in a directory that is left out is left out with it. */
export interface Exclusion {
  /** @param path from the root of the tree, without what lies above it being left out */
  excludes(path: Name): boolean
}

/** Whether a path, or a directory that it lies in, is left out: for trees whose entries come in any order. */
export function liesInExcluded(exclusion: Exclusion, path: Name): boolean {
  for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) {
    if (exclusion.excludes(path.slice(0, end))) return true
  }
  return path !== '' && exclusion.excludes(path)
}
