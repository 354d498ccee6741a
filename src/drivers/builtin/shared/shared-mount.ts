import fs from 'node:fs'
import { FsError, type Log, omitUndefined } from '../../../base/index.ts'
import {
  type MountTable,
  pendingAges,
  readCounters,
  readOpcodes,
  type SharedBuffers,
} from '../../../fuse/index.ts'
import type { ImageSpec, SharedImage } from '../../../molecule/index.ts'
import { deferred, withTimeout } from '../../../sys/plain/promises.ts'
import type { EndReason, RunningServer, ServeOptions, ServerStats } from '../../driver.ts'
import { layersOf, tellOnce } from '../../layer-status.ts'
import { operationsOf, pendingOf } from '../server-stats.ts'
import type { MountOrder } from './messages.ts'

/** How long `stop` waits for jobs on a slow disk. */
const STOP_TIMEOUT_MS = 400

export interface SharedMountOptions extends Pick<ServeOptions, 'spec' | 'kernel' | 'log'> {
  readonly mount: number
  readonly fuseFd: number
  /** By the indexes of the molecule. */
  readonly images: readonly SharedImage[]
  readonly table: MountTable
  readonly shared: SharedBuffers
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
  #hasImages = true

  constructor(options: SharedMountOptions) {
    this.#options = options
    this.mount = options.mount
    this.log = tellOnce(options.log)
    // A caller that does not wait for `ready` learns of the failure from `ended`.
    this.#ready.promise.catch(() => undefined)
    this.running = {
      ready: this.#ready.promise,
      loaded: Promise.resolve(),
      ended: this.#ended.promise,
      stats: () => this.#stats(),
      stop: async () => {
        options.leave()
        await withTimeout(this.#left.promise, STOP_TIMEOUT_MS, 'jobs of the mount do not end')
      },
    }
  }

  /** What the dispatcher has to know. @param isFirst there was no mount before it */
  order(isFirst: boolean): MountOrder {
    const { mount, fuseFd, spec, images, kernel, counters } = this.#options
    const { plain, uid, gid, subdir, blockSize } = spec
    const layers = spec.layers.map((layer) => images[typeof layer === 'number' ? layer : -1]?.id ?? -1)
    return {
      ...{ mount, fuseFd, blockSize, kernel, counters },
      molecule: { layers, plain, ...omitUndefined({ uid, gid, subdir }) },
      ...(isFirst ? { stage: spec } : {}),
    }
  }

  /** Whether an image is part of what it shows. */
  shows(image: number): boolean {
    return this.#options.images.some(({ id }) => id === image)
  }

  serves(): void {
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
    return this.#options.spec.images
  }

  /** Nothing uses its descriptor any more. */
  left(): void {
    fs.closeSync(this.#options.fuseFd)
    this.#left.resolve()
  }

  #stats(): ServerStats {
    const { mount, fuseFd, spec, images, table, shared, cacheSize, counters: memory } = this.#options
    const own = { ...shared, workers: 0, counters: memory }
    const counters = readCounters(own)
    return {
      pending: pendingOf(pendingAges(shared, fuseFd)),
      counters: { ...counters, failedReads: counters.failedReads + table.failed(mount) },
      operations: operationsOf(readOpcodes(own)),
      cacheSize,
      layers: layersOf(
        spec,
        images.map(({ tally }) => ({ tally, images: 1, image: 0 })),
      ),
    }
  }
}
