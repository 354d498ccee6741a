import type { Counter } from '../fuse/index.ts'
import type { Driver } from './request.ts'

/**
 * The control channel: a unix socket in the runtime entry that only its owner can open. One line of JSON each
 * way, then the daemon closes.
 */
export type ControlRequest = { readonly command: 'status' }

export type ControlAnswer = { readonly status: MountStatus } | { readonly error: string }

/** `verified`: every byte handed out was compared with the root hash, and none differed. */
export type LayerState = 'verified' | 'unverified' | 'failed'

export interface LayerStatus {
  /** Digest of the blob, or path of the image file. */
  readonly label: string
  readonly state: LayerState
  /** Data blocks compared with the root hash since the mount. */
  readonly blocksChecked: number
  /** Comparisons that failed. */
  readonly failures: number
}

export interface MountStatus {
  readonly target: string
  readonly source: string
  readonly pid: number
  readonly uptimeSeconds: number
  readonly driver: Driver
  /** Resident memory of the daemon, bytes. */
  readonly rss: number
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  readonly counters: Readonly<Record<Counter, number>>
  /** READs that wait for data. One of seconds says that the disk of the image does not answer. */
  readonly pending: { readonly reads: number; readonly oldestMs: number }
  /** Bottom first, as in the manifest; a repeated layer stands once. */
  readonly layers: readonly LayerStatus[]
}

/** Longest line of either side. */
export const MAX_LINE_BYTES = 4 << 20
/** A client that says nothing is not waited for longer. */
export const CONTROL_TIMEOUT_MS = 5000
