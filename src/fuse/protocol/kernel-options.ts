/** How the kernel is to be served, as the caller of the mount asked for it: one object from the request to the server. */
export interface KernelOptions {
  /** Logs every request with its outcome. */
  readonly debug: boolean
  /** Of a writable mount: the kernel collects written data in its page cache. */
  readonly writeback: boolean
  /** Files are copied up when they are opened for writing, not when they are changed. */
  readonly copyUpAtOpen: boolean
  /** Shows inode numbers below 2^32, whatever those of the file system are. */
  readonly ino32: boolean
}

/** What a caller gets who asks for nothing. */
export const DEFAULT_KERNEL_OPTIONS: KernelOptions = {
  debug: false,
  writeback: true,
  copyUpAtOpen: false,
  ino32: false,
}
