import {
  type DirectoryCursor,
  direntType,
  type LayerEntry,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'
import type { Inode } from '../inodes/inode.ts'
import type { DirectoryBlocks, DirectoryPart } from './directory-blocks.ts'
import { ENTRY_HEADER, entryAt, type StoredEntry } from './entry.ts'

/** DT_* by `EXT4_FT_*`. */
const TYPES = [0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK].map(direntType)
/** Entries of a directory in blocks that stand for itself and for its parent. */
const DOT_AT = 0
const DOT_DOT_AT = 12
const SLASH = 0x2f
/** Blocks after which others get their turn. */
const BLOCKS_AT_ONCE = 16

/** Walks the entries of a directory in the order in which they are stored. Positions are bytes of the directory. */
export class Ext4DirectoryCursor implements DirectoryCursor {
  position: number
  readonly #blocks: DirectoryBlocks
  readonly #inode: Inode
  readonly #pause: () => void
  #part: DirectoryPart | undefined
  #passed = 0

  /** @param position 0, or what was the position of an earlier cursor */
  constructor(blocks: DirectoryBlocks, inode: Inode, position: number, pause: () => void) {
    this.#blocks = blocks
    this.#inode = inode
    this.#pause = pause
    this.position = position
  }

  /** @throws FsError EIO; Postponed, and can then go on */
  next(): LayerEntry | undefined {
    for (;;) {
      const found = this.#step()
      if (found === undefined) return undefined
      const { part, at, entry } = found
      if (entry.inode === 0 || isDots(part, at, entry)) continue
      return toEntry(this.#blocks, this.#inode, part, at, entry)
    }
  }

  /** The entry of a name, from the position on. @throws FsError EIO; Postponed, and can then go on */
  find(name: Buffer): LayerEntry | undefined {
    for (;;) {
      const found = this.#step()
      if (found === undefined) return undefined
      const { part, at, entry } = found
      if (entry.inode === 0 || !hasName(part, at, entry, name) || isDots(part, at, entry)) continue
      return toEntry(this.#blocks, this.#inode, part, at, entry)
    }
  }

  /** Passes over one entry. */
  #step(): { readonly part: DirectoryPart; readonly at: number; readonly entry: StoredEntry } | undefined {
    const part = this.#partAt(this.position)
    if (part === undefined) return undefined
    const at = Math.max(this.position - part.from, part.start)
    const entry = entryAt(this.#blocks.volume, part, at, this.#inode.number)
    const after = at + entry.length
    this.position = after >= part.end ? part.next : part.from + after
    return { part, at, entry }
  }

  #partAt(position: number): DirectoryPart | undefined {
    const part = this.#part
    if (part !== undefined && position >= part.from && position < part.next) return part
    this.#passed += 1
    if (this.#passed % BLOCKS_AT_ONCE === 0) this.#pause()
    this.#part = this.#blocks.part(this.#inode, position)
    return this.#part
  }
}

/** Whether the entry at a place of the part has this name, compared byte by byte. */
export function hasName(
  { bytes }: DirectoryPart,
  at: number,
  { nameLength }: StoredEntry,
  name: Buffer,
): boolean {
  return (
    nameLength === name.length &&
    name.equals(bytes.subarray(at + ENTRY_HEADER, at + ENTRY_HEADER + nameLength))
  )
}

function isDots({ bytes, from, start }: DirectoryPart, at: number, { nameLength }: StoredEntry): boolean {
  if (start !== 0 || nameLength > 2 || (from + at !== DOT_AT && from + at !== DOT_DOT_AT)) return false
  return (
    bytes.toString('latin1', at + ENTRY_HEADER, at + ENTRY_HEADER + nameLength) === '..'.slice(0, nameLength)
  )
}

/** @throws DamageError for a name that no file can have, and for an inode that cannot be read where only it says the type */
export function toEntry(
  { volume, table }: DirectoryBlocks,
  directory: Inode,
  { bytes, block }: DirectoryPart,
  at: number,
  { inode, nameLength, type }: StoredEntry,
): LayerEntry {
  const stored = bytes.subarray(at + ENTRY_HEADER, at + ENTRY_HEADER + nameLength)
  const name = stored.toString('latin1')
  if (nameLength === 0 || name === '.' || name === '..' || stored.includes(SLASH) || stored.includes(0)) {
    const place = `directory ${directory.number}: entry at ${at}`
    throw volume.damage(block, `${place}: ${JSON.stringify(name)} is no name of a file`)
  }
  const known = TYPES[type] ?? 0
  return { name, ref: inode, ino: inode, type: known === 0 ? direntType(table.read(inode).mode) : known }
}
