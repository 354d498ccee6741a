import { SquashfsImage, type SquashfsOptions } from '../../../squashfs/image.ts'
import { cat, text, u16, u32, u64 } from './bytes.ts'
import { MemorySource, NO_CODEC } from './sources.ts'

export const BLOCK_SIZE = 4096
const NONE = 0xffff_ffff
const NO_TABLE = 0xffff_ffff_ffff_ffffn

export interface EntrySpec {
  readonly name: string
  readonly offset: number
  readonly type: number
  readonly delta?: number
  readonly nameSize?: number
}

/** A run of directory entries with its header. `base` is the inode number the deltas count from. */
export function run(
  base: number,
  entries: readonly EntrySpec[],
  block = 0,
  count = entries.length,
): Uint8Array {
  const parts = entries.map((entry) =>
    cat(
      u16(entry.offset),
      u16(entry.delta ?? 0),
      u16(entry.type),
      u16((entry.nameSize ?? entry.name.length) - 1),
      text(entry.name),
    ),
  )
  return cat(u32(count - 1), u32(block), u32(base), ...parts)
}

/** squashfs: Common Inode Header. */
export function inodeBase(type: number, number: number, mode = 0o644, uid = 0, gid = 0): Uint8Array {
  return cat(u16(type), u16(mode), u16(uid), u16(gid), u32(1_600_000_000 + number), u32(number))
}

export function directoryInode(
  number: number,
  listing: { size: number; offset?: number; block?: number; parent?: number },
): Uint8Array {
  return cat(
    inodeBase(1, number, 0o755),
    u32(listing.block ?? 0),
    u32(2),
    u16(listing.size + 3),
    u16(listing.offset ?? 0),
    u32(listing.parent ?? 0),
  )
}

export function fileInode(
  number: number,
  file: { start?: number; fragment?: number; fragmentOffset?: number; size: number; blocks?: number[] },
): Uint8Array {
  return cat(
    inodeBase(2, number),
    u32(file.start ?? 0),
    u32(file.fragment ?? NONE),
    u32(file.fragmentOffset ?? 0),
    u32(file.size),
    ...(file.blocks ?? []).map(u32),
  )
}

export function extendedFileInode(
  number: number,
  file: { start?: number; size: number; sparse?: number; xattr?: number; nlink?: number; blocks?: number[] },
): Uint8Array {
  return cat(
    inodeBase(9, number),
    u64(file.start ?? 0),
    u64(file.size),
    u64(file.sparse ?? 0),
    u32(file.nlink ?? 1),
    u32(NONE),
    u32(0),
    u32(file.xattr ?? NONE),
    ...(file.blocks ?? []).map(u32),
  )
}

export interface ImageSpec {
  /** Stands right after the superblock, at 96. */
  readonly data?: Uint8Array
  readonly inodes: readonly Uint8Array[]
  /** Index of the root in `inodes`; the last one by default, as mksquashfs has it. */
  readonly root?: number
  readonly directories: Uint8Array
  readonly fragments?: readonly { start: number; stored: number }[]
  readonly ids?: readonly number[]
  /** Key-value pairs, and the sets: reference, count, size. */
  readonly xattrs?: { pairs: Uint8Array; sets: readonly (readonly [bigint, number, number])[] }
  readonly inodeCount?: number
}

export interface BuiltImage {
  readonly bytes: Uint8Array
  /** Refs of the inodes, in order. */
  readonly refs: readonly number[]
  readonly inodeTable: number
}

/** Cuts a table into metadata blocks, stored as they are. */
export function metadata(table: Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = []
  for (let at = 0; at < table.length; at += 8192) {
    const block = table.subarray(at, at + 8192)
    blocks.push(u16(0x8000 | block.length), block)
  }
  return cat(...blocks)
}

/** Ref of a byte of the decoded inode table. */
export function refOf(offset: number): number {
  return Math.floor(offset / 8192) * 8194 * 8192 + (offset % 8192)
}

/** An image of exactly these records, however wrong they are; nothing in it is compressed. */
export function build(spec: ImageSpec): BuiltImage {
  const refs: number[] = []
  let offset = 0
  for (const inode of spec.inodes) {
    refs.push(refOf(offset))
    offset += inode.length
  }
  const { xattrs } = spec
  return assemble({
    ...(spec.data === undefined ? {} : { data: spec.data }),
    inodeCount: spec.inodeCount ?? spec.inodes.length,
    refs,
    root: refs[spec.root ?? refs.length - 1]!,
    inodeTable: metadata(cat(...spec.inodes)),
    directoryTable: metadata(spec.directories),
    fragments: spec.fragments ?? [],
    ids: spec.ids ?? [0],
    ...(xattrs === undefined ? {} : { xattrs: { pairs: metadata(xattrs.pairs), sets: xattrs.sets } }),
  })
}

/** An image whose tables are metadata blocks already: compressed ones too. */
export interface StoredSpec {
  readonly data?: Uint8Array
  readonly inodeCount: number
  readonly refs: readonly number[]
  /** Ref of the root. */
  readonly root: number
  readonly inodeTable: Uint8Array
  readonly directoryTable: Uint8Array
  readonly fragments?: readonly { start: number; stored: number }[]
  readonly ids?: readonly number[]
  readonly xattrs?: { pairs: Uint8Array; sets: readonly (readonly [bigint, number, number])[] }
  /** Bytes of a block, 4096 by default. */
  readonly blockSize?: number
}

export function assemble(spec: StoredSpec): BuiltImage {
  const { refs, root, blockSize = BLOCK_SIZE } = spec
  const parts: Uint8Array[] = []
  let at = 96
  const put = (bytes: Uint8Array): number => {
    const start = at
    parts.push(bytes)
    at += bytes.length
    return start
  }
  put(spec.data ?? new Uint8Array(0))
  const inodeTable = put(spec.inodeTable)
  const directoryTable = put(spec.directoryTable)
  let fragmentTable: number | bigint = NO_TABLE
  const fragments = spec.fragments ?? []
  if (fragments.length > 0) {
    const block = put(metadata(cat(...fragments.map((f) => cat(u64(f.start), u32(f.stored), u32(0))))))
    fragmentTable = put(u64(block))
  }
  const ids = spec.ids ?? [0]
  const idBlock = put(metadata(cat(...ids.map(u32))))
  const idTable = put(u64(idBlock))
  let xattrTable: number | bigint = NO_TABLE
  if (spec.xattrs !== undefined) {
    const pairs = put(spec.xattrs.pairs)
    const sets = spec.xattrs.sets.map(([ref, count, size]) => cat(u64(ref), u32(count), u32(size)))
    const setBlock = put(metadata(cat(...sets)))
    xattrTable = put(cat(u64(pairs), u32(sets.length), u32(0), u64(setBlock)))
  }
  const superblock = cat(
    u32(0x73717368), // magic
    u32(spec.inodeCount),
    u32(1_500_000_000), // mod time
    u32(blockSize),
    u32(fragments.length),
    u16(1), // compressor: gzip
    u16(Math.log2(blockSize)),
    u16(0x000b), // flags: nothing compressed, which binds nobody
    u16(ids.length),
    u16(4),
    u16(0),
    u16(root % 8192),
    u32(Math.floor(root / 8192)),
    u16(0),
    u64(at),
    u64(idTable),
    u64(xattrTable),
    u64(inodeTable),
    u64(directoryTable),
    u64(fragmentTable),
    u64(NO_TABLE), // export table
  )
  return { bytes: cat(superblock, ...parts), refs, inodeTable }
}

export function open(built: BuiltImage, options: Partial<SquashfsOptions> = {}): SquashfsImage {
  return new SquashfsImage({
    source: new MemorySource(built.bytes),
    sourceId: 7,
    label: 'test',
    codec: NO_CODEC,
    ...options,
  })
}

/** Root directory with the given listing; `inodes` come before the root. */
export function withRoot(
  inodes: readonly Uint8Array[],
  listing: Uint8Array,
  rest: Partial<ImageSpec> = {},
): BuiltImage {
  const root = directoryInode(inodes.length + 1, { size: listing.length })
  return build({ inodes: [...inodes, root], directories: listing, ...rest })
}
