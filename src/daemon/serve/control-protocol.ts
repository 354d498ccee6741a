import type { PathText } from '../../base/index.ts'
import type { DriverName, ServerStats } from '../../drivers/index.ts'
import type { MountSource, UpperPolicy } from '../../molecule/index.ts'

/**
 * The control channel: a unix socket in the runtime entry that only its owner can open. One line of JSON each
 * way, then the daemon closes. After `hold` it is the client who closes: changes wait as long as the connection lasts.
 */
export type ControlRequest = { readonly command: 'status' } | { readonly command: 'hold' }

export type ControlAnswer =
  | { readonly status: MountStatus }
  | { readonly held: HeldMount }
  | { readonly error: string }

/** What is mounted where changes are held back: enough to open it again. */
export interface HeldMount {
  readonly source: MountSource
  /** What the user calls the source. */
  readonly name: PathText
  /** Of an image in a layout: its tag may mean another image by now. */
  readonly manifestDigest?: string
  readonly rootHash?: string
  readonly allowMissingVerity: boolean
  readonly subdir?: PathText
  readonly upper: UpperStatus
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
