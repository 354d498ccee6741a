import {
  type Entry,
  type FileSystem,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type NodeId,
  type PathText,
  PERMISSIONS,
  ROOT_NODE_ID,
  S_IFMT,
} from '../../base/index.ts'
import type { Listed } from '../listing.ts'
import { sortedListing } from '../sorted-listing.ts'
import type { Contents } from '../source-contents.ts'
import { childPath, refusalOf, textOf } from '../texts.ts'
import { FileComparison } from './compare-files.ts'

/** What two files of one path may differ in. */
export const DIFFERENCES = [
  'type',
  'mode',
  'owner',
  'size',
  'content',
  'mtime',
  'xattrs',
  'target',
  'device',
] as const
export type Difference = (typeof DIFFERENCES)[number]

/** One path that is not the same in both trees. */
export type DiffItem =
  /** Only the second tree has it (`A`), or only the first one (`D`). */
  | { readonly change: 'A' | 'D'; readonly path: PathText }
  | { readonly change: 'M'; readonly path: PathText; readonly what: readonly Difference[] }
  /** It cannot be compared. */
  | { readonly change: 'error'; readonly path: PathText; readonly message: string }

export interface DiffOptions {
  /** Differences that do not count. */
  readonly ignore?: readonly Difference[]
  /** Gets the number of paths so far. */
  readonly onProgress?: (names: number) => void
}

/** A directory that both trees have, or one of them. */
interface Level {
  readonly path: Name
  /** Those whose listing goes on. */
  readonly one: Names | undefined
  readonly other: Names | undefined
}

/**
 * Compares two trees, path by path in the order of the names. Directories are compared without their sizes, times to the
 * second unless both trees have parts of seconds. Memory does not grow with the trees, but for directories out of order.
 */
export function* diffContents(
  one: Contents,
  other: Contents,
  options: DiffOptions = {},
): Generator<DiffItem> {
  const walk = new DiffWalk(one, other, options)
  yield* walk.run()
}

class DiffWalk {
  readonly #trees: readonly [FileSystem, FileSystem]
  readonly #files: FileComparison
  readonly #ignored: ReadonlySet<Difference>
  readonly #onProgress: (names: number) => void
  #names = 0

  constructor(one: Contents, other: Contents, { ignore = [], onProgress = () => undefined }: DiffOptions) {
    this.#trees = [one.fileSystem, other.fileSystem]
    this.#files = new FileComparison(one, other)
    this.#ignored = new Set(ignore)
    this.#onProgress = onProgress
  }

  *run(): Generator<DiffItem> {
    const [one, other] = this.#trees
    const roots = [one, other].map((tree) => ({ nodeId: ROOT_NODE_ID, stat: tree.getattr(ROOT_NODE_ID) }))
    const [first, second] = roots as [Entry, Entry]
    yield* this.#compare('', first, second)
    const levels: Level[] = [this.#level('', ROOT_NODE_ID, ROOT_NODE_ID)]
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const [left, right] = [level.one?.peek(), level.other?.peek()]
      if (left instanceof FsError || right instanceof FsError) {
        const error = left instanceof FsError ? left : (right as FsError)
        yield { change: 'error', path: shown(level.path), message: error.message }
        levels.pop()?.one?.forget()
        level.other?.forget()
        continue
      }
      const name = smaller(left?.name, right?.name)
      if (name === undefined) {
        levels.pop()
        level.one?.forget()
        level.other?.forget()
        continue
      }
      const path = childPath(level.path, name)
      const mine = left?.name === name ? level.one?.take() : undefined
      const theirs = right?.name === name ? level.other?.take() : undefined
      this.#names += 1
      this.#onProgress(this.#names)
      const below = yield* this.#visit(path, mine, theirs)
      if (below !== undefined) levels.push(below)
    }
  }

  /** @returns the level to go on with below it */
  *#visit(
    path: Name,
    mine: Listed | undefined,
    theirs: Listed | undefined,
  ): Generator<DiffItem, Level | undefined> {
    for (const listed of [mine, theirs]) {
      if (listed !== undefined && 'error' in listed) {
        yield { change: 'error', path: shown(path), message: listed.error.message }
        return undefined
      }
    }
    const [left, right] = [entryOf(mine), entryOf(theirs)]
    if (left !== undefined && right !== undefined) yield* this.#compare(path, left, right)
    else yield { change: left === undefined ? 'A' : 'D', path: shown(path) }
    const folders = [left, right].map((entry) =>
      entry !== undefined && isDirectory(entry.stat.mode) ? entry.nodeId : undefined,
    )
    for (const [at, entry] of [left, right].entries()) {
      if (entry !== undefined && folders[at] === undefined)
        this.#trees[at === 0 ? 0 : 1].forget(entry.nodeId, 1)
    }
    const [one, other] = folders
    const refusal = refusalOf(path)
    if (refusal !== undefined && (one !== undefined || other !== undefined)) {
      yield { change: 'error', path: shown(path), message: refusal.message }
      return undefined
    }
    return one === undefined && other === undefined ? undefined : this.#level(path, one, other)
  }

  #level(path: Name, one: NodeId | undefined, other: NodeId | undefined): Level {
    const names = (at: 0 | 1, node: NodeId | undefined): Names | undefined =>
      node === undefined ? undefined : new Names(this.#trees[at], node)
    return { path, one: names(0, one), other: names(1, other) }
  }

  *#compare(path: Name, left: Entry, right: Entry): Generator<DiffItem> {
    try {
      const what = [...this.#differences(left, right)].filter((one) => !this.#ignored.has(one))
      if (what.length > 0) yield { change: 'M', path: shown(path), what }
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      yield { change: 'error', path: shown(path), message: error.message }
    }
  }

  *#differences(left: Entry, right: Entry): Generator<Difference> {
    const [one, other] = [left.stat, right.stat]
    if ((one.mode & S_IFMT) !== (other.mode & S_IFMT)) {
      yield 'type'
      return
    }
    if ((one.mode & PERMISSIONS) !== (other.mode & PERMISSIONS)) yield 'mode'
    if (one.uid !== other.uid || one.gid !== other.gid) yield 'owner'
    if (isRegular(one.mode)) {
      if (one.size !== other.size) {
        yield 'size'
        yield 'content'
      } else if (!this.#ignored.has('content')) {
        const severalNames = one.nlink > 1 && other.nlink > 1
        if (!this.#files.areEqual(left.nodeId, right.nodeId, one.size, severalNames)) yield 'content'
      }
    }
    const bothExact = one.mtimeNsec !== 0 && other.mtimeNsec !== 0
    if (one.mtime !== other.mtime || (bothExact && one.mtimeNsec !== other.mtimeNsec)) yield 'mtime'
    if (this.#xattrsOf(0, left.nodeId) !== this.#xattrsOf(1, right.nodeId)) yield 'xattrs'
    if (isSymlink(one.mode) && this.#target(0, left.nodeId) !== this.#target(1, right.nodeId)) yield 'target'
    if (one.rdev !== other.rdev) yield 'device'
  }

  #target(side: 0 | 1, node: NodeId): string {
    return Buffer.from(this.#trees[side].readlink(node)).toString('latin1')
  }

  /** All attributes as text, in the order of their names. */
  #xattrsOf(side: 0 | 1, node: NodeId): string {
    const tree = this.#trees[side]
    const names = [...tree.listxattr(node)].sort()
    return names
      .map((name) => `${name}\0${Buffer.from(tree.getxattr(node, name) ?? []).toString('latin1')}`)
      .join('\0\0')
  }
}

/** The names of one directory, one of them in advance. */
class Names {
  readonly #tree: FileSystem
  readonly #node: NodeId
  readonly #listing: Iterator<Listed>
  #next: Listed | FsError | undefined
  #isOver = false

  constructor(tree: FileSystem, node: NodeId) {
    this.#tree = tree
    this.#node = node
    this.#listing = sortedListing(tree, node)
  }

  /** @returns undefined at the end; the error of a directory that cannot be listed further */
  peek(): Listed | FsError | undefined {
    if (this.#next !== undefined || this.#isOver) return this.#next
    try {
      const { done, value } = this.#listing.next()
      if (done === true) this.#isOver = true
      else this.#next = value
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.#next = error
    }
    return this.#next
  }

  /** The name that was seen in advance. */
  take(): Listed | undefined {
    const next = this.#next
    this.#next = undefined
    return next instanceof FsError ? undefined : next
  }

  /** The directory is needed no more. */
  forget(): void {
    if (this.#node !== ROOT_NODE_ID) this.#tree.forget(this.#node, 1)
  }
}

function entryOf(listed: Listed | undefined): Entry | undefined {
  return listed !== undefined && 'entry' in listed ? listed.entry : undefined
}

function smaller(one: Name | undefined, other: Name | undefined): Name | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return one < other ? one : other
}

function shown(path: Name): PathText {
  return `/${textOf(path)}`
}
