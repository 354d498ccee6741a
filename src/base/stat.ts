/** Attributes of one inode. Times are whole seconds since 1970 and may be negative; the rest counts up from 0. */
export interface Stat {
  readonly ino: number
  /** Type and permission bits. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** Device number as the kernel encodes it in 32 bits (`new_encode_dev`); 0 unless a device. */
  readonly rdev: number
  /** Bytes. */
  readonly size: number
  /** Units of 512 bytes. */
  readonly blocks: number
  /** Preferred I/O size in bytes, a power of two. */
  readonly blksize: number
  readonly atime: number
  readonly mtime: number
  readonly ctime: number
  readonly atimeNsec: number
  readonly mtimeNsec: number
  readonly ctimeNsec: number
  /** Time of birth, where it is known. */
  readonly btime?: number
  readonly btimeNsec?: number
}

/** What statfs(2) tells of a file system. */
export interface StatFs {
  /** Unit of `blocks`, bytes. */
  readonly blockSize: number
  readonly blocks: number
  readonly blocksFree: number
  readonly blocksAvailable: number
  readonly files: number
  readonly filesFree: number
  /** Longest name, bytes. */
  readonly nameMax: number
}
