import type { Name } from '../../../src/base/index.ts'
import type { Numbered } from '../../merge/originals.ts'
import type { LayerEntry } from '../../stored/layer-flags.ts'
import { LISTED_NAMES } from '../../stored/listed-names.ts'
import type { Shown, UpperNames } from './name-cookies.ts'
import type { DirectoryNode } from './nodes.ts'

/** A name that the layers have. */
export interface LowerName {
  readonly name: Name
  /** Index of the layer that shows it. */
  readonly layer: number
  readonly entry: LayerEntry
  /** Inode number as shown. */
  readonly ino: number
  /** See `Found.original`. */
  readonly original?: Numbered | undefined
}

/** The names of a directory, except those that changed since (`DirectoryNode.changed`). */
export interface Listing {
  /** In the order of the layers, which never changes. */
  readonly lower: readonly LowerName[]
  /** The names in `lower`. */
  readonly below: ReadonlySet<Name>
  /**
   * Those of `below` that the upper covers: the object that covers the name, or undefined where the upper deletes it.
   */
  readonly covers: Map<Name, Shown | undefined>
  readonly upper: UpperNames
}

/**
 * Listings that are kept up to date. The number of names is bounded; the listing that was not used for longest is
 * dropped first.
 */
export class KeptListings {
  readonly #kept = new Map<DirectoryNode, { readonly listing: Listing; readonly cost: number }>()
  #cost = 0

  get(node: DirectoryNode): Listing | undefined {
    const kept = this.#kept.get(node)
    if (kept === undefined) return undefined
    this.#kept.delete(node)
    this.#kept.set(node, kept)
    return kept.listing
  }

  /** Keeps a listing that is complete at this moment. */
  set(node: DirectoryNode, listing: Listing): void {
    this.drop(node)
    const cost = listing.lower.length + listing.upper.length + 1
    this.#kept.set(node, { listing, cost })
    this.#cost += cost
    node.changed = new Set()
    for (const oldest of this.#kept.keys()) {
      if (this.#cost <= LISTED_NAMES || oldest === node) break
      this.drop(oldest)
    }
  }

  drop(node: DirectoryNode): void {
    const kept = this.#kept.get(node)
    if (kept === undefined) return
    this.#kept.delete(node)
    this.#cost -= kept.cost
    node.changed = undefined
  }
}
