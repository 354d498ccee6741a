import type { Node } from './nodes.ts'

/** Most bytes not yet on the disk for a sync that counts as short. */
const FEW_BYTES = 1 << 20
/**
 * Milliseconds. A sync of at most this time runs on the dispatcher. It is the time of a sync on a disk without moving
 * parts, plus the two thread wake-ups of a hand-over.
 */
const SHORT_MS = 5

/**
 * Estimates how long the next fsync(2) takes: as long as the last one of any file, if few bytes were written to this
 * file since it was synced. Short syncs run on the dispatcher, because handing them to a worker costs as much. Other
 * syncs go to a worker, so that other requests do not wait.
 */
export class SyncCost {
  /** Duration of the last sync; infinite before the first one. */
  #milliseconds = Number.POSITIVE_INFINITY

  /** True where a sync of so many bytes is short. */
  isShort(bytes: number): boolean {
    return this.#milliseconds <= SHORT_MS && bytes <= FEW_BYTES
  }

  /** Bytes written to the file since its last sync. */
  written(node: Node): number {
    return node.unsynced
  }

  noteWrite(node: Node, bytes: number): void {
    node.unsynced += bytes
  }

  /**
   * @param start start of the sync (`performance.now`), perhaps with a copy of a few bytes before it
   * @param node the file that was synced
   */
  noteSync(start: number, node?: Node): void {
    this.#milliseconds = performance.now() - start
    if (node !== undefined) node.unsynced = 0
  }
}
