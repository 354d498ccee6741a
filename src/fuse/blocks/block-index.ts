import type { BlockRef, SourceId } from '../../base/index.ts'
import { SLOT_FAILED, SLOT_FREE, SLOT_QUEUED, SLOT_READY, type Slots } from './slots.ts'

/**
 * Limits within which a key is one number, which is cheaper than a string: 1 TiB a layer, 512 layers, 4 bits of the
 * kind.
 */
const POSITIONS = 2 ** 40
const SOURCES = 2 ** 9
const KIND_BITS = 2 ** 4

/** First value of `#target`: as many slots as hold so many bytes of decoded blocks, but at least MIN_SLOTS. */
const FIRST_TARGET_BYTES = 6 << 20
const MIN_SLOTS = 24

function keyOf({ source, position, kindBits }: BlockRef): number | string {
  return position < POSITIONS && source < SOURCES && kindBits < KIND_BITS
    ? (source * KIND_BITS + kindBits) * POSITIONS + position
    : `${source}:${position}:${kindBits}`
}

/**
 * Which block lies in which slot. Only the dispatcher uses it, so it needs no lock: workers see only slots.
 *
 * A pinned slot is never given up. A new block gets, in this order: (1) the slot of a block that was handed out as a
 * whole: the kernel has its pages, and a copy here would only cost memory; (2) a slot that was never used, while fewer
 * than `#target` are in use; (3) the slot of the block that was used longest ago; (4) any slot that was never used.
 * `#target` starts small and grows by one for each request of a block that was recently given up. So a scan of an image
 * never fills the cache, and readers who come back get all of it.
 */
export class BlockIndex {
  readonly #slots: Slots
  /** Key to slot, least recently used first. */
  readonly #slotOf = new Map<number | string, number>()
  readonly #keyOf: (number | string | undefined)[]
  readonly #free: number[]
  /** Most bytes that the block of each slot may have. */
  readonly #sizes: Float64Array
  /** Bytes handed out of each slot since it was filled. */
  readonly #delivered: Float64Array
  /** Slots read since the last `#findSpent`, and slots whose block was handed out as a whole. */
  readonly #read: number[] = []
  readonly #spent = new Set<number>()
  /** Slots in use above which blocks are given up. */
  #target: number
  /** Keys of blocks that were given up, oldest first. */
  readonly #givenUp = new Set<number | string>()
  /** Bytes that all blocks in slots may have together, where slots are larger than most blocks. */
  readonly #budget: number
  /** Called with the slot of a block that was given up for want of bytes. */
  readonly #onEmptied: (slot: number) => void
  #bytes = 0

  constructor(slots: Slots, budget = Infinity, onEmptied: (slot: number) => void = () => undefined) {
    this.#slots = slots
    this.#budget = budget
    this.#onEmptied = onEmptied
    this.#keyOf = new Array<number | string | undefined>(slots.count).fill(undefined)
    this.#delivered = new Float64Array(slots.count)
    this.#sizes = new Float64Array(slots.count)
    this.#target = Math.max(MIN_SLOTS, Math.floor(FIRST_TARGET_BYTES / slots.size))
    this.#free = Array.from({ length: slots.count }, (_, i) => slots.count - 1 - i)
  }

  /**
   * Returns the slot of a block, pinned once. The slot holds the block already, or is QUEUED to be filled.
   * @returns undefined where every slot is pinned, or a block of another size at this position is in use
   */
  acquire(block: BlockRef): number | undefined {
    const key = keyOf(block)
    const known = this.#slotOf.get(key)
    if (known !== undefined && this.#slots.isPinned(known) && !this.#slots.describes(known, block))
      return undefined
    if (known !== undefined && this.#isUsable(known, block)) {
      this.#slotOf.delete(key)
      this.#slotOf.set(key, known)
      this.#slots.pin(known)
      return known
    }
    if (this.#givenUp.delete(key)) this.#target += 1
    if (known === undefined && this.#budget !== Infinity) this.#makeRoom(block.maxSize)
    const slot = known ?? this.#takeSpent() ?? this.#takeFree() ?? this.#evict() ?? this.#free.pop()
    if (slot === undefined) return undefined
    this.#slotOf.delete(key)
    this.#slotOf.set(key, slot)
    this.#keyOf[slot] = key
    this.#delivered[slot] = 0
    this.#spent.delete(slot)
    this.#bytes += block.maxSize - this.#sizeOf(slot)
    this.#sizes[slot] = block.maxSize
    this.#slots.describe(slot, block)
    this.#slots.pin(slot)
    this.#slots.setState(slot, SLOT_QUEUED)
    return slot
  }

  /** Empties slots until a block of that size fits, as far as nobody uses their blocks. */
  #makeRoom(size: number): void {
    while (this.#bytes + size > this.#budget) {
      const slot = this.#takeSpent() ?? this.#evict()
      if (slot === undefined) return
      this.#keyOf[slot] = undefined
      this.#release(slot)
    }
  }

  #release(slot: number): void {
    this.#bytes -= this.#sizeOf(slot)
    this.#sizes[slot] = 0
    this.#delivered[slot] = 0
    this.#slots.setState(slot, SLOT_FREE)
    this.#free.push(slot)
    if (this.#budget !== Infinity) this.#onEmptied(slot)
  }

  #sizeOf(slot: number): number {
    return this.#sizes[slot] ?? 0
  }

  /** Empties the slots of all blocks of an image. @returns false where somebody still uses one of them */
  forgetSource(source: SourceId): boolean {
    let isOver = true
    for (const slot of [...this.#slotOf.values()]) {
      if (this.#slots.block(slot).source === source && !this.forget(slot)) isOver = false
    }
    return isOver
  }

  /** Notes that `length` bytes of a slot are being handed out. */
  deliver(slot: number, length: number): void {
    this.#delivered[slot] = (this.#delivered[slot] ?? 0) + length
    this.#read.push(slot)
    if (this.#read.length > this.#slots.count) this.#findSpent()
  }

  /** True where nothing of the slot's block was handed out yet. */
  isUnread(slot: number): boolean {
    return this.#delivered[slot] === 0
  }

  /** True where the block has a slot: filled, under way or failed. */
  has(block: BlockRef): boolean {
    return this.#slotOf.has(keyOf(block))
  }

  /** Empties a slot. @returns false where it is pinned: its bytes are in use */
  forget(slot: number): boolean {
    if (this.#slots.isPinned(slot)) return false
    const key = this.#keyOf[slot]
    if (key === undefined) return true
    this.#slotOf.delete(key)
    this.#keyOf[slot] = undefined
    this.#spent.delete(slot)
    this.#release(slot)
    return true
  }

  /**
   * A failed slot is tried again, unless a pin shows that an answer still needs the failure. A damaged image may name
   * the same position with another size: that is another block.
   */
  #isUsable(slot: number, block: BlockRef): boolean {
    if (!this.#slots.describes(slot, block)) return false
    return this.#slots.state(slot) !== SLOT_FAILED || this.#slots.isPinned(slot)
  }

  /** A slot whose block was handed out as a whole. */
  #takeSpent(): number | undefined {
    this.#findSpent()
    for (const slot of this.#spent) {
      if (this.#slots.isPinned(slot)) continue
      this.#spent.delete(slot)
      const key = this.#keyOf[slot]
      if (key !== undefined) this.#slotOf.delete(key)
      return slot
    }
    return undefined
  }

  /**
   * Moves slots from `#read` to `#spent`. It runs later than `deliver`, because a block has no known length before it
   * is decoded.
   */
  #findSpent(): void {
    let waiting = 0
    for (const slot of this.#read) {
      if (this.#slots.state(slot) !== SLOT_READY) {
        // A worker is filling it: look again later. A failed slot is not pinned for long, and then leaves the list.
        if (this.#slots.isPinned(slot)) this.#read[waiting++] = slot
      } else if ((this.#delivered[slot] ?? 0) >= this.#slots.length(slot)) this.#spent.add(slot)
    }
    this.#read.length = waiting
  }

  #takeFree(): number | undefined {
    return this.#slots.count - this.#free.length < this.#target ? this.#free.pop() : undefined
  }

  #evict(): number | undefined {
    for (const [key, slot] of this.#slotOf) {
      if (this.#slots.isPinned(slot)) continue
      this.#slotOf.delete(key)
      this.#rememberGivenUp(key)
      return slot
    }
    return undefined
  }

  #rememberGivenUp(key: number | string): void {
    this.#givenUp.add(key)
    if (this.#givenUp.size <= this.#slots.count) return
    for (const oldest of this.#givenUp) {
      this.#givenUp.delete(oldest)
      return
    }
  }
}
