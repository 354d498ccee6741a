import { isDirectory } from '../../src/base/index.ts'
import type { InodeRows } from './inode-rows.ts'
import type { NameTable } from './name-table.ts'

/**
 * The directories in which a layer has nothing but marks, and which have no entry of their own: where the layers below
 * have none of that name there is nothing to delete, and no directory.
 * @param mark inode of all marks; absent: there are none
 * @returns their inodes
 */
export function hollowDirectories(
  inodes: InodeRows,
  names: NameTable,
  mark: number | undefined,
): ReadonlySet<number> {
  const hollow = new Set<number>()
  if (mark === undefined) return hollow
  const parents = new Map<number, number>()
  for (let row = 0; row < names.length; row++) {
    const inode = names.inodeOf(row)
    if (!isImpliedDirectory(inodes, inode)) continue
    parents.set(inode, names.parentOf(row))
    hollow.add(inode)
  }
  for (let row = 0; row < names.length && hollow.size > 0; row++) {
    const inode = names.inodeOf(row)
    if (inode === mark || isImpliedDirectory(inodes, inode)) continue
    // What is in a directory is in all those above it.
    for (let at: number | undefined = names.parentOf(row); at !== undefined && hollow.delete(at); )
      at = parents.get(at)
  }
  return hollow
}

function isImpliedDirectory(inodes: InodeRows, inode: number): boolean {
  return inodes.isImplied(inode) && isDirectory(inodes.modeOf(inode))
}
