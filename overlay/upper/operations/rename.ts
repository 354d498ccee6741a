import { changing, FsError, ignoring, type Name, type RenameMode } from '../../../src/base/index.ts'
import { renameAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { statAt } from '../../../src/sys/files/statx.ts'
import { MARK_PREFIX } from '../../stored/whiteout.ts'
import {
  isDeviceWhiteout,
  isUpperWhiteout,
  makeMark,
  removeWhiteout,
  setOpaque,
  whiteoutForm,
} from '../disk/markers.ts'
import { exchangeNames } from '../disk/moves.ts'
import { type DirectoryNode, isDirectoryNode, type Node, type Place } from '../nodes/nodes.ts'
import { redirectFor, writeRedirect } from '../nodes/redirect.ts'
import type { Resolver } from '../nodes/resolve.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'
import { hide } from './hide.ts'
import type { Remover } from './remove.ts'

/** Leaves a device 0:0 where the file was, in the same step (include/uapi/linux/fs.h). */
const RENAME_WHITEOUT = 4

/** Moves names (renameat2(2), fs/overlayfs/dir.c:ovl_rename). */
export class Renamer {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #copyUp: CopyUp
  readonly #remover: Remover

  constructor(upper: Upper, resolver: Resolver, copyUp: CopyUp, remover: Remover) {
    this.#upper = upper
    this.#resolver = resolver
    this.#copyUp = copyUp
    this.#remover = remover
  }

  /**
   * @throws FsError ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL for a directory into itself; EXDEV for a
   *   directory with a lower part that cannot be redirected
   */
  rename(from: Place, to: Place, mode: RenameMode): void {
    const { table } = this.#upper
    const source = this.#resolver.find(from.parent, from.name)
    if (source === undefined) throw new FsError('ENOENT', `rename: no ${JSON.stringify(from.name)}`)
    table.retain(source)
    let target: Node | undefined
    try {
      target = this.#resolver.find(to.parent, to.name)
      if (target !== undefined) table.retain(target)
      if (to.parent.dead) throw new FsError('ENOENT', 'rename: the directory was removed')
      this.#move(from, source, to, target, mode)
    } finally {
      for (const node of [source, target]) if (node !== undefined) table.forget(node.id, 1)
    }
  }

  #move(from: Place, source: Node, to: Place, target: Node | undefined, mode: RenameMode): void {
    if (mode === 'noreplace' && target !== undefined) {
      throw new FsError('EEXIST', `rename: ${JSON.stringify(to.name)} exists`)
    }
    if (mode === 'exchange' && target === undefined) {
      throw new FsError('ENOENT', `rename: no ${JSON.stringify(to.name)} to exchange with`)
    }
    assertOutside(source, to.parent)
    if (mode === 'exchange' && target !== undefined) assertOutside(target, from.parent)
    // Two names of one file: nothing to do (rename(2)).
    if (source === target) return
    if (mode === 'exchange' && target !== undefined) this.#exchange(from, source, to, target)
    else this.#replace(from, source, to, target)
  }

  #exchange(from: Place, source: Node, to: Place, target: Node): void {
    this.#assertMovable(source)
    this.#assertMovable(target)
    const isOverFrom = this.#isOverLayers(from)
    const isOverTo = this.#isOverLayers(to)
    this.#copyUp.ensure(source)
    this.#copyUp.ensure(target)
    changing(() => {
      this.#prepare(source, from, to, isOverTo)
      this.#prepare(target, to, from, isOverFrom)
      const { files, table, work } = this.#upper
      const toDir = files.directory(to.parent)
      const fromDir = files.directory(from.parent)
      exchangeNames(fromDir, from.name, toDir, to.name, work)
      table.movePlace(source, from, to)
      table.movePlace(target, to, from)
      touch(from, to)
    })
  }

  #replace(from: Place, source: Node, to: Place, target: Node | undefined): void {
    if (target !== undefined) assertReplaceable(source, target)
    this.#assertMovable(source)
    if (target !== undefined && isDirectoryNode(target)) this.#remover.assertEmpty(target)
    const leaves = this.#isOverLayers(from)
    const isOverTo = this.#isOverLayers(to)
    this.#copyUp.ensure(source)
    this.#copyUp.directory(to.parent)
    const physical =
      target !== undefined && isDirectoryNode(target) && this.#remover.isPhysical(to.parent, to.name)
    changing(() => {
      this.#prepare(source, from, to, isOverTo)
      if (target !== undefined) this.#remover.prepareLoss(target, to.parent, to.name, physical)
      if (isDirectoryNode(source) && target !== undefined && isDirectoryNode(target) && target.inUpper) {
        if (!this.#remover.emptyOut(target)) hide(this.#upper, to.parent, to.name)
      }
      this.#moveOver(from, to, isDirectoryNode(source), leaves)
      this.#upper.table.movePlace(source, from, to)
      if (target !== undefined) this.#remover.finishLoss(target, to.parent, to.name)
      touch(from, to)
    })
  }

  /** True where the layers have the name, so that it would show if the upper had nothing there. */
  #isOverLayers({ parent, name }: Place): boolean {
    return this.#resolver.below(parent, name) !== undefined
  }

  /** @throws FsError EXDEV: the user's program then copies, as between file systems */
  #assertMovable(node: Node): void {
    if (this.#upper.redirectDir || !isDirectoryNode(node) || node.lower === undefined) return
    throw new FsError('EXDEV', 'rename: the directory has something below (redirect_dir=off)')
  }

  /**
   * Makes a directory find its lower part at its new place, and nothing else.
   * @param isOverTo the layers have something at the new place
   */
  #prepare(node: Node, from: Place, to: Place, isOverTo: boolean): void {
    if (!isDirectoryNode(node)) return
    const { files, policy } = this.#upper
    if (node.lower !== undefined) {
      const redirect = redirectFor(node, from.parent === to.parent)
      if (redirect === node.redirect) return
      writeRedirect(files.directory(node), redirect, policy)
      node.redirect = redirect
    } else if (!node.opaque && isOverTo) {
      setOpaque(files.directory(node), policy)
      node.opaque = true
    }
  }

  /**
   * Moves the name. At the new place is a file, an empty directory, a whiteout, or nothing.
   * @param leaves the layers have something at the old place
   */
  #moveOver(from: Place, to: Place, directory: boolean, leaves: boolean): void {
    const { files, policy, marks, work } = this.#upper
    const toDir = files.directory(to.parent)
    const fromDir = files.directory(from.parent)
    const present = statAt(toDir, to.name)
    const opacity = () => (to.parent.attributeWhiteouts ? 'x' : 'none')
    const covered = present !== undefined && isUpperWhiteout(toDir, to.name, present, opacity)
    const form = leaves ? whiteoutForm(from.name, policy) : 'none'
    if (form === 'wh') makeMark(fromDir, MARK_PREFIX + from.name)
    // An exchange makes a device at the new name the whiteout of the old name.
    const reused = form === 'device' && present !== undefined && isDeviceWhiteout(present)
    if (covered && (directory || reused)) {
      exchangeNames(fromDir, from.name, toDir, to.name, work)
      if (form === 'none' || form === 'wh') unlinkAt(fromDir, from.name)
      else if (!reused) hide(this.#upper, from.parent, from.name)
    } else if (form === 'device' || form === 'attribute') {
      if (form === 'attribute' || !renamedWithWhiteout(fromDir, from.name, toDir, to.name)) {
        // Two steps: for a moment the old name shows what the layers have.
        renameAt(fromDir, from.name, toDir, to.name, 0)
        hide(this.#upper, from.parent, from.name)
      }
    } else renameAt(fromDir, from.name, toDir, to.name, 0)
    if (marks) removeWhiteout(toDir, to.name)
  }
}

/** @returns false where the file system lacks this flag */
function renamedWithWhiteout(fromDir: number, from: Name, toDir: number, to: Name): boolean {
  return ignoring(['EINVAL', 'EPERM'], () => renameAt(fromDir, from, toDir, to, RENAME_WHITEOUT))
}

function touch(...places: readonly Place[]): void {
  for (const { parent, name } of places) parent.touch(name)
}

function assertReplaceable(source: Node, target: Node): void {
  if (isDirectoryNode(source)) {
    if (!isDirectoryNode(target)) throw new FsError('ENOTDIR', 'rename: a directory over a file')
  } else if (isDirectoryNode(target)) throw new FsError('EISDIR', 'rename: a file over a directory')
}

/** @throws FsError EINVAL where the directory is the node or lies in it */
function assertOutside(node: Node, directory: DirectoryNode): void {
  for (let at: DirectoryNode | undefined = directory; at !== undefined; at = at.place?.parent) {
    if (at === node) throw new FsError('EINVAL', 'rename: a directory into itself')
  }
}
