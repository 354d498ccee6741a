/**
 * The kernel's FUSE ABI, spelled as in include/uapi/linux/fuse.h. Little-endian machines only: Linux sends host order,
 * and the decoders read little-endian.
 */

export const FUSE_KERNEL_VERSION = 7
/** Newest minor version whose structures this file has; the kernel may speak an older one. */
export const FUSE_KERNEL_MINOR_VERSION = 41
/** Older kernels (before 3.15) send and expect shorter structures. */
export const FUSE_OLDEST_MINOR_VERSION = 23

export const FUSE_LOOKUP = 1
export const FUSE_FORGET = 2
export const FUSE_GETATTR = 3
export const FUSE_SETATTR = 4
export const FUSE_READLINK = 5
export const FUSE_SYMLINK = 6
export const FUSE_MKNOD = 8
export const FUSE_MKDIR = 9
export const FUSE_UNLINK = 10
export const FUSE_RMDIR = 11
export const FUSE_RENAME = 12
export const FUSE_LINK = 13
export const FUSE_OPEN = 14
export const FUSE_READ = 15
export const FUSE_WRITE = 16
export const FUSE_STATFS = 17
export const FUSE_RELEASE = 18
export const FUSE_FSYNC = 20
export const FUSE_SETXATTR = 21
export const FUSE_GETXATTR = 22
export const FUSE_LISTXATTR = 23
export const FUSE_REMOVEXATTR = 24
export const FUSE_FLUSH = 25
export const FUSE_INIT = 26
export const FUSE_OPENDIR = 27
export const FUSE_READDIR = 28
export const FUSE_RELEASEDIR = 29
export const FUSE_FSYNCDIR = 30
export const FUSE_ACCESS = 34
export const FUSE_CREATE = 35
export const FUSE_INTERRUPT = 36
export const FUSE_DESTROY = 38
export const FUSE_IOCTL = 39
export const FUSE_BATCH_FORGET = 42
export const FUSE_FALLOCATE = 43
export const FUSE_READDIRPLUS = 44
export const FUSE_RENAME2 = 45
export const FUSE_LSEEK = 46
export const FUSE_COPY_FILE_RANGE = 47
export const FUSE_SYNCFS = 50
export const FUSE_TMPFILE = 51
export const FUSE_STATX = 52
export const FUSE_COPY_FILE_RANGE_64 = 53

/** Code of a notification: all requests without an answer are to be sent again. */
export const FUSE_NOTIFY_RESEND = 7

/** INIT flags, bits 0 to 31. */
export const FUSE_ASYNC_READ = 2 ** 0
export const FUSE_EXPORT_SUPPORT = 2 ** 4
export const FUSE_BIG_WRITES = 2 ** 5
export const FUSE_DONT_MASK = 2 ** 6
export const FUSE_DO_READDIRPLUS = 2 ** 13
export const FUSE_ASYNC_DIO = 2 ** 15
export const FUSE_WRITEBACK_CACHE = 2 ** 16
export const FUSE_NO_OPEN_SUPPORT = 2 ** 17
export const FUSE_PARALLEL_DIROPS = 2 ** 18
export const FUSE_HANDLE_KILLPRIV = 2 ** 19
export const FUSE_POSIX_ACL = 2 ** 20
export const FUSE_MAX_PAGES = 2 ** 22
export const FUSE_CACHE_SYMLINKS = 2 ** 23
export const FUSE_NO_OPENDIR_SUPPORT = 2 ** 24
export const FUSE_EXPLICIT_INVAL_DATA = 2 ** 25
export const FUSE_HANDLE_KILLPRIV_V2 = 2 ** 28
export const FUSE_SETXATTR_EXT = 2 ** 29
export const FUSE_INIT_EXT = 2 ** 30

/** Bits of `valid` in `struct fuse_setattr_in`. */
export const FATTR_MODE = 2 ** 0
export const FATTR_UID = 2 ** 1
export const FATTR_GID = 2 ** 2
export const FATTR_SIZE = 2 ** 3
export const FATTR_ATIME = 2 ** 4
export const FATTR_MTIME = 2 ** 5
export const FATTR_ATIME_NOW = 2 ** 7
export const FATTR_MTIME_NOW = 2 ** 8
export const FATTR_CTIME = 2 ** 10
export const FATTR_KILL_SUIDGID = 2 ** 11

/** `write_flags` of `struct fuse_write_in`. */
export const FUSE_WRITE_KILL_SUIDGID = 2 ** 2
/** `fsync_flags` of `struct fuse_fsync_in`. */
export const FUSE_FSYNC_FDATASYNC = 2 ** 0
/** `setxattr_flags` of `struct fuse_setxattr_in`. */
export const FUSE_SETXATTR_ACL_KILL_SGID = 2 ** 0
/** `open_flags` of `struct fuse_open_out`: the kernel keeps the page cache of the file when it opens it. */
export const FOPEN_KEEP_CACHE = 2 ** 1
export const FOPEN_CACHE_DIR = 2 ** 3

/** Flags of open(2) (include/uapi/asm-generic/fcntl.h). */
export const O_ACCMODE = 3
export const O_RDONLY = 0

/** Flags of renameat2(2) (include/uapi/linux/fcntl.h). */
export const RENAME_NOREPLACE = 2 ** 0
export const RENAME_EXCHANGE = 2 ** 1
export const RENAME_WHITEOUT = 2 ** 2
/** Flags of setxattr(2) (include/uapi/linux/xattr.h). */
export const XATTR_CREATE = 1
export const XATTR_REPLACE = 2

/** Commands of ioctl(2) that chattr(1) and lsattr(1) use (include/uapi/linux/fs.h). */
export const FS_IOC_GETFLAGS = 0x8008_6601
export const FS_IOC_SETFLAGS = 0x4008_6602
export const FS_IOC_FSGETXATTR = 0x801c_581f
export const FS_IOC_FSSETXATTR = 0x401c_5820

/** struct sizes, bytes. */
export const IN_HEADER_SIZE = 40
export const OUT_HEADER_SIZE = 16
export const ATTR_SIZE = 88
export const ENTRY_OUT_SIZE = 128
export const INIT_OUT_SIZE = 64
/** fuse_dirent without its name; entries are padded to 8 bytes (FUSE_DIRENT_ALIGN). */
export const DIRENT_SIZE = 24
/** The smallest read buffer the kernel accepts on the device (FUSE_MIN_READ_BUFFER). */
export const FUSE_MIN_READ_BUFFER = 8192

export const SEEK_DATA = 3
export const SEEK_HOLE = 4

/** Bits of statx(2) that a Stat can fill: STATX_BASIC_STATS. */
export const STATX_BASIC_STATS = 0x7ff
export const STATX_BTIME = 0x800
