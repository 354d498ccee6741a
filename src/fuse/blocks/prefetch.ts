import { type FileSystem, FsError, MAX_READ, type NodeId, Postponed } from '../../base/index.ts'
import type { BlockIndex } from './block-index.ts'
import { HOLE } from './jobs.ts'
import type { ReadPlan } from './read-plan.ts'
import { SLOT_QUEUED, type Slots } from './slots.ts'
import type { TaskQueue } from './task-queue.ts'

export interface PrefetchOptions {
  readonly fileSystem: FileSystem
  readonly index: BlockIndex
  readonly slots: Slots
  readonly queue: TaskQueue
  /** The prefetcher's own plan: the READ still uses the other one. */
  readonly plan: ReadPlan
  /** Blocks to keep ahead of a reader, decoded or under way. */
  readonly depth: number
  /** Bytes that are planned at once. */
  readonly step: number
  /** Told of each block before it is queued: it may lie where fetching it takes a while (`BlockStore.expect`). */
  readonly expect?: ((slot: number) => void) | undefined
  /** False while no worker is there; asking calls one. */
  readonly isStaffed: () => boolean
}

/** Most files planned after one READ: small files share a block, so a few of them cost little. */
const FILES_PER_STEP = 16
/** Most files between the reader and the frontier. */
const FILES_AHEAD = 512

/**
 * Lets idle workers decode what a reader will probably ask for next: the rest of a file that is read from front to
 * back, then the files that are stored behind it (`FileSystem.following`). A guess costs only idle time: no block is
 * queued while a reader waits for a worker.
 */
export class Prefetcher {
  readonly #options: PrefetchOptions
  /** Where the last READ ended: the next READ is sequential if it begins there. */
  #node: NodeId = -1
  #end = 0
  /** The file and offset up to which all blocks are decoded or under way. */
  #frontierNode: NodeId = -1
  #frontierOffset = 0
  /** Files between the reader and the frontier, oldest first: the reader may continue in any of them. */
  readonly #ahead = new Set<NodeId>()
  /** Slots of blocks that the prefetcher queued and no READ has used yet. */
  readonly #unread = new Set<number>()

  constructor(options: PrefetchOptions) {
    this.#options = options
  }

  /** Called after each READ with its arguments. */
  afterRead(node: NodeId, offset: number, size: number): void {
    const continues = node === this.#node ? offset === this.#end : offset === 0 && this.#ahead.has(node)
    // One READ is no pattern; the second piece in order, or the second file, is one.
    if (continues) {
      this.#follow(node, offset + size)
      this.#advance()
    } else this.#reset(node, offset + size)
  }

  #reset(node: NodeId, end: number): void {
    this.#node = node
    this.#end = end
    this.#frontierNode = node
    this.#frontierOffset = end
    this.#ahead.clear()
    this.#unread.clear()
    // A reader of a whole tree shows itself by its next file.
    this.#expect(node)
  }

  #follow(node: NodeId, end: number): void {
    for (const passed of this.#ahead) {
      if (!this.#ahead.has(node)) break
      this.#ahead.delete(passed)
    }
    this.#node = node
    this.#end = end
    if (this.#frontierNode === node) this.#frontierOffset = Math.max(this.#frontierOffset, end)
    if (this.#ahead.size === 0 && this.#frontierNode !== node) {
      this.#frontierNode = node
      this.#frontierOffset = end
    }
    if (this.#ahead.size === 0) this.#expect(node)
  }

  #expect(node: NodeId): void {
    const next = this.#following(node)
    if (next !== undefined) this.#ahead.add(next)
  }

  #advance(): void {
    const { index, depth, isStaffed } = this.#options
    if (!isStaffed()) return
    for (const slot of this.#unread) if (!index.isUnread(slot)) this.#unread.delete(slot)
    for (let step = 0; step < FILES_PER_STEP && this.#unread.size < depth; step++) {
      if (this.#ahead.size > FILES_AHEAD) return
      const planned = this.#planFrontier()
      if (planned === undefined) return
      this.#frontierOffset += planned
      if (planned > 0) continue
      const next = this.#following(this.#frontierNode)
      if (next === undefined) return
      this.#ahead.add(next)
      this.#frontierNode = next
      this.#frontierOffset = 0
    }
  }

  /** Queues the blocks at the frontier. @returns bytes of the file dealt with, 0 at its end */
  #planFrontier(): number | undefined {
    const { fileSystem, slots, queue, plan, step, expect } = this.#options
    plan.begin()
    try {
      fileSystem.read(this.#frontierNode, this.#frontierOffset, Math.min(MAX_READ, step), plan)
    } catch (error) {
      plan.unpin()
      if (isNoHint(error)) return undefined
      throw error
    }
    const { used, length, unplannable } = plan
    for (let i = 0; i < used.length; i += 3) {
      const slot = used[i] ?? HOLE
      if (slot === HOLE) continue
      // The worker that fills the slot unpins it.
      const isWanted = !unplannable && slots.state(slot) === SLOT_QUEUED
      if (isWanted) expect?.(slot)
      if (isWanted && queue.pushFill(slot)) this.#unread.add(slot)
      else slots.unpin(slot)
    }
    return unplannable ? undefined : length
  }

  #following(node: NodeId): NodeId | undefined {
    try {
      return this.#options.fileSystem.following?.(node)
    } catch (error) {
      if (isNoHint(error)) return undefined
      throw error
    }
  }
}

/**
 * Prefetch ignores damage: the reader of that block gets the error. It ignores `Postponed` as well: metadata that is
 * not in the page cache is not worth a wait, because the READ is answered already.
 */
function isNoHint(error: unknown): boolean {
  return error instanceof FsError || error instanceof Postponed
}
