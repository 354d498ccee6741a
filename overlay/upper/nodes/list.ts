import {
  type DirectorySink,
  DT_DIR,
  type Entry,
  FsError,
  type Name,
  unlessFailed,
} from '../../../src/base/index.ts'
import { listEntries } from '../../../src/sys/files/directory-entries.ts'
import type { HostInode, HostStat } from '../../../src/sys/files/statx.ts'
import { type Found, numberOf } from '../../merge/directory.ts'
import { COOKIE_PARENT, listDots, listMerged, listSingle } from '../../merge/listing.ts'
import { ParkedCursors } from '../../merge/parked-cursors.ts'
import type { LayerEntry } from '../../stored/layer-flags.ts'
import { MARK_PREFIX } from '../../stored/whiteout.ts'
import { KeptListings, type Listing, type LowerName } from './kept-listings.ts'
import { FIRST_UPPER, randomHash, type Shown, UpperNames } from './name-cookies.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from './nodes.ts'
import { toldStat } from './present.ts'
import type { Looked, Resolver } from './resolve.ts'
import type { Upper } from './upper.ts'

/**
 * Cookie of the first name of the layers. They are numbered in their order, which never changes; there are fewer than
 * 2^30.
 */
const FIRST_LOWER = COOKIE_PARENT + 1

/** A name in the upper, and its inode number as the directory gives it; 0 where it gives none. */
interface HostName {
  readonly name: Name
  readonly ino: number
}

/**
 * Lists directories. A cookie gives the place to continue without any state: the index of a name of the layers, or the
 * hash of a name that only the upper has. So a name that stays is listed once, whatever changes are made meanwhile. All
 * cookies are below 2^31.
 */
export class Lister {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #kept = new KeptListings()
  readonly #hash = randomHash()
  /** Cookies that are not the hash of their name. Kept as long as the kernel knows the directory. */
  readonly #displaced = new Map<DirectoryNode, Map<Name, number>>()

  constructor(upper: Upper, resolver: Resolver) {
    this.#upper = upper
    this.#resolver = resolver
  }

  forget(node: Node): void {
    if (!isDirectoryNode(node)) return
    this.#kept.drop(node)
    this.#displaced.delete(node)
  }

  /** As `FileSystem.readdir`. */
  read(node: DirectoryNode, cookie: number, sink: DirectorySink): void {
    if (!listDots(sink, cookie, node.ino, () => (node.place?.parent ?? node).ino)) return
    if (node.dead) return
    const listing = this.#listing(node, cookie <= COOKIE_PARENT)
    if (cookie < FIRST_UPPER) {
      const first = Math.max(cookie - FIRST_LOWER + 1, 0)
      for (let i = first; i < listing.lower.length; i++) {
        const one = listing.lower[i]
        if (one !== undefined && !this.#giveLower(node, listing, one, FIRST_LOWER + i, sink)) return
      }
    }
    for (const { name, cookie: own, ino, type, upperIno } of listing.upper.after(cookie)) {
      // Look the name up again where it changed since the listing began, or where the kernel still needs its
      // attributes.
      const isKnown =
        node.changed?.has(name) === false && (!sink.plus || this.#isToldAs(node, name, upperIno))
      const taken = isKnown ? sink.add(name, ino, type, own, undefined) : this.#give(node, name, own, sink)
      if (!taken) return
    }
  }

  /** True where a directory shows no name, so that it may be removed. @throws FsError EIO */
  isEmpty(node: DirectoryNode): boolean {
    const { files, marks } = this.#upper
    const inUpper = new Set<Name>()
    if (node.inUpper && !node.dead) {
      for (const { name } of listEntries(files.directory(node))) {
        if (name.startsWith(MARK_PREFIX)) {
          if (marks) inUpper.add(name.slice(MARK_PREFIX.length))
          continue
        }
        inUpper.add(name)
        const entry = this.#resolver.upperEntry(node, name)
        if (entry !== undefined && entry !== 'whiteout') return false
      }
    }
    let empty = true
    this.#eachLower(node, ({ name }) => {
      if (inUpper.has(name)) return true
      empty = false
      return false
    })
    return empty
  }

  /** Gives a name that the layers have. What it shows is known while the name is unchanged. */
  #giveLower(
    node: DirectoryNode,
    listing: Listing,
    one: LowerName,
    cookie: number,
    sink: DirectorySink,
  ): boolean {
    if (node.changed?.has(one.name) !== false) return this.#give(node, one.name, cookie, sink)
    if (listing.covers.has(one.name)) {
      const cover = listing.covers.get(one.name)
      if (cover === undefined) return true
      const isKnown = !sink.plus || this.#isToldAs(node, one.name, cover.upperIno)
      if (!isKnown) return this.#give(node, one.name, cookie, sink)
      return sink.add(one.name, cover.ino, cover.type, cookie, undefined)
    }
    const { name, layer, entry, ino } = one
    const known = sink.plus ? this.#upper.table.below({ layer, ref: entry.ref }, node, name) : undefined
    const isKnown = known !== undefined && isTold(known)
    if (!sink.plus || isKnown) return sink.add(name, ino, entry.type, cookie, undefined)
    // A damaged child must not hide its neighbours: it is listed, and its lookup gives the error.
    const found = unlessFailed(() => this.#found(node, one))
    const child = found && unlessFailed(() => this.#resolver.lowerNode(node, name, found))
    return this.#offer(child, name, cookie, sink, { ino, type: entry.type })
  }

  #found(node: DirectoryNode, { name, layer, entry, original }: LowerName): Found | undefined {
    if (entry.type === DT_DIR) return this.#resolver.below(node, name)
    return { top: { layer, ref: entry.ref }, entry, merged: undefined, original }
  }

  #give(node: DirectoryNode, name: Name, cookie: number, sink: DirectorySink): boolean {
    let child: Looked | undefined
    try {
      child = this.#resolver.look(node, name)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      return sink.add(name, node.ino, 0, cookie, undefined)
    }
    // No node: the name was deleted, perhaps after the listing began.
    return child === undefined || this.#offer(child.node, name, cookie, sink, child.node, child.host)
  }

  /** Gives a name to the sink. Counts a lookup where the sink takes the name with its attributes. */
  #offer(
    child: Node | undefined,
    name: Name,
    cookie: number,
    sink: DirectorySink,
    { ino, type }: { readonly ino: number; readonly type: number },
    host?: HostStat,
  ): boolean {
    const { table } = this.#upper
    if (child === undefined) return sink.add(name, ino, type, cookie, undefined)
    // The kernel needs no attributes that it has already.
    const isWanted = sink.plus && !isTold(child)
    const entry = isWanted ? unlessFailed(() => this.#entry(child, host)) : undefined
    const taken = sink.add(name, ino, type, cookie, entry)
    if (taken && entry !== undefined) table.retain(child)
    else table.dropIfUnused(child)
    return taken
  }

  /** True where the kernel has the attributes of this name's node. @param ino inode number in the upper */
  #isToldAs(node: DirectoryNode, name: Name, ino: HostInode): boolean {
    const { table } = this.#upper
    const known = table.byUpper(ino)
    return known !== undefined && isTold(known) && table.hasPlace(known, node, name)
  }

  #entry(node: Node, host: HostStat | undefined): Entry {
    const stat = toldStat(this.#upper, node, host)
    return { nodeId: node.id, stat, generation: this.#upper.table.generation(node, stat) }
  }

  /** @param anew the listing begins, so it must show the present state */
  #listing(node: DirectoryNode, anew: boolean): Listing {
    const known = node.changed === undefined ? undefined : this.#kept.get(node)
    if (known === undefined) return this.#build(node)
    if (anew && node.changed !== undefined && node.changed.size > 0) {
      known.upper.change(
        this.#changes(
          node,
          known,
          [...node.changed].map((name) => ({ name, ino: 0 })),
        ),
      )
      this.#kept.set(node, known)
    }
    return known
  }

  #build(node: DirectoryNode): Listing {
    const lower: LowerName[] = []
    this.#eachLower(node, (one) => {
      lower.push(one)
      return true
    })
    const displaced = this.#displaced.get(node) ?? new Map<Name, number>()
    this.#displaced.set(node, displaced)
    const listing: Listing = {
      lower,
      below: new Set(lower.map(({ name }) => name)),
      covers: new Map(),
      upper: new UpperNames(this.#hash, displaced),
    }
    listing.upper.fill(this.#changes(node, listing, this.#upperNames(node)))
    this.#kept.set(node, listing)
    return listing
  }

  /** Names that the upper has or deletes, with the inode number in the upper, or 0. */
  #upperNames(node: DirectoryNode): Iterable<HostName> {
    const { files, marks } = this.#upper
    if (!node.inUpper) return []
    const names = new Map<Name, HostName>()
    for (const { name, ino } of listEntries(files.directory(node))) {
      if (!name.startsWith(MARK_PREFIX)) names.set(name, { name, ino })
      else if (marks) {
        const deleted = name.slice(MARK_PREFIX.length)
        if (!names.has(deleted)) names.set(deleted, { name: deleted, ino: 0 })
      }
    }
    return names.values()
  }

  /**
   * Updates `covers` for names of the layers.
   * @returns what the other names show
   */
  #changes(
    node: DirectoryNode,
    listing: Listing,
    names: Iterable<HostName>,
  ): ReadonlyMap<Name, Shown | undefined> {
    const changes = new Map<Name, Shown | undefined>()
    for (const one of names) {
      const shown = this.#shown(node, one)
      if (!listing.below.has(one.name)) changes.set(one.name, shown === 'below' ? undefined : shown)
      else if (shown === 'below') listing.covers.delete(one.name)
      else listing.covers.set(one.name, shown)
    }
    return changes
  }

  /** What the upper shows under a name: undefined where it deletes the name, `below` where the layers decide. */
  #shown(node: DirectoryNode, { name, ino }: HostName): Shown | undefined | 'below' {
    const { table } = this.#upper
    // Nodes that the kernel knows are up to date.
    const known = table.byUpper(ino)
    if (known !== undefined && table.hasPlace(known, node, name)) return shownAs(known)
    try {
      const entry = this.#resolver.upperEntry(node, name)
      if (entry === undefined) return 'below'
      if (entry === 'whiteout') return undefined
      const child = this.#resolver.upperNode(node, name, entry)
      table.dropIfUnused(child)
      return shownAs(child)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      return { ino: node.ino, type: 0, upperIno: 0 }
    }
  }

  /** All names that the layers show, in their order, until `take` returns false. */
  #eachLower(node: DirectoryNode, take: (one: LowerName) => boolean): void {
    const { lower } = node
    if (lower === undefined || node.dead) return
    const { stack, inodes } = this.#upper
    const add = (name: Name, top: number, shown: LayerEntry, found: Found | undefined) => {
      const ino = found === undefined ? inodes.ofLayer(top, shown.ino) : numberOf(stack, found)
      const layer = found?.top.layer ?? top
      return take({ name, layer, entry: found?.entry ?? shown, ino, original: found?.original })
    }
    if (lower.count === 1) listSingle(lower, COOKIE_PARENT, false, add)
    else listMerged(lower, COOKIE_PARENT, false, add, node.id, new ParkedCursors(0))
  }
}

function shownAs({ ino, type, upperIno }: Node): Shown {
  return { ino, type, upperIno }
}

/** True where the kernel has the attributes of a node, so that a listing need not give them. */
function isTold(node: Node): boolean {
  return node.told && node.nlookup > 0
}
