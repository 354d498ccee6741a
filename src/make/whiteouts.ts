import type { NewEntry } from '../../squashfs/write/index.ts'
import { isDirectory, type Name, S_IFCHR, S_IFMT, S_IFREG } from '../base/index.ts'
import { markOf, opaqueName, type TarMarks, whiteoutName } from './tar-marks.ts'
import type { TreeItem, TreeItems } from './tree-item.ts'

/**
 * What the deletions of a layer are in its image. `overlay`: what overlayfs has, character devices 0:0 and attributes.
 * `aufs`: the names `.wh.NAME` and `.wh..wh..opq`. `none`: nothing is a mark, all is stored as it is.
 */
export type Whiteouts = 'overlay' | 'aufs' | 'none'

const OPAQUE_ATTRIBUTE = /^(user|trusted)\.overlay\.opaque$/
const YES = 0x79

/** The names of AUFS in a tree become what overlayfs has, when all of its items have come. */
export async function* asOverlay(items: TreeItems, marks: TarMarks): AsyncGenerator<TreeItem> {
  for await (const item of items) {
    const mtime = 'entry' in item ? item.entry.mtime : 0
    if (!marks.take({ path: item.path, mtime })) yield item
  }
  yield* marks.items()
}

/** What overlayfs has in a tree becomes names of AUFS, and those that are there become empty files. */
export async function* asAufs(items: TreeItems): AsyncGenerator<TreeItem> {
  /** The kernel gives whiteouts of one upper directory the same inode. */
  const deleted = new Set<Name>()
  for await (const item of items) {
    const mark = markOf(item.path)
    if (mark !== undefined) {
      const mtime = 'entry' in item ? item.entry.mtime : 0
      if (mark.kind !== 'own') yield { path: item.path, entry: markFile(mtime) }
    } else if ('link' in item && deleted.has(item.link)) {
      yield { path: whiteoutName(item.path), entry: markFile(0) }
    } else if (!('entry' in item)) {
      yield item
    } else if ((item.entry.mode & S_IFMT) === S_IFCHR && (item.entry.rdev ?? 0) === 0) {
      deleted.add(item.path)
      yield { path: whiteoutName(item.path), entry: markFile(item.entry.mtime) }
    } else if (isDirectory(item.entry.mode)) {
      yield* directoryItems(item.path, item.entry)
    } else {
      yield item
    }
  }
}

function* directoryItems(path: Name, entry: NewEntry): Generator<TreeItem> {
  const { xattrs = [] } = entry
  const others = xattrs.filter(([name]) => !OPAQUE_ATTRIBUTE.test(name))
  yield { path, entry: { ...entry, xattrs: others } }
  const isOpaque = xattrs.some(
    ([name, value]) => OPAQUE_ATTRIBUTE.test(name) && value.length === 1 && value[0] === YES,
  )
  if (isOpaque) yield { path: opaqueName(path), entry: markFile(entry.mtime) }
}

/** An empty file (image-spec, layer.md, "Whiteouts"). */
function markFile(mtime: number): NewEntry {
  return { mode: S_IFREG | 0o444, uid: 0, gid: 0, mtime, size: 0 }
}
