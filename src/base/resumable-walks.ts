import { Postponed } from './background.ts'
import { LruCache } from './lru.ts'

/** Walks kept for requests that come back, and results of such walks: a request may take several walks each time. */
const WALKS_MAX = 16
const RESULTS_MAX = 64

/**
 * Long walks that were left in the middle: their requests were postponed. Each goes on where it was when the same is asked
 * again, by whoever it is. A walk must be fit for that at every `Postponed` that leaves it.
 */
export class ResumableWalks<W, T> {
  readonly #walks = new Map<string, W>()
  readonly #results: LruCache<string, { readonly value: T }>

  readonly #most: number

  /**
   * @param keepsResults false where the result is the walk itself
   * @param most walks that are kept; fewer than `WALKS_MAX` where each takes much memory
   */
  constructor(keepsResults = true, most = WALKS_MAX) {
    this.#results = new LruCache(keepsResults ? RESULTS_MAX : 0)
    this.#most = most
  }

  /**
   * @param key names the walk: what `begin` and `go` depend on
   * @param begin makes a walk
   * @param go leads a walk to its end
   */
  run(key: () => string, begin: () => W, go: (walk: W) => T): T {
    const isEmpty = this.#walks.size === 0 && this.#results.size === 0
    const name = isEmpty ? undefined : key()
    const known = name === undefined ? undefined : this.#results.get(name)
    if (known !== undefined) return known.value
    const left = name === undefined ? undefined : this.#walks.get(name)
    const walk = left ?? begin()
    let isOver = true
    try {
      const value = go(walk)
      if (left !== undefined && name !== undefined) this.#results.set(name, { value }, 1)
      return value
    } catch (error) {
      isOver = !(error instanceof Postponed)
      throw error
    } finally {
      if (!isOver) this.#keep(name ?? key(), walk)
      else if (left !== undefined && name !== undefined) this.#walks.delete(name)
    }
  }

  #keep(name: string, walk: W): void {
    this.#walks.delete(name)
    this.#walks.set(name, walk)
    if (this.#walks.size <= this.#most) return
    for (const oldest of this.#walks.keys()) {
      this.#walks.delete(oldest)
      break
    }
  }
}
