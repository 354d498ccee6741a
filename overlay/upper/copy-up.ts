import { closeSync } from 'node:fs'
import { FsError, isDirectory, isRegular, isSymlink, type Name, type Stat } from '../../src/base/index.ts'
import { chmodFd, chownFd, setTimesFd } from '../../src/sys/fd-attributes.ts'
import { setxattrFd } from '../../src/sys/fd-xattr.ts'
import { fsyncFd } from '../../src/sys/file-io.ts'
import { copyData, type DataSource } from './copy-data.ts'
import { makeObject } from './make-object.ts'
import { writeOwner } from './owner-record.ts'
import type { UpperPolicy } from './upper-policy.ts'
import { nameInUpper } from './upper-xattrs.ts'
import type { WorkDirectory } from './work-directory.ts'

export type Attribute = readonly [name: Name, value: Uint8Array]

/** What is copied. */
export interface CopySource {
  readonly stat: Stat
  /** All attributes of the file but those of the overlay itself; access lists too. Names escaped, if they must be. */
  readonly xattrs: readonly Attribute[]
  /** Attributes of our own, with full names. They are left out where such a file cannot have them. */
  readonly own?: readonly Attribute[]
  /** Of a symbolic link. */
  readonly target?: Uint8Array
  /** Of a regular file. */
  readonly data?: DataSource
}

/**
 * Copies everything but the name into a temporary of the work directory, for the caller to rename into place. At no
 * moment does the copy give more rights than the source: it begins with rights for the daemon alone; then come data,
 * owner, attributes, mode, times. The owner stands before attributes and mode because chown(2) takes setuid and
 * `security.capability` away; access lists before the mode, because until they are there the mode of their group is
 * that of the whole list. On an error nothing is left.
 * @returns the name in the work directory
 * @throws FsError what the kernel says: ENOSPC, EDQUOT, EFBIG, EPERM, EOPNOTSUPP; EIO where the source is damaged
 */
export function copyUp(source: CopySource, work: WorkDirectory, policy: UpperPolicy): Name {
  const name = work.temporaryName()
  const { mode, rdev } = source.stat
  const { target } = source
  const fd = makeObject(work.fd, name, { mode, rdev, ...(target === undefined ? {} : { target }) }, policy)
  try {
    fill(fd, source, policy)
    return name
  } catch (error) {
    work.discard(name)
    throw error
  } finally {
    closeSync(fd)
  }
}

function fill(fd: number, source: CopySource, policy: UpperPolicy): void {
  const { stat } = source
  if (isRegular(stat.mode)) copyData(source, fd)
  if (policy.owners === 'override') writeOwner(fd, stat, policy)
  else chownFd(fd, stat.uid, stat.gid)
  for (const [name, value] of source.xattrs) copyAttribute(fd, name, value, policy)
  for (const [name, value] of source.own ?? []) setUnless(NO_PLACE, fd, name, value)
  if (policy.owners === 'real' && !isSymlink(stat.mode)) chmodFd(fd, stat.mode & 0o7777)
  setTimesFd(
    fd,
    { seconds: stat.atime, nanoseconds: stat.atimeNsec },
    { seconds: stat.mtime, nanoseconds: stat.mtimeNsec },
  )
  if (mustSync(stat, policy)) fsyncFd(fd)
}

/** Other types than these two cannot be synced by themselves. */
function mustSync({ mode, size }: Stat, { fsync }: UpperPolicy): boolean {
  if (fsync === 'strict') return isRegular(mode) || isDirectory(mode)
  return fsync === 'auto' && isRegular(mode) && size > 0
}

/** Without these a copy would allow more, or do less, than the source (fs/overlayfs/copy_up.c:ovl_must_copy_xattr). */
const NEEDED: readonly Name[] = ['system.posix_acl_access', 'system.posix_acl_default', 'security.capability']
/** The file system, or this type of file, has no such attributes. */
const NO_PLACE: readonly string[] = ['EOPNOTSUPP', 'EPERM']
/** Or the host decides otherwise on a label, and on what is for root alone. */
const NOT_OURS: readonly string[] = [...NO_PLACE, 'EACCES', 'EINVAL']

function copyAttribute(fd: number, name: Name, value: Uint8Array, policy: UpperPolicy): void {
  const stored = nameInUpper(name, policy)
  if (stored === undefined) return
  if (NEEDED.includes(name)) setxattrFd(fd, stored, value, 'either')
  else setUnless(name.startsWith('user.') ? NO_PLACE : NOT_OURS, fd, stored, value)
}

function setUnless(accepted: readonly string[], fd: number, name: Name, value: Uint8Array): void {
  try {
    setxattrFd(fd, name, value, 'either')
  } catch (error) {
    if (!(error instanceof FsError && accepted.includes(error.code))) throw error
  }
}
