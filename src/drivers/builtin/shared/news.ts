import { parentPort, receiveMessageOnPort } from 'node:worker_threads'
import type { Order } from './messages.ts'

/** The orders of the main thread, looked at by a thread that never comes to its event loop. */
export class News {
  readonly #number: Int32Array
  #seen = -1

  /** @param memory `ServerThreadData.news` */
  constructor(memory: SharedArrayBuffer) {
    this.#number = new Int32Array(memory)
  }

  /** Orders that have come since the last look. */
  *take(): Generator<Order> {
    const number = Atomics.load(this.#number, 0)
    if (number === this.#seen || parentPort === null) return
    this.#seen = number
    for (;;) {
      const received: { message: Order } | undefined = receiveMessageOnPort(parentPort)
      if (received === undefined) return
      yield received.message
    }
  }
}
