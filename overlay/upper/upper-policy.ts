import { closeSync, constants } from 'node:fs'
import { type ErrnoCode, FsError, ignoring, isErrno, type Name, S_IFCHR } from '../../src/base/index.ts'
import { mknodAt, openAt, renameAt, unlinkAt } from '../../src/sys/files/at.ts'
import { listNames } from '../../src/sys/files/directory-entries.ts'
import { chownFd } from '../../src/sys/files/fd-attributes.ts'
import { statAt, statFd } from '../../src/sys/files/statx.ts'
import { getxattrFd, setxattrFd } from '../../src/sys/files/xattr.ts'
import {
  NAMES_FORM,
  OLD_RECORD,
  type RecordOwners,
  SECURITY_RECORD,
  type UpperPolicy,
  USER_RECORD,
  type WhiteoutForm,
  type WishedPolicy,
} from '../stored/policy.ts'
import { MARK_PREFIX } from '../stored/whiteout.ts'
import { makeMark } from './disk/markers.ts'
import type { WorkDirectory } from './disk/work-directory.ts'

/** An id that every mapping of a range contains, and to which a plain user cannot give a file. */
const OTHER_ID = 1

const { O_CREAT, O_EXCL, O_RDWR } = constants

/**
 * Tries in the work directory what the host allows, and leaves nothing behind.
 * @param upperFd root of the upper: an owner record on it means that the whole upper has owner records
 * @throws FsError EXDEV where upper and work directory are not on one file system; EROFS, ENOSPC; EOPNOTSUPP or EPERM
 *   where the host cannot do what was wished, or cannot keep owners in any way
 */
export function probeUpper(work: WorkDirectory, upperFd: number, wished: WishedPolicy = {}): UpperPolicy {
  assertSameFileSystem(work, upperFd)
  const name = work.temporaryName()
  const fd = openAt(work.fd, name, O_CREAT | O_EXCL | O_RDWR, 0o600)
  try {
    assertOneDevice(work, fd)
    const userXattrs = canSet(fd, 'user.overlay.probe')
    const markers = chooseMarkers(fd, userXattrs, wished.markers)
    const record =
      recordInUse(upperFd) ?? wishedRecord(wished.recordOwners) ?? neededRecord(fd, wished.recordOwners)
    if (record !== undefined && !canSet(fd, record)) {
      throw new FsError(
        record === SECURITY_RECORD ? 'EPERM' : 'EOPNOTSUPP',
        `upper directory: owners cannot be set here, nor written down in ${record}`,
      )
    }
    return {
      owners: record === undefined ? 'real' : 'override',
      ownerRecord: record ?? USER_RECORD,
      modes: wished.recordOwners === undefined ? 'real' : 'private',
      markers: markers ?? 'user',
      whiteouts: chooseWhiteouts(work, markers !== undefined, wished.avoidsDevices ?? false),
      xattrs: markers !== undefined,
      fsync: wished.fsync ?? 'auto',
    }
  } finally {
    closeSync(fd)
    unlinkAt(work.fd, name)
  }
}

/** The policy of an upper that is only read. It changes nothing there, so it tries nothing. */
export function readPolicy(upperFd: number): UpperPolicy {
  const record = recordInUse(upperFd)
  const trusted = getxattrFd(upperFd, `trusted.${NAMES_FORM}`) !== undefined
  return {
    owners: record === undefined ? 'real' : 'override',
    ownerRecord: record ?? USER_RECORD,
    modes: 'private',
    markers: trusted ? 'trusted' : 'user',
    whiteouts: 'device',
    // False for an empty upper, which has no marks: `hasMarks` would write its note there.
    xattrs: listNames(upperFd).length > 0,
    fsync: 'auto',
  }
}

/** Two mounts of one file system, or two subvolumes, are as bad as two file systems: rename(2) crosses neither. */
function assertSameFileSystem(work: WorkDirectory, upperFd: number): void {
  const text = 'upper and work directory must be in one file system and one mount of it'
  if (statFd(work.fd).dev !== statFd(upperFd).dev) throw new FsError('EXDEV', text)
  const name = work.temporaryName()
  try {
    // The kernel compares the mounts before it looks up the name, so a missing name is enough for a probe.
    renameAt(work.fd, name, upperFd, name, 0)
  } catch (error) {
    if (isErrno(error, 'EXDEV')) throw new FsError('EXDEV', text, { cause: error })
    if (!isErrno(error, 'ENOENT')) throw error
  }
}

/**
 * The kernel's overlayfs over several file systems gives each file the device of its layer, unless it has `xino=on`
 * (Documentation/filesystems/overlayfs.rst, "Inode properties"). Files then look like mounts (nodes/resolve.ts).
 */
function assertOneDevice(work: WorkDirectory, fd: number): void {
  if (statFd(fd).dev === statFd(work.fd).dev) return
  throw new FsError(
    'EXDEV',
    'upper directory: files there have another device than their directory, as in an overlay without xino=on: ' +
      'mount that overlay with xino=on, or give a place outside of it',
  )
}

function chooseMarkers(
  fd: number,
  userXattrs: boolean,
  wished: 'user' | 'trusted' | undefined,
): 'user' | 'trusted' | undefined {
  if (wished !== 'trusted' && userXattrs) return 'user'
  // Some file systems have only `trusted.` attributes (tmpfs before Linux 6.6).
  if (canSet(fd, 'trusted.overlay.probe')) return 'trusted'
  if (wished === 'trusted') {
    throw new FsError('EPERM', 'upper directory: trusted attributes are for root of the machine only')
  }
  return undefined
}

/** The attribute in which all owners of the upper are written down; its root has it as well. */
export function recordInUse(upperFd: number): Name | undefined {
  return [SECURITY_RECORD, USER_RECORD, OLD_RECORD].find((name) => getxattrFd(upperFd, name) !== undefined)
}

function wishedRecord(wished: RecordOwners | undefined): Name | undefined {
  return wished === 'security' ? SECURITY_RECORD : wished === 'user' ? USER_RECORD : undefined
}

function neededRecord(fd: number, wished: RecordOwners | undefined): Name | undefined {
  if (wished === 'never' || ignoring(IMPOSSIBLE, () => chownFd(fd, OTHER_ID, OTHER_ID))) return undefined
  return USER_RECORD
}

/**
 * True where an attribute can be set and then exists. fuse-overlayfs accepts the attributes of an overlay, but hides
 * them.
 */
function canSet(fd: number, name: Name): boolean {
  return (
    ignoring(IMPOSSIBLE, () => setxattrFd(fd, name, Uint8Array.of(0), 'either')) &&
    getxattrFd(fd, name) !== undefined
  )
}

/** The best form of whiteout that works here. @throws FsError EOPNOTSUPP where none does */
function chooseWhiteouts(work: WorkDirectory, xattrs: boolean, avoidsDevices: boolean): WhiteoutForm {
  const device = work.temporaryName()
  // EPERM: a cgroup, a user namespace of an old kernel, or a plain user. In an overlay the device deletes its own name.
  if (!avoidsDevices && canMake(work, device, () => mknodAt(work.fd, device, S_IFCHR, 0))) return 'device'
  const mark = `${MARK_PREFIX}${work.temporaryName()}`
  if (canMake(work, mark, () => makeMark(work.fd, mark))) return 'wh'
  if (xattrs) return 'attribute'
  throw new FsError(
    'EOPNOTSUPP',
    'upper directory: deletions cannot be kept here: neither devices 0:0, nor files .wh.NAME, nor attributes overlay.* can be made, as in a mount of fuse-overlayfs; use a directory of another file system, such as a volume or a tmpfs',
  )
}

/** True where `make` makes a file that then exists, and that is no device other than 0:0. */
function canMake(work: WorkDirectory, name: Name, make: () => void): boolean {
  const stat = ignoring(IMPOSSIBLE, make) ? statAt(work.fd, name) : undefined
  if (stat === undefined) return false
  unlinkAt(work.fd, name)
  return stat.rdev === 0
}

/**
 * Errors that mean "impossible here"; all others, such as a full disk, go to the caller. ENOENT: the new file is a
 * whiteout for the file system, and gone at once (fuse-overlayfs).
 */
const IMPOSSIBLE: readonly ErrnoCode[] = ['EPERM', 'EACCES', 'EINVAL', 'EOPNOTSUPP', 'EOVERFLOW', 'ENOENT']
