import {
  FsError,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'
import { INODE_TYPE } from '../metadata/inode.ts'
import type { DataTable } from './data-table.ts'
import type { WrittenListing } from './directory-writer.ts'
import type { Layout } from './layout.ts'
import type { MetadataPosition, MetadataWriter } from './metadata-writer.ts'
import { RecordBuffer } from './record.ts'
import type { NodeIndex, Tree } from './tree.ts'
import { NONE } from './tree.ts'

/** An extended type is the basic one plus this. */
const EXTENDED = 7
const BLOCKS_AT_ONCE = 4096
const U16_MAX = 0xffff
const U32_MAX = 0xffff_ffff

const TYPES: ReadonlyMap<number, number> = new Map([
  [S_IFDIR, INODE_TYPE.directory],
  [S_IFREG, INODE_TYPE.file],
  [S_IFLNK, INODE_TYPE.symlink],
  [S_IFBLK, INODE_TYPE.blockDevice],
  [S_IFCHR, INODE_TYPE.charDevice],
  [S_IFIFO, INODE_TYPE.fifo],
  [S_IFSOCK, INODE_TYPE.socket],
])

/** The stored type of a mode, 1 to 7. @throws FsError EINVAL for a mode without a type */
export function basicType(mode: number): number {
  const type = TYPES.get(mode & S_IFMT)
  if (type === undefined) throw new FsError('EINVAL', `mode 0${mode.toString(8)} has no file type`)
  return type
}

/** Writes inodes, in the extended form only if the basic one has no room for what is to be said (squashfs: Inode Table). */
export class InodeWriter {
  readonly #tree: Tree
  readonly #layout: Layout
  readonly #data: DataTable
  readonly #table: MetadataWriter
  readonly #record = new RecordBuffer(4096)
  /** Where each inode is, by node: block and offset. */
  readonly #blocks: Uint32Array
  readonly #offsets: Uint16Array

  constructor(tree: Tree, layout: Layout, data: DataTable, table: MetadataWriter) {
    this.#tree = tree
    this.#layout = layout
    this.#data = data
    this.#table = table
    this.#blocks = new Uint32Array(tree.nodes)
    this.#offsets = new Uint16Array(tree.nodes)
  }

  position(node: NodeIndex): MetadataPosition {
    return { block: this.#blocks[node] ?? 0, offset: this.#offsets[node] ?? 0 }
  }

  numberOf(node: NodeIndex): number {
    return this.#layout.numbers[node] ?? 0
  }

  /** A node that is no directory. */
  write(node: NodeIndex): void {
    const type = basicType(this.#tree.mode.get(node))
    if (type === INODE_TYPE.file) this.#file(node)
    else if (type === INODE_TYPE.symlink) this.#symlink(node)
    else this.#special(node, type)
  }

  directory(node: NodeIndex, { start, size, index }: WrittenListing): void {
    const xattrs = this.#tree.xattrs.get(node)
    const fileSize = size + 3
    const parent = node === 0 ? this.#layout.count + 1 : this.numberOf(this.#layout.parents[node] ?? 0)
    const links = this.#linksOf(node)
    if (xattrs === NONE && fileSize <= U16_MAX && index.length === 0) {
      this.#begin(node, INODE_TYPE.directory)
      this.#record.u32(start.block).u32(links).u16(fileSize).u16(start.offset).u32(parent)
    } else {
      this.#begin(node, INODE_TYPE.extendedDirectory)
      this.#record.u32(links).u32(fileSize).u32(start.block).u32(parent)
      this.#record.u16(index.length).u16(start.offset).u32(xattrs)
      for (const { position, block, name } of index) {
        this.#record
          .u32(position)
          .u32(block)
          .u32(name.length - 1)
          .raw(name)
      }
    }
    this.#end(node)
  }

  #file(node: NodeIndex): void {
    const { start, fragment, fragmentOffset, sparse, blocks } = this.#data.describe(this.#tree.data.get(node))
    const size = this.#tree.size.get(node)
    const xattrs = this.#tree.xattrs.get(node)
    const links = this.#linksOf(node)
    if (xattrs === NONE && links === 1 && sparse === 0 && size <= U32_MAX && start <= U32_MAX) {
      this.#begin(node, INODE_TYPE.file)
      this.#record.u32(start).u32(fragment).u32(fragmentOffset).u32(size)
    } else {
      this.#begin(node, INODE_TYPE.extendedFile)
      this.#record.u64(start).u64(size).u64(sparse)
      this.#record.u32(links).u32(fragment).u32(fragmentOffset).u32(xattrs)
    }
    this.#end(node)
    // In pieces: the list of a large file may have a million blocks.
    for (let at = 0; at < blocks.length; at += BLOCKS_AT_ONCE) {
      this.#record.clear()
      for (const block of blocks.subarray(at, at + BLOCKS_AT_ONCE)) this.#record.u32(block)
      this.#table.write(this.#record.bytes)
    }
  }

  #symlink(node: NodeIndex): void {
    const target = this.#tree.target(node)
    const xattrs = this.#tree.xattrs.get(node)
    this.#begin(node, xattrs === NONE ? INODE_TYPE.symlink : INODE_TYPE.extendedSymlink)
    this.#record.u32(this.#linksOf(node)).u32(target.length).raw(target)
    if (xattrs !== NONE) this.#record.u32(xattrs)
    this.#end(node)
  }

  #special(node: NodeIndex, type: number): void {
    const xattrs = this.#tree.xattrs.get(node)
    this.#begin(node, xattrs === NONE ? type : type + EXTENDED)
    this.#record.u32(this.#linksOf(node))
    const isDevice = type === INODE_TYPE.blockDevice || type === INODE_TYPE.charDevice
    if (isDevice) this.#record.u32(this.#tree.rdev.get(node))
    if (xattrs !== NONE) this.#record.u32(xattrs)
    this.#end(node)
  }

  #linksOf(node: NodeIndex): number {
    return this.#layout.links[node] ?? 0
  }

  #begin(node: NodeIndex, type: number): void {
    const { mode, uid, gid, mtime } = this.#tree
    this.#record
      .clear()
      .u16(type)
      .u16(mode.get(node) & 0o7777)
      .u16(uid.get(node))
      .u16(gid.get(node))
    this.#record.u32(mtime.get(node)).u32(this.numberOf(node))
  }

  #end(node: NodeIndex): void {
    const { block, offset } = this.#table.position
    this.#blocks[node] = block
    this.#offsets[node] = offset
    this.#table.write(this.#record.bytes)
  }
}
