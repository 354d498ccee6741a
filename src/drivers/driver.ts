import type { Log } from '../base/index.ts'
import type { Counter, KernelOptions } from '../fuse/index.ts'
import type { MoleculeSpec } from '../molecule/index.ts'
import type { FuseMount, FuseMountOptions } from '../sys/mounts/mount.ts'
import type { LayerStatus } from './layer-status.ts'

/**
 * Who speaks to the kernel: `builtin` is the server of our own on `/dev/fuse`, `fuse-native` the npm package of that
 * name with libfuse 2 (docs/adr/0011-fuse-native-driver.md).
 */
export type DriverName = 'builtin' | 'fuse-native'

export interface Driver {
  /**
   * Makes the mount.
   * @param served what `serve` will serve; a driver may answer requests from here on
   * @throws FsError with nothing left mounted
   */
  mount(options: FuseMountOptions, served: ServeOptions): Promise<DriverMount>
}

/** A mount that somebody has to serve. */
export interface DriverMount {
  /** Its descriptor is closed by whoever ends this: the server in `stop`; the caller where there is no server. */
  readonly mount: FuseMount
  /** Called once, soon. */
  serve(): RunningServer
}

export interface ServeOptions {
  readonly spec: MoleculeSpec
  /** Bytes. */
  readonly cacheSize: number
  /** Data workers; 0 for a server of one thread. */
  readonly workers: number
  readonly kernel: KernelOptions
  readonly log: Log
  /** Folders that hold the package of a driver; absent: a `node_modules` above this program. */
  readonly driverPath?: readonly string[] | undefined
}

/** Why serving is over: the kernel ended the connection (ENODEV), or a fault of this program. */
export type EndReason =
  | { readonly reason: 'unmounted' }
  | { readonly reason: 'failed'; readonly message: string }

/** What `status` tells of the serving threads. */
export interface ServerStats {
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  readonly counters: Readonly<Record<Counter, number>>
  /** READs that wait for data. One of seconds says that the disk of the image does not answer. */
  readonly pending: { readonly reads: number; readonly oldestMs: number }
  /** Bottom first, as in the manifest, images before directories; a repeated image stands once. */
  readonly layers: readonly LayerStatus[]
}

export interface RunningServer {
  /** Resolves when INIT was answered: the mount serves. */
  readonly ready: Promise<void>
  /** Resolves when no thread has any file left to load, or all is over. Rejects with what failed. */
  readonly loaded: Promise<void>
  /** Resolves once, never rejects. */
  readonly ended: Promise<EndReason>
  stats(): ServerStats
  /** After the unmount: ends the threads and closes the connection. */
  stop(): Promise<void>
}
