import { type IdRule, OVERFLOW_ID } from '../../src/base/index.ts'

export { type IdRange, type IdRule, mappedId, OVERFLOW_ID, shownId } from '../../src/base/index.ts'

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
