import { type DirectorySink, type Entry, FsError, LruCache, type Name } from '../../src/base/index.ts'
import { listEntries } from '../../src/sys/directory-entries.ts'
import type { Found } from '../directory.ts'
import type { LayerEntry } from '../layer.ts'
import { listMerged, listSingle } from '../listing.ts'
import { ParkedCursors } from '../parked-cursors.ts'
import { DT_DIR, MARK_PREFIX } from '../whiteout.ts'
import { type DirectoryNode, isDirectoryNode, type Node } from './nodes.ts'
import { shownStat } from './present.ts'
import type { Resolver } from './resolve.ts'
import type { Upper } from './upper.ts'

/** Names of listed directories kept, summed; the directory listed last is kept whatever its size. */
const LISTED_NAMES = 200_000

const COOKIE_SELF = 1
const COOKIE_PARENT = 2
/** Names that the layers have are numbered in their order, which never changes. */
const FIRST_LOWER = 3
/** Names that only the upper has follow in the order of a hash. */
const FIRST_UPPER = 2 ** 51

interface LowerName {
  readonly name: Name
  /** Index of the layer that shows it. */
  readonly layer: number
  readonly entry: LayerEntry
}

interface UpperName {
  readonly name: Name
  readonly cookie: number
}

/** The names of a directory at one moment. A listing that has begun goes on with it, and checks each name anew. */
interface Listing {
  /** Of the directory, when it was listed. */
  readonly version: number
  readonly lower: readonly LowerName[]
  /** By growing cookie. */
  readonly upper: readonly UpperName[]
  /** All names in the upper, whiteouts too. */
  readonly inUpper: ReadonlySet<Name>
}

/**
 * Lists directories. A cookie says where to go on without any state here: the place of a name among those of the
 * layers, or the hash of a name that the upper alone has. So a name that stays is given once, whatever else comes and
 * goes meanwhile.
 */
export class Lister {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #listings = new LruCache<DirectoryNode, Listing>(LISTED_NAMES)
  #last: { readonly node: DirectoryNode; readonly listing: Listing } | undefined
  /** Differs from mount to mount, so that nobody can make names that collide. */
  readonly #seed = (Math.random() * 2 ** 32) >>> 0

  constructor(upper: Upper, resolver: Resolver) {
    this.#upper = upper
    this.#resolver = resolver
  }

  forget(node: Node): void {
    if (!isDirectoryNode(node)) return
    this.#listings.delete(node)
    if (this.#last?.node === node) this.#last = undefined
  }

  /** As `FileSystem.readdir`. */
  read(node: DirectoryNode, cookie: number, sink: DirectorySink): void {
    if (cookie < COOKIE_SELF && !sink.add('.', node.ino, DT_DIR, COOKIE_SELF, undefined)) return
    const parent = node.place?.parent ?? node
    if (cookie < COOKIE_PARENT && !sink.add('..', parent.ino, DT_DIR, COOKIE_PARENT, undefined)) return
    if (node.dead) return
    const listing = this.#listing(node, cookie <= COOKIE_PARENT)
    if (cookie < FIRST_UPPER) {
      const first = Math.max(cookie - FIRST_LOWER + 1, 0)
      for (let i = first; i < listing.lower.length; i++) {
        const one = listing.lower[i]
        if (one !== undefined && !this.#giveLower(node, listing, one, FIRST_LOWER + i, sink)) return
      }
    }
    for (let i = firstAfter(listing.upper, cookie); i < listing.upper.length; i++) {
      const one = listing.upper[i]
      if (one !== undefined && !this.#give(node, one.name, one.cookie, sink)) return
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

  /** A name that the layers have: while nothing changed in the directory, it is what it was when listed. */
  #giveLower(
    node: DirectoryNode,
    listing: Listing,
    one: LowerName,
    cookie: number,
    sink: DirectorySink,
  ): boolean {
    if (node.version !== listing.version || listing.inUpper.has(one.name)) {
      return this.#give(node, one.name, cookie, sink)
    }
    const { name, layer, entry } = one
    const ino = this.#upper.inodes.ofLayer(layer, entry.ino)
    if (!sink.plus) return sink.add(name, ino, entry.type, cookie, undefined)
    // Damage of one child must not hide its neighbours: it is listed, and looking it up tells why.
    const found = tolerant(() => this.#found(node, one))
    const child = found && tolerant(() => this.#resolver.lowerNode(node, name, found))
    return this.#offer(child, name, cookie, sink, { ino, type: entry.type })
  }

  #found(node: DirectoryNode, { name, layer, entry }: LowerName): Found | undefined {
    if (entry.type === DT_DIR) return this.#resolver.below(node, name)
    return { top: { layer, ref: entry.ref }, entry, merged: undefined }
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
    const entry = sink.plus ? tolerant(() => this.#entry(child)) : undefined
    const taken = sink.add(name, ino, type, cookie, entry)
    if (taken && entry !== undefined) table.retain(child)
    else table.settle(child)
    return taken
  }

  #entry(node: Node): Entry {
    return { nodeId: node.id, stat: shownStat(this.#upper, node) }
  }

  /** @param anew the listing begins: it must show what is there now */
  #listing(node: DirectoryNode, anew: boolean): Listing {
    const known = this.#last?.node === node ? this.#last.listing : this.#listings.get(node)
    if (known !== undefined && (!anew || known.version === node.version)) return known
    const listing = this.#build(node)
    this.#listings.set(node, listing, listing.lower.length + listing.upper.length + 1)
    this.#last = { node, listing }
    return listing
  }

  #build(node: DirectoryNode): Listing {
    const { files, marks } = this.#upper
    const lower: LowerName[] = []
    this.#eachLower(node, (one) => {
      lower.push(one)
      return true
    })
    const inUpper = new Set<Name>()
    const upper: UpperName[] = []
    if (node.inUpper) {
      const names = listEntries(files.directory(node)).map(({ name }) => name)
      for (const name of names) {
        inUpper.add(marks && name.startsWith(MARK_PREFIX) ? name.slice(MARK_PREFIX.length) : name)
      }
      const below = new Set<Name>(lower.map(({ name }) => name))
      const hashed = names
        .filter((name) => !below.has(name) && !name.startsWith(MARK_PREFIX))
        .map((name) => ({ name, cookie: FIRST_UPPER + hashOf(name, this.#seed) }))
      hashed.sort((a, b) => a.cookie - b.cookie || (a.name < b.name ? -1 : 1))
      let last = FIRST_UPPER
      for (const { name, cookie } of hashed) {
        // Names of one hash are told apart by their order.
        last = Math.max(cookie, last + 1)
        upper.push({ name, cookie: last })
      }
    }
    return { version: node.version, lower, upper, inUpper }
  }

  /** All names that the layers show, in their order, until `take` returns false. */
  #eachLower(node: DirectoryNode, take: (one: LowerName) => boolean): void {
    const { lower } = node
    if (lower === undefined || node.dead) return
    const add = (name: Name, layer: number, entry: LayerEntry) => take({ name, layer, entry })
    if (lower.parts.length === 1) listSingle(lower, COOKIE_PARENT, false, add)
    else listMerged(lower, COOKIE_PARENT, false, add, node.id, new ParkedCursors(0))
  }
}

function firstAfter(names: readonly UpperName[], cookie: number): number {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((names[middle]?.cookie ?? 0) <= cookie) low = middle + 1
    else high = middle
  }
  return low
}

/** 51 bits, of two multiplicative hashes. */
function hashOf(name: Name, seed: number): number {
  let a = seed ^ 0x9e37_79b9
  let b = seed ^ 0x85eb_ca6b
  for (let i = 0; i < name.length; i++) {
    const byte = name.charCodeAt(i)
    a = Math.imul(a ^ byte, 0x0100_0193)
    a ^= a >>> 15
    b = Math.imul(b ^ byte, 0x5bd1_e995)
    b ^= b >>> 13
  }
  return ((a >>> 0) & 0x7_ffff) * 2 ** 32 + (b >>> 0)
}

function tolerant<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (error instanceof FsError) return undefined
    throw error
  }
}
