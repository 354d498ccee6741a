import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { BlockCompressor } from '../../squashfs/write/index.ts'
import type { EncoderSettings } from '../codecs/encode/index.ts'
import { endThread } from '../sys/process/end-thread.ts'
import { entryUrl } from '../threads.ts'

/** Blocks under way for each thread: one that it compresses, and further ones, so that it never waits for the next. */
const SLOTS_A_THREAD = 4

/** What a thread that compresses gets when it starts. */
export interface CompressData {
  readonly settings: EncoderSettings
  /** One after the other: room for a block, and for its compressed form. */
  readonly slots: SharedArrayBuffer
}

/** To a thread: compress the bytes of this slot. From it: bytes of the result, 0 if it is not smaller. */
export interface CompressJob {
  readonly slot: number
  readonly length: number
}

interface Waiting {
  readonly resolve: (packed: Uint8Array | undefined) => void
  readonly reject: (error: unknown) => void
}

/** Compresses blocks in threads of its own. Blocks go to them in turn through shared memory. */
export class CompressPool implements BlockCompressor {
  readonly depth: number
  readonly #blockSize: number
  readonly #slots: SharedArrayBuffer
  readonly #workers: readonly Worker[]
  readonly #free: number[]
  readonly #waiting = new Map<number, Waiting>()
  #error: unknown
  #isClosed = false

  /** @param threads as many as there are CPUs if absent */
  constructor(settings: EncoderSettings, threads = availableParallelism()) {
    this.#blockSize = settings.blockSize
    this.depth = threads * SLOTS_A_THREAD
    this.#slots = new SharedArrayBuffer(this.depth * 2 * settings.blockSize)
    this.#free = Array.from({ length: this.depth }, (_, slot) => slot)
    // A caller's object may hold more, such as functions, which no other thread can get.
    const { name, level, blockSize } = settings
    const own: EncoderSettings = { name, blockSize, ...(level === undefined ? {} : { level }) }
    const workerData: CompressData = { settings: own, slots: this.#slots }
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(entryUrl('compressor'), { workerData })
      worker.on('message', (job: CompressJob) => this.#done(job))
      worker.on('error', (error) => this.#fail(error))
      worker.on('exit', (code) =>
        this.#fail(new Error(`a thread that compresses ended with exit code ${code}`)),
      )
      return worker
    })
  }

  compress(block: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    const slot = this.#free.pop()
    const worker = slot === undefined ? undefined : this.#workers[slot % this.#workers.length]
    if (slot === undefined || worker === undefined) return Promise.reject(new Error('more blocks than slots'))
    new Uint8Array(this.#slots, slot * 2 * this.#blockSize, block.length).set(block)
    const job: CompressJob = { slot, length: block.length }
    return new Promise((resolve, reject) => {
      this.#waiting.set(slot, { resolve, reject })
      worker.postMessage(job)
    })
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#workers.map(endThread))
  }

  #done({ slot, length }: CompressJob): void {
    const waiting = this.#waiting.get(slot)
    this.#waiting.delete(slot)
    const packed = new Uint8Array(this.#slots, (slot * 2 + 1) * this.#blockSize, length)
    waiting?.resolve(length === 0 ? undefined : packed.slice())
    this.#free.push(slot)
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return
    this.#error ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#error)
    this.#waiting.clear()
  }
}
