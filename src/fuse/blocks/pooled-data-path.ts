import type { AnswerBuffer, BlockStore, DataPath, FileSystem, ReadRequest } from '../../base/index.ts'
import { type AnswerTarget, sendFailure, sendSegments } from './answer-target.ts'
import type { Counters } from './counters.ts'
import type { InlineDataPath } from './inline-data-path.ts'
import type { Asker } from './jobs.ts'
import { Prefetcher } from './prefetch.ts'
import { checkSegments, ReadPlan } from './read-plan.ts'
import type { WorkerPool } from './worker-pool.ts'

/** Of one mount among several: keeps its READs from starving those of the others. */
export interface FairReader {
  readonly asker: Asker
  /** To be called before a READ goes to the workers. @throws ReadPostponed where it has to wait for its turn */
  pass(): void
  /** The READ goes to the workers. */
  begin(bytes: number): void
}

/** What a data path with workers needs. */
export interface PooledOptions {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  /** Takes the answers that this thread gives from the cache. */
  readonly target: AnswerTarget
  readonly pool: WorkerPool
  readonly counters: Counters
  /** Serves READs that the cache cannot: host files, and all READs while every slot is pinned. */
  readonly fallback: InlineDataPath
  /** The dispatcher decodes blocks up to this many bytes itself while all workers are idle. */
  readonly inlineLimit: number
  /** Largest block of the images, bytes; by default that of a slot. */
  readonly blockSize?: number
  /** Lets idle workers decode ahead of sequential readers. */
  readonly prefetch: boolean
  /** In a server of several mounts: whose READs these are, and what keeps one from starving the others. */
  readonly fair?: FairReader
}

/**
 * Answers READ from the shared block cache. The dispatcher answers at once where all blocks are there, or where only
 * one small block is missing: a hand-off costs a futex wake of some tens of µs. Otherwise a data worker decodes and
 * replies.
 */
export class PooledDataPath implements DataPath {
  readonly #options: PooledOptions
  readonly #plan: ReadPlan
  readonly #prefetcher: Prefetcher | undefined

  constructor(options: PooledOptions) {
    this.#options = options
    const { fileSystem, pool } = options
    const { index, slots, queue, shared } = pool
    this.#plan = new ReadPlan(index, slots)
    if (shared.workers > 0 && options.prefetch) {
      const plan = new ReadPlan(index, slots, false)
      const depth = 2 * shared.workers + 2
      const isStaffed = (): boolean => {
        if (queue.idle === 0) pool.callWorker()
        return pool.isStaffed
      }
      const { store } = options
      const expect = store.expect && ((slot: number): void => store.expect?.(slots.block(slot)))
      const step = 2 * (options.blockSize ?? slots.size)
      this.#prefetcher = new Prefetcher({
        ...{ fileSystem, index, slots, queue, plan, depth, step, expect, isStaffed },
      })
    }
  }

  read(request: ReadRequest, answer: AnswerBuffer): 'reply' | 'taken' {
    const outcome = this.#answer(request, answer)
    this.#prefetcher?.afterRead(request.nodeId, request.offset, request.size)
    return outcome
  }

  #answer(request: ReadRequest, answer: AnswerBuffer): 'reply' | 'taken' {
    const { fileSystem, counters, fallback, pool, target } = this.#options
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
      sendFailure(target, request.token, 'EIO')
      return 'taken'
    }
    if (plan.unplannable) {
      plan.unpin()
      return fallback.read(request, answer)
    }
    counters.add(plan.missing.length === 0 ? 'cacheHits' : 'cacheMisses')
    if (plan.missing.length === 0 || pool.shared.workers === 0 || this.#isLoneSmallBlock()) {
      return this.#answerHere(request)
    }
    if (!pool.isStaffed && (pool.staff.isRefused || this.#isAtHand())) {
      // A worker takes some 30 ms to come.
      pool.callWorker()
      return this.#answerHere(request)
    }
    const { fair } = this.#options
    if (fair !== undefined) this.#waitForTurn(fair)
    const job = pool.jobs.take()
    if (job === undefined) return this.#answerHere(request)
    counters.add('pooledReads')
    fair?.begin(plan.length)
    pool.jobs.putReply(job, request.token, plan.used, fair?.asker)
    pool.submit(job, plan.missing)
    return 'taken'
  }

  /** @throws ReadPostponed where other mounts come first, or a worker has to end a job before */
  #waitForTurn(fair: FairReader): void {
    try {
      fair.pass()
    } catch (error) {
      this.#plan.unpin()
      throw error
    }
  }

  /**
   * True where one small block is missing and all workers are idle: waking a worker would take longer than decoding.
   * The block must lie in the page cache: a disk that does not answer may hold up a worker, but not the dispatcher with
   * all other requests.
   */
  #isLoneSmallBlock(): boolean {
    const { inlineLimit, pool } = this.#options
    return (
      this.#plan.missing.length === 1 &&
      this.#sizeOfMissing() <= inlineLimit &&
      pool.isCalm &&
      this.#isAtHand()
    )
  }

  #sizeOfMissing(): number {
    const [slot] = this.#plan.missing
    return slot === undefined ? 0 : this.#options.pool.slots.block(slot).maxSize
  }

  /** True where all missing blocks lie in the page cache, and no other thread is filling one. */
  #isAtHand(): boolean {
    const { pool, store } = this.#options
    return this.#plan.missing.every((slot) => store.isAtHand?.(pool.slots.block(slot)) !== false)
  }

  #answerHere(request: ReadRequest): 'taken' {
    const { store, counters, pool, target } = this.#options
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
      sendSegments(target, request.token, plan.used)
      return 'taken'
    } finally {
      plan.unpin()
    }
  }
}
