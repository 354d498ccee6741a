import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import {
  type BlockStore,
  type Entry,
  ExtentReader,
  type FileSystem,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type NodeId,
  ROOT_NODE_ID,
  S_IFCHR,
  S_IFMT,
  type Stat,
} from '../base/index.ts'
import { childPath, type Listed, listDirectory, refusalOf } from '../contents/index.ts'
import { readHostFile } from '../molecule/index.ts'
import { escapedAttribute, escapedPath } from './overlay-form.ts'
import type { Exclusion } from './selection/exclusion.ts'
import { type LeftOut, STORABLE, type TreeItem } from './tree-item.ts'

const CACHE_BYTES = 4 << 20
const CHUNK = 1 << 20

/** What is known of a file of a tree. */
export type ShownFile = Pick<Entry, 'nodeId' | 'stat'>

/** A file under one of its names. */
export interface FoundFile extends ShownFile {
  /** As it is stored. */
  readonly path: Name
}

export interface MergedEntriesOptions {
  /** Counts what an image cannot have. */
  readonly leftOut?: LeftOut
  /**
   * `layer`: the entries are for a layer, in which names and attributes that are data, and look like marks, are escaped,
   * and a character device 0:0 cannot be; also if absent. `stored`: for an image that is shown as it is stored. `whole`:
   * likewise, in a format that has all attributes, access lists too.
   */
  readonly form?: 'layer' | 'stored' | 'whole'
  readonly exclude?: Exclusion | undefined
}

/** A directory on the way through the tree. */
interface Level {
  readonly directory: NodeId
  readonly path: Name
  readonly listing: Iterator<Listed>
}

/** What a merge of layers shows, as entries of an image. Gives each file its content once, and links after that. */
export class MergedEntries {
  readonly fileSystem: FileSystem
  readonly #reader: ExtentReader
  readonly #leftOut: LeftOut | undefined
  readonly #isLayer: boolean
  readonly #isWhole: boolean
  readonly #exclude: Exclusion | undefined
  /** First names of files with several. Damaged images may have one inode number for two files. */
  readonly #first = new Map<NodeId, Name>()

  constructor(
    fileSystem: FileSystem,
    store: BlockStore,
    { leftOut, form = 'layer', exclude }: MergedEntriesOptions = {},
  ) {
    this.fileSystem = fileSystem
    this.#reader = new ExtentReader(store, readHostFile, { cacheSize: CACHE_BYTES })
    this.#leftOut = leftOut
    this.#isLayer = form === 'layer'
    this.#isWhole = form === 'whole'
    this.#exclude = exclude
  }

  get root(): ShownFile {
    return { nodeId: ROOT_NODE_ID, stat: this.fileSystem.getattr(ROOT_NODE_ID) }
  }

  /** All of the tree. @throws FsError EIO, ENAMETOOLONG, with the path */
  *items(isPassedOver: (path: Name) => boolean = () => false): Generator<TreeItem> {
    yield this.item({ path: '', ...this.root })
    for (const file of this.files('', ROOT_NODE_ID)) if (!isPassedOver(file.path)) yield this.item(file)
  }

  /**
   * All that a directory shows, each directory before what it holds. A directory is known until all in it has come: trees
   * may be larger than what can be remembered, and deeper than the stack of calls.
   * @param path of the directory, as it is stored
   * @throws FsError EIO, ENAMETOOLONG, with the path
   */
  *files(path: Name, directory: NodeId): Generator<FoundFile> {
    const levels = [this.#level(path, directory)]
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const next = listedNext(level)
      if (next === undefined) {
        levels.pop()
        if (levels.length > 0) this.fileSystem.forget(level.directory, 1)
        continue
      }
      const { name, entry } = next
      const own = childPath(level.path, this.#isLayer ? escapedPath(name) : name)
      const { nodeId, stat } = entry
      const isWanted = this.#exclude?.excludes(own) !== true && !this.#isLost(stat)
      if (isWanted) yield { path: own, nodeId, stat }
      if (isWanted && isDirectory(stat.mode)) {
        const refusal = refusalOf(own)
        if (refusal !== undefined) throw refusal
        levels.push(this.#level(own, nodeId))
      } else this.fileSystem.forget(nodeId, 1)
    }
  }

  /** The file, or where it was given before under another name, a link to that. @throws FsError EIO, with the path */
  item(file: FoundFile): TreeItem {
    const { path, nodeId, stat } = file
    if (stat.nlink > 1 && !isDirectory(stat.mode)) {
      const link = this.#first.get(nodeId)
      if (link !== undefined) return { path, link }
      this.#first.set(nodeId, path)
    }
    return { path, entry: this.entry(file) }
  }

  /** The content is read when it is wanted. @throws FsError EIO, with the path */
  entry({ path, nodeId, stat }: FoundFile): NewEntry {
    const { mode, uid, gid, mtime, rdev, size } = stat
    const xattrs = namingPath(path, () => this.#attributes(nodeId))
    const entry = { mode, uid, gid, mtime, rdev, xattrs }
    if (isSymlink(mode)) {
      return { ...entry, target: Buffer.from(namingPath(path, () => this.fileSystem.readlink(nodeId))) }
    }
    return isRegular(mode) ? { ...entry, size, content: this.#content(path, nodeId, size) } : entry
  }

  /** To an overlay it is a whiteout, whatever is done. */
  #isLost({ mode, rdev }: Stat): boolean {
    const isLost = this.#isLayer && (mode & S_IFMT) === S_IFCHR && rdev === 0
    if (isLost && this.#leftOut !== undefined) this.#leftOut.devices += 1
    return isLost
  }

  #level(path: Name, directory: NodeId): Level {
    return { directory, path, listing: listDirectory(this.fileSystem, directory) }
  }

  #attributes(node: NodeId): Attribute[] {
    return this.fileSystem.listxattr(node).flatMap((name): Attribute[] => {
      const value = this.fileSystem.getxattr(node, name)
      if (value === undefined) return []
      const attribute: Attribute = [name, Uint8Array.from(value)]
      const escaped = this.#isLayer ? escapedAttribute(attribute) : attribute
      const stored = this.#isWhole || STORABLE.test(name) ? escaped : undefined
      if (stored !== undefined) return [stored]
      if (this.#leftOut !== undefined) this.#leftOut.attributes += 1
      return []
    })
  }

  *#content(path: Name, node: NodeId, size: number): Generator<Uint8Array> {
    for (let at = 0; at < size; at += CHUNK) {
      yield namingPath(path, () => this.#chunk(node, at, Math.min(CHUNK, size - at)))
    }
  }

  #chunk(node: NodeId, at: number, length: number): Uint8Array {
    const chunk = Buffer.alloc(length)
    let filled = 0
    this.#reader.read(
      (sink) => this.fileSystem.read(node, at, length, sink),
      (bytes) => {
        filled += bytes
        return chunk.subarray(filled - bytes, filled)
      },
    )
    if (filled !== length) throw new FsError('EIO', `the file ends at byte ${at + filled}, before its size`)
    return chunk
  }
}

/** Puts a path before the message of an error. */
export function namingPath<T>(path: Name, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    throw new FsError(error.code, `${JSON.stringify(path)}: ${error.message}`, { cause: error })
  }
}

/** @returns undefined at the end */
function listedNext({ path, listing }: Level): Exclude<Listed, { readonly error: FsError }> | undefined {
  const { done, value } = namingPath(path, () => listing.next())
  if (done === true) return undefined
  if ('entry' in value) return value
  return namingPath(childPath(path, value.name), () => {
    throw value.error
  })
}
