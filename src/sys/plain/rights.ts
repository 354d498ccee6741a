import { readFileSync } from 'node:fs'
import { procPath } from './proc.ts'

/** Bit of CAP_SYS_ADMIN in the capability sets (include/uapi/linux/capability.h). */
const CAP_SYS_ADMIN = 21n

/** User whose rights this process has. */
export function effectiveUid(): number {
  return process.geteuid?.() ?? 0
}

/** Group whose rights this process has. */
export function effectiveGid(): number {
  return process.getegid?.() ?? 0
}

/**
 * True where CAP_SYS_ADMIN is effective, so that mount(2) is worth a try. The kernel checks it in the user namespace
 * that owns the mount namespace, which this function cannot see, so mount(2) may still fail with EPERM.
 */
export function hasSysAdmin(): boolean {
  try {
    const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(procPath('self/status'), 'latin1'))?.[1]
    return digits !== undefined && ((BigInt(`0x${digits}`) >> CAP_SYS_ADMIN) & 1n) === 1n
  } catch {
    return effectiveUid() === 0
  }
}

/** The AppArmor profile of this process; undefined where it has none. */
export function apparmorProfile(): string | undefined {
  for (const path of ['self/attr/apparmor/current', 'self/attr/current'].map(procPath)) {
    try {
      const text = readFileSync(path, 'latin1').replaceAll('\0', '').trim()
      const name = / \((?:enforce|complain|kill|unconfined|prompt)\)$/.exec(text)
      return name === null ? undefined : text.slice(0, name.index)
    } catch {
      // The kernel has no AppArmor, or is an older one, which has only the second path.
    }
  }
  return undefined
}

/** Whether SELinux is in the kernel and was not switched off when it started (security/selinux/selinuxfs.c). */
export function hasSelinux(): boolean {
  try {
    return /\bselinuxfs$/m.test(readFileSync(procPath('filesystems'), 'latin1'))
  } catch {
    return false
  }
}
