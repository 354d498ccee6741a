import {
  FsError,
  isDirectory,
  isRegular,
  NAME_MAX,
  type Name,
  S_IFDIR,
  S_IFREG,
} from '../../src/base/index.ts'
import type { StoredInode } from '../format/layout.ts'
import type { TarEntry } from '../read/tar-reader.ts'
import { rowNumbers } from './column.ts'
import { hollowDirectories } from './hollow.ts'
import { InodeRows } from './inode-rows.ts'
import { LateLinks } from './late-links.ts'
import { isMark } from './marks.ts'
import { NameTable } from './name-table.ts'

type NewInode = Omit<StoredInode, 'nlink'>

/** What becomes part of the heap while the entries come. Positions in the index. */
export interface EntryData {
  /** @returns 0 where there are none */
  attributes(xattrs: TarEntry['xattrs']): number
  /** @returns where it is */
  target(bytes: Uint8Array): number
  /** @returns where the map is */
  pieces(entry: TarEntry): number
}

export const ROOT = 0
/** As many as a file system with inode numbers of 32 bits can have. */
const INODES_MAX = 2 ** 32 - 2
const ID_MAX = 2 ** 32 - 1
/** PATH_MAX without the NUL: no file system of Linux has longer ones, and none can be read. */
const TARGET_MAX = 4095
/** Seconds that 64 bits hold, and numbers exactly. */
const TIME_MAX = Number.MAX_SAFE_INTEGER

const EMPTY = { isSparse: false, isBelow: false, rdev: 0, size: 0, data: 0, attributes: 0 } as const
const NOTHING = { ...EMPTY, uid: 0, gid: 0, seconds: 0, nanoseconds: 0 } as const
const IMPLIED: NewInode = { ...NOTHING, mode: S_IFDIR | 0o755, isImplied: true }
const MARK: NewInode = { ...NOTHING, mode: S_IFREG | 0o444, isImplied: false }

/**
 * Where directories of an archive without entries of their own belong: over a layer below in which `lib` is a link to
 * `usr/lib`, `lib/x` means `usr/lib/x`, as for those who extract one layer over the other.
 */
export type Moves = ReadonlyMap<Name, Name>

/**
 * The tree of a layer, as its entries come. A later entry of a path replaces the earlier one; a directory over a directory
 * replaces its attributes only (image-spec, layer.md, "Changeset over existing files").
 */
export class LayerTree {
  readonly inodes = new InodeRows()
  readonly names = new NameTable()
  /** Of each directory, the row of the name that came last, plus 1. */
  readonly #children = rowNumbers()
  readonly #data: EntryData
  readonly #moves: Moves
  readonly #late = new LateLinks()
  /** All marks are one inode. */
  #mark: number | undefined
  /** The directory that was found last. */
  #lastFolder: Name = ''
  #lastInode = ROOT

  constructor(data: EntryData, moves: Moves = new Map()) {
    this.#data = data
    this.#moves = moves
    this.#newInode(IMPLIED)
  }

  /** @throws FsError EINVAL for what no tree can have; ENAMETOOLONG; ENOTDIR for what lies below a file; EFBIG */
  add(entry: TarEntry): void {
    const path = this.#moved(entry.path)
    if (isMark(entry.path)) {
      // What is below a file of the layer is hidden by it: umoci says so by marks as well.
      if (this.#isBelowFile(path)) return
      this.#mark ??= this.#newInode(MARK)
      this.#put(path, this.#mark)
    } else if (entry.link === undefined) this.#addEntry(entry, path)
    else this.#addLink(path, this.#moved(entry.link))
  }

  /** All entries have come. @throws FsError EINVAL for a hard link to a directory */
  finish(): void {
    const names = {
      find: (path: Name) => this.#findFile(path),
      setInode: (path: Name, inode: number) => this.#put(path, inode),
    }
    this.#late.settle(names, (path, target, inode) => this.#assertLinkable(path, target, inode))
  }

  /** Directories with marks alone, by inode. */
  hollow(): ReadonlySet<number> {
    return hollowDirectories(this.inodes, this.names, this.#mark)
  }

  /** Rows of the names of a directory, in byte order. */
  entriesOf(directory: number): number[] {
    const rows: number[] = []
    for (let next = this.#children.at(directory); next !== 0; next = this.names.siblingOf(next - 1)) {
      rows.push(next - 1)
    }
    return rows.sort((a, b) => Buffer.compare(this.names.bytesOf(a), this.names.bytesOf(b)))
  }

  #addLink(path: Name, target: Name): void {
    const present = this.#findFile(target)
    const inode = present ?? this.#newInode(this.#below(target))
    if (present === undefined) this.#late.add(path, target, inode)
    else if (this.#late.isOne(inode)) this.#late.repeat(path, inode)
    else this.#assertLinkable(path, target, inode)
    this.#put(path, inode)
  }

  /** What stands for a file of the layers below. */
  #below(target: Name): NewInode {
    const bytes = Buffer.from(target, 'latin1')
    const data = this.#data.target(bytes)
    return { ...NOTHING, mode: S_IFREG | 0o444, isImplied: false, isBelow: true, size: bytes.length, data }
  }

  #addEntry(entry: TarEntry, path: Name): void {
    const inode = this.#describe(entry)
    if (path === '') {
      if (!isDirectory(inode.mode)) {
        throw new FsError('EINVAL', 'the archive makes the root something else than a directory')
      }
      this.inodes.replace(ROOT, inode)
      return
    }
    const present = this.#find(path)
    if (present !== undefined && isDirectory(inode.mode) && isDirectory(this.inodes.modeOf(present))) {
      this.inodes.replace(present, inode)
    } else this.#put(path, this.#newInode(inode))
  }

  #describe(entry: TarEntry): NewInode {
    const { mode, uid, gid, time, rdev, size, position, sparse, target, xattrs } = entry
    const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < ID_MAX
    if (!isId(uid) || !isId(gid)) throw this.#refused(entry, `has the owner ${uid}:${gid}`)
    if (!(Math.abs(time.seconds) <= TIME_MAX)) throw this.#refused(entry, `has the time ${time.seconds}`)
    const common = { mode, uid, gid, ...time, rdev, isImplied: false }
    const attributes = this.#attributesOf(entry, xattrs)
    if (target !== undefined) {
      if (target.length === 0 || target.includes(0)) throw this.#refused(entry, 'is a link to nothing')
      if (target.length > TARGET_MAX) throw this.#refused(entry, `is a link of ${target.length} bytes`)
      const data = this.#data.target(target)
      return { ...common, ...EMPTY, size: target.length, data, attributes }
    }
    if (!isRegular(mode)) return { ...common, ...EMPTY, rdev, attributes }
    const data = sparse === undefined ? (position ?? 0) : this.#data.pieces(entry)
    return { ...common, ...EMPTY, isSparse: sparse !== undefined, size, data, attributes }
  }

  #attributesOf(entry: TarEntry, xattrs: TarEntry['xattrs']): number {
    try {
      return this.#data.attributes(xattrs)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      throw this.#refused(entry, `has ${error.message}`)
    }
  }

  #refused({ path }: TarEntry, why: string): FsError {
    return new FsError('EINVAL', `${JSON.stringify(path)} ${why}`)
  }

  #assertLinkable(path: Name, target: Name, inode: number): void {
    if (!isDirectory(this.inodes.modeOf(inode))) return
    const [from, to] = [path, target].map((name) => JSON.stringify(name))
    throw new FsError('EINVAL', `hard link ${from} to the directory ${to}`)
  }

  /** Where the entry of a path belongs. The last name is never followed. */
  #moved(path: Name): Name {
    if (this.#moves.size === 0) return path
    const names = path.split('/')
    const last = names.pop() ?? ''
    let original = ''
    let moved = ''
    for (const name of names) {
      original = below(original, name)
      moved = this.#moves.get(original) ?? below(moved, name)
    }
    return below(moved, last)
  }

  /** Gives a path an inode, in place of what it had. */
  #put(path: Name, inode: number): void {
    const slash = path.lastIndexOf('/')
    const name = path.slice(slash + 1)
    if (name === '') throw new FsError('EINVAL', 'the archive makes the root a link')
    const folder = this.#folder(path.slice(0, Math.max(slash, 0)))
    const row = this.names.find(folder, name)
    if (row === undefined) this.#name(folder, name, inode)
    else {
      this.names.setInode(row, inode)
      // What was below it is gone.
      this.#lastFolder = ''
      this.#lastInode = ROOT
    }
  }

  /** The directory of that path, made where it is missing. */
  #folder(path: Name): number {
    if (path === this.#lastFolder) return this.#lastInode
    let at = ROOT
    for (const name of path === '' ? [] : path.split('/')) {
      const row = this.names.find(at, name)
      const next = row === undefined ? this.#name(at, name, this.#newInode(IMPLIED)) : this.names.inodeOf(row)
      if (!isDirectory(this.inodes.modeOf(next))) {
        throw new FsError(
          'ENOTDIR',
          `${JSON.stringify(path)}: ${JSON.stringify(name)} is no directory in this layer`,
        )
      }
      at = next
    }
    this.#lastFolder = path
    this.#lastInode = at
    return at
  }

  #name(folder: number, name: Name, inode: number): number {
    if (name.length > NAME_MAX) throw new FsError('ENAMETOOLONG', `a name of ${name.length} bytes`)
    const row = this.names.add(folder, name, inode, this.#children.at(folder))
    this.#children.set(folder, row + 1)
    return inode
  }

  #isBelowFile(path: Name): boolean {
    let at = ROOT
    for (const name of path.split('/').slice(0, -1)) {
      const row = this.names.find(at, name)
      if (row === undefined) return false
      at = this.names.inodeOf(row)
      if (!isDirectory(this.inodes.modeOf(at))) return true
    }
    return false
  }

  #find(path: Name): number | undefined {
    let at = ROOT
    for (const name of path === '' ? [] : path.split('/')) {
      const row = this.names.find(at, name)
      if (row === undefined) return undefined
      at = this.names.inodeOf(row)
    }
    return at
  }

  /** A directory without an entry of its own may be a link below. */
  #findFile(path: Name): number | undefined {
    const inode = this.#find(path)
    return inode !== undefined && this.inodes.isImplied(inode) ? undefined : inode
  }

  #newInode(inode: NewInode): number {
    if (this.inodes.length >= INODES_MAX) throw new FsError('EFBIG', `more than ${INODES_MAX} files`)
    this.#children.push(0)
    return this.inodes.add(inode)
  }
}

function below(folder: Name, name: Name): Name {
  return folder === '' ? name : `${folder}/${name}`
}
