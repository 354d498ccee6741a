import {
  type Fetcher,
  type Log,
  type LogLevel,
  omitUndefined,
  type SourceId,
  Turn,
} from '../../base/index.ts'
import {
  ChangeGate,
  type Counters,
  GatherReply,
  InlineDataPath,
  type KernelOptions,
  type Negotiated,
  PooledBackground,
  PooledDataPath,
  PooledFetcher,
  Protocol,
  type RequestCounter,
  type RequestMemory,
  type SharedBuffers,
  taskRunner,
  WorkerPool,
} from '../../fuse/index.ts'
import {
  type MoleculeSpec,
  NarrowInodes,
  type OpenMolecule,
  Patience,
  readHostFile,
  type Surroundings,
  type UpperMolecule,
} from '../../molecule/index.ts'

/** The dispatcher decodes a lone missing block up to this many bytes itself, instead of handing it to a worker. */
export const INLINE_LIMIT = 128 << 10
/** Bytes of decoded blocks kept for READs that the shared cache cannot take. */
export const FALLBACK_CACHE = 2 << 20

/** Empty reads of the device before poll(2), some 100 µs: a client that lists a tree sends its next request by then. */
export const SPINS = 300

/** What serves a mount, and where. */
export interface ServingOptions {
  readonly spec: MoleculeSpec
  readonly shared: SharedBuffers
  /** Takes the replies. */
  readonly fd: number
  readonly bell: number | undefined
  readonly kernel: KernelOptions
  readonly counters: Counters
  /** Gives what the protocol counts with, where that is another one. @param request the one that is handled */
  readonly counterOf?: ((request: () => Buffer) => RequestCounter) | undefined
  readonly log: Log
  /** Asks for one more data worker. */
  callWorker(): void
  /** Opens the file system. @throws FsError */
  open(around: Pick<Surroundings, 'patience' | 'background'>): OpenMolecule | UpperMolecule
  /** Of the `GateKeeper`; absent: nothing is changed. */
  readonly gate: SharedArrayBuffer | undefined
  /** Root of the machine made the mount. */
  readonly namesTrusted: boolean
  readonly requests: RequestMemory | undefined
  readonly negotiated: Negotiated | undefined
  onInit(negotiated: Negotiated): void
}

/** All that answers the requests of one mount in one thread, but for the loop over them. */
export interface Serving {
  readonly molecule: OpenMolecule | UpperMolecule
  /** The file system, where changes are taken. */
  readonly writable: UpperMolecule['fileSystem'] | undefined
  readonly pool: WorkerPool
  readonly protocol: Protocol
  /** Reads pieces of the images by data workers. */
  readonly fetcher: Fetcher
  /** Does in this thread what a data worker does. */
  readonly runTask: ReturnType<typeof taskRunner>
}

/**
 * Builds it. A dispatcher calls this once for its mount and once for the rehearsal, so that V8 meets objects of the same
 * shapes in both: code that it compiled for one shape is thrown away when it meets another.
 */
export function buildServing(options: ServingOptions): Serving {
  const { spec, shared, fd, bell, kernel, counters, log, gate, namesTrusted, requests, negotiated } = options
  const pool = new WorkerPool(shared, options.callWorker)
  const hasWorkers = shared.workers > 0
  const background = hasWorkers ? new PooledBackground(pool) : undefined
  const turn = new Turn()
  const fetcher = new PooledFetcher(pool, (image) => spec.images[image]?.source.size ?? 0)
  const patience = hasWorkers ? new Patience(turn, fetcher) : undefined
  const molecule = options.open({ patience, background })
  const { fileSystem, store } = molecule
  const writable = gate === undefined ? undefined : writableOf(molecule)
  const fallback = new InlineDataPath(fileSystem, store, readHostFile, FALLBACK_CACHE, {
    // A client may truncate a file of the upper between two requests of a reader.
    shortReads: writable !== undefined,
  })
  const target = new GatherReply(fd, shared)
  const dataPath = new PooledDataPath({
    fileSystem,
    store,
    target,
    pool,
    counters,
    fallback,
    inlineLimit: INLINE_LIMIT,
    prefetch: true,
  })
  const numbers = kernel.ino32 ? new NarrowInodes() : undefined
  const protocol: Protocol = new Protocol({
    fileSystem,
    dataPath,
    ...(writable === undefined || gate === undefined
      ? {}
      : { writable, gate: new ChangeGate(gate, () => writable.restoreTimes()) }),
    namesTrusted,
    turn,
    ...(numbers === undefined ? {} : { shownInode: (ino) => numbers.shown(ino) }),
    log,
    kernel,
    counters: options.counterOf?.(() => protocol.requestBytes) ?? counters,
    requests,
    negotiated,
    onInit: options.onInit,
  })
  const logOfTasks = (level: LogLevel, message: string, _source?: SourceId): void => log(level, message)
  const runTask = taskRunner({
    shared,
    thread: 0,
    target,
    store,
    log: logOfTasks,
    ...omitUndefined({ bell }),
  })
  return { molecule, writable, pool, protocol, fetcher, runTask }
}

function writableOf(molecule: OpenMolecule | UpperMolecule): UpperMolecule['fileSystem'] | undefined {
  return 'closeUpper' in molecule ? molecule.fileSystem : undefined
}
