/**
 * A map that forgets what was used longest ago, bounded by the summed cost of its values.
 * Costs are in whatever unit the owner counts (bytes, entries).
 */
export class LruCache<K, V> {
  readonly #entries = new Map<K, { readonly value: V; readonly cost: number }>()
  readonly #limit: number
  #cost = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Sum of the costs held. */
  get cost(): number {
    return this.#cost
  }

  get size(): number {
    return this.#entries.size
  }

  /** Does not count as use. */
  has(key: K): boolean {
    return this.#entries.has(key)
  }

  get(key: K): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  /** Replaces an entry of the same key. A value dearer than the whole limit is not kept. */
  set(key: K, value: V, cost: number): void {
    this.delete(key)
    if (cost > this.#limit) return
    this.#entries.set(key, { value, cost })
    this.#cost += cost
    for (const oldest of this.#entries.keys()) {
      if (this.#cost <= this.#limit) break
      this.delete(oldest)
    }
  }

  delete(key: K): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#cost -= entry.cost
  }
}
