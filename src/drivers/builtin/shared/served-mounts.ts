import {
  ExtentReader,
  type FileSystem,
  omitUndefined,
  type SourceId,
  type Turn,
} from '../../../base/index.ts'
import {
  allocateProtocolBuffers,
  Counters,
  FairReads,
  GatherReply,
  InlineDataPath,
  MountsLoop,
  type MountsLoopOptions,
  MountTable,
  PooledDataPath,
  type PooledFetcher,
  Protocol,
  type ProtocolBuffers,
  type ServedMount,
  type WorkerPool,
} from '../../../fuse/index.ts'
import { type ImageSet, NarrowInodes, readHostFile } from '../../../molecule/index.ts'
import { isHostRoot } from '../../../sys/plain/namespaces.ts'
import { faultText } from '../fault-text.ts'
import { FALLBACK_CACHE, INLINE_LIMIT } from '../serving.ts'
import { dyingCounter, testFault } from '../test-faults.ts'
import type { MountOrder, Order, ServerMessage } from './messages.ts'
import type { News } from './news.ts'

export interface ServedMountsOptions {
  readonly pool: WorkerPool
  readonly fetcher: PooledFetcher
  readonly images: ImageSet
  readonly turn: Turn
  readonly news: News
  /** Of the `MountTable`. */
  readonly table: SharedArrayBuffer
  /** Of `ServerDispatcherData`. */
  readonly request: SharedArrayBuffer
  readonly loop: Omit<MountsLoopOptions, 'fair' | 'turn' | 'mayRest' | 'ended'>
  readonly tell: (message: ServerMessage) => void
  /** A mount has come. */
  readonly onMount: (order: MountOrder) => void
}

/** A mount of the loop. */
interface Own extends ServedMount {
  readonly order: MountOrder
  readonly treeKey: string
}

/** A tree that several mounts may show. */
interface SharedTree {
  readonly fileSystem: FileSystem
  users: number
}

/** All mounts of a server, in its dispatcher. Orders of the main thread make them; the kernel, or a fault, ends them. */
export class ServedMounts {
  readonly #options: ServedMountsOptions
  readonly #table: MountTable
  readonly #fair: FairReads
  readonly #loop: MountsLoop
  readonly #buffers: ProtocolBuffers
  readonly #trees = new Map<string, SharedTree>()
  readonly #mounts = new Map<number, Own>()
  /** Reads what the shared cache cannot take. */
  readonly #reader: ExtentReader
  /** Mounts that have ended, whose jobs may still be under way. */
  readonly #leaving = new Set<number>()
  /** Images that no mount has any more, and that may still be read. */
  readonly #dropping = new Set<SourceId>()
  #isOver = false

  constructor(options: ServedMountsOptions) {
    const { pool, images, table, loop, request } = options
    this.#options = options
    this.#table = new MountTable(table)
    this.#buffers = allocateProtocolBuffers({ request })
    this.#fair = new FairReads(this.#table, 2 * pool.shared.workers)
    // For all mounts together.
    this.#reader = new ExtentReader(images.store, readHostFile, { cacheSize: FALLBACK_CACHE })
    this.#loop = new MountsLoop({
      ...loop,
      fair: this.#fair,
      turn: () => this.#turn(),
      mayRest: () => this.#mayRest(),
      ended: (mount, error) => this.#ended(mount as Own, error),
    })
  }

  /** Serves until the main thread orders the end. */
  run(): void {
    this.#loop.run()
  }

  /** Whether a mount is there. */
  has(mount: number): boolean {
    return this.#mounts.has(mount)
  }

  #turn(): boolean {
    for (const order of this.#options.news.take()) this.#obey(order)
    if (this.#leaving.size > 0 || this.#dropping.size > 0) this.#letGo()
    return !this.#isOver
  }

  #mayRest(): boolean {
    this.#table.wantBell(this.#fair.isWaiting || this.#leaving.size > 0 || this.#dropping.size > 0)
    // A job may have ended before its worker could see that.
    if (this.#fair.next() !== undefined) return false
    for (const mount of this.#leaving) if (this.#table.underWay(mount) === 0) return false
    return true
  }

  #obey(order: Order): void {
    const { images } = this.#options
    switch (order.type) {
      case 'image':
        images.add(order.image)
        return
      case 'drop':
        this.#dropping.add(order.image)
        return
      case 'mount':
        this.#add(order.order)
        return
      case 'leave': {
        const mount = this.#mounts.get(order.mount)
        if (mount === undefined) return
        this.#loop.remove(mount.fd)
        this.#forget(mount)
        return
      }
      case 'end':
        this.#isOver = true
    }
  }

  #add(order: MountOrder): void {
    const { tell, onMount } = this.#options
    const { mount } = order
    try {
      const own = this.#make(order)
      this.#mounts.set(mount, own)
      this.#loop.add(own)
      onMount(order)
    } catch (error) {
      this.#mounts.delete(mount)
      tell({ type: 'mount failed', mount, message: faultText(error) })
      tell({ type: 'left', mount })
    }
  }

  #make(order: MountOrder): Own {
    const { tell, pool, images, turn } = this.#options
    const { mount, fuseFd, molecule, blockSize, kernel } = order
    const { key: treeKey, generation, directories: chunks } = order.tree
    const grown = (chunk: SharedArrayBuffer): void => tell({ type: 'directories', tree: treeKey, chunk })
    const memory = { generation, directories: { chunks, grown } }
    const tree = this.#trees.get(treeKey) ?? { fileSystem: images.openTree(molecule, memory), users: 0 }
    tree.users += 1
    this.#trees.set(treeKey, tree)
    const { fileSystem } = tree
    const log: ServedMount['log'] = (level, message) => tell({ type: 'log', level, message, mount })
    const counters = new Counters({ ...pool.shared, counters: order.counters }, 0)
    const reader = this.#fair.reader({ device: fuseFd, mount })
    const dataPath = new PooledDataPath({
      ...{ fileSystem, store: images.store, pool, counters, blockSize },
      target: new GatherReply(fuseFd, pool.shared),
      fallback: new InlineDataPath(fileSystem, this.#reader),
      inlineLimit: INLINE_LIMIT,
      prefetch: true,
      fair: reader,
    })
    const fault = testFault('dispatcher')
    const numbers = kernel.ino32 ? new NarrowInodes() : undefined
    const protocol = new Protocol({
      ...{ fileSystem, dataPath, turn, log, kernel, buffers: this.#buffers },
      counters: fault === undefined ? counters : dyingCounter(counters, fault, () => this.#buffers.requests),
      namesTrusted: isHostRoot(),
      ...omitUndefined({ shownInode: numbers && ((ino: number) => numbers.shown(ino)) }),
      requests: order.requests,
      negotiated: order.negotiated,
      onInit: (negotiated) => tell({ type: 'serves', mount, negotiated }),
    })
    return { fd: fuseFd, protocol, log, reader, order, treeKey }
  }

  #ended(own: Own, error: unknown): void {
    const { tell } = this.#options
    const { mount } = own.order
    this.#forget(own)
    if (error === undefined) tell({ type: 'unmounted', mount })
    else tell({ type: 'mount failed', mount, message: faultText(error) })
  }

  #forget({ order, treeKey }: Own): void {
    this.#mounts.delete(order.mount)
    const tree = this.#trees.get(treeKey)
    if (tree !== undefined) {
      tree.users -= 1
      if (tree.users === 0) this.#trees.delete(treeKey)
    }
    this.#leaving.add(order.mount)
  }

  /** Says what nothing uses any more. */
  #letGo(): void {
    const { pool, images, fetcher, tell } = this.#options
    for (const mount of this.#leaving) {
      if (this.#table.underWay(mount) > 0) continue
      this.#leaving.delete(mount)
      tell({ type: 'left', mount })
    }
    for (const image of this.#dropping) {
      if (!pool.index.forgetSource(image) || fetcher.isBusyWith(image)) continue
      this.#dropping.delete(image)
      images.drop(image)
      tell({ type: 'dropped', image })
    }
  }
}
