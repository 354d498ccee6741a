import { addressOf } from '../../sys/ffi/ffi.ts'
import { GatherWriter } from '../../sys/mounts/device-io.ts'
import { HOLE, MAX_SEGMENTS } from './jobs.ts'
import { type SharedBuffers, ZEROS_SIZE } from './shared-buffers.ts'

/** A gathering write straight from the slots of the shared cache. Each thread has its own. */
export class SlotVector {
  /** With room for a header. */
  readonly writer = new GatherWriter(MAX_SEGMENTS + 1)
  readonly #slotSize: number
  readonly #blocks: number
  readonly #zeros: number

  constructor(shared: SharedBuffers) {
    this.#slotSize = shared.slotSize
    this.#blocks = addressOf(new Uint8Array(shared.blocks))
    this.#zeros = addressOf(new Uint8Array(shared.zeros))
  }

  /** Adds bytes of a slot, which is READY and stays pinned until they are written. */
  place(slot: number, from: number, size: number): void {
    this.writer.add(this.#blocks + slot * this.#slotSize + from, size)
  }

  /** @throws RangeError for more than `ZEROS_SIZE` */
  zeros(size: number): void {
    if (size > ZEROS_SIZE) throw new RangeError(`hole of ${size} bytes in one job`)
    this.writer.add(this.#zeros, size)
  }

  /**
   * Adds what the segments have after their first `skip` bytes.
   * @param segments three ints each: slot (READY and pinned) or HOLE, from, size
   * @returns bytes added
   */
  add(segments: Int32Array, skip: number): number {
    let total = 0
    let left = skip
    for (let i = 0; i < segments.length; i += 3) {
      const slot = segments[i] ?? HOLE
      const from = segments[i + 1] ?? 0
      const size = segments[i + 2] ?? 0
      const passed = Math.min(left, size)
      left -= passed
      if (passed === size) continue
      if (slot === HOLE) this.zeros(size - passed)
      else this.place(slot, from + passed, size - passed)
      total += size - passed
    }
    return total
  }
}
