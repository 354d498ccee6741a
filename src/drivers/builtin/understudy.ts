import fs from 'node:fs'
import type { Fetch, Fetcher, SourceId } from '../../base/index.ts'
import {
  allocateRequestMemory,
  allocateShared,
  Counters,
  type KernelOptions,
  type KnownPath,
  PlayedMount,
  type Rehearsed,
  rehearse,
} from '../../fuse/index.ts'
import {
  allocateTally,
  hasHostDirectories,
  type MoleculeSpec,
  openMolecule,
  rehearsalSurroundings,
  watchImages,
} from '../../molecule/index.ts'
import { openSocketPair, SOCK_NONBLOCK, SOCK_SEQPACKET } from '../../sys/events/socket-pair.ts'
import type { IdleWork } from './idle-work.ts'
import { buildServing } from './serving.ts'

/** Decoded blocks that a rehearsal keeps, bytes. */
const CACHE = 1 << 20
/** In the place of data workers. */
const WORKERS = 1
/** Most pieces of 64 KiB that are read for rehearsals: an image may lie on a network. */
const MOST_FETCHES = 32

/** What an understudy has of the mount that it stands for. */
export interface UnderstudyOptions {
  readonly kernel: KernelOptions
  readonly namesTrusted: boolean
  /** Reads for it what is not in the page cache. Absent: the rehearsal ends there. */
  readonly fetcher?: Fetcher
}

/** A second mount of the same images for the rehearsal. The kernel and the other threads are played. */
export class Understudy {
  readonly #spec: MoleculeSpec
  readonly #options: UnderstudyOptions
  readonly #closers: (() => void)[] = []
  #fetch: Fetch | undefined
  #fetches = 0

  private constructor(spec: MoleculeSpec, options: UnderstudyOptions) {
    const { upper, ...readOnly } = spec
    this.#spec = readOnly
    this.#options = options
  }

  /** @returns undefined where host directories are among the layers, which would be opened a second time */
  static of(spec: MoleculeSpec, options: UnderstudyOptions): Understudy | undefined {
    return hasHostDirectories(spec) ? undefined : new Understudy(spec, options)
  }

  /**
   * Two rehearsals, and the end of what each of them used. V8 takes for constant what never changes, and throws code away
   * that it compiled with a constant of the first. The second also walks the paths that the first one met.
   */
  rehearsals(): readonly IdleWork[] {
    const known: KnownPath[] = []
    const closes = (): boolean => {
      this.close()
      return false
    }
    const plays = (): IdleWork => rehearse(() => this.#open(), known)
    return [plays(), closes, plays(), closes]
  }

  /** @returns undefined while bytes are read that opening needs. @throws FsError as `#build` */
  #open(): Rehearsed | undefined {
    if (this.#isWaiting()) return undefined
    try {
      return this.#build()
    } catch (error) {
      this.close()
      if (this.#isWaiting()) return undefined
      throw error
    }
  }

  /** @throws FsError where the images are damaged or have gone, or there are no descriptors */
  #build(): Rehearsed {
    const spec = this.#spec
    const { kernel, namesTrusted } = this.#options
    const shared = allocateShared(spec.blockSize, CACHE, WORKERS)
    const [mountEnd, kernelEnd] = openSocketPair(SOCK_SEQPACKET | SOCK_NONBLOCK)
    this.#closers.push(() => {
      fs.closeSync(mountEnd)
      fs.closeSync(kernelEnd)
    })
    const count = spec.images.length
    const watch = watchImages(allocateTally(1, count), 0, count, () => undefined)
    const surroundings = rehearsalSurroundings((...piece) => this.#want(...piece))
    const { molecule, pool, protocol, runTask } = buildServing({
      ...{ spec, shared, fd: mountEnd, bell: undefined, kernel: { ...kernel, debug: false } },
      counters: new Counters(shared, 0),
      log: () => undefined,
      callWorker: () => undefined,
      open: (around) => openMolecule(spec, { ...around, ...surroundings, watch }),
      gate: undefined,
      namesTrusted,
      requests: allocateRequestMemory(),
      negotiated: undefined,
      onInit: () => undefined,
    })
    this.#closers.push(() => molecule.closeLayers())
    return new PlayedMount({
      ...{ mountEnd, kernelEnd, protocol, pool, runTask },
      log: () => undefined,
      isWaiting: () => this.#isWaiting(),
    })
  }

  /** Where nobody can read it, the rehearsal goes on with EIO. */
  #want(image: SourceId, position: number, length: number): void {
    const { fetcher } = this.#options
    if (this.#fetch !== undefined || this.#fetches >= MOST_FETCHES || fetcher?.ready !== true) return
    this.#fetches += 1
    this.#fetch = fetcher.fetch(image, position, length)
  }

  #isWaiting(): boolean {
    if (this.#fetch !== undefined && this.#fetch.poll() !== undefined) this.#fetch = undefined
    return this.#fetch !== undefined
  }

  /** The rehearsal is over. */
  close(): void {
    for (const close of this.#closers.splice(0)) close()
  }
}
