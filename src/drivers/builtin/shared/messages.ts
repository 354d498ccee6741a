import type { LogLevel, SourceId } from '../../../base/index.ts'
import type { KernelOptions, Negotiated, RequestMemory, SharedBuffers } from '../../../fuse/index.ts'
import type { BlobWish, MoleculeSpec, SharedImage, SharedMolecule } from '../../../molecule/index.ts'
import type { TreeLegacy } from './tree-memories.ts'

/** All that the dispatcher of a server must know to serve a mount. */
export interface MountOrder {
  /** Its place in the table of mounts (`MountTable`). */
  readonly mount: number
  readonly fuseFd: number
  readonly molecule: SharedMolecule
  /** Largest block of its images, bytes. */
  readonly blockSize: number
  readonly kernel: KernelOptions
  /** Its counters: `countersSize(0)`. */
  readonly counters: SharedArrayBuffer
  readonly requests: RequestMemory
  /** Of a mount whose dispatcher died. */
  readonly negotiated: Negotiated | undefined
  readonly tree: TreeLegacy
  /** The same molecule by indexes, of the first mount: for the rehearsal. */
  readonly stage?: MoleculeSpec
}

/** What the main thread tells the dispatcher. Workers get those of images, too. */
export type Order =
  | { readonly type: 'image'; readonly image: SharedImage }
  /** No mount has the image any more. */
  | { readonly type: 'drop'; readonly image: SourceId }
  | { readonly type: 'mount'; readonly order: MountOrder }
  /** The mount is to be left alone from now on. */
  | { readonly type: 'leave'; readonly mount: number }
  | { readonly type: 'end' }

/** What the threads of a server get beside `ThreadData`. */
export interface ServerThreadData {
  readonly shared: SharedBuffers
  /** Of the `MountTable`. */
  readonly mounts: SharedArrayBuffer
  /** The first word changes whenever there are orders. */
  readonly news: SharedArrayBuffer
  readonly images: readonly SharedImage[]
  readonly bell: number
}

export interface ServerDispatcherData extends ServerThreadData {
  /** Most bytes of decoded blocks. */
  readonly cacheSize: number
  readonly pressure: number | undefined
  /** Made by `openPoll`, for this dispatcher alone. */
  readonly poll: number
  /** Memory of the request that it handles (`RequestMemory`). */
  readonly request: SharedArrayBuffer
}

/** What threads of a server tell the main thread. */
export type ServerMessage =
  | {
      readonly type: 'log'
      readonly level: LogLevel
      readonly message: string
      /** About one mount, or about an image and all mounts that show it; else about the server. */
      readonly mount?: number
      readonly image?: SourceId
    }
  /** A mount answers INIT. */
  | { readonly type: 'serves'; readonly mount: number; readonly negotiated: Negotiated }
  /** More memory for directories that the kernel knows. */
  | { readonly type: 'directories'; readonly tree: string; readonly chunk: SharedArrayBuffer }
  /** The kernel has ended the connection of a mount. */
  | { readonly type: 'unmounted'; readonly mount: number }
  /** A mount cannot be served any more. */
  | { readonly type: 'mount failed'; readonly mount: number; readonly message: string }
  /** No job names the mount any more: its descriptor may be closed. */
  | { readonly type: 'left'; readonly mount: number }
  /** No block and no piece of an image that was dropped is in use: its descriptors may be closed. */
  | { readonly type: 'dropped'; readonly image: SourceId }
  | { readonly type: 'prepared' }
  | { readonly type: 'worker wanted' }
  | { readonly type: 'quiet' }
  | { readonly type: 'blob'; readonly image: SourceId; readonly blob: number; readonly wish: BlobWish }
  /** The dispatcher has ended: none of its mounts is served any more. */
  | { readonly type: 'failed'; readonly message: string }
