import { Worker } from 'node:worker_threads'
import { messageOf } from '../../base/index.ts'
import type { BlobKeepers } from '../../molecule/index.ts'
import { endThread } from '../../sys/process/end-thread.ts'
import { entryUrl } from '../../threads.ts'
import type { WriteData, WriteJob, WriteMessage, WriteResult } from './jobs.ts'

/** Lists of jobs under way for each thread: one at work, and one so that it need not wait for the next. */
const LISTS_A_THREAD = 2

interface Thread {
  readonly worker: Worker
  /** Lists that it has. */
  lists: number
}

/** Threads that write files. What is under way is bounded: who sends waits for room first. */
export class WritePool {
  readonly #threads: readonly Thread[]
  readonly #onResult: (result: WriteResult) => void
  readonly #blobs: BlobKeepers
  #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  #error: unknown
  #isClosed = false

  /** @param onResult called for each job, in no order */
  constructor(
    count: number,
    data: WriteData,
    { blobs, onResult }: { readonly blobs: BlobKeepers; readonly onResult: (result: WriteResult) => void },
  ) {
    this.#onResult = onResult
    this.#blobs = blobs
    this.#threads = Array.from({ length: count }, () => this.#start(data))
  }

  /** Gives jobs to the thread that has least to do. Call `room` before. */
  send(jobs: readonly WriteJob[]): void {
    const [first, ...others] = this.#threads
    if (first === undefined) throw new Error('a pool without threads')
    const idlest = others.reduce((best, thread) => (thread.lists < best.lists ? thread : best), first)
    idlest.lists += 1
    idlest.worker.postMessage(jobs)
  }

  /** Waits until another list may be sent. @throws the error of a thread */
  async room(): Promise<void> {
    await this.until(() => this.#threads.some(({ lists }) => lists < LISTS_A_THREAD))
  }

  /** Waits until all is done. @throws the error of a thread */
  async idle(): Promise<void> {
    await this.until(() => this.#threads.every(({ lists }) => lists === 0))
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#threads.map(({ worker }) => endThread(worker)))
  }

  /** Waits until a condition holds, which the end of a job may make true. @throws the error of a thread */
  async until(condition: () => boolean): Promise<void> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      if (condition()) return
      await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    }
  }

  #start(workerData: WriteData): Thread {
    const worker = new Worker(entryUrl('writer'), { workerData, trackUnmanagedFds: false })
    const thread: Thread = { worker, lists: 0 }
    worker.on('message', (message: WriteMessage) => {
      if (message.type === 'blob') this.#openBlob(message)
      else this.#done(thread, message.results)
    })
    worker.on('error', (error) => this.#fail(error))
    worker.on('exit', (code) =>
      this.#fail(new Error(`a thread that writes files ended with exit code ${code}`)),
    )
    return thread
  }

  #openBlob({ image, blob, wish }: Extract<WriteMessage, { readonly type: 'blob' }>): void {
    try {
      this.#blobs.open(image, blob, wish)
    } catch (error) {
      // The thread that waits gets EIO, which names its file; this says why.
      process.emitWarning(messageOf(error))
    }
  }

  #done(thread: Thread, results: readonly WriteResult[]): void {
    thread.lists -= 1
    try {
      for (const result of results) this.#onResult(result)
    } catch (error) {
      this.#fail(error)
    }
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return
    this.#error ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#error)
  }
}
