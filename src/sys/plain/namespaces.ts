import { readFileSync, readlinkSync } from 'node:fs'
import { procPath } from './proc.ts'
import { effectiveUid } from './rights.ts'

/** Inode of the initial user namespace (include/linux/proc_ns.h:PROC_USER_INIT_INO). */
const INITIAL_USER_NAMESPACE = 0xeffffffd

type NamespaceKind = 'mnt' | 'pid' | 'user'

/** Number of a namespace of this process, or of another one; undefined where it cannot be read. */
export function namespaceNumber(kind: NamespaceKind, pid = 'self'): number | undefined {
  try {
    const digits = /\[(\d+)\]$/.exec(readlinkSync(procPath(`${pid}/ns/${kind}`)))?.[1]
    return digits === undefined ? undefined : Number(digits)
  } catch {
    return undefined
  }
}

/**
 * True in the initial user namespace. The id map does not show it: another user namespace may map all ids to
 * themselves, and then has the same `uid_map` text.
 */
export function isInitialUserNamespace(): boolean {
  return namespaceNumber('user') === INITIAL_USER_NAMESPACE
}

/** True for root of the machine, false for root of another user namespace. */
export function isHostRoot(): boolean {
  return effectiveUid() === 0 && isInitialUserNamespace()
}

/**
 * A user id as the parent user namespace knows it (user_namespaces(7)): user 0 of one namespace is not user 0 of
 * another. An id without a mapping stays as it is.
 */
export function outerUid(uid = effectiveUid()): number {
  try {
    for (const line of readFileSync(procPath('self/uid_map'), 'latin1').split('\n')) {
      const [inside = 0, outside = 0, count = 0] = line.trim().split(/\s+/).map(Number)
      if (uid >= inside && uid < inside + count) return outside + uid - inside
    }
  } catch {
    // Without /proc the mapping is not known.
  }
  return uid
}
