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

/** The id that a stored one is shown as; undefined outside of all ranges. Where ranges overlap, the first counts. */
export function mappedId(rule: IdRule | undefined, id: number): number | undefined {
  if (rule === undefined) return id
  if (typeof rule === 'number') return rule
  const range = rule.find(({ stored, count }) => id >= stored && id < stored + count)
  return range === undefined ? undefined : range.shown + (id - range.stored)
}

/** The id to show for a stored one, for owners, which must have one. */
export function shownId(rule: IdRule | undefined, id: number): number {
  return mappedId(rule, id) ?? OVERFLOW_ID
}

/**
 * The id to store for one that the user names, the reverse of `mappedId`; if one id is shown for everything, the
 * named id is stored unchanged.
 */
export function unmappedId(rule: IdRule | undefined, id: number): number | undefined {
  if (rule === undefined || typeof rule === 'number') return id
  const range = rule.find(({ shown, count }) => id >= shown && id < shown + count)
  return range === undefined ? undefined : range.stored + (id - range.shown)
}

/**
 * The owner to store. An id outside of all ranges is stored as the overflow id, as fuse-overlayfs does: engines make mount
 * points as a root that the container does not know.
 */
function storedId(rule: IdRule | undefined, id: number): number {
  return unmappedId(rule, id) ?? OVERFLOW_ID
}

/** How owners are shown, wherever they are stored. */
export interface OwnerRule {
  readonly uid: IdRule | undefined
  readonly gid: IdRule | undefined
}

/** What is given of the two. */
interface Ids {
  readonly uid?: number
  readonly gid?: number
}

/** The same with ids as they are stored in the upper. */
export function withStoredIds<T extends Ids>(rule: OwnerRule, ids: T): T {
  if (rule.uid === undefined && rule.gid === undefined) return ids
  const { uid, gid } = ids
  return {
    ...ids,
    ...(uid === undefined ? {} : { uid: storedId(rule.uid, uid) }),
    ...(gid === undefined ? {} : { gid: storedId(rule.gid, gid) }),
  }
}
