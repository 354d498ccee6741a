import type { BlockRef, BlockStore } from '../../base/index.ts'
import type { SharedBuffers } from './shared-buffers.ts'

export const SLOT_FREE = 0
export const SLOT_QUEUED = 1
export const SLOT_FILLING = 2
export const SLOT_READY = 3
export const SLOT_FAILED = 4

/** The state of a slot is its lowest bits; above them stands the thread that fills it. */
const STATE_BITS = 3
const STATE_MASK = (1 << STATE_BITS) - 1

const SLOT_INTS = 7
/** Shared memory of one slot beside its bytes: the ints of its state, and its position as a float. */
export const SLOT_SIZE = SLOT_INTS * 4
export const POSITION_SIZE = 8

function fillingBy(thread: number): number {
  return SLOT_FILLING + (thread << STATE_BITS)
}

/** The slots: state, pins and what to decode into each. */
export class Slots {
  readonly count: number
  readonly size: number
  readonly #bytes: Buffer
  readonly #ints: Int32Array
  readonly #positions: Float64Array
  readonly #filling: number

  /** @param thread that fills slots by this object: 0 for the dispatcher, or a worker */
  constructor(shared: SharedBuffers, thread = 0) {
    this.#filling = fillingBy(thread)
    this.count = shared.slotCount
    this.size = shared.slotSize
    this.#bytes = Buffer.from(shared.blocks)
    this.#ints = new Int32Array(shared.slots)
    this.#positions = new Float64Array(shared.positions)
  }

  /** All bytes of a slot, also those beyond its block. */
  bytes(slot: number): Uint8Array {
    return this.#bytes.subarray(slot * this.size, (slot + 1) * this.size)
  }

  state(slot: number): number {
    return Atomics.load(this.#ints, slot * SLOT_INTS) & STATE_MASK
  }

  /** Publishes a new state and wakes the threads that wait for it. */
  setState(slot: number, state: number): void {
    Atomics.store(this.#ints, slot * SLOT_INTS, state)
    Atomics.notify(this.#ints, slot * SLOT_INTS)
  }

  /** Claims a QUEUED slot. @returns true for the one thread that has to fill it */
  claim(slot: number): boolean {
    return Atomics.compareExchange(this.#ints, slot * SLOT_INTS, SLOT_QUEUED, this.#filling) === SLOT_QUEUED
  }

  /** Returns when no other thread is filling the slot any more. */
  waitFilled(slot: number): void {
    const at = slot * SLOT_INTS
    for (let seen = SLOT_FILLING; (seen & STATE_MASK) === SLOT_FILLING; seen = Atomics.load(this.#ints, at)) {
      Atomics.wait(this.#ints, at, seen, 1000)
    }
  }

  /** Gives up what a thread that died was filling: whoever waits for it is told that it failed. For the main thread. */
  abandon(thread: number): void {
    const filling = fillingBy(thread)
    for (let slot = 0; slot < this.count; slot++) {
      const at = slot * SLOT_INTS
      if (Atomics.compareExchange(this.#ints, at, filling, SLOT_FAILED) === filling)
        Atomics.notify(this.#ints, at)
    }
  }

  pin(slot: number): void {
    Atomics.add(this.#ints, slot * SLOT_INTS + 1, 1)
  }

  unpin(slot: number): void {
    Atomics.sub(this.#ints, slot * SLOT_INTS + 1, 1)
  }

  isPinned(slot: number): boolean {
    return Atomics.load(this.#ints, slot * SLOT_INTS + 1) > 0
  }

  /** Decoded length; meaningful once READY. */
  length(slot: number): number {
    return this.#ints[slot * SLOT_INTS + 2] ?? 0
  }

  /** Writes which block to decode. Only the dispatcher calls it, before the slot becomes QUEUED. */
  describe(slot: number, block: BlockRef): void {
    const at = slot * SLOT_INTS
    this.#ints[at + 3] = block.source
    this.#ints[at + 4] = block.storedSize
    this.#ints[at + 5] = block.kindBits
    this.#ints[at + 6] = block.maxSize
    this.#positions[slot] = block.position
  }

  /** True where both slots hold parts of what the image stores as one block. */
  areParts(slot: number, other: number): boolean {
    return (
      this.#positions[slot] === this.#positions[other] &&
      this.#ints[slot * SLOT_INTS + 3] === this.#ints[other * SLOT_INTS + 3]
    )
  }

  /** True where the slot was made for exactly this block, not for another block at the same position. */
  describes(slot: number, block: BlockRef): boolean {
    const at = slot * SLOT_INTS
    return this.#ints[at + 4] === block.storedSize && this.#ints[at + 5] === block.kindBits
  }

  block(slot: number): BlockRef {
    const at = slot * SLOT_INTS
    return {
      source: this.#ints[at + 3] ?? 0,
      position: this.#positions[slot] ?? 0,
      storedSize: this.#ints[at + 4] ?? 0,
      kindBits: this.#ints[at + 5] ?? 0,
      maxSize: this.#ints[at + 6] ?? 0,
    }
  }

  /**
   * Decodes the block of a slot that this thread has claimed, and publishes the outcome.
   * @returns the error where it failed; the slot is then FAILED, and its bytes are never read
   */
  fill(slot: number, store: BlockStore): unknown {
    try {
      const length = store.readBlock(this.block(slot), this.bytes(slot))
      this.#ints[slot * SLOT_INTS + 2] = length
      this.setState(slot, SLOT_READY)
      return undefined
    } catch (error) {
      this.setState(slot, SLOT_FAILED)
      return error
    }
  }
}
