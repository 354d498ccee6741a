import { ERRNO } from '../base/index.ts'
import { ENODEV, ENOENT, GatherWriter } from '../sys/device-io.ts'
import { addressOf } from '../sys/ffi.ts'
import { OUT_HEADER_SIZE } from './abi.ts'
import { encodeOutHeader } from './encode.ts'
import { HOLE, MAX_SEGMENTS, type SharedBuffers, ZEROS_SIZE } from './shared-cache.ts'

/**
 * Writes the reply to one READ straight from the slots of the shared cache to the device. Any thread may
 * write to the device; each has its own writer.
 */
export class GatherReply {
  readonly #fd: number
  readonly #slotSize: number
  readonly #blocks: number
  readonly #zeros: number
  readonly #header = Buffer.alloc(OUT_HEADER_SIZE)
  readonly #headerView = new DataView(this.#header.buffer, this.#header.byteOffset, OUT_HEADER_SIZE)
  readonly #headerAddress = addressOf(this.#header)
  readonly #writer = new GatherWriter(MAX_SEGMENTS + 1)

  constructor(fd: number, shared: SharedBuffers) {
    this.#fd = fd
    this.#slotSize = shared.slotSize
    this.#blocks = addressOf(new Uint8Array(shared.blocks))
    this.#zeros = addressOf(new Uint8Array(shared.zeros))
  }

  /**
   * Where the kernel refuses the reply (no memory for it, say), the caller gets EIO instead of waiting for ever.
   * @param segments three ints each: slot (READY and pinned) or HOLE, from, length
   */
  success(uniqueLow: number, uniqueHigh: number, segments: Int32Array): void {
    const writer = this.#writer
    writer.begin()
    writer.add(this.#headerAddress, OUT_HEADER_SIZE)
    let total = OUT_HEADER_SIZE
    for (let i = 0; i < segments.length; i += 3) {
      const slot = segments[i] ?? HOLE
      const from = segments[i + 1] ?? 0
      const length = segments[i + 2] ?? 0
      if (slot === HOLE && length > ZEROS_SIZE) throw new RangeError(`hole of ${length} bytes in one READ`)
      writer.add(slot === HOLE ? this.#zeros : this.#blocks + slot * this.#slotSize + from, length)
      total += length
    }
    encodeOutHeader(this.#headerView, total, 0, uniqueLow, uniqueHigh)
    const written = writer.write(this.#fd)
    // ENOENT: the caller was interrupted and waits no more. ENODEV: the mount is gone.
    if (written >= 0 || written === -ENOENT || written === -ENODEV) return
    this.failure(uniqueLow, uniqueHigh, -ERRNO.EIO)
  }

  /** @param error negative errno */
  failure(uniqueLow: number, uniqueHigh: number, error: number): void {
    encodeOutHeader(this.#headerView, OUT_HEADER_SIZE, error, uniqueLow, uniqueHigh)
    this.#writer.begin()
    this.#writer.add(this.#headerAddress, OUT_HEADER_SIZE)
    this.#writer.write(this.#fd)
  }
}
