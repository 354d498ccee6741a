import type { Stats } from 'node:fs'
import { isInitialUserNamespace, outerUid } from './namespaces.ts'
import { effectiveUid } from './rights.ts'

/** Owner of files whose owner has no id in the user namespace, root of the machine among them (user_namespaces(7)). */
const OVERFLOW_UID = 65_534

const GROUP_WRITE = 0o020
const OTHERS_WRITE = 0o002
const STICKY = 0o1000

/** True for this user and for root, which could change everything in any case. */
export function isTrustedOwner(uid: number): boolean {
  return uid === 0 || uid === effectiveUid() || (!isInitialUserNamespace() && isOuterRoot(uid))
}

/** True for root of the parent user namespace: it may have a number here (lxc-create makes it 65536), or none. */
function isOuterRoot(uid: number): boolean {
  return uid === OVERFLOW_UID || outerUid(uid) === 0
}

/** True for a folder of this user whose content other users cannot change. */
export function isOwnAndClosed({ uid, mode }: Pick<Stats, 'uid' | 'mode'>): boolean {
  return uid === effectiveUid() && (mode & (GROUP_WRITE | OTHERS_WRITE)) === 0
}

/**
 * True for a folder in which another user could replace what this program finds. In a sticky folder only the owner can
 * replace a file (unlink(2), EPERM). Members of the group are trusted: the owner shares the folder with them on
 * purpose.
 */
export function isOpenToStrangers({ uid, mode }: Pick<Stats, 'uid' | 'mode'>): boolean {
  return !isTrustedOwner(uid) || ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0)
}

/**
 * True where the kernel, with protected sticky folders, would follow a symbolic link in this folder
 * (fs/namei.c:may_follow_link). Code that follows links by hand has to make the same check.
 */
export function mayFollow(folder: Pick<Stats, 'uid' | 'mode'>, link: Pick<Stats, 'uid'>): boolean {
  const isShared = (folder.mode & STICKY) !== 0 && (folder.mode & OTHERS_WRITE) !== 0
  return !isShared || link.uid === folder.uid || isTrustedOwner(link.uid)
}
