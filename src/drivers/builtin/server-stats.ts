import { operationName } from '../../fuse/index.ts'
import type { ServerStats } from '../driver.ts'

/** @param opcodes how many requests there were of each opcode */
export function operationsOf(opcodes: ReadonlyMap<number, number>): ServerStats['operations'] {
  const sums: Record<string, number> = {}
  for (const [opcode, count] of opcodes) {
    const name = operationName(opcode)
    sums[name] = (sums[name] ?? 0) + count
  }
  return sums
}

/** @param ages of READs that wait, milliseconds */
export function pendingOf(ages: readonly number[]): ServerStats['pending'] {
  return { reads: ages.length, oldestMs: Math.max(0, ...ages) }
}
