import { ERRNO } from '../../base/index.ts'
import { addressOf, lastErrno } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

/**
 * Reads and writes of a device descriptor by system calls. `node:fs` throws an exception for EAGAIN, which the
 * dispatcher gets in each turn of its spin, and cannot write from shared memory by address. All functions return the
 * count, or the negative errno.
 */

const cRead = libcFunction('int64_t read(int fd, uintptr_t buffer, size_t length)')
const cWrite = libcFunction('int64_t write(int fd, uintptr_t buffer, size_t length)')
const cWritev = libcFunction('int64_t writev(int fd, uintptr_t vector, int count)')
const cPwritev = libcFunction('int64_t pwritev(int fd, uintptr_t vector, int count, int64_t offset)')
const cPoll = libcFunction('int poll(uintptr_t fds, unsigned long count, int timeout)')

export const { EINTR, EAGAIN, ENODEV, ENOENT } = ERRNO

function result(value: ReturnType<typeof cRead>): number {
  const count = Number(value)
  return count < 0 ? -lastErrno() : count
}

export function readAt(fd: number, address: number, length: number): number {
  return result(cRead(fd, address, length))
}

export function writeFrom(fd: number, address: number, length: number): number {
  return result(cWrite(fd, address, length))
}

/** struct pollfd */
const POLLFD_SIZE = 8
const POLLIN = 1

/** Waits until one of its descriptors is readable or has an error. */
export class Poller {
  readonly #record: Buffer
  readonly #address: number
  readonly #count: number

  constructor(...fds: readonly number[]) {
    this.#record = Buffer.alloc(POLLFD_SIZE * fds.length)
    fds.forEach((fd, i) => {
      this.#record.writeInt32LE(fd, i * POLLFD_SIZE)
      this.#record.writeInt16LE(POLLIN, i * POLLFD_SIZE + 4)
    })
    this.#address = addressOf(this.#record)
    this.#count = fds.length
  }

  /** @returns the number of ready descriptors, 0 on time-out, or -errno */
  wait(timeoutMs: number): number {
    return result(cPoll(this.#address, this.#count, timeoutMs))
  }
}

/** True where the connection behind a descriptor of `/dev/fuse` has ended (fs/fuse/dev.c:fuse_dev_poll). */
export function isConnectionOver(fd: number): boolean {
  const record = Buffer.alloc(8)
  record.writeInt32LE(fd, 0)
  // Asks for no event, so that poll(2) reports only errors.
  return result(cPoll(addressOf(record), 1, 0)) > 0
}

/** A gathering write (writev(2)) of pieces given by address, so that nothing is copied. */
export class GatherWriter {
  readonly #vector: Uint32Array
  readonly #address: number
  #count = 0

  /** @param capacity most pieces of one write; at most 1024 (IOV_MAX) */
  constructor(capacity: number) {
    this.#vector = new Uint32Array(capacity * 4)
    this.#address = addressOf(new Uint8Array(this.#vector.buffer))
  }

  begin(): void {
    this.#count = 0
  }

  /** Adds `length` bytes at `address`, which must stay valid until `write` returns. */
  add(address: number, length: number): void {
    const at = this.#count * 4
    if (at + 4 > this.#vector.length) throw new RangeError('gather: too many pieces')
    this.#vector[at] = address
    this.#vector[at + 1] = address / 2 ** 32
    this.#vector[at + 2] = length
    this.#vector[at + 3] = 0
    this.#count++
  }

  write(fd: number): number {
    return result(cWritev(fd, this.#address, this.#count))
  }

  /** @param offset in the file, bytes; the file position does not move */
  writeAt(fd: number, offset: number): number {
    return result(cPwritev(fd, this.#address, this.#count, offset))
  }
}
