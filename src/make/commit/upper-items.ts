import { unescapedFileName } from '../../../overlay/escapes.ts'
import type { Layer, LayerEntry, Name, NodeId, Ref } from '../../base/index.ts'
import { type Entry, type FileSystem, isDirectory, ROOT_NODE_ID, S_IFCHR } from '../../base/index.ts'
import { childPath } from '../../contents/index.ts'
import { type FoundFile, type MergedEntries, namingPath } from '../merged-entries.ts'
import { OPAQUE_MARK } from '../tar-marks.ts'
import type { TreeItem } from '../tree-item.ts'

/** A writable mount as its parts. */
export interface UpperParts {
  /** What the mount shows. */
  readonly merged: MergedEntries
  /** The same without the upper directory. */
  readonly lower: FileSystem
  /** What lies in the upper directory, as it is stored. */
  readonly upper: Layer
}

/** An item, or a directory whose items come next. */
type Step = TreeItem | { readonly below: Generator<Step> }

const MARK_PREFIX = '.wh.'
/** Bookkeeping of AUFS, and the mark of an opaque directory. */
const OTHER_MARKS = '.wh..wh.'
/** Such a directory has all of its content in the upper, or elsewhere in the layers: names below it say nothing. */
const OWN_CONTENT = /^(user|trusted)\.overlay\.(opaque|redirect)$|^user\.fuseoverlayfs\.opaque$/

/**
 * The changes of a writable mount as a layer: what the upper directory changes comes as the mount shows it, deletions as
 * devices 0:0, replaced directories with `user.overlay.opaque`. A directory that was renamed in the mount comes with all
 * that it shows, so that nothing leads elsewhere. Marks and owners that the upper has written down are not among them.
 * @throws FsError EIO for damage
 */
export function* upperItems(parts: UpperParts): Generator<TreeItem> {
  const items = new UpperItems(parts)
  // Trees may be deeper than the stack of calls.
  const open: Generator<Step>[] = [items.root()]
  for (let steps = open.at(-1); steps !== undefined; steps = open.at(-1)) {
    const { done, value } = steps.next()
    if (done === true) open.pop()
    else if ('below' in value) open.push(value.below)
    else yield value
  }
}

class UpperItems {
  readonly #parts: UpperParts

  constructor(parts: UpperParts) {
    this.#parts = parts
  }

  *root(): Generator<Step> {
    const { merged, upper } = this.#parts
    yield merged.item({ path: '', ...merged.root })
    yield { below: this.#directory('', upper.root, ROOT_NODE_ID, ROOT_NODE_ID) }
  }

  /**
   * @param path as it is stored
   * @param lowerNode the directory below, which this one is merged with
   */
  *#directory(path: Name, directory: Ref, node: NodeId, lowerNode: NodeId): Generator<Step> {
    const { merged, upper } = this.#parts
    const cursor = upper.openDirectory(directory, 0)
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      if (entry.name.startsWith(OTHER_MARKS)) continue
      const isMark = entry.name.startsWith(MARK_PREFIX)
      const name = isMark ? entry.name.slice(MARK_PREFIX.length) : entry.name
      const shown = namingPath(childPath(path, name), () =>
        merged.fileSystem.lookup(node, unescapedFileName(name)),
      )
      if (shown === undefined) {
        yield* this.#deletion(path, name, lowerNode, upper.stat(entry.ref).mtime)
        continue
      }
      if (!isMark) yield* this.#visible(path, directory, entry, shown, lowerNode)
      merged.fileSystem.forget(shown.nodeId, 1)
    }
  }

  /** Where nothing lies below, there is nothing to delete any more. */
  *#deletion(path: Name, name: Name, lowerNode: NodeId, mtime: number): Generator<Step> {
    const { lower } = this.#parts
    const below = lower.lookup(lowerNode, unescapedFileName(name))
    if (below === undefined) return
    lower.forget(below.nodeId, 1)
    yield { path: childPath(path, name), entry: { mode: S_IFCHR, uid: 0, gid: 0, mtime, rdev: 0 } }
  }

  *#visible(
    path: Name,
    directory: Ref,
    entry: LayerEntry,
    { nodeId, stat }: Entry,
    lowerNode: NodeId,
  ): Generator<Step> {
    const { merged, lower } = this.#parts
    const file = { path: childPath(path, entry.name), nodeId, stat }
    if (!isDirectory(stat.mode)) {
      yield merged.item(file)
      return
    }
    const below = lower.lookup(lowerNode, unescapedFileName(entry.name))
    const covered = below !== undefined && isDirectory(below.stat.mode) ? below.nodeId : undefined
    if (covered !== undefined && !this.#hasOwnContent(directory, entry)) {
      yield merged.item(file)
      yield { below: this.#directory(file.path, entry.ref, nodeId, covered) }
    } else {
      yield* this.#whole(file, covered !== undefined)
    }
    if (below !== undefined) lower.forget(below.nodeId, 1)
  }

  /** A directory with all that it shows. @param isOpaque it hides one of the layers below */
  *#whole(directory: FoundFile, isOpaque: boolean): Generator<Step> {
    const { merged } = this.#parts
    const { path, nodeId } = directory
    const entry = merged.entry(directory)
    const xattrs = isOpaque ? [...(entry.xattrs ?? []), OPAQUE_MARK] : entry.xattrs
    yield { path, entry: { ...entry, ...(xattrs && { xattrs }) } }
    for (const file of merged.files(path, nodeId)) yield merged.item(file)
  }

  #hasOwnContent(directory: Ref, { ref, name }: LayerEntry): boolean {
    const { upper } = this.#parts
    return (
      upper.listxattr(ref).some((attribute) => OWN_CONTENT.test(attribute)) ||
      upper.lookup(ref, `${OTHER_MARKS}.opq`) !== undefined ||
      upper.lookup(directory, MARK_PREFIX + name) !== undefined
    )
  }
}
