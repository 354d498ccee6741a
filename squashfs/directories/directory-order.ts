import { DirectoryParents, FsError } from '../../src/base/index.ts'
import type { Inode } from '../metadata/inode.ts'
import { describeRef } from '../metadata/metadata-reference.ts'

/** Directories of which the entry is remembered, per layer: 8 to 22 bytes each. */
const RECORDED_DIRECTORIES_MAX = 1 << 20

/**
 * Keeps a damaged or crafted image from showing an endless tree, or one with more paths than a walk can visit: a
 * directory has one name. The entry through which it was first reached is remembered, and a second one is refused:
 * directories have no hard links. The stored `parent_inode` cannot be relied on: sqfstar stores a wrong one for
 * pseudo directories (squashfs-tools issue 354), and the kernel uses it for ".." only.
 *
 * mksquashfs, sqfstar, tar2sqfs and gensquashfs write a directory's inode after the inodes of all its entries,
 * because the listing names their positions; the root comes last. In such an image a directory may only
 * list directories with smaller references, and references that only fall cannot form a loop: so nothing need be
 * refused there once more directories were met than are remembered.
 *
 * What an entry calls a directory counts as one; the merge refuses an entry whose inode has another type.
 */
export class DirectoryOrder {
  readonly #rootRef: number
  readonly #rootIsLast: boolean
  readonly #recorded: number
  readonly #parents = new DirectoryParents()

  /** @param recorded directories to remember */
  constructor(rootRef: number, rootIsLast: boolean, recorded: number = RECORDED_DIRECTORIES_MAX) {
    this.#rootRef = rootRef
    this.#rootIsLast = rootIsLast
    this.#recorded = recorded
  }

  /**
   * @param place where in the directory table the entry ends: two entries have different ones
   * @param ref of the directory that the entry names
   * @throws FsError EIO where it cannot be below `directory`
   */
  check(directory: Inode, place: number, ref: number): void {
    if (ref === this.#rootRef) throw refusal(directory, ref, 'which is the root: a loop')
    if (this.#rootIsLast && ref >= directory.ref) {
      throw refusal(directory, ref, 'which was written after it: a loop')
    }
    if (this.#parents.size < this.#recorded || this.#parents.has(ref)) {
      if (this.#parents.claim(ref, directory.ref, place)) return
      throw refusal(directory, ref, 'which another entry names too: a loop, or a tree without end')
    }
    if (!this.#rootIsLast) {
      throw refusal(directory, ref, `but loops are ruled out for ${this.#recorded} directories only`)
    }
  }
}

function refusal(directory: Inode, ref: number, reason: string): FsError {
  return new FsError(
    'EIO',
    `squashfs directory ${directory.inodeNumber} lists the directory ${describeRef(ref)}, ${reason}`,
  )
}
