import { FsError, ReadPostponed, type Steps, Work } from '../../base/index.ts'

/**
 * Holds changes of a writable mount back while somebody reads its upper directory. The main thread asks for it in shared
 * memory; the dispatcher then lets no request pass that would change something, and each of them waits until the gate is
 * open again. Reads go on. A copy-up that is under way ends meanwhile: it changes no content.
 */

const OPEN = 0
/** The main thread wants it closed. */
const ASKED = 1
/** The dispatcher lets no change pass. */
const CLOSED = 2

/** The dispatcher's side. */
export class ChangeGate {
  readonly #state: Int32Array
  readonly #onClosed: () => void
  #work: Work | undefined

  /** @param onClosed called before the main thread learns that the gate is closed */
  constructor(memory: SharedArrayBuffer, onClosed: () => void) {
    this.#state = new Int32Array(memory)
    this.#onClosed = onClosed
  }

  /** To be called before each change. @throws ReadPostponed while the gate is not open: nothing has been done yet */
  pass(): void {
    if (this.#state[0] === OPEN) return
    if (this.#work === undefined || this.#work.isDone) this.#work = new Work(this.#untilOpen())
    throw new ReadPostponed(this.#work)
  }

  /** To be called between two requests: closes the gate where that is asked for. */
  settle(): void {
    if (this.#state[0] !== ASKED) return
    this.#onClosed()
    Atomics.compareExchange(this.#state, 0, ASKED, CLOSED)
  }

  *#untilOpen(): Steps {
    while (Atomics.load(this.#state, 0) !== OPEN) yield 'waiting'
  }
}

/** Milliseconds between two looks at whether the dispatcher has closed the gate. */
const LOOK_MS = 2
/** Without workers the dispatcher may sleep for a second. */
const CLOSE_TIMEOUT_MS = 10_000

/** The main thread's side. Several may hold the gate at once. */
export class GateKeeper {
  readonly memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  readonly #state = new Int32Array(this.memory)
  readonly #wake: () => void
  #holders = 0

  /** @param wake makes the dispatcher look */
  constructor(wake: () => void) {
    this.#wake = wake
  }

  /**
   * Waits until no change passes.
   * @returns to be called once when changes may go on
   * @throws FsError EBUSY where the dispatcher does not come to it in time
   */
  async hold(): Promise<() => void> {
    this.#holders += 1
    const release = (): void => {
      this.#holders -= 1
      if (this.#holders > 0) return
      Atomics.store(this.#state, 0, OPEN)
      this.#wake()
    }
    Atomics.compareExchange(this.#state, 0, OPEN, ASKED)
    this.#wake()
    for (const end = performance.now() + CLOSE_TIMEOUT_MS; Atomics.load(this.#state, 0) !== CLOSED; ) {
      if (performance.now() > end) {
        release()
        throw new FsError('EBUSY', 'the mount does not come to hold its changes back')
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
    return release
  }
}
