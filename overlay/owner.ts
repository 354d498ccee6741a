/** `count` ids from `stored` on are shown as those from `shown` on. */
export interface IdRange {
  readonly stored: number
  readonly shown: number
  readonly count: number
}

/** How an owner is shown: one id for everything, or by ranges. Plain data. */
export type IdRule = number | readonly IdRange[]

/** Shown for an id outside of all ranges, as the kernel does (Documentation/admin-guide/sysctl/fs.rst, overflowuid). */
export const OVERFLOW_ID = 65_534

/** The id to show for a stored one. Where ranges overlap, the first counts. */
export function shownId(rule: IdRule | undefined, id: number): number {
  if (rule === undefined) return id
  if (typeof rule === 'number') return rule
  const range = rule.find(({ stored, count }) => id >= stored && id < stored + count)
  return range === undefined ? OVERFLOW_ID : range.shown + (id - range.stored)
}
