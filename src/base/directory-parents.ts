/** Bits of an inode reference as a directory entry can hold it: 32 of the block, 13 of the offset. */
const REF_HIGH_BITS = 13
const REF_HIGH_MASK = 2 ** REF_HIGH_BITS - 1
const MARK_BITS = 32 - REF_HIGH_BITS
const LIMB = 0x10000
const LIMBS = 4
const FIRST_CAPACITY = 64

/** Random odd multipliers. */
function multipliers(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, () => (Math.random() * 2 ** 32) | 1)
}

/** The sum of the 16-bit limbs of `value`, each times its multiplier, modulo 2^32: the high bits are a universal hash. */
function sumOfLimbs(value: number, factors: Uint32Array, first: number): number {
  let sum = 0
  let rest = value
  for (let limb = 0; limb < LIMBS; limb++) {
    sum += Math.imul(rest % LIMB, factors[first + limb] ?? 0)
    rest = Math.floor(rest / LIMB)
  }
  return sum >>> 0
}

/**
 * Which entry each directory was first reached through: a hash table of eight bytes a slot, at most three quarters
 * full. A slot holds the directory's reference, which is exact, and 19 bits that stand for the entry. So nothing good
 * is ever refused, and one wrong entry of half a million goes unseen; which one, the maker of an image cannot know,
 * because the multipliers are random.
 */
export class DirectoryParents {
  #slots = new Uint32Array(0)
  #shift = 32
  readonly #refFactors = multipliers(LIMBS)
  readonly #entryFactors = multipliers(2 * LIMBS)
  size = 0

  /**
   * Remembers the entry where the directory has none yet.
   * @param ref of the directory, below 2^45
   * @param parent ref of the directory that holds the entry
   * @param place of the entry in the directory table, a number below 2^53
   * @returns whether it is the entry that is remembered
   */
  claim(ref: number, parent: number, place: number): boolean {
    if (this.size * 8 >= this.#slots.length * 3) this.#grow()
    const mark = this.#mark(parent, place)
    const at = this.#find(ref)
    if (this.#slots[at + 1] === 0) {
      this.#put(at, ref, mark)
      this.size += 1
      return true
    }
    return (this.#slots[at + 1] ?? 0) >>> REF_HIGH_BITS === mark
  }

  /** Whether an entry of this directory is remembered. */
  has(ref: number): boolean {
    return this.size > 0 && this.#slots[this.#find(ref) + 1] !== 0
  }

  /** Never 0, which marks an empty slot. */
  #mark(parent: number, place: number): number {
    const sum = sumOfLimbs(parent, this.#entryFactors, 0) + sumOfLimbs(place, this.#entryFactors, LIMBS)
    return (sum >>> 0) >>> (32 - MARK_BITS) || 1
  }

  /** Index of the slot that has the directory, or of the empty one where it belongs. */
  #find(ref: number): number {
    const slots = this.#slots
    const low = ref >>> 0
    const high = Math.floor(ref / 2 ** 32)
    let at = (sumOfLimbs(ref, this.#refFactors, 0) >>> this.#shift) * 2
    while (slots[at + 1] !== 0 && (slots[at] !== low || ((slots[at + 1] ?? 0) & REF_HIGH_MASK) !== high)) {
      at = (at + 2) % slots.length
    }
    return at
  }

  #put(at: number, ref: number, mark: number): void {
    this.#slots[at] = ref >>> 0
    this.#slots[at + 1] = (mark << REF_HIGH_BITS) | Math.floor(ref / 2 ** 32)
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Uint32Array(Math.max(old.length * 2, FIRST_CAPACITY * 2))
    this.#shift = Math.clz32(this.#slots.length / 2) + 1
    for (let at = 0; at < old.length; at += 2) {
      const high = old[at + 1] ?? 0
      if (high === 0) continue
      const ref = (high & REF_HIGH_MASK) * 2 ** 32 + (old[at] ?? 0)
      this.#put(this.#find(ref), ref, high >>> REF_HIGH_BITS)
    }
  }
}

/** A set of inode references in 8 to 22 bytes each, for those who walk a tree in which one inode may have many names. */
export class InodeSet {
  readonly #table = new DirectoryParents()

  get size(): number {
    return this.#table.size
  }

  /** @returns false where it was there before */
  add(ref: number): boolean {
    if (this.#table.has(ref)) return false
    return this.#table.claim(ref, 0, 0)
  }
}
