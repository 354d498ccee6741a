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

/** read(2) into memory of the caller. @returns bytes, or -errno */
export function readAt(fd: number, address: number, length: number): number {
  return result(cRead(fd, address, length))
}

/** write(2) from memory of the caller. @returns bytes, or -errno */
export function writeFrom(fd: number, address: number, length: number): number {
  return result(cWrite(fd, address, length))
}

/** struct pollfd */
const POLLFD_SIZE = 8
const POLLIN = 1
const POLLPRI = 2
const POLLERR = 8

/** Waits until one of its descriptors is readable or has an error, or the urgent one has news. */
export class Poller {
  readonly #record: Buffer
  readonly #address: number
  readonly #fds: readonly number[]
  readonly #count: number
  /** Place of the urgent one; behind the record where there is none. */
  readonly #urgent: number
  #isUrgent = false

  /** @param urgent a descriptor that is waited for with POLLPRI, until it has an error */
  constructor(fds: readonly number[], urgent?: number) {
    const all = urgent === undefined ? fds : [...fds, urgent]
    this.#fds = fds
    this.#record = Buffer.alloc(POLLFD_SIZE * all.length)
    this.#urgent = POLLFD_SIZE * fds.length
    this.#count = all.length
    all.forEach((fd, i) => {
      this.#record.writeInt32LE(fd, i * POLLFD_SIZE)
      this.#record.writeInt16LE(i < fds.length ? POLLIN : POLLPRI, i * POLLFD_SIZE + 4)
    })
    this.#address = addressOf(this.#record)
  }

  /** Whether the urgent descriptor had news in the last wait. */
  get isUrgent(): boolean {
    return this.#isUrgent
  }

  /** Whether the last wait, which did not fail, found one of the other descriptors readable or with an error. */
  isReady(fd: number): boolean {
    const place = this.#fds.indexOf(fd)
    return place >= 0 && this.#record.readInt16LE(place * POLLFD_SIZE + 6) !== 0
  }

  /** @returns the number of ready descriptors without the urgent one, 0 on time-out, or -errno */
  wait(timeoutMs: number): number {
    const ready = result(cPoll(this.#address, this.#count, timeoutMs))
    this.#isUrgent = false
    if (ready <= 0 || this.#urgent === this.#record.length) return ready
    const events = this.#record.readInt16LE(this.#urgent + 6)
    if (events === 0) return ready
    // It would be reported for ever. poll(2) passes over negative descriptors.
    if ((events & POLLERR) !== 0) this.#record.writeInt32LE(-1, this.#urgent)
    else this.#isUrgent = true
    return ready - 1
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
