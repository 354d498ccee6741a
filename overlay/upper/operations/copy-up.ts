import { closeSync } from 'node:fs'
import {
  changing,
  FsError,
  isRegular,
  isSymlink,
  type Name,
  S_IFREG,
  type Stat,
} from '../../../src/base/index.ts'
import { O_PATH, openAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
import { type HostStat, statAt, statFd } from '../../../src/sys/files/statx.ts'
import { HOST_NUMBERS } from '../../stored/inode-numbers.ts'
import { firstOf, namesOf, shownNames, storedName } from '../../stored/xattr-names.ts'
import { type Attribute, type Copied, type CopySource, makeCopy } from '../disk/copy.ts'
import { inodeRecord, markRecords } from '../disk/inode-record.ts'
import { moveToNew } from '../disk/moves.ts'
import { copyCost } from '../disk/space.ts'
import { LayerReader } from '../nodes/layer-reader.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from '../nodes/nodes.ts'
import { attributedPart, layerOf, partOf } from '../nodes/present.ts'
import type { Upper } from '../nodes/upper.ts'
import { Clones } from './clones.ts'
import { PendingCopies } from './pending-copies.ts'

/** Copies nodes of the layers to the upper before their first change, parents first. */
export class CopyUp {
  readonly #upper: Upper
  readonly #reader: LayerReader
  readonly #pending: PendingCopies | undefined
  readonly #clones: Clones
  #isMarked = false

  constructor(upper: Upper) {
    this.#upper = upper
    this.#clones = new Clones(upper)
    this.#pending = upper.background && new PendingCopies(upper, upper.background)
    this.#reader = new LayerReader(upper.store, upper.readHostFile)
  }

  /**
   * Makes sure that the upper has the node.
   * @param length most bytes that the caller needs of a regular file: a file that is about to be truncated is not
   *   copied whole
   * @throws FsError ENOSPC, EDQUOT, EROFS, EIO; ENOENT for a directory that was removed
   * @throws Postponed while other threads copy; no other request sees a change then
   */
  ensure(node: Node, length = Number.POSITIVE_INFINITY): void {
    if (node.inUpper) return
    if (isDirectoryNode(node)) this.directory(node)
    else if (node.place === undefined) this.#copyNameless(node, length)
    else this.#copyToPlace(node, length)
  }

  /** To be called when the kernel has forgotten the node. */
  forget(node: Node): void {
    this.#pending?.forget(node)
  }

  /** @returns an O_PATH descriptor of the directory in the upper, see `UpperFiles`. @throws FsError as `ensure` */
  directory(node: DirectoryNode): number {
    const missing: DirectoryNode[] = []
    for (let at = node; !at.inUpper; ) {
      if (at.place === undefined) throw new FsError('ENOENT', 'copy-up: the directory was removed')
      missing.push(at)
      at = at.place.parent
    }
    for (let next = missing.pop(); next !== undefined; next = missing.pop()) {
      const part = attributedPart(next)
      const stat = layerOf(this.#upper, part).stat(part.ref)
      this.#upper.space?.take(copyCost({ ...stat, size: 0 }))
      const copy = makeCopy(this.#source(next, stat, 0), this.#upper.work, this.#upper.policy)
      changing(() => this.#place(next, copy, 'always'))
    }
    return this.#upper.files.directory(node)
  }

  #copyToPlace(node: Node, length: number): void {
    if (node.place !== undefined) this.directory(node.place.parent)
    const part = partOf(node)
    const keepsNumber = this.#keepsNumber(node)
    const copy = this.#copyFile(node, layerOf(this.#upper, part).stat(part.ref), length)
    try {
      changing(() => this.#place(node, copy.name, keepsNumber))
    } catch (error) {
      if (copy.fd !== undefined) closeSync(copy.fd)
      throw error
    }
    if (copy.fd !== undefined) this.#upper.files.keepData(node, copy.fd)
  }

  /** Copies a file that was removed while in use. The copy gets no name in the tree. */
  #copyNameless(node: Node, length: number): void {
    const { files, work } = this.#upper
    const part = partOf(node)
    const stat = layerOf(this.#upper, part).stat(part.ref)
    const keepsNumber = this.#keepsNumber(node)
    const { name: copy, fd: open } = this.#copyFile(node, stat, length)
    if (open !== undefined) closeSync(open)
    changing(() => {
      try {
        const fd = openAt(work.fd, copy, O_PATH)
        this.#becomes(node, statFd(fd), keepsNumber)
        files.hold(node, fd)
      } finally {
        unlinkAt(work.fd, copy)
      }
    })
  }

  /** @throws Postponed where the copy takes long */
  #copyFile(node: Node, stat: Stat, length: number): Copied {
    const { work, policy, syncCost } = this.#upper
    const source = this.#source(node, stat, length)
    const pending = this.#pending
    if (pending?.has(node) !== true) this.#upper.space?.take(copyCost(source.stat))
    const clone = pending?.has(node)
      ? undefined
      : this.#clones.copy(layerOf(this.#upper, partOf(node)), source)
    if (clone !== undefined) return clone
    // A copy under way is used, even if this request needs less of the file.
    if (pending !== undefined && (pending.has(node) || this.#takesLong(source))) {
      return { name: pending.take(node, source).finish(source) }
    }
    const start = performance.now()
    const name = makeCopy(source, work, policy)
    if (this.#isSynced(source)) syncCost.noteSync(start)
    return { name }
  }

  #takesLong(source: CopySource): boolean {
    const { mode, size } = source.stat
    if (isRegular(mode) && size > AT_ONCE) return true
    if (source.data?.isAtHand?.(0, size) === false) return true
    return this.#isSynced(source) && !this.#upper.syncCost.isShort(size)
  }

  #isSynced({ stat: { mode, size } }: CopySource): boolean {
    return isRegular(mode) && size > 0 && this.#upper.policy.fsync !== 'volatile'
  }

  /** Renames a finished copy to the place of its node. The parent keeps its times, because it shows the same names. */
  #place(node: Node, copy: Name, keepsNumber: Keeps): void {
    const { files, work } = this.#upper
    const { place } = node
    if (place === undefined) throw new FsError('ENOENT', 'copy-up: no name to copy to')
    try {
      this.#mark()
      const dir = files.directory(place.parent)
      const before = statFd(dir)
      const made = statAt(work.fd, copy)
      if (made === undefined) throw new FsError('ESTALE', 'copy-up: the copy was removed')
      moveToNew(work.fd, copy, dir, place.name)
      restoreTimes(dir, before)
      this.#becomes(node, made, keepsNumber)
      // The upper has the name now, so a kept listing is out of date.
      place.parent.touch(place.name)
    } catch (error) {
      work.discard(copy)
      throw error
    }
  }

  /** A later mount may use this upper as a layer: see `Stack.copies`. */
  #mark(): void {
    if (this.#isMarked) return
    markRecords(this.#upper.files.rootFd, this.#upper.policy)
    this.#isMarked = true
  }

  /** Makes the node this inode of the upper. It gets a new number where it cannot keep that of its original. */
  #becomes(node: Node, { dev, inode }: HostStat, keepsNumber: Keeps): void {
    const { table, inodes } = this.#upper
    if (keepsNumber === 'never') {
      node.ino = inodes.ofUpper(dev, inode)
      node.told = false
    } else if (keepsNumber === 'mount') inodes.keep(inode, node.ino)
    table.setUpper(node, inode)
  }

  /**
   * Whether a copy keeps the inode number of its original. A file with several names loses it: the other names stay
   * with the original, and tar(1) takes two files with one number and several links each for one file
   * (fs/overlayfs/copy_up.c:ovl_do_copy_up).
   */
  #keepsNumber(node: Node): Keeps {
    const part = partOf(node)
    const { ino, nlink } = layerOf(this.#upper, part).stat(part.ref)
    if (nlink !== 1) return 'never'
    // A number that differs from the computed one is that of a copy with a record, which later mounts show as well.
    const lasts = ino < HOST_NUMBERS || node.ino !== this.#upper.inodes.ofLayer(part.layer, ino)
    return lasts ? 'always' : 'mount'
  }

  /** @param stored attributes as the layer has them, before any mapping */
  #source(node: Node, stored: Stat, length: number): CopySource {
    const part = attributedPart(node)
    const layer = layerOf(this.#upper, part)
    const stat = isRegular(stored.mode) ? { ...stored, size: Math.min(stored.size, length) } : stored
    const xattrs: Attribute[] = []
    // Hidden attributes belong to the overlay that wrote them.
    for (const name of shownNames(layer.listxattr(part.ref))) {
      const value = firstOf(layer, part.ref, namesOf(name))
      if (value !== undefined) xattrs.push([storedName(name), value])
    }
    const lasting = !isDirectoryNode(node) && this.#keepsNumber(node) === 'always'
    return {
      stat,
      isPart: stat.size < stored.size,
      xattrs,
      own: lasting ? [inodeRecord(this.#hostMode(stat.mode), node.ino, this.#upper.policy)] : [],
      ...(isSymlink(stat.mode) ? { target: layer.readlink(part.ref) } : {}),
      ...(isRegular(stat.mode) ? { data: this.#reader.source(layer, part.ref) } : {}),
    }
  }

  /** Where owners are written down, everything but directories is a regular file. */
  #hostMode(mode: number): number {
    return this.#upper.policy.owners === 'override' ? S_IFREG : mode
  }
}

/**
 * How long a copy keeps the inode number of its original. `always`: at later mounts as well. `mount`: only in this
 * mount, because the original got its number when this mount met it. `never`: it gets a new one.
 */
type Keeps = 'always' | 'mount' | 'never'

/** Most bytes to copy while other requests wait. */
const AT_ONCE = 1 << 20

function restoreTimes(fd: number, { atime, atimeNsec, mtime, mtimeNsec }: HostStat): void {
  setTimesFd(fd, { seconds: atime, nanoseconds: atimeNsec }, { seconds: mtime, nanoseconds: mtimeNsec })
}
