import { escapedFileName, unescapedFileName } from '../../../overlay/escapes.ts'
import type { Layer, LayerEntry, Name, NodeId, Ref } from '../../base/index.ts'
import { type Entry, type FileSystem, isDirectory, ROOT_NODE_ID, S_IFCHR } from '../../base/index.ts'
import { type MergedEntries, readNames } from '../merged-entries.ts'
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

/** Everything that a mount shows, as one layer. */
export function* mergedItems(merged: MergedEntries): Generator<TreeItem> {
  yield { path: '', entry: merged.entry(ROOT_NODE_ID) }
  const links = new Links()
  const open = [whole(merged, links, '', ROOT_NODE_ID)]
  for (let steps = open.at(-1); steps !== undefined; steps = open.at(-1)) {
    const { done, value } = steps.next()
    if (done === true) open.pop()
    else if ('below' in value) open.push(value.below as ReturnType<typeof whole>)
    else yield value
  }
}

class UpperItems {
  readonly #parts: UpperParts
  readonly #links = new Links()

  constructor(parts: UpperParts) {
    this.#parts = parts
  }

  *root(): Generator<Step> {
    const { merged, upper } = this.#parts
    yield { path: '', entry: merged.entry(ROOT_NODE_ID) }
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
      const shown = merged.fileSystem.lookup(node, unescapedFileName(name))
      if (shown === undefined) yield* this.#deletion(path, name, lowerNode, upper.stat(entry.ref).mtime)
      else if (!isMark) yield* this.#visible(path, directory, entry, shown, lowerNode)
    }
  }

  /** Where nothing lies below, there is nothing to delete any more. */
  *#deletion(path: Name, name: Name, lowerNode: NodeId, mtime: number): Generator<Step> {
    if (this.#parts.lower.lookup(lowerNode, unescapedFileName(name)) === undefined) return
    yield { path: join(path, name), entry: { mode: S_IFCHR, uid: 0, gid: 0, mtime, rdev: 0 } }
  }

  *#visible(
    path: Name,
    directory: Ref,
    entry: LayerEntry,
    { nodeId, stat }: Entry,
    lowerNode: NodeId,
  ): Generator<Step> {
    const { merged, lower } = this.#parts
    const own = join(path, entry.name)
    if (!isDirectory(stat.mode)) {
      yield this.#links.item(merged, own, nodeId, stat.nlink)
      return
    }
    const below = lower.lookup(lowerNode, unescapedFileName(entry.name))
    const covered = below !== undefined && isDirectory(below.stat.mode) ? below.nodeId : undefined
    const attributes = merged.entry(nodeId)
    if (covered !== undefined && !this.#hasOwnContent(directory, entry)) {
      yield { path: own, entry: attributes }
      yield { below: this.#directory(own, entry.ref, nodeId, covered) }
      return
    }
    const marks = covered === undefined ? [] : [OPAQUE_MARK]
    yield { path: own, entry: { ...attributes, xattrs: [...(attributes.xattrs ?? []), ...marks] } }
    yield { below: whole(merged, this.#links, own, nodeId) }
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

/** All that a directory shows. */
function* whole(merged: MergedEntries, links: Links, path: Name, directory: NodeId): Generator<Step> {
  for (const name of readNames(merged.fileSystem, directory)) {
    const found = merged.fileSystem.lookup(directory, name)
    if (found === undefined) continue
    const own = join(path, escapedFileName(name))
    if (!isDirectory(found.stat.mode)) yield links.item(merged, own, found.nodeId, found.stat.nlink)
    else {
      yield { path: own, entry: merged.entry(found.nodeId) }
      yield { below: whole(merged, links, own, found.nodeId) }
    }
  }
}

/** Files of several names, by their first one in the layer. */
class Links {
  readonly #first = new Map<NodeId, Name>()

  item(merged: MergedEntries, path: Name, node: NodeId, nlink: number): TreeItem {
    if (nlink > 1) {
      const link = this.#first.get(node)
      if (link !== undefined) return { path, link }
      this.#first.set(node, path)
    }
    return { path, entry: merged.entry(node) }
  }
}

function join(folder: Name, name: Name): Name {
  return folder === '' ? name : `${folder}/${name}`
}
