import type { Stats } from 'node:fs'
import { isInitialUserNamespace, outerUid } from './namespaces.ts'
import { effectiveUid } from './rights.ts'

/** Shown as owner of files whose owner has no id in the user namespace: root of the machine, too (user_namespaces(7)). */
const OVERFLOW_UID = 65_534

const GROUP_WRITE = 0o020
const OTHERS_WRITE = 0o002
const STICKY = 0o1000

/** Whether what this user has made may be believed: it is ours, or of root, who can do everything anyway. */
export function isTrustedOwner(uid: number): boolean {
  return uid === 0 || uid === effectiveUid() || (!isInitialUserNamespace() && isOuterRoot(uid))
}

/** Within a user namespace: root of the one around it can have a number here (lxc-create makes it 65536), or has none. */
function isOuterRoot(uid: number): boolean {
  return uid === OVERFLOW_UID || outerUid(uid) === 0
}

/** Whether a folder belongs to this user and other users cannot change what lies in it. */
export function isOwnAndClosed({ uid, mode }: Pick<Stats, 'uid' | 'mode'>): boolean {
  return uid === effectiveUid() && (mode & (GROUP_WRITE | OTHERS_WRITE)) === 0
}

/**
 * Whether a stranger can put something else in the place of what we find in a folder. In a sticky one only the owner
 * can replace what is there (unlink(2), EPERM). Groups are not strangers: who shares a folder with one means it.
 */
export function isOpenToStrangers({ uid, mode }: Pick<Stats, 'uid' | 'mode'>): boolean {
  return !isTrustedOwner(uid) || ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0)
}

/**
 * Whether the kernel would follow a symbolic link in this folder where it protects sticky folders
 * (fs/namei.c:may_follow_link). Code that follows links by hand has to ask the same.
 */
export function mayFollow(folder: Pick<Stats, 'uid' | 'mode'>, link: Pick<Stats, 'uid'>): boolean {
  const isShared = (folder.mode & STICKY) !== 0 && (folder.mode & OTHERS_WRITE) !== 0
  return !isShared || link.uid === folder.uid || isTrustedOwner(link.uid)
}
