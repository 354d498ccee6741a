import { type BlockStore, ERRNO, type FileSystem } from '../../base/index.ts'
import { GatherReply } from '../device/gather-reply.ts'
import type { Counters } from '../protocol/counters.ts'
import { type DataPath, type REPLY_FILLED, REPLY_TAKEN, type ReadRequest } from '../protocol/data-path.ts'
import type { Reply } from '../protocol/encode.ts'
import type { InlineDataPath } from './inline-data-path.ts'
import { Prefetcher } from './prefetch.ts'
import { checkSegments, ReadPlan } from './read-plan.ts'
import type { WorkerPool } from './worker-pool.ts'

export interface PooledOptions {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  readonly fd: number
  readonly pool: WorkerPool
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
  readonly #plan: ReadPlan
  readonly #gather: GatherReply
  readonly #prefetcher: Prefetcher | undefined

  constructor(options: PooledOptions) {
    this.#options = options
    const { fileSystem, pool, fd } = options
    const { index, slots, queue, shared } = pool
    this.#plan = new ReadPlan(index, slots)
    this.#gather = new GatherReply(fd, shared)
    if (shared.workers > 0 && options.prefetch) {
      const plan = new ReadPlan(index, slots, false)
      const depth = 2 * shared.workers + 2
      this.#prefetcher = new Prefetcher({ fileSystem, index, slots, queue, plan, depth })
    }
  }

  read(request: ReadRequest, reply: Reply): typeof REPLY_TAKEN | typeof REPLY_FILLED {
    const outcome = this.#answer(request, reply)
    this.#prefetcher?.afterRead(request.nodeId, request.offset, request.size)
    return outcome
  }

  #answer(request: ReadRequest, reply: Reply): typeof REPLY_TAKEN | typeof REPLY_FILLED {
    const { fileSystem, counters, fallback, pool } = this.#options
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
    if (plan.missing.length === 0 || pool.shared.workers === 0 || this.#isLoneSmallBlock()) {
      return this.#answerHere(request)
    }
    const job = pool.jobs.take()
    if (job === undefined) return this.#answerHere(request)
    counters.add('pooledReads')
    pool.jobs.putReply(job, request.uniqueLow, request.uniqueHigh, plan.used)
    pool.submit(job, plan.missing)
    return REPLY_TAKEN
  }

  /**
   * One small block is missing and no worker is busy: waking one would take longer than decoding. Only what the page
   * cache has: a disk that does not answer must hold up a worker, not the dispatcher with all other requests.
   */
  #isLoneSmallBlock(): boolean {
    const { inlineLimit, pool, store } = this.#options
    const { shared, queue, slots } = pool
    const [slot] = this.#plan.missing
    return (
      this.#plan.missing.length === 1 &&
      shared.slotSize <= inlineLimit &&
      queue.length === 0 &&
      queue.idle === shared.workers &&
      slot !== undefined &&
      store.isAtHand?.(slots.block(slot)) !== false
    )
  }

  #answerHere(request: ReadRequest): typeof REPLY_TAKEN {
    const { store, counters, pool } = this.#options
    const { slots } = pool
    const plan = this.#plan
    try {
      if (plan.missing.length > 0) counters.add('inlineReads')
      for (const slot of plan.missing) {
        if (slots.claim(slot)) {
          const error = slots.fill(slot, store)
          if (error !== undefined) throw error
        } else {
          slots.waitFilled(slot)
        }
      }
      checkSegments(slots, plan.used)
      this.#gather.success(request.uniqueLow, request.uniqueHigh, plan.used)
      return REPLY_TAKEN
    } finally {
      plan.unpin()
    }
  }
}
