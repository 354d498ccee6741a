import type { LogLevel, SourceId } from '../../base/index.ts'
import type { KernelOptions, Negotiated, RequestMemory, SharedBuffers } from '../../fuse/index.ts'
import type { BlobWish, MoleculeSpec, PackageNeed } from '../../molecule/index.ts'
import type { ServerThreadData } from './shared/messages.ts'

/** What both kinds of thread get at their start. */
export interface ThreadData {
  readonly spec: MoleculeSpec
  readonly shared: SharedBuffers
  readonly fuseFd: number
  /** A worker rings it when work has ended that requests wait for (`openBell`); absent without workers. */
  readonly bell: number | undefined
  /** Counters of verification: `allocateTally`. */
  readonly tally: SharedArrayBuffer
}

export interface DispatcherData extends ThreadData {
  /** Of the `GateKeeper`. */
  readonly gate: SharedArrayBuffer
  readonly kernel: KernelOptions
  /** Tells of a lack of memory (`openMemoryPressure`); absent where the kernel does not. */
  readonly pressure: number | undefined
  /** Absent where no other dispatcher can go on with the mount. */
  readonly legacy: Legacy | undefined
  /** The process has other mounts, too, and goes on after the end of this one. */
  readonly isOneOfMany: boolean
  /** Of `KeptDescriptors`. Absent in a process that ends with the mount. */
  readonly kept: SharedArrayBuffer | undefined
}

/** What a dispatcher that dies leaves to the next one: what the kernel was told and does not follow from the images. */
export interface Legacy {
  readonly requests: RequestMemory
  /** Absent for the first dispatcher, which answers INIT. */
  readonly negotiated: Negotiated | undefined
  /** See `TreeMemory`. */
  readonly generation: number
  readonly directories: readonly SharedArrayBuffer[]
}

/** Of a worker: of one mount, or of a server of several, whose devices and images come and go. */
export type WorkerSurroundings = ThreadData | ServerThreadData

export type DataWorkerData = WorkerSurroundings & {
  /** Row of the counters, from 1. */
  readonly thread: number
  /** Ends after so long without work, milliseconds; absent: never. */
  readonly restMs?: number
}

/** The dispatcher answers INIT. Where it decodes with packages, data workers find those by their paths, too. */
export interface Serving {
  readonly type: 'serves'
  readonly packages: PackageNeed
  readonly negotiated: Negotiated
}

/** Messages of a thread to the main thread. Errors travel as text, because a message does not keep their class. */
export type ThreadMessage =
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  | Serving
  /** More memory for directories that the kernel knows (`Legacy`). */
  | { readonly type: 'directories'; readonly chunk: SharedArrayBuffer }
  /** A data worker has loaded all of its code and libraries. */
  | { readonly type: 'ready' }
  /** A data worker ends, because there was nothing to do. */
  | { readonly type: 'left' }
  /** The dispatcher has nothing left to prepare: the workers may come, before the first READ waits for them. */
  | { readonly type: 'prepared' }
  /** One more data worker is wanted. */
  | { readonly type: 'worker wanted' }
  /** There have been no requests for a while, or memory is short. */
  | { readonly type: 'quiet' }
  /** The thread waits until this blob of an image is open, or says that it will be read. */
  | { readonly type: 'blob'; readonly image: SourceId; readonly blob: number; readonly wish: BlobWish }
  /** The kernel ended the connection. */
  | { readonly type: 'unmounted' }
  | { readonly type: 'failed'; readonly message: string }
