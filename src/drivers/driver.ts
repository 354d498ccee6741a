import type { Log } from '../base/index.ts'
import type { Counter, KernelOptions } from '../fuse/index.ts'
import type { MoleculeSpec } from '../molecule/index.ts'
import type { FuseMount, FuseMountOptions } from '../sys/mounts/mount.ts'
import type { LayerStatus } from './layer-status.ts'

/**
 * The program part that speaks to the kernel: `builtin` is the server of this project on `/dev/fuse`, `fuse-native` the
 * npm package of that name with libfuse 2 (docs/adr/0011-fuse-native-driver.md).
 */
export type DriverName = 'builtin' | 'fuse-native'

export interface Driver {
  /**
   * Makes the mount.
   * @param served what `serve` will serve; the driver may answer requests from now on
   * @throws FsError, and leaves nothing mounted
   */
  mount(options: FuseMountOptions, served: ServeOptions): Promise<DriverMount>
}

/** A mount that still needs a server. */
export interface DriverMount {
  /** The server closes its descriptor in `stop`. A caller that never calls `serve` closes it. */
  readonly mount: FuseMount
  /** Gives the running server. The caller calls it once, soon after the mount. */
  serve(): RunningServer
}

export interface ServeOptions {
  readonly spec: MoleculeSpec
  /** Bytes for decoded blocks. */
  readonly cacheSize: number
  /** Most data workers; 0 for a server of one thread. */
  readonly workers: number
  /** Data workers of the builtin driver end after so long without work, milliseconds; by default some seconds. */
  readonly restMs?: number
  readonly kernel: KernelOptions
  readonly log: Log
  /** Folders that hold the npm package of a driver; absent: a `node_modules` above this program. */
  readonly driverPath?: readonly string[] | undefined
}

/** Why serving is over: the kernel ended the connection (ENODEV), or a fault of this program. */
export type EndReason =
  | { readonly reason: 'unmounted' }
  | { readonly reason: 'failed'; readonly message: string }

/** The part of `status` that the server knows. */
export interface ServerStats {
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  readonly counters: Readonly<Record<Counter, number>>
  /** Requests by the names of their operations; those that did not come are absent. */
  readonly operations: Readonly<Record<string, number>>
  /** READs that wait for data. If the oldest waits for seconds, the disk of the image does not answer. */
  readonly pending: { readonly reads: number; readonly oldestMs: number }
  /** Bottom first, as in the manifest, images before directories. A repeated image appears once. */
  readonly layers: readonly LayerStatus[]
}

export interface RunningServer {
  /** Resolves when the server answers INIT: the mount serves. */
  readonly ready: Promise<void>
  /** Resolves when all threads have loaded their files, or the server has ended. Rejects with the error of a thread. */
  readonly loaded: Promise<void>
  /** Resolves once, never rejects. */
  readonly ended: Promise<EndReason>
  stats(): ServerStats
  /**
   * Waits until requests that change something wait; reads go on. Absent where nothing can be changed.
   * @returns to be called once when they may go on
   * @throws FsError EBUSY
   */
  holdChanges?(): Promise<() => void>
  /** Ends the threads and closes the connection. To be called after the unmount. */
  stop(): Promise<void>
}
