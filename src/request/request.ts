import type { LogLevel, PathText } from '../base/index.ts'
import type { Unlocked } from '../crypt/keys/keyring.ts'
import type { DriverName } from '../drivers/index.ts'
import type { KernelOptions } from '../fuse/index.ts'
import type { ChangesPlace, IdRule, MountSource, UpperOptions, VerifyMode } from '../molecule/index.ts'
import type { MountFlag } from '../sys/mounts/mount.ts'

/** The `-o` options as typed values. Those that only concern other programs (`_netdev`, `x-*`) are gone here. */
export interface MountOptions {
  readonly allowOther: boolean
  readonly defaultPermissions: boolean
  readonly nosuid: boolean
  readonly nodev: boolean
  readonly noexec: boolean
  /** What else the mount is made with. */
  readonly flags: readonly MountFlag[]
  /** Owner to show instead of the stored one: one for everything, or by ranges. */
  readonly uid?: IdRule | undefined
  readonly gid?: IdRule | undefined
  /** Directory of the image to show as the root of the mount. */
  readonly subdir?: PathText | undefined
  readonly driver: DriverName
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  /** Data workers beside the dispatcher: `threads=`. */
  readonly workers: number
  /** Largest read request, bytes. */
  readonly maxRead?: number | undefined
  readonly fsname?: PathText | undefined
  /** SELinux label of everything in the mount. */
  readonly context?: string | undefined
  /** FIFO that receives `s` when the mount serves and `f` when it failed; absolute. */
  readonly notifyPipe?: PathText | undefined
  /** `timeout=`: the mount ends when nobody has used it for so many seconds. */
  readonly idleTimeout?: number | undefined
  /** `ro`: the upper directory is shown, and nothing is changed there. */
  readonly showsOnly: boolean
  readonly upper: UpperOptions
  readonly kernel: KernelOptions
}

/** One mount as it was asked for. Plain data: it goes to the daemon as JSON, which `decodeRequest` checks. */
export interface MountRequest {
  readonly source: MountSource
  /** What the user calls the source: for messages, mount tables and `status`. Nothing is looked for by it. */
  readonly name: PathText
  /** Absolute path of the mount point, or `/dev/fd/N`. */
  readonly target: PathText
  readonly allowMissingVerity: boolean
  /** Hex; only for an image of one layer. */
  readonly rootHash?: string | undefined
  readonly verify: VerifyMode
  /** `--metadir`. */
  readonly metadataDir?: PathText | undefined
  readonly foreground: boolean
  /** What is less severe is left out of the log. */
  readonly logLevel: LogLevel
  /** Absolute path of a file, or `syslog`; by default stderr, or a file in the runtime entry. */
  readonly log?: PathText | undefined
  /** Folders that hold the package of the optional driver, absolute; by default those above the program. */
  readonly driverPath?: readonly PathText[] | undefined
  /** Descriptor of the command that gets a line when the mount serves. */
  readonly readyFd?: number | undefined
  /** Indexes that only the command has, in memory: their names, and paths of descriptors (`/dev/fd/N`). */
  readonly indexes?: Readonly<Record<string, PathText>> | undefined
  /** How encrypted images are read. Their keys follow the request, in this order, and are no part of it. */
  readonly unlocked?: readonly Unlocked[] | undefined
  /** Absent for the images alone. */
  readonly changes?: ChangesPlace | undefined
  readonly options: MountOptions
}
