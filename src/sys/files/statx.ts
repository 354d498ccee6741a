import { ERRNO, type Mutable, type Name, packDevice, type Stat } from '../../base/index.ts'
import { nameAddress, stringAddress } from '../ffi/c-string.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { Scratch } from '../ffi/scratch.ts'
import { systemCall } from '../ffi/system-call.ts'

/**
 * An exact inode number of this machine: a `number` up to 2^53, a BigInt beyond, as on network file systems, mergerfs,
 * and overlayfs with `xino`. Equal numbers are equal for `===` and as keys.
 */
export type HostInode = number | bigint

/** Attributes of a file of this machine, as statx(2) gives them: exact times, and device numbers in 32 bits. */
export interface HostStat extends Stat {
  /** Device of the file system, encoded as `rdev` is. Together with `inode` it identifies a file. */
  readonly dev: number
  /** Exact, unlike `ino`, which is rounded beyond 2^53. */
  readonly inode: HostInode
}

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
/** include/uapi/linux/stat.h */
const STATX_BASIC_STATS = 0x7ff
const STATX_BTIME = 0x800
const WANTED = STATX_BASIC_STATS | STATX_BTIME
const SIZE_OF_STATX = 256
const { ENOENT } = ERRNO

const scratch = new Scratch(SIZE_OF_STATX)
const record = scratch.words()

/** @returns undefined where there is no such name. @throws FsError ENOTDIR, EACCES, ENAMETOOLONG, … */
export function statAt(dir: number, name: Name): HostStat | undefined {
  const path = nameAddress(name)
  if (systemCall('statx', dir, path, AT_SYMLINK_NOFOLLOW, WANTED, scratch.address) === 0) return decode()
  if (lastErrno() === ENOENT) return undefined
  throw systemError(`statx ${JSON.stringify(name)}`)
}

/** @param fd may be O_PATH. @throws FsError */
export function statFd(fd: number): HostStat {
  const path = stringAddress('')
  if (systemCall('statx', fd, path, AT_EMPTY_PATH, WANTED, scratch.address) === 0) return decode()
  throw systemError(`statx fd ${fd}`)
}

function u32(at: number): number {
  return record[at >>> 2] ?? 0
}

function u64(at: number): number {
  return u32(at + 4) * 2 ** 32 + u32(at)
}

/** A signed number of seconds. */
function s64(at: number): number {
  return (u32(at + 4) | 0) * 2 ** 32 + u32(at)
}

/** Packs the major number at `at` and the minor number after it. */
function device(at: number): number {
  return packDevice(u32(at), u32(at + 4))
}

function exact(at: number): HostInode {
  const number = u64(at)
  return Number.isSafeInteger(number) ? number : (BigInt(u32(at + 4)) << 32n) | BigInt(u32(at))
}

/** struct statx. */
function decode(): HostStat {
  const stat: Mutable<HostStat> = {
    dev: device(136),
    ino: u64(32),
    inode: exact(32),
    mode: u32(28) & 0xffff,
    nlink: u32(16),
    uid: u32(20),
    gid: u32(24),
    rdev: device(128),
    size: u64(40),
    blocks: u64(48),
    blksize: u32(4),
    atime: s64(64),
    mtime: s64(112),
    ctime: s64(96),
    atimeNsec: u32(72),
    mtimeNsec: u32(120),
    ctimeNsec: u32(104),
  }
  // A spread of the two would cost as much as all others.
  if ((u32(0) & STATX_BTIME) !== 0) {
    stat.btime = s64(80)
    stat.btimeNsec = u32(88)
  }
  return stat
}
