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

export function isDirectory(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR
}

export function isRegular(mode: number): boolean {
  return (mode & S_IFMT) === S_IFREG
}

export function isSymlink(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK
}
