import type { Log } from '../../base/index.ts'
import type { MoleculeSpec } from '../../molecule/index.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import type { MountRequest } from '../request.ts'
import type { MountStatus } from './control-protocol.ts'

export interface ServerOptions {
  /** Connection to the kernel; the server closes it in `stop`. */
  readonly fuseFd: number
  readonly spec: MoleculeSpec
  /** Bytes. */
  readonly cacheSize: number
  /** Data workers; 0 for a server of one thread. */
  readonly threads: number
  readonly debug: boolean
  /** Of a writable mount: the kernel collects written data in its page cache. */
  readonly writeback: boolean
  /** Files are copied up when they are opened for writing. */
  readonly copyUpAtOpen: boolean
  /** Shows inode numbers below 2^32, whatever those of the file system are. */
  readonly ino32: boolean
  readonly log: Log
}

/** Why serving is over: the kernel ended the connection (ENODEV), or a fault of this program. */
export type EndReason =
  | { readonly reason: 'unmounted' }
  | { readonly reason: 'failed'; readonly message: string }

/** What `status` tells of the serving threads. */
export type ServerStats = Pick<MountStatus, 'cacheSize' | 'counters' | 'layers' | 'pending'>

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

/** What the daemon is made of beside its own life cycle; tests put in their own. */
export interface DaemonParts {
  /** Reads the image's metadata. @throws FsError with one clear line */
  resolveMolecule(request: MountRequest): MoleculeSpec
  startServer(options: ServerOptions): RunningServer
  /** Mounts and serves through the package `fuse-native`. @throws FsError with nothing left mounted */
  serveByFuseNative(
    mount: FuseMountOptions,
    server: Omit<ServerOptions, 'fuseFd'>,
    packageFolders?: readonly string[],
  ): Promise<FuseNativeMount>
}

/** A mount that libfuse made; its `fuseFd` tells the end, requests are read from another descriptor. */
export interface FuseNativeMount {
  readonly mount: FuseMount
  /** Serves already. */
  readonly server: RunningServer
}
