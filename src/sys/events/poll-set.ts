import { addressOf, lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

const epollCreate = libcFunction('int epoll_create1(int flags)')
const epollCtl = libcFunction('int epoll_ctl(int epfd, int operation, int fd, uintptr_t event)')
const epollWait = libcFunction('int epoll_wait(int epfd, uintptr_t events, int count, int timeout)')

// include/uapi/linux/eventpoll.h
const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLLIN = 1
const EPOLLPRI = 2
const EPOLLERR = 8

/** `struct epoll_event`: packed on x86-64 alone. */
const EVENT_SIZE = process.arch === 'x64' ? 12 : 16
const DATA = EVENT_SIZE - 8

/** Most events of one wait; the others come with the next one. */
const EVENTS = 64

/**
 * Makes the descriptor of a `PollSet`. Whoever makes it closes it: a thread that dies closes nothing.
 * @throws FsError EMFILE, ENFILE, ENOMEM
 */
export function openPoll(): number {
  const fd = Number(epollCreate(EPOLL_CLOEXEC))
  if (fd < 0) throw systemError('epoll_create1')
  return fd
}

/** Waits for many descriptors at once (epoll(7)), at a cost that does not grow with their number. */
export class PollSet {
  readonly #fd: number
  readonly #events = Buffer.alloc(EVENT_SIZE * EVENTS)
  readonly #address = addressOf(this.#events)
  #urgent: number | undefined
  #isUrgent = false
  readonly #ready: number[] = []

  /** @param fd made by `openPoll`, in which nothing is waited for yet */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** Descriptors that the last wait found readable or with an error, without the urgent one. */
  get ready(): readonly number[] {
    return this.#ready
  }

  /** Whether the urgent descriptor had news in the last wait. */
  get isUrgent(): boolean {
    return this.#isUrgent
  }

  /** @throws FsError ENOSPC, ENOMEM */
  add(fd: number): void {
    this.#control(EPOLL_CTL_ADD, fd, EPOLLIN)
  }

  /** Waits for POLLPRI of a descriptor, until it has an error. */
  addUrgent(fd: number): void {
    this.#control(EPOLL_CTL_ADD, fd, EPOLLPRI)
    this.#urgent = fd
  }

  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0)
  }

  /** @returns the number of ready descriptors without the urgent one, 0 on time-out, or -errno */
  wait(timeoutMs: number): number {
    this.#ready.length = 0
    this.#isUrgent = false
    const count = Number(epollWait(this.#fd, this.#address, EVENTS, timeoutMs))
    if (count < 0) return -lastErrno()
    for (let i = 0; i < count; i++) {
      const fd = this.#events.readInt32LE(i * EVENT_SIZE + DATA)
      if (fd !== this.#urgent) this.#ready.push(fd)
      else if ((this.#events.readUInt32LE(i * EVENT_SIZE) & EPOLLERR) !== 0) {
        // It would be reported for ever.
        this.remove(fd)
        this.#urgent = undefined
      } else this.#isUrgent = true
    }
    return this.#ready.length
  }

  #control(operation: number, fd: number, events: number): void {
    const event = Buffer.alloc(EVENT_SIZE)
    event.writeUInt32LE(events, 0)
    event.writeInt32LE(fd, DATA)
    if (Number(epollCtl(this.#fd, operation, fd, addressOf(event))) !== 0) throw systemError(`epoll of ${fd}`)
  }
}
