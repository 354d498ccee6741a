import type { DriverName, ServerStats } from '../../drivers/index.ts'
import type { UpperPolicy } from '../../molecule/index.ts'

/**
 * The control channel: a unix socket in the runtime entry that only its owner can open. One line of JSON each
 * way, then the daemon closes.
 */
export type ControlRequest = { readonly command: 'status' }

export type ControlAnswer = { readonly status: MountStatus } | { readonly error: string }

/** How an upper directory is used and what it can hold. */
export interface UpperStatus {
  readonly path: string
  /** Absent where nothing is changed. */
  readonly work?: string
  /** Changes go away with the mount. */
  readonly temporary: boolean
  readonly policy: UpperPolicy
}

/** What `atomfs-fuse status` tells of a mount. */
export interface MountStatus extends ServerStats {
  readonly target: string
  readonly source: string
  readonly pid: number
  readonly uptimeSeconds: number
  readonly driver: DriverName
  readonly writable: boolean
  /** Of a mount with an upper directory. */
  readonly upper?: UpperStatus
  /** Resident memory of the daemon, bytes. */
  readonly rss: number
}

/** Longest line of either side. */
export const MAX_LINE_BYTES = 4 << 20
/** A client that says nothing is not waited for longer. */
export const CONTROL_TIMEOUT_MS = 5000
