import {
  type DirectorySink,
  type Entry,
  type FileSystem,
  FsError,
  isDirectory,
  type Name,
  type NodeId,
  Postponed,
  passedOver,
  patiently,
  ReadPostponed,
  ROOT_NODE_ID,
  type Steps,
  unlessFailed,
  Work,
} from '../../src/base/index.ts'
import { ParentIndex } from './parent-index.ts'

/** Names that one step lists. */
const NAMES_PER_STEP = 128
/** Directories above each other: a chain that is longer is none. */
const DEEPEST = 1 << 16

/** What a walk sees under a name. */
export interface Seen {
  readonly nodeId: NodeId
  readonly isDirectory: boolean
}

/** A tree whose nodes can be found again after the kernel forgot them. */
export interface Walked extends Pick<FileSystem, 'forget'> {
  /** As `FileSystem.readdir`; entries may be left out. */
  readdir(directory: NodeId, cookie: number, sink: DirectorySink): void
  /** What a name shows, counted as one lookup. @throws FsError */
  see(directory: NodeId, name: Name): Seen | undefined
  /** False for an id that no node of the tree can have. */
  mayExist(node: NodeId): boolean
  /** Whether the tree knows where the node is. */
  isKnown(node: NodeId): boolean
  /** Counts one more lookup of a node that is known. */
  hold(node: NodeId): void
  /** As `hold`. @returns what the kernel is told. @throws FsError */
  again(node: NodeId): Entry
}

interface Search {
  readonly index: ParentIndex
  readonly work: Work
  /** Set where the search came to the node, which then has one lookup. */
  found: NodeId | undefined
}

/**
 * Finds nodes by their ids alone, as a handle of an earlier mount names them (open_by_handle_at(2), NFS): the kernel
 * looks up `.` in a node that it does not know. The first such handle begins a walk through the whole tree, in steps
 * between other requests; from then on an index leads from each node to its directory. It is a hint: what the tree
 * shows is found by looking it up, name by name from the root. So a handle leads to what the tree shows, and to nothing
 * else.
 */
export class Whereabouts {
  readonly #tree: Walked
  #index: ParentIndex | undefined
  #walk: Work | undefined
  readonly #searches = new Map<NodeId, Search>()
  /** The tree has changed so that the walk may have missed something. */
  #isInDoubt = false

  constructor(tree: Walked) {
    this.#tree = tree
  }

  /**
   * The entry of a node, counted as one lookup.
   * @throws FsError ESTALE where the tree does not show it
   * @throws Postponed while it is searched for
   */
  find(node: NodeId): Entry {
    const begun = this.#searches.get(node)
    // A search that has ended holds a lookup, which must be given back.
    if (begun === undefined && this.#tree.isKnown(node)) return this.#tree.again(node)
    if (!this.#tree.mayExist(node)) throw new FsError('ESTALE', `node ${node}: the tree has no such id`)
    const index = this.#awaitWalk()
    const search = begun ?? this.#begin(node, index)
    if (!search.work.isDone) throw new Postponed(search.work)
    this.#searches.delete(node)
    search.work.finish()
    if (search.found === undefined) {
      if (this.#isInDoubt) this.#forgetWalk()
      if (search.index !== this.#index) return this.find(node)
      throw new FsError('ESTALE', `node ${node}: the tree does not show it`)
    }
    try {
      return this.#tree.again(node)
    } finally {
      this.#tree.forget(node, 1)
    }
  }

  /** The directory in which a node is, as `find`. */
  findParent(node: NodeId): Entry {
    const index = this.#awaitWalk()
    const parent = index.get(node)
    if (parent === undefined) throw new FsError('ESTALE', `node ${node}: its directory is not known`)
    return this.find(parent)
  }

  /** Whether there ever was such a handle. */
  get isBegun(): boolean {
    return this.#index !== undefined
  }

  /** The kernel has forgotten a node that is in this directory. */
  note(node: NodeId, parent: NodeId): void {
    this.#index?.note(node, parent)
  }

  /** Something has got another name, perhaps a directory that the walk has not come to. */
  noteMove(): void {
    if (this.#walk?.isDone === false) this.doubt()
  }

  /** What is not found is searched for by a new walk. */
  doubt(): void {
    this.#isInDoubt = true
  }

  #forgetWalk(): void {
    this.#isInDoubt = false
    this.#index = undefined
    this.#walk = undefined
  }

  /** @throws ReadPostponed until the tree was walked. Who gives up leaves nothing behind: the next one goes on. */
  #awaitWalk(): ParentIndex {
    this.#index ??= new ParentIndex()
    this.#walk ??= new Work(this.#walkTree(this.#index))
    if (!this.#walk.isDone) throw new ReadPostponed(this.#walk)
    return this.#index
  }

  #begin(node: NodeId, index: ParentIndex): Search {
    const search: Search = {
      index,
      work: new Work(this.#search(node, index, (found) => (search.found = found))),
      found: undefined,
    }
    this.#searches.set(node, search)
    return search
  }

  *#search(node: NodeId, index: ParentIndex, tell: (found: NodeId) => void): Steps {
    const chain = this.#chainTo(node, index)
    let at = chain.pop()
    if (at === undefined) return
    this.#tree.hold(at)
    for (let next = chain.pop(); next !== undefined; next = chain.pop()) {
      const found: NodeId | undefined = yield* this.#findIn(at, next)
      this.#tree.forget(at, 1)
      if (found === undefined) return
      at = found
    }
    tell(at)
  }

  /** The node, its directory and so on, up to one that the tree knows; empty where that is not known. */
  #chainTo(node: NodeId, index: ParentIndex): NodeId[] {
    const chain = [node]
    for (let at = node; !this.#tree.isKnown(at); ) {
      const parent = index.get(at)
      if (parent === undefined || chain.length > DEEPEST) return []
      chain.push(parent)
      at = parent
    }
    return chain
  }

  /** Looks for a node in a directory. @returns it with one lookup; undefined where it is not there */
  *#findIn(directory: NodeId, node: NodeId): Generator<'more' | 'waiting', NodeId | undefined> {
    let found: NodeId | undefined
    const take = ({ nodeId }: Seen): boolean => {
      if (found !== undefined || nodeId !== node) return false
      found = node
      return true
    }
    for (let cookie: number | undefined = 0; cookie !== undefined && found === undefined; ) {
      cookie = yield* this.#page(directory, cookie, take)
    }
    return found
  }

  /** Goes down before it goes on, so that few directories are held: those above, and of each some below. */
  *#walkTree(index: ParentIndex): Steps {
    const path: Level[] = [{ directory: ROOT_NODE_ID, cookie: 0, below: [] }]
    for (let level = path.at(-1); level !== undefined; level = path.at(-1)) {
      const { directory, below } = level
      const next = below.pop()
      if (next !== undefined) path.push({ directory: next, cookie: 0, below: [] })
      else if (level.cookie === undefined || index.isFull) {
        this.#tree.forget(directory, 1)
        path.pop()
      } else {
        level.cookie = yield* this.#page(directory, level.cookie, ({ nodeId, isDirectory }) => {
          // Damage may show a directory at two places, also within itself: the first one counts.
          if (isDirectory && (nodeId === ROOT_NODE_ID || index.has(nodeId))) return false
          index.set(nodeId, directory)
          if (isDirectory) below.push(nodeId)
          return isDirectory
        })
      }
    }
  }

  /**
   * Gives some names of a directory to `take`, which says whether it keeps the lookup. Damage ends the listing.
   * @returns where to go on; undefined at the end
   */
  *#page(
    directory: NodeId,
    cookie: number,
    take: (one: Seen) => boolean,
  ): Generator<'more' | 'waiting', number | undefined> {
    const page = new Page()
    try {
      yield* patiently(() => this.#tree.readdir(directory, cookie, page))
    } catch (error) {
      return passedOver(error)
    }
    for (const { name, entry } of page.names) {
      // Damaged, or one that the tree does not tell about again.
      const one = entry ?? (yield* patiently(() => unlessFailed(() => this.#tree.see(directory, name))))
      if (one !== undefined && !take(one)) this.#tree.forget(one.nodeId, 1)
    }
    yield 'more'
    return page.last
  }
}

/** A directory on the way down. */
interface Level {
  readonly directory: NodeId
  /** Where its listing goes on; undefined at its end. */
  cookie: number | undefined
  /** Directories in it that were listed, and are still to be walked. */
  readonly below: NodeId[]
}

/** Some names of a directory. */
class Page implements DirectorySink {
  readonly plus = true
  readonly names: { readonly name: Name; readonly entry: Seen | undefined }[] = []
  /** Where to go on after it; undefined where there was nothing left. */
  last: number | undefined

  add(name: Name, _ino: number, _type: number, cookie: number, entry: Entry | undefined): boolean {
    if (this.names.length >= NAMES_PER_STEP) return false
    this.last = cookie
    if (name === '.' || name === '..') return true
    const seen = entry && { nodeId: entry.nodeId, isDirectory: isDirectory(entry.stat.mode) }
    this.names.push({ name, entry: seen })
    return true
  }
}
