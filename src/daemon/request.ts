import type { LogLevel } from '../base/index.ts'
import type { DriverName } from '../drivers/index.ts'
import type { ChangesPlace, IdRule, UpperOptions, VerifyMode } from '../molecule/index.ts'
import type { MountFlag } from '../sys/mounts/mount.ts'

export type { ChangesPlace, IdRange, IdRule, UpperOptions, VerifyMode } from '../molecule/index.ts'
export type { LogLevel }

/**
 * The `-o` options as typed values. Those that only concern other programs (`_netdev`, `x-*`) are gone here.
 */
export interface MountOptions {
  readonly allowOther: boolean
  readonly defaultPermissions: boolean
  readonly nosuid: boolean
  readonly nodev: boolean
  readonly noexec: boolean
  /** What else the mount is made with. */
  readonly flags: readonly MountFlag[]
  /** Owner to show instead of the stored one: one for everything, or by ranges. */
  readonly uid?: IdRule
  readonly gid?: IdRule
  /** Byte position of the squashfs superblock in the image file. */
  readonly offset?: number
  /** Directory of the image to show as the root of the mount. */
  readonly subdir?: string
  /** Renamed directories of `lowers` are continued where their redirects lead. */
  readonly followRedirects?: boolean
  /** Shows inode numbers below 2^32, whatever those of the layers and of the upper directory are. */
  readonly ino32?: boolean
  readonly driver: DriverName
  /** Bound of the block cache, bytes. */
  readonly cacheSize: number
  /** Data workers beside the dispatcher. */
  readonly threads: number
  /** Largest read request, bytes. */
  readonly maxRead?: number
  readonly fsname?: string
  /** SELinux label of everything in the mount. */
  readonly context?: string
  /** FIFO that receives `s` when the mount serves and `f` when it failed. */
  readonly notifyPipe?: string
  /** Shows what lies in the upper directory without changing anything there. */
  readonly readOnly: boolean
  readonly upper: UpperOptions
}

/** One mount as the command line asked for it. Plain data: it goes to the daemon as JSON. */
export interface MountRequest {
  /** SOURCE as given, relative to the working directory that the daemon starts in. */
  readonly source: string
  /** Of an overlay: directories and images to merge, absolute, the topmost first. `source` is only a name then. */
  readonly lowers?: readonly string[]
  /** Absolute path of the mount point, or `/dev/fd/N`. */
  readonly target: string
  readonly allowMissingVerity: boolean
  /** Hex; only for an image of one layer. */
  readonly rootHash?: string
  readonly verify: VerifyMode
  /** `--metadir`. */
  readonly metadataDir?: string
  readonly foreground: boolean
  /** Logs every kernel request. */
  readonly debug: boolean
  /** What is less severe is left out of the log. */
  readonly logLevel: LogLevel
  /** Absolute path of a file, or `syslog`; by default stderr, or a file in the runtime entry. */
  readonly log?: string
  /** Folders that hold the package of the optional driver, absolute; by default those above the program. */
  readonly driverPath?: readonly string[]
  /** Descriptor of the command that gets a line when the mount serves. */
  readonly readyFd?: number
  /** Absent for the images alone. */
  readonly changes?: ChangesPlace
  readonly options: MountOptions
}
