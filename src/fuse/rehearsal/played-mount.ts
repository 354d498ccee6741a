import type { Log } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { readAt, writeFrom } from '../../sys/files/device-io.ts'
import { Staff } from '../blocks/staff.ts'
import type { Task } from '../blocks/task-queue.ts'
import type { WorkerPool } from '../blocks/worker-pool.ts'
import { DeviceLoop } from '../device/device-loop.ts'
import type { Sleeper } from '../device/waiting.ts'
import { OUT_HEADER_SIZE } from '../protocol/abi.ts'
import type { Protocol } from '../protocol/protocol.ts'
import type { Rehearsed } from './rehearsed.ts'

/** A request is handled in a few turns of the loop: it is postponed for some pieces of the image at most. */
const MOST_TURNS = 64
/** Largest request and reply. */
const ROOM = 128 << 10

/** Nobody waits in a rehearsal. */
const NO_SLEEP: Sleeper = { isUrgent: false, wait: () => 0, isReady: () => false }

/** What is rehearsed: all that serves a mount, over one end of a pair of sockets in the place of `/dev/fuse`. */
export interface PlayedMountOptions {
  readonly mountEnd: number
  readonly kernelEnd: number
  readonly protocol: Protocol
  readonly pool: WorkerPool
  /** Does what a data worker does. */
  readonly runTask: (task: Task) => void
  readonly log: Log
  /** Whether another thread is reading bytes that the rehearsal wanted. */
  isWaiting(): boolean
}

/** A mount without a kernel and without other threads: this object plays both. */
export class PlayedMount implements Rehearsed {
  readonly requestBytes = Buffer.alloc(ROOM)
  readonly #replyBytes = Buffer.alloc(OUT_HEADER_SIZE + ROOM)
  readonly #requestAddress = addressOf(this.requestBytes)
  readonly #replyAddress = addressOf(this.#replyBytes)
  readonly #options: PlayedMountOptions
  readonly #loop: DeviceLoop
  readonly #staff: Staff
  #asked = 0

  constructor(options: PlayedMountOptions) {
    const { mountEnd, protocol, pool, log } = options
    this.#options = options
    this.#loop = new DeviceLoop({ fd: mountEnd, protocol, log, spins: 1 }, NO_SLEEP)
    this.#staff = new Staff(pool.shared)
  }

  get isWaiting(): boolean {
    return this.#options.isWaiting()
  }

  ask(length: number): Buffer | undefined {
    const { kernelEnd, pool, runTask } = this.#options
    // With workers and without any, in turns.
    this.#asked += 1
    if (this.#asked % 2 === 0) this.#staff.enter()
    try {
      if (writeFrom(kernelEnd, this.#requestAddress, length) < 0) return undefined
      for (let turns = 0; turns < MOST_TURNS; turns++) {
        if (!this.#loop.turn()) return undefined
        for (let task = pool.queue.takeNow(); task !== undefined; task = pool.queue.takeNow()) runTask(task)
        const size = readAt(kernelEnd, this.#replyAddress, this.#replyBytes.length)
        if (size > 0) return this.#replyBytes.subarray(0, size)
      }
      return undefined
    } finally {
      if (this.#asked % 2 === 0) this.#staff.lose()
    }
  }
}
