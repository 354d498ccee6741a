import type { Worker } from 'node:worker_threads'
import { type LeftBehind, operationName } from '../../fuse/index.ts'
import { hasAddressSpace } from '../../sys/ffi/memory.ts'
import { type Deaths, whyDied } from './deaths.ts'
import { startThread } from './start-thread.ts'
import { holdThreadCode, THREAD_ADDRESS_SPACE, type ThreadCode } from './thread-code.ts'

const NAME = 'dispatcher'

/** What a dispatcher says of the fault that ends it, before it ends. */
interface Failure {
  readonly type: 'failed'
  readonly message: string
}

export interface DispatcherThreadOptions<M> {
  /** Whether another one may follow. */
  readonly mayFollow: boolean
  onMessage(message: M): void
  /**
   * @param why in a log line
   * @param thread its `threadId`
   */
  onExit(why: string, thread: number): void
}

/** The thread of a dispatcher, of one mount or of several, and those that follow it. Used by the main thread. */
export class DispatcherThread<M extends { readonly type: string }> {
  readonly #options: DispatcherThreadOptions<M>
  readonly #code: ThreadCode | undefined
  #thread: Worker | undefined
  #exit: Promise<void> = Promise.resolve()

  /** To be made while paths can be resolved. */
  constructor(options: DispatcherThreadOptions<M>) {
    this.#options = options
    this.#code = options.mayFollow ? holdThreadCode(NAME, { isHurried: false }) : undefined
  }

  /** Starts one: the first, or the next where one has ended. @throws where the machine has no room for another thread */
  start(data: object): void {
    const isFirst = this.#thread === undefined
    const thread = (isFirst ? undefined : this.#code?.start(NAME, data)) ?? startThread(NAME, NAME, data)
    this.#thread = thread
    let why: string | undefined
    const { threadId } = thread
    thread.on('message', (message: M) => {
      if (isFailure(message)) why = message.message
      this.#options.onMessage(message)
    })
    thread.on('error', (error) => {
      why = whyDied(error)
    })
    this.#exit = new Promise((resolve) => {
      thread.on('exit', (exitCode) => {
        this.#options.onExit(why ?? `exit code ${exitCode}`, threadId)
        resolve()
      })
    })
  }

  /** Resolves when the present one has ended. */
  get exit(): Promise<void> {
    return this.#exit
  }

  tell(message: object): void {
    this.#thread?.postMessage(message)
  }
}

function isFailure(message: { readonly type: string }): message is Failure {
  return message.type === 'failed'
}

/** What a dispatcher did when it died, and why, in a log line. */
export function deathText(left: LeftBehind | undefined, why: string): string {
  const handled = left?.handled
  const doing =
    handled === undefined
      ? ''
      : ` while it handled ${operationName(handled.opcode)} of node ${handled.nodeId}`
  return `the dispatcher died${doing}: ${why}`
}

/** Why no other one can follow. @param ends what ends then, after `and` */
export function whyLast(deaths: Deaths, ends: string): string | undefined {
  if (deaths.isEnough) return `that is death ${deaths.count}, and ${ends}`
  return hasAddressSpace(THREAD_ADDRESS_SPACE) ? undefined : `there is no room for another one, and ${ends}`
}
