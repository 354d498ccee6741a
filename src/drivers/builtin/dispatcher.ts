import { randomInt } from 'node:crypto'
import { type Log, messageOf } from '../../base/index.ts'
import {
  allocateRequestMemory,
  leftBehind,
  type Negotiated,
  type Settled,
  type SharedBuffers,
  settleRequests,
} from '../../fuse/index.ts'
import { hasHostDirectories } from '../../molecule/index.ts'
import type { EndReason, ServeOptions } from '../driver.ts'
import { Deaths } from './deaths.ts'
import { DispatcherThread, deathText, whyLast } from './dispatcher-restart.ts'
import { lacksResend } from './test-faults.ts'
import type { DispatcherData, Legacy, Serving, ThreadMessage } from './thread-messages.ts'

/** What surrounds the dispatcher of a mount. */
export interface DispatcherOptions {
  /** `/dev/fuse`, mounted. */
  readonly fuseFd: number
  readonly served: Pick<ServeOptions, 'spec' | 'kernel'>
  readonly log: Log
  /** What the next dispatcher gets. */
  data(): Omit<DispatcherData, 'legacy'>
  /** All messages but those of its end. */
  onMessage(message: ThreadMessage): void
  onEnd(reason: EndReason): void
  /** Told of each dispatcher that has ended. @param thread its `threadId` */
  onExit(thread: number): void
  /** Gives the next dispatcher buffers of its own. @returns those that the dead one shared with data workers */
  renewBuffers(): SharedBuffers
}

/** What became of the requests under way, in a log line. */
const OUTCOMES: Readonly<Record<Settled, string>> = {
  'asked again': 'the kernel sends again what has no answer',
  EIO: 'what had no answer got EIO',
  'some are lost': 'more requests are without an answer than it noted',
}

/**
 * Starts the dispatcher of a mount, and another one where it dies: of a lack of memory, or by a bug outside of a handler.
 * Only the images of the mount, and what `Legacy` keeps, make its answers, so the next one gives the same ones. Used by the
 * main thread.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #legacy: (Legacy & { negotiated: Negotiated | undefined }) | undefined
  readonly #chunks: SharedArrayBuffer[] = []
  readonly #thread: DispatcherThread<ThreadMessage>
  readonly #deaths = new Deaths()
  /** INIT was answered. */
  #serves = false
  /** Packages are found by paths, and a later dispatcher resolves none. */
  #hasPackage = false
  #isOver = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    if (whyMortal(options.served) === undefined) {
      const requests = allocateRequestMemory()
      this.#legacy = {
        requests,
        generation: randomInt(2 ** 32),
        directories: this.#chunks,
        negotiated: undefined,
      }
    }
    this.#thread = new DispatcherThread({
      mayFollow: this.#legacy !== undefined,
      onMessage: (message: ThreadMessage) => this.#onMessage(message),
      onExit: (why, thread) => {
        this.#options.onExit(thread)
        if (!this.#isOver) this.#onDeath(why)
      },
    })
    this.#thread.start(this.#data())
  }

  /** Resolves when the thread has ended, after the end of the connection. No other one is started. */
  async stop(): Promise<void> {
    this.#isOver = true
    await this.#thread.exit
  }

  #data(): DispatcherData {
    return { ...this.#options.data(), legacy: this.#legacy }
  }

  #onMessage(message: ThreadMessage): void {
    if (message.type === 'serves') this.#noteServing(message)
    if (message.type === 'directories') this.#chunks.push(message.chunk)
    else if (message.type === 'unmounted') this.#end({ reason: 'unmounted' })
    else if (message.type !== 'failed') this.#options.onMessage(message)
    // A mount that does not serve yet has no answers to keep.
    else if (!this.#serves) this.#fail(message.message)
  }

  #noteServing({ negotiated, packages }: Serving): void {
    this.#serves = true
    this.#hasPackage = packages === 'now'
    if (this.#legacy !== undefined) this.#legacy.negotiated = negotiated
  }

  #end(reason: EndReason): void {
    this.#isOver = true
    this.#options.onEnd(reason)
  }

  #fail(message: string): void {
    this.#end({ reason: 'failed', message })
  }

  #onDeath(why: string): void {
    const left = this.#legacy && leftBehind(this.#legacy.requests)
    const what = deathText(left, why)
    this.#deaths.add()
    try {
      if (!this.#serves) throw new Error('the mount does not serve yet')
      if (left === undefined) throw new Error(whyMortal(this.#options.served))
      if (this.#hasPackage) throw new Error('the next one could not look for the package that decodes')
      const last = whyLast(this.#deaths, 'the mount ends')
      if (last !== undefined) throw new Error(last)
      const old = this.#options.renewBuffers()
      const settled = settleRequests(this.#options.fuseFd, left, old, !lacksResend())
      if (settled === 'some are lost') throw new Error(OUTCOMES[settled])
      this.#thread.start(this.#data())
      this.#options.log('warn', `${what}; another one goes on, and ${OUTCOMES[settled]}`)
    } catch (error) {
      // Callers whose requests nobody answers would wait for ever.
      this.#fail(`${what}; ${messageOf(error)}`)
    }
  }
}

/**
 * Why a mount ends with its dispatcher: what it answers does not follow from images. Directories of the machine are known
 * by where they were met; numbers of 32 bits are handed out in the order in which they are met. A writable mount has open
 * files, copies under way and times to restore, and a request that was carried out must not be carried out again.
 * @returns undefined where another dispatcher can go on
 */
export function whyMortal({ spec, kernel }: Pick<ServeOptions, 'spec' | 'kernel'>): string | undefined {
  if (spec.upper !== undefined) return 'a mount with an upper directory ends with it'
  if (hasHostDirectories(spec)) return 'a mount of directories ends with it'
  return kernel.ino32 ? 'a mount with ino32_t ends with it' : undefined
}
