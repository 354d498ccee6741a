import { FsError, isRegular, type Name } from '../../src/base/index.ts'
import { crc32c, crc32cOfWord } from '../common/checksums.ts'
import { readMetadataFile } from '../files/file-blocks.ts'
import {
  ATTRIBUTE_MAGIC,
  type AttributeArea,
  type AttributeEntry,
  decodeEntries,
  VALUE_MAX,
} from '../inodes/attribute-entries.ts'
import { INODE_FLAGS, type Inode } from '../inodes/inode.ts'
import { readInodeAttributes } from '../inodes/inode-attributes.ts'
import type { InodeTable } from '../inodes/inode-table.ts'
import type { CachedBlock } from '../volume/metadata-cache.ts'
import type { Volume } from '../volume/volume.ts'
import { shownAcl } from './acl.ts'
import { entryHashes } from './attribute-hash.ts'

/** Begins a block of attributes; its checksum stands in it. */
const HEADER_SIZE = 32
const BLOCKS_AT = 8
const CHECKSUM_AT = 16
const NO_BYTES = new Uint8Array(4)

/** Prefixes by `e_name_index` (fs/ext4/xattr.c:ext4_xattr_handler_map). Those of others are for the kernel alone. */
const PREFIXES: ReadonlyMap<number, string> = new Map([
  [1, 'user.'],
  [4, 'trusted.'],
  [6, 'security.'],
])
/** Access control lists have no names of their own. */
const LISTS: ReadonlyMap<number, string> = new Map([
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
])

/** Attributes that lie together. */
interface AttributeList {
  readonly area: AttributeArea
  readonly entries: readonly AttributeEntry[]
}

/** The extended attributes of the files of one file system. */
export class Attributes {
  readonly #volume: Volume
  readonly #table: InodeTable

  constructor(volume: Volume, table: InodeTable) {
    this.#volume = volume
    this.#table = table
  }

  /** Full names, those in the inode first. @throws FsError EIO */
  names(inode: Inode): readonly Name[] {
    const names = new Set<Name>()
    for (const { entries } of this.#lists(inode)) {
      for (const entry of entries) {
        const name = fullName(entry)
        if (name !== undefined) names.add(name)
      }
    }
    return [...names]
  }

  /** @throws FsError EIO */
  value(inode: Inode, wanted: Name): Uint8Array | undefined {
    for (const { area, entries } of this.#lists(inode)) {
      const entry = entries.find((one) => fullName(one) === wanted)
      if (entry === undefined) continue
      const stored = this.#stored(inode, area, entry)
      return LISTS.has(entry.index) ? shownAcl(stored, `${this.#what(inode)}: ${wanted}`) : stored
    }
    return undefined
  }

  *#lists(inode: Inode): Generator<AttributeList> {
    const within = readInodeAttributes(this.#volume, this.#table, inode)
    if (within !== undefined) yield within
    if (inode.attributeBlock !== 0) yield this.#inBlock(inode)
  }

  #what({ number }: Inode): string {
    return `${this.#volume.label}: inode ${number}: attributes`
  }

  #inBlock(inode: Inode): AttributeList {
    const volume = this.#volume
    const { attributeBlock: number } = inode
    volume.assertBlocks(number, 1, () => `inode ${inode.number}: attributes`)
    const { view } = volume.block(number, 'attributes', (content) => this.#assertBlock(number, content))
    const area = { view, start: HEADER_SIZE, end: view.byteLength, base: 0 }
    return { area, entries: decodeEntries(area, this.#what(inode)) }
  }

  /** fs/ext4/xattr.c:ext4_xattr_block_csum. The place of the block is a part of the sum. */
  #assertBlock(number: number, { bytes, view }: CachedBlock): void {
    const magic = view.getUint32(0, true)
    const count = view.getUint32(BLOCKS_AT, true)
    if (magic !== ATTRIBUTE_MAGIC || count !== 1) {
      throw this.#volume.damage(number, `attributes: magic number 0x${magic.toString(16)}, ${count} blocks`)
    }
    const { checksumSeed } = this.#volume.superblock
    if (checksumSeed === undefined) return
    let sum = crc32cOfWord(crc32cOfWord(checksumSeed, number >>> 0), Math.floor(number / 2 ** 32))
    sum = crc32c(sum, bytes, 0, CHECKSUM_AT)
    sum = crc32c(crc32c(sum, NO_BYTES), bytes, CHECKSUM_AT + 4)
    const stored = view.getUint32(CHECKSUM_AT, true)
    if (stored === sum) return
    const sums = `checksum 0x${stored.toString(16)}, expected 0x${sum.toString(16)}`
    throw this.#volume.damage(number, `attributes: ${sums}`)
  }

  #stored(inode: Inode, { view, base }: AttributeArea, entry: AttributeEntry): Uint8Array {
    if (entry.size > VALUE_MAX) {
      throw new FsError('EIO', `${this.#what(inode)}: a value of ${entry.size} bytes, at most ${VALUE_MAX}`)
    }
    if (entry.valueInode !== 0) return this.#inInode(inode, entry)
    const from = view.byteOffset + base + entry.offset
    return new Uint8Array(view.buffer, from, entry.size).slice()
  }

  /** A value that is the content of an inode (fs/ext4/xattr.c:ext4_xattr_inode_get). */
  #inInode(inode: Inode, entry: AttributeEntry): Uint8Array {
    const volume = this.#volume
    const holder = this.#table.read(entry.valueInode)
    const what = `inode ${inode.number}: attribute in inode ${holder.number}`
    if ((holder.flags & INODE_FLAGS.isValue) === 0 || !isRegular(holder.mode)) {
      throw volume.damage(0, `${what}, which holds no value`)
    }
    if (holder.size !== entry.size)
      throw volume.damage(0, `${what}: ${holder.size} bytes, expected ${entry.size}`)
    const value = readMetadataFile(volume, holder, entry.size)
    // The form of Lustre has no hash: the inode names its owner instead.
    const isOwned = holder.mtime.seconds === inode.number && holder.generation === inode.generation
    if (isOwned) return value
    const hash = crc32c(volume.superblock.valueSeed, value)
    const stored = holder.atime.seconds >>> 0
    if (stored !== hash || !entryHashes(entry, hash).includes(entry.hash)) {
      throw volume.damage(0, `${what}: its hash 0x${stored.toString(16)} does not fit its content`)
    }
    return value
  }
}

function fullName({ index, name }: AttributeEntry): Name | undefined {
  const list = LISTS.get(index)
  if (list !== undefined) return list
  const prefix = PREFIXES.get(index)
  return prefix === undefined ? undefined : prefix + name
}
