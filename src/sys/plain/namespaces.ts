import { readFileSync, readlinkSync } from 'node:fs'
import { procPath } from './proc.ts'

/** Inode of the user namespace the machine booted with (include/linux/proc_ns.h:PROC_USER_INIT_INO). */
const INITIAL_USER_NAMESPACE = 0xeffffffd

/** Bit of CAP_SYS_ADMIN in the capability sets (include/uapi/linux/capability.h). */
const CAP_SYS_ADMIN = 21n

type NamespaceKind = 'mnt' | 'pid' | 'user'

/** Number of a namespace of this process; undefined where /proc does not tell. */
export function namespaceNumber(kind: NamespaceKind): number | undefined {
  try {
    const digits = /\[(\d+)\]$/.exec(readlinkSync(procPath(`self/ns/${kind}`)))?.[1]
    return digits === undefined ? undefined : Number(digits)
  } catch {
    return undefined
  }
}

/**
 * True in the first user namespace. The id map is no sign of it: a user namespace may map all ids to
 * themselves and has the same `uid_map` text.
 */
export function isInitialUserNamespace(): boolean {
  return namespaceNumber('user') === INITIAL_USER_NAMESPACE
}

/** Root of the machine, as opposed to root of a user namespace. */
export function isHostRoot(): boolean {
  return effectiveUid() === 0 && isInitialUserNamespace()
}

export function effectiveUid(): number {
  return process.geteuid?.() ?? 0
}

/**
 * A user id as the user namespace around this one knows it (user_namespaces(7)): user 0 of one namespace is another user
 * than that of the next. An id that means nobody here stays as it is.
 */
export function outerUid(uid = effectiveUid()): number {
  try {
    for (const line of readFileSync(procPath('self/uid_map'), 'latin1').split('\n')) {
      const [inside = 0, outside = 0, count = 0] = line.trim().split(/\s+/).map(Number)
      if (uid >= inside && uid < inside + count) return outside + uid - inside
    }
  } catch {
    // Without /proc there is no other name for it.
  }
  return uid
}

export function effectiveGid(): number {
  return process.getegid?.() ?? 0
}

/**
 * Whether mount(2) is worth trying: CAP_SYS_ADMIN is effective. The kernel asks for it in the user namespace
 * that owns the mount namespace, which this cannot see, so mount(2) may still answer EPERM.
 */
export function hasSysAdmin(): boolean {
  try {
    const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(procPath('self/status'), 'latin1'))?.[1]
    return digits !== undefined && ((BigInt(`0x${digits}`) >> CAP_SYS_ADMIN) & 1n) === 1n
  } catch {
    return effectiveUid() === 0
  }
}

/** The AppArmor profile in force for this process; undefined where there is none. */
export function apparmorProfile(): string | undefined {
  for (const path of ['self/attr/apparmor/current', 'self/attr/current'].map(procPath)) {
    try {
      const text = readFileSync(path, 'latin1').replaceAll('\0', '').trim()
      const name = / \((?:enforce|complain|kill|unconfined|prompt)\)$/.exec(text)
      return name === null ? undefined : text.slice(0, name.index)
    } catch {
      // No AppArmor in this kernel, or an older one, which has the second path only.
    }
  }
  return undefined
}
