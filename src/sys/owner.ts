import { effectiveUid, isInitialUserNamespace } from './namespaces.ts'

/** Owner of what belongs to nobody in a user namespace: there it stands for root of the machine (user_namespaces(7)). */
const OVERFLOW_UID = 65_534

/** Whether what this user has made may be believed: it is ours, or of root, who can do everything anyway. */
export function isTrustedOwner(uid: number): boolean {
  return uid === 0 || uid === effectiveUid() || (uid === OVERFLOW_UID && !isInitialUserNamespace())
}
