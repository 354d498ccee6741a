import { FsError, isDirectory, type Name } from '../../base/index.ts'
import type { TreeItem, TreeItems } from '../tree-item.ts'
import { type Exclusion, liesInExcluded } from './exclusion.ts'

/**
 * What lies in one directory of a tree, as a tree of its own.
 * @param directory path from the root of the tree, not the root
 * @throws FsError ENOENT if there is no such directory; ENOTDIR; EINVAL for a hard link to a file elsewhere in the tree
 */
export async function* within(items: TreeItems, directory: Name): AsyncGenerator<TreeItem> {
  const shown = JSON.stringify(directory)
  let isThere = false
  for await (const item of items) {
    const path = below(directory, item.path)
    if (path === undefined) continue
    isThere = true
    if ('entry' in item) {
      if (path === '' && !isDirectory(item.entry.mode))
        throw new FsError('ENOTDIR', `${shown} is no directory`)
      yield { path, entry: item.entry }
      continue
    }
    if ('attribute' in item) {
      yield { path, attribute: item.attribute }
      continue
    }
    const link = below(directory, item.link)
    if (link === undefined || link === '') {
      const [name, target] = [item.path, item.link].map((one) => JSON.stringify(one))
      throw new FsError('EINVAL', `${name} is a hard link to ${target}, which does not lie in ${shown}`)
    }
    yield { path, link }
  }
  if (!isThere) throw new FsError('ENOENT', `there is no ${shown}`)
}

/** The path from a directory of the tree to what lies in it; undefined for what does not. */
export function below(directory: Name, path: Name): Name | undefined {
  if (directory === '') return path
  if (path === directory) return ''
  return path.startsWith(`${directory}/`) ? path.slice(directory.length + 1) : undefined
}

/** What of a tree is not left out. */
export async function* without(items: TreeItems, exclusion: Exclusion): AsyncGenerator<TreeItem> {
  for await (const item of items) if (!liesInExcluded(exclusion, item.path)) yield item
}
