import { ERRNO } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { ENODEV, ENOENT } from '../../sys/mounts/device-io.ts'
import type { SharedBuffers } from '../blocks/shared-buffers.ts'
import { OUT_HEADER_SIZE } from '../protocol/abi.ts'
import { encodeOutHeader } from '../protocol/encode.ts'
import { SegmentVector } from './segment-vector.ts'

/** Writes the reply to one READ to the device. Any thread may; each has its own writer. */
export class GatherReply {
  readonly #fd: number
  readonly #header = Buffer.alloc(OUT_HEADER_SIZE)
  readonly #headerView = new DataView(this.#header.buffer, this.#header.byteOffset, OUT_HEADER_SIZE)
  readonly #headerAddress = addressOf(this.#header)
  readonly #vector: SegmentVector

  constructor(fd: number, shared: SharedBuffers) {
    this.#fd = fd
    this.#vector = new SegmentVector(shared)
  }

  /**
   * Where the kernel refuses the reply (no memory for it, say), the caller gets EIO instead of waiting for ever.
   * @param segments as `SegmentVector.add`
   */
  success(uniqueLow: number, uniqueHigh: number, segments: Int32Array): void {
    const { writer } = this.#vector
    this.#begin()
    const total = OUT_HEADER_SIZE + this.#vector.add(segments)
    encodeOutHeader(this.#headerView, total, 0, uniqueLow, uniqueHigh)
    const written = writer.write(this.#fd)
    // ENOENT: the caller was interrupted and waits no more. ENODEV: the mount is gone.
    if (written >= 0 || written === -ENOENT || written === -ENODEV) return
    this.failure(uniqueLow, uniqueHigh, -ERRNO.EIO)
  }

  /** @param error negative errno */
  failure(uniqueLow: number, uniqueHigh: number, error: number): void {
    encodeOutHeader(this.#headerView, OUT_HEADER_SIZE, error, uniqueLow, uniqueHigh)
    this.#begin()
    this.#vector.writer.write(this.#fd)
  }

  #begin(): void {
    this.#vector.writer.begin()
    this.#vector.writer.add(this.#headerAddress, OUT_HEADER_SIZE)
  }
}
