/**
 * How the daemon serves the kernel, as the caller of the mount asked for it. The request and the server share the
 * object.
 */
export interface KernelOptions {
  /** Logs every request with its outcome. */
  readonly debug: boolean
  /** Writable mounts only: the kernel collects written data in its page cache. */
  readonly writeback: boolean
  /** The upper tree copies files up when they are opened for writing, not before their first change. */
  readonly copyUpAtOpen: boolean
  /** Shows inode numbers below 2^32, whatever those of the file system are. */
  readonly ino32: boolean
  /** Read-only mounts only: the kernel tells what is opened and closed, for the counter `openFiles`. */
  readonly countsOpens: boolean
}

/** The options of a mount whose caller sets none. */
export const DEFAULT_KERNEL_OPTIONS: KernelOptions = {
  debug: false,
  writeback: true,
  copyUpAtOpen: false,
  ino32: false,
  countsOpens: false,
}
