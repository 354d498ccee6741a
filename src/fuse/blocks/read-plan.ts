import { type BlockRef, type ExtentSink, FsError, shortBlock } from '../../base/index.ts'
import type { BlockIndex } from './block-index.ts'
import { HOLE, MAX_SEGMENTS } from './jobs.ts'
import { ZEROS_SIZE } from './shared-buffers.ts'
import { SLOT_FAILED, SLOT_READY, type Slots } from './slots.ts'

/** The pieces of one READ as slots of the cache, each pinned once. Reused for every READ. */
export class ReadPlan implements ExtentSink {
  /** Three ints a piece: slot or HOLE, from, length. */
  readonly segments = new Int32Array(MAX_SEGMENTS * 3)
  count = 0
  /** Bytes of the whole answer. */
  length = 0
  /** Slots that are not READY yet, in file order. */
  readonly missing: number[] = []
  /** Set where the plan cannot be served from the cache: host files, or no free slot. */
  unplannable = false
  /** Set where a block has just failed for another reader; the thread that tried to fill its slot has logged why. */
  failed = false
  readonly #index: BlockIndex
  readonly #slots: Slots
  readonly #isRead: boolean

  /** @param isRead false for prefetch, which hands nothing out */
  constructor(index: BlockIndex, slots: Slots, isRead = true) {
    this.#index = index
    this.#slots = slots
    this.#isRead = isRead
  }

  begin(): void {
    this.count = 0
    this.length = 0
    this.missing.length = 0
    this.unplannable = false
    this.failed = false
  }

  hole(length: number): void {
    for (let left = length; left > 0; left -= ZEROS_SIZE) this.#add(HOLE, 0, Math.min(left, ZEROS_SIZE))
  }

  block(block: BlockRef, from: number, length: number): void {
    if (this.unplannable) return
    const slot = this.#index.acquire(block)
    if (slot === undefined) {
      this.unplannable = true
      return
    }
    this.#add(slot, from, length)
    if (this.#isRead) this.#index.deliver(slot, length)
    const state = this.#slots.state(slot)
    if (state === SLOT_FAILED) this.failed = true
    if (state !== SLOT_READY) this.missing.push(slot)
  }

  file(): void {
    this.unplannable = true
  }

  /** The segments in use. */
  get used(): Int32Array {
    return this.segments.subarray(0, this.count * 3)
  }

  unpin(): void {
    unpinSegments(this.#slots, this.used)
  }

  #add(slot: number, from: number, length: number): void {
    if (this.count === MAX_SEGMENTS) {
      if (slot !== HOLE) this.#slots.unpin(slot)
      this.unplannable = true
      return
    }
    const at = this.count * 3
    this.segments[at] = slot
    this.segments[at + 1] = from
    this.segments[at + 2] = length
    this.count++
    this.length += length
  }
}

/** Each becomes a hole before it is unpinned, so that nobody unpins it again after a thread that died here. */
export function unpinSegments(slots: Slots, segments: Int32Array): void {
  for (let i = 0; i < segments.length; i += 3) {
    const slot = segments[i] ?? HOLE
    segments[i] = HOLE
    if (slot !== HOLE) slots.unpin(slot)
  }
}

/**
 * Every piece must lie within the decoded length of its block.
 * @throws FsError EIO naming the slot's block
 */
export function checkSegments(slots: Slots, segments: Int32Array): void {
  for (let i = 0; i < segments.length; i += 3) {
    const slot = segments[i] ?? HOLE
    if (slot === HOLE) continue
    const end = (segments[i + 1] ?? 0) + (segments[i + 2] ?? 0)
    const block = slots.block(slot)
    if (slots.state(slot) !== SLOT_READY) {
      throw new FsError('EIO', `data block at byte ${block.position} of source ${block.source}: not readable`)
    }
    if (end > slots.length(slot)) {
      throw shortBlock(block, end, slots.length(slot))
    }
  }
}
