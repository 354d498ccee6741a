import type { Counter } from '../../fuse/index.ts'
import type { UpperPolicy } from '../../molecule/index.ts'
import type { Driver } from '../request.ts'

/**
 * The control channel: a unix socket in the runtime entry that only its owner can open. One line of JSON each
 * way, then the daemon closes.
 */
export type ControlRequest = { readonly command: 'status' }

export type ControlAnswer = { readonly status: MountStatus } | { readonly error: string }

/** `verified`: every byte handed out was compared with the root hash, and none differed. */
export type LayerState = 'verified' | 'unverified' | 'failed'

export interface LayerStatus {
  /** Digest of the blob, or path of the image file or directory. */
  readonly label: string
  readonly state: LayerState
  /** Data blocks compared with the root hash since the mount. */
  readonly blocksChecked: number
  /** Comparisons that failed. */
  readonly failures: number
}

/** How an upper directory is used and what it can hold. */
export interface UpperStatus {
  readonly path: string
  /** Absent where nothing is changed. */
  readonly work?: string
  /** Changes go away with the mount. */
  readonly temporary: boolean
  readonly policy: UpperPolicy
}

export interface MountStatus {
  readonly target: string
  readonly source: string
  readonly pid: number
  readonly uptimeSeconds: number
  readonly driver: Driver
  readonly writable: boolean
  /** Of a mount with an upper directory. */
  readonly upper?: UpperStatus
  /** Resident memory of the daemon, bytes. */
  readonly rss: number
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  readonly counters: Readonly<Record<Counter, number>>
  /** READs that wait for data. One of seconds says that the disk of the image does not answer. */
  readonly pending: { readonly reads: number; readonly oldestMs: number }
  /** Bottom first, as in the manifest, images before directories; a repeated image stands once. */
  readonly layers: readonly LayerStatus[]
}

/** Longest line of either side. */
export const MAX_LINE_BYTES = 4 << 20
/** A client that says nothing is not waited for longer. */
export const CONTROL_TIMEOUT_MS = 5000
