import type { VerityFailure } from '../base/index.ts'

export type { VerityCounters, VerityFailure } from '../base/index.ts'

/** One line: what is damaged, where, and both hashes. */
export function describeFailure(failure: VerityFailure): string {
  const { label, level, block, position, expected, actual } = failure
  const what = level === undefined ? `data block ${block}` : `hash block ${block} of level ${level}`
  return `layer ${label}: ${what} at byte ${position}: expected ${expected} got ${actual}`
}
