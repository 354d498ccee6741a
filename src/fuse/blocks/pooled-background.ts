import {
  type Background,
  codeOfErrno,
  type ExtentSink,
  FsError,
  type SyncKind,
  type Transfer,
} from '../../base/index.ts'
import { ReadPlan } from './read-plan.ts'
import type { WorkerPool } from './worker-pool.ts'

/** Gives slow work on files of the host to the data workers. Used by the dispatcher. */
export class PooledBackground implements Background {
  readonly #pool: WorkerPool
  readonly #plan: ReadPlan

  constructor(pool: WorkerPool) {
    this.#pool = pool
    this.#plan = new ReadPlan(pool.index, pool.slots)
  }

  transfer(fd: number, toDisk: boolean): Transfer {
    return new PooledTransfer(this.#pool, this.#plan, fd, toDisk)
  }
}

class PooledTransfer implements Transfer {
  error: FsError | undefined
  readonly #pool: WorkerPool
  readonly #plan: ReadPlan
  readonly #fd: number
  readonly #toDisk: boolean
  readonly #jobs = new Set<number>()

  constructor(pool: WorkerPool, plan: ReadPlan, fd: number, toDisk: boolean) {
    this.#pool = pool
    this.#plan = plan
    this.#fd = fd
    this.#toDisk = toDisk
  }

  write(describe: (sink: ExtentSink) => void, offset: number, length: number): 'taken' | 'busy' | 'unable' {
    // One piece for each worker and one that waits. More pieces would only pin slots that readers want.
    if (this.pending() > this.#pool.shared.workers) return 'busy'
    const plan = this.#plan
    plan.begin()
    try {
      describe(plan)
    } catch (error) {
      plan.unpin()
      throw error
    }
    if (plan.unplannable || plan.failed) {
      plan.unpin()
      // Pieces under way may pin every slot.
      return this.#jobs.size > 0 ? 'busy' : 'unable'
    }
    if (plan.length !== length) {
      plan.unpin()
      throw new FsError(
        'EIO',
        `file ends at ${offset + plan.length}, expected ${length - plan.length} more bytes`,
      )
    }
    const job = this.#pool.jobs.take()
    if (job === undefined) {
      plan.unpin()
      return 'busy'
    }
    this.#pool.jobs.putWrite(job, this.#toDisk ? 'write out' : 'write', this.#fd, offset, plan.used)
    this.#jobs.add(job)
    this.#pool.submit(job, plan.missing)
    return 'taken'
  }

  sync(kind: SyncKind): 'taken' | 'busy' {
    const job = this.#pool.jobs.take()
    if (job === undefined) return 'busy'
    this.#pool.jobs.putSync(job, kind, this.#fd)
    this.#jobs.add(job)
    this.#pool.submit(job, [])
    return 'taken'
  }

  pending(): number {
    for (const job of this.#jobs) {
      const result = this.#pool.jobs.collect(job)
      if (result === undefined) continue
      this.#jobs.delete(job)
      if (result !== 0) this.error ??= new FsError(codeOfErrno(result), `in another thread: errno ${result}`)
    }
    return this.#jobs.size
  }
}
