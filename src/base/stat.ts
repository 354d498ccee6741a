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

/** Numbers of this width and more do not fit into a device number, see `packDevice`. */
export const MAJOR_LIMIT = 2 ** 12
export const MINOR_LIMIT = 2 ** 20

/**
 * A device number in 32 bits, as the kernel gives it to user space and FUSE and squashfs store it: 12 bits of major
 * number, 20 of minor number, the upper 12 of these at the top (include/linux/kdev_t.h:new_encode_dev).
 * @param major of it the lower 12 bits are taken, of `minor` the lower 20
 */
export function packDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0
}

export function majorOf(device: number): number {
  return (device >>> 8) & 0xfff
}

export function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00)
}

/** From the 64 bits that stat(2) of glibc, musl and Node have (`gnu_dev_makedev`). */
export function packNodeDevice(device: bigint): number {
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
  return packDevice(major, minor)
}
