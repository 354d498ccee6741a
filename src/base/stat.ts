import type { InodeNumber } from './id.ts'

/** Attributes of one inode. Times are whole seconds since 1970 and may be negative; the rest counts up from 0. */
export interface Stat {
  readonly ino: InodeNumber
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

/** @param device as the kernel encodes it in 32 bits (include/linux/kdev_t.h:new_decode_dev) */
export function majorOf(device: number): number {
  return (device >>> 8) & 0xfff
}

/** @param device as the kernel encodes it in 32 bits (include/linux/kdev_t.h:new_decode_dev) */
export function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00)
}

/** From the 64 bits that stat(2) of glibc, musl and Node have (`gnu_dev_makedev`). */
export function packNodeDevice(device: bigint): number {
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
  return packDevice(major, minor)
}

/** File type bits of `st_mode` (stat(2), inode(7)). */
export const S_IFMT = 0o170000
export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFSOCK = 0o140000

/** Permission bits of `st_mode`. */
export const S_ISUID = 0o4000
export const S_ISGID = 0o2000
export const S_IXGRP = 0o0010
export const S_IWGRP = 0o0020
export const S_IWOTH = 0o0002
/** All permission bits, those of setuid, setgid and sticky among them. */
export const PERMISSIONS = 0o7777

/** `d_type` of a directory entry: the file type bits shifted down (include/linux/fs_types.h). */
export const DT_UNKNOWN = 0
export const DT_CHR = direntType(S_IFCHR)
export const DT_DIR = direntType(S_IFDIR)
export const DT_REG = direntType(S_IFREG)
export const DT_LNK = direntType(S_IFLNK)

/** Longest file name, and longest name of an extended attribute, bytes (include/uapi/linux/limits.h). */
export const NAME_MAX = 255
export const XATTR_NAME_MAX = 255

/** The `d_type` that goes with `st_mode`. */
export function direntType(mode: number): number {
  return (mode & S_IFMT) >>> 12
}

/** @param mode with its file type bits, as in `Stat` */
export function isDirectory(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR
}

/** @param mode with its file type bits, as in `Stat` */
export function isRegular(mode: number): boolean {
  return (mode & S_IFMT) === S_IFREG
}

/** @param mode with its file type bits, as in `Stat` */
export function isSymlink(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK
}
