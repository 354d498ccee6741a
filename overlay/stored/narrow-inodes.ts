import type { InodeNumber } from '../../src/base/index.ts'
import { NARROW, SPILL } from './inode-numbers.ts'

/** Numbers that can be handed out: fewer than a Map can hold. */
const COUNT = 2 ** 24 - 2 ** 16
/** The numbers from here to 2^32 are those to hand out. A file whose own number is one of them is given another. */
const FIRST = NARROW - COUNT

/**
 * `ino32_t`: shows inode numbers below 2^32 for those that a tree has beyond. They are handed out in the order in which
 * the numbers are met. Each is remembered until the mount ends, so that a file keeps its number; that takes some 70 bytes.
 * Once all are handed out, what is met after that has a number above 2^32.
 */
export class NarrowInodes {
  /** Place of each number in the order. */
  readonly #met = new Map<number, number>()
  readonly #count: number

  /** @param count numbers that are handed out at most */
  constructor(count = COUNT) {
    this.#count = Math.min(count, COUNT)
  }

  /** @returns the number that is shown for `ino` and for no other one */
  shown(ino: InodeNumber): number {
    if (ino < FIRST) return ino
    const place = this.#met.get(ino) ?? this.#met.size
    if (place < this.#count) {
      this.#met.set(ino, place)
      return FIRST + place
    }
    return ino < NARROW ? SPILL + ino : ino
  }
}
