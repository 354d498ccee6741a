import type { LogLevel, SourceId } from '../../base/index.ts'
import type { KernelOptions, SharedBuffers } from '../../fuse/index.ts'
import type { MoleculeSpec } from '../../molecule/index.ts'

/** What both kinds of thread are started with. */
export interface ThreadData {
  readonly spec: MoleculeSpec
  readonly shared: SharedBuffers
  readonly fuseFd: number
  /** Wakes the dispatcher when a worker has ended what requests wait for (`openBell`); absent without workers. */
  readonly bell: number | undefined
  /** Where verification counts: `allocateTally`. */
  readonly tally: SharedArrayBuffer
}

export interface DispatcherData extends ThreadData {
  readonly kernel: KernelOptions
}

export interface DataWorkerData extends ThreadData {
  /** Row of the counters, from 1. */
  readonly thread: number
}

/** What a thread tells the main thread. Errors travel as text: their class does not survive the way. */
export type ThreadMessage =
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  /** The dispatcher has answered INIT; a data worker has loaded all of its code and libraries. */
  | { readonly type: 'ready' }
  /** The thread waits until this blob of an image is open. */
  | { readonly type: 'blob'; readonly image: SourceId; readonly blob: number }
  /** The kernel ended the connection. */
  | { readonly type: 'unmounted' }
  | { readonly type: 'failed'; readonly message: string }
