import { closeSync, constants } from 'node:fs'
import {
  ignoring,
  isDirectory,
  isRegular,
  NAME_MAX,
  type Name,
  S_IFCHR,
  S_IFMT,
  type Stat,
} from '../../../src/base/index.ts'
import { mknodAt, O_PATH, openAt, RENAME_EXCHANGE, renameAt, unlinkAt } from '../../../src/sys/files/at.ts'
import { statAt } from '../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import type { UpperPolicy, WhiteoutForm } from '../../stored/policy.ts'
import { MARK_PREFIX, OPAQUE_MARK, type Opacity, opacityAmong } from '../../stored/whiteout.ts'
import type { WorkDirectory } from './work-directory.ts'

/** Mode of `.wh.` files, the same as with fuse-overlayfs. */
const MARK_MODE = 0o700
/** `y`, the value that overlayfs writes. */
const OPAQUE = Uint8Array.of(0x79)
/** `x`: empty files in the directory may be whiteouts. */
const HAS_WHITEOUTS = Uint8Array.of(0x78)
const { O_CREAT, O_EXCL, O_WRONLY } = constants

/** The form in which an upper deletes a name. A long name has no room for the prefix `.wh.`. */
export function whiteoutForm(name: Name, { whiteouts, xattrs }: UpperPolicy): WhiteoutForm {
  const hasRoom = whiteouts !== 'wh' || MARK_PREFIX.length + name.length <= NAME_MAX
  return hasRoom || !xattrs ? whiteouts : 'attribute'
}

/**
 * Deletes a name: removes what the upper has, and hides what the layers have with a whiteout. Other processes see one
 * step, also after a crash. A directory is removed with its content, which must be only whiteouts.
 * @returns the form of the whiteout
 * @throws FsError ENOSPC, EDQUOT, EROFS; ENAMETOOLONG where the upper has no form with room for the name
 */
export function whiteout(dir: number, name: Name, work: WorkDirectory, policy: UpperPolicy): WhiteoutForm {
  const form = whiteoutForm(name, policy)
  if (form === 'wh') markDeleted(dir, name, work)
  else if (form === 'attribute') {
    // The directory first: without its attribute the file would be shown as a file.
    if (upperOpacity(dir, false) === 'none') setAttribute(dir, 'opaque', HAS_WHITEOUTS, policy)
    replace(dir, name, work, (temporary) => makeWhiteoutFile(work.fd, temporary, policy))
  } else if (!ignoring(['EEXIST'], () => mknodAt(dir, name, S_IFCHR, 0))) {
    replace(dir, name, work, (temporary) => mknodAt(work.fd, temporary, S_IFCHR, 0))
  }
  return form
}

/** fs/overlayfs/util.c:ovl_path_check_xwhiteout_xattr */
function makeWhiteoutFile(dir: number, name: Name, policy: UpperPolicy): void {
  const fd = openAt(dir, name, O_CREAT | O_EXCL | O_WRONLY, MARK_MODE)
  try {
    setAttribute(fd, 'whiteout', OPAQUE, policy)
  } finally {
    closeSync(fd)
  }
}

function replace(dir: number, name: Name, work: WorkDirectory, make: (temporary: Name) => void): void {
  const temporary = work.temporaryName()
  try {
    make(temporary)
    if (isDirectoryAt(dir, name)) exchange(dir, name, work, temporary)
    else renameAt(work.fd, temporary, dir, name, 0)
  } finally {
    // Nothing, the whiteout after an error, or the directory that it was exchanged with.
    work.discard(temporary)
  }
}

function exchange(dir: number, name: Name, work: WorkDirectory, temporary: Name): void {
  if (ignoring(['EINVAL'], () => renameAt(work.fd, temporary, dir, name, RENAME_EXCHANGE))) return
  // The file system cannot exchange: for a moment the name shows what the layers have.
  moveAway(dir, name, work)
  renameAt(work.fd, temporary, dir, name, 0)
}

function moveAway(dir: number, name: Name, work: WorkDirectory): void {
  const temporary = work.temporaryName()
  renameAt(dir, name, work.fd, temporary, 0)
  work.discard(temporary)
}

/** The mark comes first. It only hides what the layers have, so they never show in between. */
function markDeleted(dir: number, name: Name, work: WorkDirectory): void {
  makeMark(dir, MARK_PREFIX + name)
  const present = statAt(dir, name)
  if (present === undefined) return
  if (isDirectory(present.mode)) moveAway(dir, name, work)
  else unlinkAt(dir, name)
}

function isDirectoryAt(dir: number, name: Name): boolean {
  const stat = statAt(dir, name)
  return stat !== undefined && isDirectory(stat.mode)
}

/** Makes a file `.wh.NAME`. It only hides what the layers have. */
export function makeMark(dir: number, mark: Name): void {
  ignoring(['EEXIST'], () => closeSync(openAt(dir, mark, O_CREAT | O_EXCL | O_WRONLY, MARK_MODE)))
}

/**
 * Removes both forms of a whiteout, for a new object that has the name or will have it. The caller makes sure that
 * nothing of the layers shows: the new object is in place, and opaque where it is a directory.
 */
export function removeWhiteout(dir: number, name: Name): void {
  const present = statAt(dir, name)
  if (present !== undefined && isDeviceWhiteout(present)) unlinkAt(dir, name)
  if (isMarkedDeleted(dir, name)) unlinkAt(dir, MARK_PREFIX + name)
}

/** The form that overlayfs writes: character device 0:0. */
export function isDeviceWhiteout(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFCHR && stat.rdev === 0
}

/**
 * True where the entry of a directory is a whiteout with the name that it deletes: device 0:0, or an empty file with an
 * attribute where the directory says that it may have some (fs/overlayfs/util.c:ovl_path_is_whiteout).
 * @param opacity of the directory; called only where it matters
 */
export function isUpperWhiteout(dir: number, name: Name, stat: Stat, opacity: () => Opacity): boolean {
  if (isDeviceWhiteout(stat)) return true
  if (!isRegular(stat.mode) || stat.size !== 0 || opacity() !== 'x') return false
  return isWhiteoutFile(dir, name)
}

function isWhiteoutFile(dir: number, name: Name): boolean {
  return withDescriptor(dir, name, (fd) => {
    const present = listxattrFd(fd)
    return present.includes('trusted.overlay.whiteout') || present.includes('user.overlay.whiteout')
  })
}

/** True where a file `.wh.NAME` of any type exists (fuse-overlayfs: get_whiteout_name). */
export function isMarkedDeleted(dir: number, name: Name): boolean {
  const mark = MARK_PREFIX + name
  // Names with `.wh..wh.` belong to AUFS and delete nothing.
  if (mark.length > NAME_MAX || name.startsWith(MARK_PREFIX)) return false
  return statAt(dir, mark) !== undefined
}

/**
 * Hides everything that the layers have in a directory.
 * @param fd of the directory, may be O_PATH.
 * @throws FsError ENOSPC, EDQUOT
 */
export function setOpaque(fd: number, policy: UpperPolicy): void {
  if (policy.xattrs) setAttribute(fd, 'opaque', OPAQUE, policy)
  else makeMark(fd, OPAQUE_MARK)
}

function setAttribute(fd: number, name: 'opaque' | 'whiteout', value: Uint8Array, policy: UpperPolicy): void {
  setxattrFd(fd, `${policy.markers}.overlay.${name}`, value, 'either')
}

/**
 * The opacity that the attributes and marks of an upper directory give, in all forms.
 * @param fd may be O_PATH
 * @param marks names that begin with `.wh.` are marks
 */
export function upperOpacity(fd: number, marks: boolean): Opacity {
  const opacity = opacityAmong(listxattrFd(fd), (name) => getxattrFd(fd, name))
  if (opacity === 'y' || !marks) return opacity
  const mark = statAt(fd, OPAQUE_MARK)
  return mark !== undefined && !isDeviceWhiteout(mark) ? 'y' : opacity
}

/** True where nothing that the layers have in a directory shows. */
export function isOpaque(fd: number): boolean {
  return upperOpacity(fd, true) === 'y'
}

function withDescriptor<T>(dir: number, name: Name, use: (fd: number) => T): T {
  const fd = openAt(dir, name, O_PATH)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}
