declare const sort: unique symbol

/**
 * A number that names one sort of things, such as nodes of the protocol. The compiler refuses one sort where another is
 * wanted. It takes a plain number as any sort, so numbers read from an image or a request need no cast. At run time it is
 * a number.
 */
export type Id<Sort extends string> = number & { readonly [sort]?: Sort }

/**
 * Names a node in the kernel protocol. A safe integer; `ROOT_NODE_ID` is the root. In read-only mounts it is
 * derived from layer and inode reference, so that a restarted server gives the same ids.
 */
export type NodeId = Id<'node of the protocol'>

/**
 * Identifies an inode within its layer: a safe integer, 0 ≤ ref < `refSpan` of the layer, the same at every
 * mount. For squashfs it is the inode reference; two hard links have the same ref.
 */
export type Ref = Id<'inode of a layer'>

/** What stat(2) shows as `st_ino`. Below 2^53. */
export type InodeNumber = Id<'inode number'>

/** Where a listing goes on: given to the kernel with each entry. Below 2^31, so that programs of 32 bits can hold it. */
export type Cookie = Id<'place in a listing'>

/** Index of an image among the sources of a mount; the molecule chooses it when it opens the layers. */
export type SourceId = Id<'source of a mount'>

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
