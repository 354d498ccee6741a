import type { BlockRef } from '../base/index.ts'
import { SLOT_FAILED, SLOT_QUEUED, type Slots } from './shared-cache.ts'

/** Positions below this fit into one number together with the source: 1 TiB a layer, 8 192 layers. */
const SOURCE_STRIDE = 2 ** 40

function keyOf({ source, position }: BlockRef): number | string {
  return position < SOURCE_STRIDE && source < 2 ** 13
    ? source * SOURCE_STRIDE + position
    : `${source}:${position}`
}

/**
 * Which block lies in which slot. Owned by the dispatcher alone, so it needs no lock: the workers see only
 * slots. Least recently used slots are given up first, never one that is pinned.
 */
export class BlockIndex {
  readonly #slots: Slots
  /** Key to slot, in order of use. */
  readonly #slotOf = new Map<number | string, number>()
  readonly #free: number[]

  constructor(slots: Slots) {
    this.#slots = slots
    this.#free = Array.from({ length: slots.count }, (_, i) => slots.count - 1 - i)
  }

  /**
   * The slot of a block, pinned once: it is either there already or now QUEUED to be filled.
   * @returns undefined where every slot is pinned, or the position is in use as a block of another size
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
    const slot = known ?? this.#free.pop() ?? this.#evict()
    if (slot === undefined) return undefined
    this.#slotOf.delete(key)
    this.#slotOf.set(key, slot)
    this.#slots.describe(slot, block)
    this.#slots.pin(slot)
    this.#slots.setState(slot, SLOT_QUEUED)
    return slot
  }

  /** True where the block is there or under way: used to decide on prefetch. */
  has(block: BlockRef): boolean {
    return this.#slotOf.has(keyOf(block))
  }

  /**
   * A failed slot is tried anew, unless someone still has to answer with the failure. A damaged image may name
   * the same position with another size: that is another block.
   */
  #isUsable(slot: number, block: BlockRef): boolean {
    if (!this.#slots.describes(slot, block)) return false
    return this.#slots.state(slot) !== SLOT_FAILED || this.#slots.isPinned(slot)
  }

  #evict(): number | undefined {
    for (const [key, slot] of this.#slotOf) {
      if (this.#slots.isPinned(slot)) continue
      this.#slotOf.delete(key)
      return slot
    }
    return undefined
  }
}
