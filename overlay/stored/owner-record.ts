import {
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  MAJOR_LIMIT,
  MINOR_LIMIT,
  majorOf,
  minorOf,
  type Name,
  PERMISSIONS,
  packDevice,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  type Stat,
} from '../../src/base/index.ts'
import { chmodFd, chownFd } from '../../src/sys/files/fd-attributes.ts'
import { pread } from '../../src/sys/files/file-io.ts'
import { statFd } from '../../src/sys/files/statx.ts'
import { getxattrFd, setxattrFd } from '../../src/sys/files/xattr.ts'
import type { UpperPolicy } from './policy.ts'

/** Whose a file is, what it is, and who may do what: all that a plain user cannot give to a real file. */
export interface Owner {
  readonly uid: number
  readonly gid: number
  /** Type and permission bits. */
  readonly mode: number
  /** As the kernel encodes it in 32 bits; 0 unless a device. */
  readonly rdev: number
}

/** Words for types without a device number, as containers/storage and fuse-overlayfs write them. */
const TYPE_WORDS: readonly (readonly [type: number, word: string])[] = [
  [S_IFREG, 'file'],
  [S_IFDIR, 'dir'],
  [S_IFLNK, 'symlink'],
  [S_IFIFO, 'pipe'],
  [S_IFSOCK, 'socket'],
]

/** Largest id there can be: one more means "none". */
const LARGEST_ID = 0xffff_fffe

/** `UID:GID:MODE:TYPE`: decimal, decimal, octal, and a word; devices as `block-MAJOR-MINOR` or `char-MAJOR-MINOR`. */
export function encodeOwner(owner: Owner): Uint8Array {
  const permissions = (owner.mode & PERMISSIONS).toString(8).padStart(4, '0')
  return Buffer.from(`${owner.uid}:${owner.gid}:${permissions}:${typeWord(owner)}`, 'latin1')
}

function typeWord({ mode, rdev }: Owner): string {
  const type = mode & S_IFMT
  if (type === S_IFBLK || type === S_IFCHR) {
    return `${type === S_IFBLK ? 'block' : 'char'}-${majorOf(rdev)}-${minorOf(rdev)}`
  }
  const word = TYPE_WORDS.find(([one]) => one === type)?.[1]
  if (word === undefined) throw new FsError('EINVAL', `mode 0${mode.toString(8)} has no known type`)
  return word
}

/**
 * Reads what `encodeOwner` or another program wrote. Types may be absent, and are known by how they begin; what
 * follows a fourth field is ignored, so that the format can grow.
 * @param hostMode mode of the real file: its type holds where the record has none
 * @throws FsError EIO where it is no such record, or one that does not fit a file of that type
 */
export function decodeOwner(value: Uint8Array, hostMode: number): Owner {
  const text = Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1')
  const [uid = '', gid = '', mode = '', type] = text.split(':')
  if (!isId(uid) || !isId(gid) || !/^[0-7]{1,7}$/.test(mode)) throw badRecord(text)
  const hostType = hostMode & S_IFMT
  const { type: bits, rdev } = type === undefined ? { type: hostType, rdev: 0 } : decodeType(type, text)
  // Everything but a directory is kept in a regular file.
  if ((bits === S_IFDIR) !== (hostType === S_IFDIR)) throw badRecord(text)
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode: bits | (Number.parseInt(mode, 8) & PERMISSIONS),
    rdev,
  }
}

function decodeType(word: string, record: string): { readonly type: number; readonly rdev: number } {
  const device = /^(block|char)-(\d{1,7})-(\d{1,7})(?:-|$)/.exec(word)
  if (device !== null) {
    const [major, minor] = [Number(device[2]), Number(device[3])]
    if (major >= MAJOR_LIMIT || minor >= MINOR_LIMIT) throw badRecord(record)
    return { type: device[1] === 'block' ? S_IFBLK : S_IFCHR, rdev: packDevice(major, minor) }
  }
  const plain = TYPE_WORDS.find(([, one]) => word.startsWith(one))
  if (plain === undefined) throw badRecord(record)
  return { type: plain[0], rdev: 0 }
}

function isId(digits: string): boolean {
  return /^\d{1,10}$/.test(digits) && Number(digits) <= LARGEST_ID
}

function badRecord(text: string): FsError {
  return new FsError('EIO', `owner record ${JSON.stringify(text)}: expected UID:GID:MODE[:TYPE]`)
}

/**
 * Gives the file of a descriptor its owner and its mode, the owner first because chown(2) takes setuid away; or
 * writes both down where the policy says so.
 * @throws FsError EPERM, EINVAL for ids without a mapping, ENOSPC
 */
export function writeOwner(fd: number, owner: Owner, policy: UpperPolicy): void {
  if (policy.owners === 'override') {
    setxattrFd(fd, policy.ownerRecord, encodeOwner(owner), 'either')
    if (policy.modes === 'real') giveHostMode(fd, owner)
    return
  }
  chownFd(fd, owner.uid, owner.gid)
  if (!isSymlink(owner.mode)) chmodFd(fd, owner.mode & PERMISSIONS)
}

/**
 * The mode of the real file beside its record, for those who look at the upper without us: as it is meant, but for what
 * would mean something else there. Its owner is the daemon, who must be able to read and write; setuid and setgid would
 * act for him; and where the group is another one than is written down, it may no more than all others.
 */
export function hostMode({ mode, gid }: Owner, hostGid: number): number {
  const others = mode & 7
  const group = gid === hostGid ? (mode >>> 3) & 7 : (mode >>> 3) & others
  return isDirectory(mode)
    ? (mode & 0o1700) | 0o700 | (group << 3) | others
    : (mode & 0o700) | 0o600 | (group << 3) | others
}

/** A device or fifo with an owner record is a regular file on the host, which no other user may read. */
function giveHostMode(fd: number, owner: Owner): void {
  if (isRegular(owner.mode) || isDirectory(owner.mode)) chmodFd(fd, hostMode(owner, statFd(fd).gid))
}

/** What is written down of the file of a descriptor; undefined where nothing is. @throws FsError EIO */
export function readOwner(fd: number, hostMode: number, record: Name): Owner | undefined {
  if (!isRegular(hostMode) && !isDirectory(hostMode)) return undefined
  const value = getxattrFd(fd, record)
  return value === undefined ? undefined : decodeOwner(value, hostMode)
}

/** Longest target of a symbolic link on any file system of Linux (PATH_MAX), bytes. */
const TARGET_MAX = 4096

/**
 * Target of a symbolic link that is kept as the content of a regular file.
 * @param size of that file, which may be any
 * @param what for messages
 * @throws FsError EIO for what no link can have
 */
export function readRecordedTarget(fd: number, size: number, what: string): Uint8Array {
  if (size < 1 || size > TARGET_MAX) {
    throw new FsError('EIO', `${what}: link target of ${size} bytes, expected 1..${TARGET_MAX}`)
  }
  const target = new Uint8Array(size)
  const length = pread(fd, 0, target)
  if (length !== size) throw new FsError('EIO', `${what}: link target was changed`)
  return target
}

/** Attributes of an upper file as they are meant. @param host its real ones. @throws FsError EIO */
export function presentUpperStat(fd: number, host: Stat, policy: UpperPolicy): Stat {
  if (policy.owners === 'real') return host
  const owner = readOwner(fd, host.mode, policy.ownerRecord)
  if (owner === undefined) return host
  const hasSize = isRegular(owner.mode) || isDirectory(owner.mode) || isSymlink(owner.mode)
  return { ...host, ...owner, ...(hasSize ? {} : { size: 0, blocks: 0 }) }
}
