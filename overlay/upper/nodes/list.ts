import {
  type DirectorySink,
  DT_DIR,
  type Entry,
  FsError,
  type Name,
  unlessFailed,
} from '../../../src/base/index.ts'
import { listEntries } from '../../../src/sys/files/directory-entries.ts'
import type { HostInode } from '../../../src/sys/files/statx.ts'
import { type Found, numberOf } from '../../merge/directory.ts'
import { COOKIE_PARENT, listDots, listMerged, listSingle } from '../../merge/listing.ts'
import { ParkedCursors } from '../../merge/parked-cursors.ts'
import type { LayerEntry } from '../../stored/layer-flags.ts'
import { MARK_PREFIX } from '../../stored/whiteout.ts'
import { KeptListings, type Listing, type LowerName } from './kept-listings.ts'
import { FIRST_UPPER, randomHash, type Shown, UpperNames } from './name-cookies.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from './nodes.ts'
import { toldStat } from './present.ts'
import type { Resolver } from './resolve.ts'
import type { Upper } from './upper.ts'

/** Names that the layers have are numbered in their order, which never changes; there are fewer than 2^30. */
const FIRST_LOWER = COOKIE_PARENT + 1

/** A name in the upper, and its inode number there as the directory says it; 0 where it does not. */
interface HostName {
  readonly name: Name
  readonly ino: number
}

/**
 * Lists directories. A cookie says where to go on without any state here: the place of a name among those of the
 * layers, or the hash of a name that the upper alone has. So a name that stays is given once, whatever else comes and
 * goes meanwhile. All are below 2^31.
 */
export class Lister {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #kept = new KeptListings()
  readonly #hash = randomHash()
  /** Cookies that are not the hash of their name, for as long as the kernel knows the directory. */
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
      // To be told its attributes, or changed since the listing began: it is looked at anew.
      const isKnown =
        node.changed?.has(name) === false && (!sink.plus || this.#isToldAs(node, name, upperIno))
      const taken = isKnown ? sink.add(name, ino, type, own, undefined) : this.#give(node, name, own, sink)
      if (!taken) return
    }
  }

  /** Whether a directory shows no name, so that it may be removed. @throws FsError EIO */
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

  /** A name that the layers have: what it shows, while it is not changed, is known. */
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
    // Damage of one child must not hide its neighbours: it is listed, and looking it up tells why.
    const found = unlessFailed(() => this.#found(node, one))
    const child = found && unlessFailed(() => this.#resolver.lowerNode(node, name, found))
    return this.#offer(child, name, cookie, sink, { ino, type: entry.type })
  }

  #found(node: DirectoryNode, { name, layer, entry, original }: LowerName): Found | undefined {
    if (entry.type === DT_DIR) return this.#resolver.below(node, name)
    return { top: { layer, ref: entry.ref }, entry, merged: undefined, original }
  }

  #give(node: DirectoryNode, name: Name, cookie: number, sink: DirectorySink): boolean {
    let child: Node | undefined
    try {
      child = this.#resolver.find(node, name)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      return sink.add(name, node.ino, 0, cookie, undefined)
    }
    // Deleted, perhaps since it was listed.
    return child === undefined || this.#offer(child, name, cookie, sink, child)
  }

  /** Gives a name to the sink, and counts the lookup where it is taken with its attributes. */
  #offer(
    child: Node | undefined,
    name: Name,
    cookie: number,
    sink: DirectorySink,
    { ino, type }: { readonly ino: number; readonly type: number },
  ): boolean {
    const { table } = this.#upper
    if (child === undefined) return sink.add(name, ino, type, cookie, undefined)
    // What the kernel knows it need not be told.
    const isWanted = sink.plus && !isTold(child)
    const entry = isWanted ? unlessFailed(() => this.#entry(child)) : undefined
    const taken = sink.add(name, ino, type, cookie, entry)
    if (taken && entry !== undefined) table.retain(child)
    else table.dropIfUnused(child)
    return taken
  }

  /** @param ino in the upper */
  #isToldAs(node: DirectoryNode, name: Name, ino: HostInode): boolean {
    const { table } = this.#upper
    const known = table.byUpper(ino)
    return known !== undefined && isTold(known) && table.hasPlace(known, node, name)
  }

  #entry(node: Node): Entry {
    return { nodeId: node.id, stat: toldStat(this.#upper, node) }
  }

  /** @param anew the listing begins: it must show what is there now */
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

  /** Names of which the upper says something, and under which inode number if it has one. */
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
   * Notes what covers the names of the layers.
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

  /** What the upper shows under a name: nothing where it deletes it, `below` where it has nothing to say. */
  #shown(node: DirectoryNode, { name, ino }: HostName): Shown | undefined | 'below' {
    const { table } = this.#upper
    // What the kernel knows need not be looked at again.
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
    const add = (name: Name, layer: number, entry: LayerEntry, found: Found | undefined) => {
      const ino = found === undefined ? inodes.ofLayer(layer, entry.ino) : numberOf(stack, found)
      return take({ name, layer, entry, ino, original: found?.original })
    }
    if (lower.count === 1) listSingle(lower, COOKIE_PARENT, false, add)
    else listMerged(lower, COOKIE_PARENT, false, add, node.id, new ParkedCursors(0))
  }
}

function shownAs({ ino, type, upperIno }: Node): Shown {
  return { ino, type, upperIno }
}

/** Whether the kernel has its attributes, so that a listing need not bring them. */
function isTold(node: Node): boolean {
  return node.told && node.nlookup > 0
}
