import { type BlockStore, ERRNO, type FileSystem } from '../base/index.ts'
import { BlockIndex } from './block-index.ts'
import { type DataPath, type REPLY_FILLED, REPLY_TAKEN, type ReadRequest } from './data-path.ts'
import type { Reply } from './encode.ts'
import { GatherReply } from './gather-reply.ts'
import type { InlineDataPath } from './inline-data-path.ts'
import { Prefetcher } from './prefetch.ts'
import { checkSegments, ReadPlan } from './read-plan.ts'
import {
  type Counters,
  MAX_READS,
  PendingReads,
  type SharedBuffers,
  SLOT_READY,
  Slots,
  TaskQueue,
} from './shared-cache.ts'

export interface PooledOptions {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  readonly fd: number
  readonly shared: SharedBuffers
  readonly counters: Counters
  /** Serves what the cache cannot: host files, and READs when every slot is pinned. */
  readonly fallback: InlineDataPath
  /** Blocks up to this many decoded bytes are decoded by the dispatcher when nothing else is going on. */
  readonly inlineLimit: number
  /** Lets idle workers decode ahead of readers that go in order. */
  readonly prefetch: boolean
}

/**
 * Answers READ from the shared block cache. The dispatcher decides: all there, or one lone small block missing:
 * here and now (a hand-off costs a futex wake of some tens of µs); otherwise a data worker decodes and replies.
 */
export class PooledDataPath implements DataPath {
  readonly #options: PooledOptions
  readonly #slots: Slots
  readonly #reads: PendingReads
  readonly #queue: TaskQueue
  readonly #index: BlockIndex
  readonly #plan: ReadPlan
  readonly #gather: GatherReply
  readonly #freeReads: number[] = []
  readonly #prefetcher: Prefetcher | undefined

  constructor(options: PooledOptions) {
    this.#options = options
    this.#slots = new Slots(options.shared)
    this.#reads = new PendingReads(options.shared)
    this.#queue = new TaskQueue(options.shared)
    this.#index = new BlockIndex(this.#slots)
    this.#plan = new ReadPlan(this.#index, this.#slots)
    this.#gather = new GatherReply(options.fd, options.shared)
    const { fileSystem, shared } = options
    if (shared.workers > 0 && options.prefetch) {
      const plan = new ReadPlan(this.#index, this.#slots, false)
      const depth = 2 * shared.workers + 2
      const [index, slots, queue] = [this.#index, this.#slots, this.#queue]
      this.#prefetcher = new Prefetcher({ fileSystem, index, slots, queue, plan, depth })
    }
  }

  read(request: ReadRequest, reply: Reply): typeof REPLY_TAKEN | typeof REPLY_FILLED {
    const outcome = this.#answer(request, reply)
    this.#prefetcher?.afterRead(request.nodeId, request.offset, request.size)
    return outcome
  }

  #answer(request: ReadRequest, reply: Reply): typeof REPLY_TAKEN | typeof REPLY_FILLED {
    const { fileSystem, counters, fallback, shared } = this.#options
    const plan = this.#plan
    plan.begin()
    try {
      fileSystem.read(request.nodeId, request.offset, request.size, plan)
    } catch (error) {
      plan.unpin()
      throw error
    }
    if (plan.failed) {
      plan.unpin()
      counters.add('failedReads')
      this.#gather.failure(request.uniqueLow, request.uniqueHigh, -ERRNO.EIO)
      return REPLY_TAKEN
    }
    if (plan.unplannable) {
      plan.unpin()
      return fallback.read(request, reply)
    }
    counters.add(plan.missing.length === 0 ? 'cacheHits' : 'cacheMisses')
    if (plan.missing.length === 0 || shared.workers === 0 || this.#isLoneSmallBlock()) {
      return this.#answerHere(request)
    }
    const read = this.#takeRead()
    if (read === undefined) return this.#answerHere(request)
    counters.add('pooledReads')
    this.#reads.put(read, request.uniqueLow, request.uniqueHigh, plan.segments, plan.count)
    this.#queue.pushRead(read)
    this.#shareWork()
    return REPLY_TAKEN
  }

  /**
   * One small block is missing and no worker is busy: waking one would take longer than decoding. Only what the page
   * cache has: a disk that does not answer must hold up a worker, not the dispatcher with all other requests.
   */
  #isLoneSmallBlock(): boolean {
    const { inlineLimit, shared, store } = this.#options
    const [slot] = this.#plan.missing
    return (
      this.#plan.missing.length === 1 &&
      shared.slotSize <= inlineLimit &&
      this.#queue.length === 0 &&
      this.#queue.idle === shared.workers &&
      slot !== undefined &&
      store.isAtHand?.(this.#slots.block(slot)) !== false
    )
  }

  #answerHere(request: ReadRequest): typeof REPLY_TAKEN {
    const { store, counters } = this.#options
    const plan = this.#plan
    try {
      if (plan.missing.length > 0) counters.add('inlineReads')
      for (const slot of plan.missing) {
        if (this.#slots.claim(slot)) {
          const error = this.#slots.fill(slot, store)
          if (error !== undefined) throw error
        } else {
          this.#slots.waitFilled(slot)
        }
      }
      checkSegments(this.#slots, plan.used)
      this.#gather.success(request.uniqueLow, request.uniqueHigh, plan.used)
      return REPLY_TAKEN
    } finally {
      plan.unpin()
    }
  }

  /**
   * The worker that took the READ decodes its blocks from the front; other idle workers are given single
   * blocks from the back. Whoever claims a slot first fills it.
   */
  #shareWork(): void {
    const missing = this.#plan.missing
    const helpers = Math.min(missing.length - 1, this.#queue.idle)
    for (let i = 0; i < helpers; i++) {
      const slot = missing[missing.length - 1 - i]
      if (slot === undefined || this.#slots.state(slot) === SLOT_READY) continue
      this.#slots.pin(slot)
      if (!this.#queue.pushFill(slot)) this.#slots.unpin(slot)
    }
  }

  #takeRead(): number | undefined {
    if (this.#freeReads.length === 0) {
      for (let read = 0; read < MAX_READS; read++) if (this.#reads.isFree(read)) this.#freeReads.push(read)
    }
    return this.#freeReads.pop()
  }
}
