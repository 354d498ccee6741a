/** Bytes that may be waiting for the disk when a sync is to be a short one. */
const FEW_BYTES = 1 << 20
/**
 * A sync that takes no longer is done at once, milliseconds: that of a disk without moving parts, with the two wake-ups of
 * threads that handing it over adds.
 */
const SHORT_MS = 5

/**
 * Guesses how long the next fsync(2) will take: as long as the last one, where little was written since. On a disk that
 * is fast, handing one over takes as long as doing it; on another one, or after much was written, others must not wait.
 */
export class SyncCost {
  #written = 0
  /** Of the last one; nothing is known at first. */
  #milliseconds = Number.POSITIVE_INFINITY

  /** Whether a sync of what was written, and of so many bytes more, is short. */
  isShort(more = 0): boolean {
    return this.#milliseconds <= SHORT_MS && this.#written + more <= FEW_BYTES
  }

  noteWrite(bytes: number): void {
    this.#written += bytes
  }

  /** @param start when it began (`performance.now`), perhaps with a copy of a few bytes */
  noteSync(start: number): void {
    this.#milliseconds = performance.now() - start
    this.#written = 0
  }
}
