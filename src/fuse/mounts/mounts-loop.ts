import type { Log } from '../../base/index.ts'
import { PollSet } from '../../sys/events/poll-set.ts'
import { Device } from '../device/device.ts'
import { type Sleeper, Waiting, type WaitOptions } from '../device/waiting.ts'
import type { Protocol } from '../protocol/protocol.ts'
import type { FairReads, MountReader } from './fair-reads.ts'

/** Requests of one device that are handled before the others have their turn. */
const REQUESTS_A_TURN = 8
/** Up to so many devices are read again and again while the thread spins; more are asked for by one system call. */
const SPUN_DEVICES = 4
/** Turns of busy devices between two looks at the others. */
const LOOK_AT_OTHERS = 4

/** One mount of the loop. */
export interface ServedMount {
  /** `/dev/fuse`, mounted, opened with O_NONBLOCK. */
  readonly fd: number
  readonly protocol: Protocol
  readonly log: Log
  readonly reader: MountReader
}

/** What the loop over several mounts asks of its thread, and tells it. */
export interface MountsLoopOptions extends WaitOptions {
  readonly fair: FairReads
  /** Made by `openPoll`, for this loop alone, and closed by its maker. */
  readonly poll: number
  /** Called at the start of each turn: here mounts come. @returns false where the loop is to end */
  turn(): boolean
  /** Called before the thread may sleep. @returns false where there is something to do at once */
  mayRest(): boolean
  /** The kernel has ended the connection of a mount, or reading it failed; it is no part of the loop any more. */
  ended(mount: ServedMount, error?: unknown): void
}

/** A mount, and its device. */
interface Member {
  readonly mount: ServedMount
  readonly device: Device
  readonly send: () => void
}

/**
 * The loop over the requests of many mounts, in one thread. Each device has a few requests a turn; a device that was
 * busy just now is read again before the thread sleeps, as in the loop of one mount.
 */
export class MountsLoop implements Sleeper {
  readonly #options: MountsLoopOptions
  readonly #poll: PollSet
  readonly #members = new Map<number, Member>()
  /** Mounts whose device may have a request. */
  readonly #busy = new Set<Member>()
  readonly #waiting: Waiting

  constructor(options: MountsLoopOptions) {
    this.#options = options
    const { bell, poll, pressure } = options
    this.#poll = new PollSet(poll)
    if (bell !== undefined) this.#poll.add(bell)
    if (pressure !== undefined) this.#poll.addUrgent(pressure)
    this.#waiting = new Waiting(this, options)
  }

  /** Number of mounts. */
  get size(): number {
    return this.#members.size
  }

  /** @throws FsError where the kernel cannot wait for one more */
  add(mount: ServedMount): void {
    const device = new Device(mount.fd, mount.protocol, mount.log)
    const member = { mount, device, send: () => device.send() }
    this.#poll.add(mount.fd)
    this.#members.set(mount.fd, member)
    this.#busy.add(member)
  }

  /** Leaves a mount alone, whose connection may go on. */
  remove(fd: number): void {
    const member = this.#members.get(fd)
    if (member !== undefined) this.#take(member)
  }

  /** Runs until `turn` says that it is over. */
  run(): void {
    const { turn } = this.#options
    for (let turns = 1; turn(); turns++) {
      if (this.#busy.size > SPUN_DEVICES || turns % LOOK_AT_OTHERS === 0) this.wait(0)
      let isBusy = false
      for (const member of this.#busy) if (this.#serve(member)) isBusy = true
      if (isBusy) this.#waiting.gotRequest()
      const progress = this.#proceed()
      if (isBusy || progress === 'more') continue
      if (!this.#options.mayRest()) continue
      this.#waiting.gotNothing(progress === 'waiting')
    }
  }

  /** Of the last wait. */
  get isUrgent(): boolean {
    return this.#poll.isUrgent
  }

  /** In the last wait. */
  isReady(fd: number): boolean {
    return this.#poll.ready.includes(fd)
  }

  /** Waits, and notes which devices have requests. */
  wait(timeoutMs: number): number {
    const count = this.#poll.wait(timeoutMs)
    if (timeoutMs > 0 || this.#busy.size > SPUN_DEVICES) this.#busy.clear()
    for (const fd of this.#poll.ready) {
      const member = this.#members.get(fd)
      if (member !== undefined) this.#busy.add(member)
    }
    return count
  }

  /** Handles some requests of a device. @returns false where it had none */
  #serve(member: Member): boolean {
    const { mount, device, send } = member
    const { protocol } = mount
    try {
      for (let count = 0; count < REQUESTS_A_TURN; count++) {
        const received = device.receive()
        if (received === 'none') return count > 0
        if (received === 'end') {
          this.#end(member)
          return true
        }
        if (protocol.handle(device.length) === 'reply') send()
      }
    } catch (error) {
      this.#end(member, error)
    }
    return true
  }

  #end(member: Member, error?: unknown): void {
    this.#take(member)
    this.#options.ended(member.mount, error)
  }

  #take(member: Member): void {
    const { mount } = member
    this.#poll.remove(mount.fd)
    this.#members.delete(mount.fd)
    this.#busy.delete(member)
    mount.reader.close()
  }

  /** Goes on with postponed requests of all mounts. @returns 'waiting' where there are some that wait */
  #proceed(): 'more' | 'waiting' | 'done' {
    const { fair } = this.#options
    let progress: 'more' | 'waiting' | 'done' = 'done'
    for (const member of this.#members.values()) {
      const { protocol, reader } = member.mount
      if (protocol.postponed === 0) continue
      if (progress === 'done') progress = 'waiting'
      if (protocol.postponed > reader.waiting && this.#advance(member) === 'more') progress = 'more'
    }
    for (let next = fair.next(); next !== undefined; next = fair.next()) {
      const member = this.#members.get(next.asker.device)
      const { waiting } = next
      // Each step takes one READ out of its line.
      if (member === undefined || this.#advance(member) === 'failed' || next.waiting >= waiting) break
    }
    return progress
  }

  #advance(member: Member): 'more' | 'waiting' | 'done' | 'failed' {
    try {
      return member.mount.protocol.proceed(member.send)
    } catch (error) {
      this.#end(member, error)
      return 'failed'
    }
  }
}
