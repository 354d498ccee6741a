import { readFileSync } from 'node:fs'
import { isInitialUserNamespace } from '../../sys/plain/namespaces.ts'
import { procPath } from '../../sys/plain/proc.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'

/**
 * What becomes of owners. `real`: files get them. `override`: they are written down in an attribute, with modes and types,
 * as fuse-overlayfs and containers/storage read them. `none`: everything belongs to the caller, without setuid and setgid.
 */
export type Owners = 'real' | 'override' | 'none'

/** A container of one user has so many ids: what the tools that make subordinate ids give. */
const ENOUGH_IDS = 65_536

/** What the caller may do: real owners as root who has all ids, or those of a container; else none. */
export function possibleOwners(): Owners {
  if (effectiveUid() !== 0) return 'none'
  return isInitialUserNamespace() || mappedIds() >= ENOUGH_IDS ? 'real' : 'none'
}

/** How many user ids exist in this user namespace (user_namespaces(7)); 0 where that cannot be read. */
function mappedIds(): number {
  try {
    const lines = readFileSync(procPath('self/uid_map'), 'latin1').trim().split('\n')
    return lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2] ?? 0), 0)
  } catch {
    return 0
  }
}
