import { DEFAULT_KERNEL_OPTIONS } from '../../../fuse/index.ts'
import { saveCompiledCode } from '../../../sys/process/code-cache.ts'
import { collectGarbage } from '../../../sys/process/garbage.ts'
import { type IdleWork, inTurn } from '../idle-work.ts'
import { Understudy } from '../understudy.ts'
import type { MountOrder } from './messages.ts'

/** Longest sleep before the first mount. */
const FIRST_MOUNT_MS = 100

/** What a new server does in idle moments: it rehearses over its first mount, and calls the workers. */
export class FirstMount {
  readonly #news: Int32Array
  readonly #isThere: (mount: number) => boolean
  readonly #isPrepared: () => void
  #order: MountOrder | undefined
  #rehearsal: IdleWork | undefined
  #end: (() => void) | undefined
  #left: 'rehearsal' | 'calls' | 'nothing' = 'rehearsal'

  /**
   * @param news `ServerThreadData.news`
   * @param isThere whether a mount is served
   * @param prepared called when there is nothing left to do
   */
  constructor(news: Int32Array, isThere: (mount: number) => boolean, prepared: () => void) {
    this.#news = news
    this.#isThere = isThere
    this.#isPrepared = prepared
  }

  takesPlaceIn(order: MountOrder): void {
    if (this.#order !== undefined || order.stage === undefined) return
    this.#order = order
    const understudy = Understudy.of(order.stage, { kernel: DEFAULT_KERNEL_OPTIONS, namesTrusted: false })
    this.#rehearsal = inTurn(...(understudy?.rehearsals() ?? []))
    this.#end = () => understudy?.close()
  }

  /** @returns false where there is nothing left to do */
  step(): boolean {
    if (this.#order === undefined) {
      Atomics.wait(this.#news, 0, Atomics.load(this.#news, 0), FIRST_MOUNT_MS)
      return true
    }
    if (this.#left === 'rehearsal') {
      if (this.#isThere(this.#order.mount) && this.#rehearsal?.() === true) return true
      this.#rehearsal = undefined
      this.#end?.()
      this.#left = 'calls'
      return true
    }
    if (this.#left === 'nothing') return false
    this.#left = 'nothing'
    saveCompiledCode()
    // Before a thread starts: V8 takes no compiled code while its flags are other ones.
    collectGarbage()
    this.#isPrepared()
    return false
  }
}
