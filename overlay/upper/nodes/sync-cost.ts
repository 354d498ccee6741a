import type { Node } from './nodes.ts'

/** Bytes that may be waiting for the disk when a sync is to be a short one. */
const FEW_BYTES = 1 << 20
/**
 * A sync that takes no longer is done at once, milliseconds: that of a disk without moving parts, with the two wake-ups of
 * threads that handing it over adds.
 */
const SHORT_MS = 5

/**
 * Guesses how long the next fsync(2) will take: as long as the last one, where little was written to the file since its own.
 * On a disk that is fast, handing one over takes as long as doing it; on another one, or after much was written, others
 * must not wait.
 */
export class SyncCost {
  readonly #written = new WeakMap<Node, number>()
  /** Of the last one; nothing is known at first. */
  #milliseconds = Number.POSITIVE_INFINITY

  /** Whether a sync of so many bytes is short. */
  isShort(bytes: number): boolean {
    return this.#milliseconds <= SHORT_MS && bytes <= FEW_BYTES
  }

  /** Bytes written to the file since it was synced. */
  written(node: Node): number {
    return this.#written.get(node) ?? 0
  }

  noteWrite(node: Node, bytes: number): void {
    this.#written.set(node, this.written(node) + bytes)
  }

  /**
   * @param start when it began (`performance.now`), perhaps with a copy of a few bytes
   * @param node whose writes are on the disk now
   */
  noteSync(start: number, node?: Node): void {
    this.#milliseconds = performance.now() - start
    if (node !== undefined) this.#written.delete(node)
  }
}
