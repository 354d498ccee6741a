import fs from 'node:fs'
import { FsError, type Log, omitUndefined } from '../../../base/index.ts'
import {
  type LeftBehind,
  leftBehind,
  type MountTable,
  type Negotiated,
  pendingAges,
  type RequestMemory,
  readCounters,
  readOpcodes,
  type Settled,
  type SharedBuffers,
  settleRequests,
} from '../../../fuse/index.ts'
import type { ImageSpec, SharedImage, SharedMolecule } from '../../../molecule/index.ts'
import { deferred, withTimeout } from '../../../sys/plain/promises.ts'
import type { EndReason, RunningServer, ServeOptions, ServerStats } from '../../driver.ts'
import { layersOf, tellOnce } from '../../layer-status.ts'
import { Deaths } from '../deaths.ts'
import { whyMortal } from '../dispatcher.ts'
import { operationsOf, pendingOf } from '../server-stats.ts'
import type { MountOrder } from './messages.ts'
import type { TreeLegacy, TreeMemories } from './tree-memories.ts'

/** How long `stop` waits for jobs on a slow disk. */
const STOP_TIMEOUT_MS = 400

/** What a dispatcher shares with its workers. */
export interface MountPool {
  readonly table: MountTable
  readonly shared: SharedBuffers
}

export interface SharedMountOptions extends Pick<ServeOptions, 'spec' | 'kernel' | 'log'> {
  readonly mount: number
  readonly fuseFd: number
  /** By the indexes of the molecule. */
  readonly images: readonly SharedImage[]
  readonly pool: MountPool
  readonly requests: RequestMemory
  readonly trees: TreeMemories
  readonly cacheSize: number
  readonly counters: SharedArrayBuffer
  /** Orders the dispatcher to leave the mount alone. */
  readonly leave: () => void
}

/** One mount of a server, as the main thread sees it. */
export class SharedMount {
  readonly mount: number
  readonly log: Log
  readonly running: RunningServer
  readonly #options: SharedMountOptions
  readonly #ready = deferred<void>()
  readonly #ended = deferred<EndReason>()
  readonly #left = deferred<void>()
  readonly #molecule: SharedMolecule
  readonly #tree: TreeLegacy
  readonly deaths = new Deaths()
  #negotiated: Negotiated | undefined
  #pool: MountPool
  /** READs that workers answered with errors, of earlier dispatchers. */
  #failedBefore = 0
  #hasImages = true
  #isLeaving = false
  #hasLeft = false

  constructor(options: SharedMountOptions) {
    this.#options = options
    this.#pool = options.pool
    this.mount = options.mount
    const { plain, uid, gid, subdir } = options.spec
    const layers = options.spec.layers.map(
      (layer) => options.images[typeof layer === 'number' ? layer : -1]?.id ?? -1,
    )
    this.#molecule = { layers, plain, ...omitUndefined({ uid, gid, subdir }) }
    this.#tree = options.trees.take(this.#molecule)
    this.log = tellOnce(options.log)
    // A caller that does not wait for `ready` learns of the failure from `ended`.
    this.#ready.promise.catch(() => undefined)
    this.running = {
      ready: this.#ready.promise,
      loaded: Promise.resolve(),
      ended: this.#ended.promise,
      stats: () => this.#stats(),
      stop: async () => {
        this.#isLeaving = true
        // Its place may be another mount's by then.
        if (!this.#hasLeft) options.leave()
        await withTimeout(this.#left.promise, STOP_TIMEOUT_MS, 'jobs of the mount do not end')
      },
    }
  }

  /** What the dispatcher has to know. @param isFirst there was no mount before it */
  order(isFirst: boolean): MountOrder {
    const { mount, fuseFd, spec, kernel, counters, requests } = this.#options
    const { blockSize } = spec
    return {
      ...{ mount, fuseFd, blockSize, kernel, counters, requests },
      molecule: this.#molecule,
      tree: this.#tree,
      negotiated: this.#negotiated,
      ...(isFirst ? { stage: spec } : {}),
    }
  }

  /** Whether an image is part of what it shows. */
  shows(image: number): boolean {
    return this.#options.images.some(({ id }) => id === image)
  }

  /** Whether the next dispatcher shall serve it. */
  get isServed(): boolean {
    return this.#hasImages && !this.#isLeaving
  }

  /** Why it ends when the dispatcher dies; absent where the next one can go on. */
  get whyMortal(): string | undefined {
    return whyMortal(this.#options)
  }

  /** What its dispatcher left that died. */
  get leftBehind(): LeftBehind {
    return leftBehind(this.#options.requests)
  }

  /**
   * The dispatcher died, and the next one has another pool.
   * @param mayAsk see `settleRequests`
   */
  renew(pool: MountPool, mayAsk: boolean): Settled {
    const { fuseFd, mount } = this.#options
    const old = this.#pool
    this.#failedBefore += old.table.failed(mount)
    this.#pool = pool
    return settleRequests(fuseFd, this.leftBehind, old.shared, mayAsk, fuseFd)
  }

  serves(negotiated: Negotiated): void {
    this.#negotiated = negotiated
    this.#ready.resolve()
  }

  end(reason: EndReason): void {
    const why = reason.reason === 'failed' ? reason.message : 'unmounted before it was ready'
    this.#ready.reject(new FsError('EIO', why))
    this.#ended.resolve(reason)
  }

  /** @returns the images that it had until now */
  release(): readonly ImageSpec[] {
    if (!this.#hasImages) return []
    this.#hasImages = false
    this.#options.trees.release(this.#tree)
    return this.#options.spec.images
  }

  /** Nothing uses its descriptor any more. */
  left(): void {
    this.#hasLeft = true
    fs.closeSync(this.#options.fuseFd)
    this.#left.resolve()
  }

  #stats(): ServerStats {
    const { mount, fuseFd, spec, images, cacheSize, counters: memory } = this.#options
    const { table, shared } = this.#pool
    const own = { ...shared, workers: 0, counters: memory }
    const counters = readCounters(own)
    return {
      pending: pendingOf(pendingAges(shared, fuseFd)),
      counters: { ...counters, failedReads: counters.failedReads + this.#failedBefore + table.failed(mount) },
      operations: operationsOf(readOpcodes(own)),
      cacheSize,
      layers: layersOf(
        spec,
        images.map(({ tally }) => ({ tally, images: 1, image: 0 })),
      ),
    }
  }
}
