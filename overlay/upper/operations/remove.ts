import { changing, FsError, ignoring, isDirectory, type Name } from '../../../src/base/index.ts'
import { renameAt, rmdirAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { listNames } from '../../../src/sys/files/directory-entries.ts'
import { statAt } from '../../../src/sys/files/statx.ts'
import { setOpaque } from '../disk/markers.ts'
import type { Lister } from '../nodes/list.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from '../nodes/nodes.ts'
import type { Resolver } from '../nodes/resolve.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'
import { hide } from './hide.ts'

/** Removes names. */
export class Remover {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #copyUp: CopyUp
  readonly #lister: Lister

  constructor(upper: Upper, resolver: Resolver, copyUp: CopyUp, lister: Lister) {
    this.#upper = upper
    this.#resolver = resolver
    this.#copyUp = copyUp
    this.#lister = lister
  }

  /** @param node the node of the name. @throws FsError EISDIR; ENOSPC for a whiteout */
  unlink(parent: DirectoryNode, name: Name, node: Node): void {
    if (isDirectoryNode(node)) throw new FsError('EISDIR', `${JSON.stringify(name)} is a directory`)
    const covers = this.#resolver.below(parent, name) !== undefined
    const dir = this.#copyUp.directory(parent)
    changing(() => {
      this.prepareLoss(node, parent, name, true)
      if (covers) hide(this.#upper, parent, name)
      else unlinkAt(dir, name)
      parent.touch(name)
      this.finishLoss(node, parent, name)
    })
  }

  /** @throws FsError ENOTDIR, ENOTEMPTY; ENOSPC for a whiteout */
  rmdir(parent: DirectoryNode, name: Name, node: Node): void {
    if (!isDirectoryNode(node)) throw new FsError('ENOTDIR', `${JSON.stringify(name)} is no directory`)
    this.assertEmpty(node)
    const covers = this.#resolver.below(parent, name) !== undefined
    const dir = this.#copyUp.directory(parent)
    const physical = node.inUpper
    changing(() => {
      this.prepareLoss(node, parent, name, physical)
      if (covers) hide(this.#upper, parent, name)
      else if (physical) this.#removeDirectory(dir, name)
      parent.touch(name)
      this.finishLoss(node, parent, name)
    })
  }

  /** @throws FsError ENOTEMPTY */
  assertEmpty(node: DirectoryNode): void {
    if (!this.#lister.isEmpty(node)) throw new FsError('ENOTEMPTY', 'the directory is not empty')
  }

  /** True where the upper itself has the name, as a file or a directory. */
  isPhysical(parent: DirectoryNode, name: Name): boolean {
    const entry = this.#resolver.upperEntry(parent, name)
    return entry !== undefined && entry !== 'whiteout'
  }

  /**
   * Really empties a directory that shows no names, so that another one can be renamed over it. The directory becomes
   * opaque before its whiteouts are removed.
   * @returns false where only a file in the directory could make it opaque
   */
  emptyOut(node: DirectoryNode): boolean {
    const { files, policy, work } = this.#upper
    const fd = files.directory(node)
    const names = listNames(fd)
    if (names.length === 0) return true
    if (node.lower !== undefined && !policy.xattrs) return false
    if (node.lower !== undefined) setOpaque(fd, policy)
    for (const name of names) {
      const stat = statAt(fd, name)
      if (stat === undefined) continue
      if (isDirectory(stat.mode)) {
        const temporary = work.temporaryName()
        renameAt(fd, name, work.fd, temporary, 0)
        work.discard(temporary)
      } else unlinkAt(fd, name)
    }
    return true
  }

  /**
   * To be called before a name is removed. A node that the kernel still uses, and that has no other known name, then
   * holds its inode by itself.
   * @param node was looked up in this request
   * @param physical of a directory: the upper has the name, not a layer
   */
  prepareLoss(node: Node, parent: DirectoryNode, name: Name, physical: boolean): void {
    if (!node.inUpper || node.nlookup === 0) return
    if (!isDirectoryNode(node)) {
      const known = (node.place === undefined ? 0 : 1) + (node.more?.size ?? 0)
      if (known > (this.#upper.table.hasPlace(node, parent, name) ? 1 : 0)) return
    } else if (!physical) return
    this.#upper.files.detach(node)
  }

  /** To be called after a name was removed. */
  finishLoss(node: Node, parent: DirectoryNode, name: Name): void {
    this.#upper.table.removePlace(node, parent, name)
    if (!isDirectoryNode(node)) return
    node.dead = true
    this.#lister.forget(node)
  }

  /** Removes a directory that shows no names. Whiteouts that are left in it have no use any more. */
  #removeDirectory(dir: number, name: Name): void {
    const { work } = this.#upper
    if (ignoring(['ENOTEMPTY', 'EEXIST'], () => rmdirAt(dir, name))) return
    const temporary = work.temporaryName()
    renameAt(dir, name, work.fd, temporary, 0)
    work.discard(temporary)
  }
}
