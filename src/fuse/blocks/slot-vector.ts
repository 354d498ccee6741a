import { addressOf } from '../../sys/ffi/ffi.ts'
import { GatherWriter } from '../../sys/files/device-io.ts'
import { HOLE, MAX_SEGMENTS } from './jobs.ts'
import { type SharedBuffers, ZEROS_SIZE } from './shared-buffers.ts'

/** A gathering write straight from the slots of the shared cache. Each thread has its own. */
export class SlotVector {
  /** One piece more than segments, for a header. */
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
  place(slot: number, from: number, length: number): void {
    this.writer.add(this.#blocks + slot * this.#slotSize + from, length)
  }

  /** @throws RangeError for more than `ZEROS_SIZE` */
  zeros(length: number): void {
    if (length > ZEROS_SIZE) throw new RangeError(`hole of ${length} bytes in one job`)
    this.writer.add(this.#zeros, length)
  }

  /**
   * Adds the bytes of the segments after the first `skip`.
   * @param segments three ints each: slot (READY and pinned) or HOLE, from, length
   * @returns bytes added
   */
  add(segments: Int32Array, skip: number): number {
    let total = 0
    let left = skip
    for (let i = 0; i < segments.length; i += 3) {
      const slot = segments[i] ?? HOLE
      const from = segments[i + 1] ?? 0
      const length = segments[i + 2] ?? 0
      const passed = Math.min(left, length)
      left -= passed
      if (passed === length) continue
      if (slot === HOLE) this.zeros(length - passed)
      else this.place(slot, from + passed, length - passed)
      total += length - passed
    }
    return total
  }
}
