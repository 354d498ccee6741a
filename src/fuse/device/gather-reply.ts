import type { ErrnoCode, ReplyToken } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { ENODEV, ENOENT } from '../../sys/files/device-io.ts'
import type { AnswerTarget } from '../blocks/answer-target.ts'
import type { SharedBuffers } from '../blocks/shared-buffers.ts'
import { SlotVector } from '../blocks/slot-vector.ts'
import { OUT_HEADER_SIZE } from '../protocol/abi.ts'
import { encodeErrorHeader, encodeHeader } from '../protocol/encode.ts'

/** Writes the reply to one READ from the slots of the cache to the device. Each thread has its own object. */
export class GatherReply implements AnswerTarget {
  #fd: number
  readonly #header = Buffer.alloc(OUT_HEADER_SIZE)
  readonly #headerView = new DataView(this.#header.buffer, this.#header.byteOffset, OUT_HEADER_SIZE)
  readonly #headerAddress = addressOf(this.#header)
  readonly #vector: SlotVector
  #token: ReplyToken = { low: 0, high: 0 }
  /** Bytes of the whole message so far. */
  #size = 0

  /** @param fd of `/dev/fuse`, mounted */
  constructor(fd: number, shared: SharedBuffers) {
    this.#fd = fd
    this.#vector = new SlotVector(shared)
  }

  /** The next answers go to another connection. */
  aim(fd: number): void {
    this.#fd = fd
  }

  begin(token: ReplyToken): void {
    this.#token = token
    this.#size = OUT_HEADER_SIZE
    this.#vector.writer.begin()
    this.#vector.writer.add(this.#headerAddress, OUT_HEADER_SIZE)
  }

  place(slot: number, from: number, size: number): void {
    this.#vector.place(slot, from, size)
    this.#size += size
  }

  zeros(size: number): void {
    this.#vector.zeros(size)
    this.#size += size
  }

  /** Where the kernel refuses the reply (no memory for it, say), the caller gets EIO instead of waiting for ever. */
  send(): void {
    encodeHeader(this.#headerView, this.#size, this.#token)
    const written = this.#vector.writer.write(this.#fd)
    // ENOENT: the caller was interrupted and no longer waits. ENODEV: the mount is gone.
    if (written >= 0 || written === -ENOENT || written === -ENODEV) return
    this.fail('EIO')
  }

  fail(code: ErrnoCode): void {
    this.begin(this.#token)
    encodeErrorHeader(this.#headerView, code, this.#token)
    this.#vector.writer.write(this.#fd)
  }
}
