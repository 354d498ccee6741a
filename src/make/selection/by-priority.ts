import { isRegular, type Name, type Stat } from '../../base/index.ts'
import type { TreeItem } from '../tree-item.ts'
import type { Priorities } from './priorities.ts'

/** A tree that can be walked through more than once. */
export interface SortableTree<File> {
  /** All names of it. */
  files(): Iterable<File>
  /** All items but those of files at some paths. */
  items(isPassedOver: (path: Name) => boolean): Iterable<TreeItem>
  itemsOf(file: File): Iterable<TreeItem>
}

/**
 * The items of a tree with the files of high priorities first and those of low ones last; among equals the order is that
 * of the tree. The priorities of all files are known after one walk; those that have one come before and after the second.
 */
export function* byPriority<File extends { readonly path: Name; readonly stat: Pick<Stat, 'mode'> }>(
  tree: SortableTree<File>,
  priorities: Priorities,
): Generator<TreeItem> {
  const placed = new Map<Name, { readonly file: File; readonly priority: number }>()
  for (const file of tree.files()) {
    const priority = isRegular(file.stat.mode) ? priorities.of(file.path) : 0
    if (priority !== 0) placed.set(file.path, { file, priority })
  }
  const sorted = [...placed.values()].sort((a, b) => b.priority - a.priority)
  const itemsAt = function* (wanted: (priority: number) => boolean): Generator<TreeItem> {
    for (const { file, priority } of sorted) if (wanted(priority)) yield* tree.itemsOf(file)
  }
  yield* itemsAt((priority) => priority > 0)
  yield* tree.items((path) => placed.has(path))
  yield* itemsAt((priority) => priority < 0)
}
