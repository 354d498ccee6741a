import { FsError } from '../src/base/index.ts'
import { type Inode, isDirectoryInode } from './inode.ts'

// Only images that no common writer makes are recorded at all; 1 Mi directories take some 50 MB.
const RECORDED_DIRECTORIES_MAX = 1 << 20

/**
 * Keeps a damaged or crafted image from showing an endless tree, by refusing a directory that lists its own
 * ancestor. The stored `parent_inode` cannot be relied on: sqfstar stores a wrong one for pseudo directories
 * (squashfs-tools issue 354), and the kernel uses it for ".." only.
 *
 * mksquashfs, sqfstar, tar2sqfs and gensquashfs write a directory's inode after the inodes of all its entries,
 * because the listing names their positions; the root comes last. In such an image a directory may only
 * list directories with smaller references, and references that only fall cannot form a loop. In an image whose
 * root does not come last, the parent through which a directory was first reached is remembered instead, and a
 * second parent is refused: directories have no hard links.
 */
export class DirectoryOrder {
  readonly #rootRef: number
  readonly #parents: Map<number, number> | undefined
  readonly #inode: (ref: number) => Inode

  constructor(rootRef: number, rootIsLast: boolean, inode: (ref: number) => Inode) {
    this.#rootRef = rootRef
    this.#parents = rootIsLast ? undefined : new Map()
    this.#inode = inode
  }

  /** @throws FsError EIO where `entryRef` is a directory that cannot be below `directory` */
  check(directory: Inode, entryRef: number): void {
    const parents = this.#parents
    if (parents === undefined) {
      if (entryRef >= directory.ref && isDirectoryInode(this.#inode(entryRef))) {
        throw refusal(directory, entryRef, 'which was written after it')
      }
      return
    }
    if (!isDirectoryInode(this.#inode(entryRef))) return
    if (entryRef === this.#rootRef) throw refusal(directory, entryRef, 'which is the root')
    const parent = parents.get(entryRef)
    if (parent === undefined) {
      if (parents.size >= RECORDED_DIRECTORIES_MAX) {
        throw refusal(directory, entryRef, `but loops are ruled out for ${RECORDED_DIRECTORIES_MAX} only`)
      }
      parents.set(entryRef, directory.ref)
    } else if (parent !== directory.ref) {
      throw refusal(directory, entryRef, 'which another directory lists too')
    }
  }
}

function refusal(directory: Inode, entryRef: number, reason: string): FsError {
  const block = Math.floor(entryRef / 8192)
  return new FsError(
    'EIO',
    `squashfs directory ${directory.inodeNumber} lists the directory ${block}:${entryRef % 8192}, ${reason}: a loop`,
  )
}
