import type { Ref } from '../../src/base/index.ts'
import type { StructView } from '../message/message.ts'
import { decodeInode, type Inode, isWhiteout, numberOf, typeOf } from './inode.ts'
import type { InodeVector, Rootfs } from './rootfs.ts'

/** Decoded inodes kept, some 200 bytes each. */
const INODES_KEPT = 4093
/** Inodes of one number that are looked at: a deletion and what took its place. */
const SAME_NUMBER = 16
/** Numbers are shown as they are stored up to this, if all of them are below. */
const SHOWN_LIMIT = 2 ** 32

/** What a number leads to where it is no inode. */
export const MISSING = -1
export const DELETED = -2

/**
 * The inodes of one image. A reference is the place of an inode among those of all layers, the topmost layer first. An
 * entry of a directory has a number, which the first layer that has it explains.
 */
export class InodeTable {
  readonly #rootfs: Rootfs
  // Direct-mapped: lookup, getattr and read of one file decode its inode once.
  readonly #inodes: (Inode | undefined)[] = new Array<Inode | undefined>(INODES_KEPT).fill(undefined)
  /** Where the last number was found in each layer: those of one directory follow each other. */
  readonly #last: number[]
  readonly #showsNumbers: boolean
  /** The largest number that is shown in a well-made image. */
  readonly largest: number

  /** @throws DamageError, FsError EIO */
  constructor(rootfs: Rootfs) {
    this.#rootfs = rootfs
    this.#last = rootfs.vectors.map(() => 0)
    const last = Math.max(...rootfs.vectors.map((vector) => this.#lastNumber(vector)))
    this.#showsNumbers = last < SHOWN_LIMIT
    this.largest = this.#showsNumbers ? last : rootfs.inodeCount
  }

  /** @throws DamageError for a reference that is none, and for an inode that cannot be read */
  read(ref: Ref): Inode {
    const kept = this.#inodes[ref % INODES_KEPT]
    if (kept?.ref === ref) return kept
    const inode = decodeInode(this.#rootfs.message, ref, this.#view(ref))
    this.#inodes[ref % INODES_KEPT] = inode
    return inode
  }

  /** The inode number to show: the stored one, or where the numbers of the image are too large, its place. */
  shown(ref: Ref): number {
    if (!this.#showsNumbers) return ref + 1
    const number = numberOf(this.#rootfs.message, this.#view(ref))
    return number >= 1 && number < SHOWN_LIMIT ? number : ref + 1
  }

  /** Type of an inode, as in `st_mode`; 0 where it cannot be told. */
  type(ref: Ref): number {
    return typeOf(this.#rootfs.message, this.#view(ref))
  }

  /** @returns the reference of an inode; MISSING or DELETED */
  find(number: number): number {
    if (!Number.isSafeInteger(number)) return MISSING
    const { message, vectors } = this.#rootfs
    for (const [layer, { inodes, first }] of vectors.entries()) {
      const at = this.#bisect(layer, number)
      let isDeleted = false
      // Where one of several hard links was deleted, a layer has a deletion and the inode by one number.
      for (let index = at; index < inodes.count && index < at + SAME_NUMBER; index++) {
        const view = message.element(inodes, index)
        if (numberOf(message, view) !== number) break
        if (!isWhiteout(message, view)) return first + index
        isDeleted = true
      }
      if (isDeleted) return DELETED
    }
    return MISSING
  }

  /** The first place in a layer whose number is not below this one. */
  #bisect(layer: number, number: number): number {
    const vector = this.#rootfs.vectors[layer]
    if (vector === undefined) return 0
    const last = this.#last[layer] ?? 0
    const guess = [last + 1, last].find((at) => this.#isFirst(vector, at, number))
    if (guess !== undefined) {
      this.#last[layer] = guess
      return guess
    }
    let low = 0
    let high = vector.inodes.count
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.#numberAt(vector, middle) < number) low = middle + 1
      else high = middle
    }
    this.#last[layer] = low
    return low
  }

  #isFirst(vector: InodeVector, at: number, number: number): boolean {
    if (at >= vector.inodes.count || this.#numberAt(vector, at) !== number) return false
    return at === 0 || this.#numberAt(vector, at - 1) < number
  }

  #numberAt({ inodes }: InodeVector, index: number): number {
    const { message } = this.#rootfs
    return numberOf(message, message.element(inodes, index))
  }

  #lastNumber(vector: InodeVector): number {
    const { count } = vector.inodes
    return count === 0 ? 0 : this.#numberAt(vector, count - 1)
  }

  #view(ref: Ref): StructView {
    const { message, vectors, inodeCount } = this.#rootfs
    if (!Number.isSafeInteger(ref) || ref < 0 || ref >= inodeCount) {
      throw message.damage(0, `no inode ${ref} of ${inodeCount}`)
    }
    let low = 0
    let high = vectors.length
    // The last layer that begins at or before it: those without inodes are passed over.
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if ((vectors[middle]?.first ?? 0) <= ref) low = middle
      else high = middle
    }
    const { inodes, first } = vectors[low] ?? { inodes: undefined, first: 0 }
    if (inodes === undefined) throw message.damage(0, `no layer for inode ${ref}`)
    return message.element(inodes, ref - first)
  }
}
