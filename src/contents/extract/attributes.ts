import { encodeOwner, hostMode, nameInUpper, USER_RECORD } from '../../../overlay/records.ts'
import {
  type FileSystem,
  FsError,
  isDirectory,
  isErrno,
  isRegular,
  isSymlink,
  type Name,
  type NodeId,
  PERMISSIONS,
  S_ISGID,
  S_ISUID,
  type Stat,
} from '../../base/index.ts'
import { chmodFd, chownFd, setTimesFd } from '../../sys/files/fd-attributes.ts'
import { statfsFd } from '../../sys/files/file-io.ts'
import { statFd } from '../../sys/files/statx.ts'
import { setxattrFd } from '../../sys/files/xattr.ts'
import type { Owners } from './owners.ts'

/** All that a file has beside its name and its data. Plain data: it crosses threads. */
export interface FileAttributes {
  readonly stat: Stat
  /** Under the names that a mount shows. */
  readonly xattrs: readonly (readonly [name: Name, value: Uint8Array])[]
}

/** @throws FsError EIO */
export function readAttributes(fileSystem: FileSystem, node: NodeId, stat: Stat): FileAttributes {
  const names = fileSystem.attributes === 'none' ? [] : fileSystem.listxattr(node)
  const xattrs = names.flatMap((name): FileAttributes['xattrs'] => {
    const value = fileSystem.getxattr(node, name)
    return value === undefined ? [] : [[name, value]]
  })
  return { stat, xattrs }
}

const OVERRIDE = { owners: 'override', ownerRecord: USER_RECORD } as const

/**
 * Gives a new file its attributes. The owner comes before attributes and mode because chown(2) takes setuid and
 * `security.capability` away; access lists come before the mode because without them its group bits mean another thing.
 * @param fd may be O_PATH
 * @returns how many extended attributes the file cannot have
 * @throws FsError EPERM, EINVAL for an owner that this user cannot give
 */
export function giveAttributes(fd: number, { stat, xattrs }: FileAttributes, owners: Owners): number {
  const { uid, gid, mode } = stat
  if (owners === 'real') giveOwner(fd, uid, gid)
  if (owners === 'override') writeOwnerDown(fd, stat)
  let left = 0
  for (const [name, value] of xattrs) if (!giveXattr(fd, name, value, owners)) left += 1
  if (!isSymlink(mode)) giveMode(fd, stat, owners)
  const { atime, atimeNsec, mtime, mtimeNsec } = stat
  setTimesFd(fd, { seconds: atime, nanoseconds: atimeNsec }, { seconds: mtime, nanoseconds: mtimeNsec })
  return left
}

function giveOwner(fd: number, uid: number, gid: number): void {
  try {
    chownFd(fd, uid, gid)
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EINVAL')) throw error
    throw new FsError(
      error.code,
      `cannot be given to ${uid}:${gid} (${error.code}): choose --owners=override or --owners=none`,
    )
  }
}

function writeOwnerDown(fd: number, stat: Stat): void {
  try {
    setxattrFd(fd, USER_RECORD, encodeOwner(stat), 'either')
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
    throw new FsError(error.code, `${USER_RECORD} cannot be set (${error.code}): choose --owners=none`)
  }
}

function giveMode(fd: number, stat: Stat, owners: Owners): void {
  const { mode } = stat
  if (owners === 'real') chmodFd(fd, mode & PERMISSIONS)
  else if (owners === 'none') chmodFd(fd, mode & PERMISSIONS & ~(S_ISUID | S_ISGID))
  // Of the others the real file is a regular one, for this user alone.
  else if (isRegular(mode) || isDirectory(mode)) chmodFd(fd, hostMode(stat, statFd(fd).gid))
}

/** @returns false where such a file cannot have such an attribute */
function giveXattr(fd: number, name: Name, value: Uint8Array, owners: Owners): boolean {
  const stored = owners === 'override' ? nameInUpper(name, OVERRIDE) : name
  if (stored === undefined) return false
  try {
    setxattrFd(fd, stored, value, 'either')
    return true
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL', 'E2BIG', 'ERANGE')) return false
    // Also where the file system has a fixed place for all attributes of a file: ext4.
    if (isErrno(error, 'ENOSPC') && statfsFd(fd).blocksAvailable > 0) return false
    throw error
  }
}
