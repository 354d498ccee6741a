import { takesChanges, type UpperSpec } from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import type { MountStatus } from './control-protocol.ts'

/** What `status` tells of an upper directory. */
export function upperStatus(
  { changes }: MountRequest,
  upper: UpperSpec | undefined,
): Pick<MountStatus, 'writable' | 'upper'> {
  if (upper === undefined) return { writable: false }
  const { label, work, policy } = upper
  const isWritable = takesChanges(upper)
  return {
    writable: isWritable,
    upper: {
      path: label,
      ...(work === undefined ? {} : { work: work.label }),
      temporary: changes?.kind === 'temporary',
      policy,
    },
  }
}
