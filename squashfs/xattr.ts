import { ByteReader, type ByteSource, FsError, ResumableWalks, XATTR_NAME_MAX } from '../src/base/index.ts'
import { LookupTable } from './lookup-table.ts'
import { MetadataCursor } from './metadata/metadata-cursor.ts'
import type { MetadataReader } from './metadata/metadata-reader.ts'
import {
  METADATA_SIZE,
  type MetadataReference,
  REFERENCE_SIZE,
  referenceAt,
} from './metadata/metadata-reference.ts'
import { MetadataTable } from './metadata/metadata-table.ts'
import type { Superblock } from './superblock.ts'
import { XattrNameLists } from './xattr-name-lists.ts'

export const PREFIXES = ['user.', 'trusted.', 'security.']
const PREFIX_MASK = 0x00ff
export const OUT_OF_LINE = 0x0100
const HEADER_SIZE = 16
const ID_SIZE = 16
/** Limits of Linux (linux/limits.h): nothing longer can have come from, or go to, a file system. */
const XATTR_SIZE_MAX = 65536
const XATTR_LIST_MAX = 65536
const PAIRS_MAX = 65536
/**
 * Decoded bytes of the attributes of one inode, at most: a thousand values of the greatest size, where file systems
 * that people make images of have room for a few (ext4 for one block, all attributes together).
 */
export const XATTR_SET_MAX = 64 << 20

/** One entry of the xattr id table: where the pairs of an inode are. */
interface XattrSet extends MetadataReference {
  readonly count: number
  readonly size: number
}

/** A walk over the pairs of one set. */
interface PairsWalk {
  readonly index: number
  readonly cursor: MetadataCursor | undefined
  readonly count: number
  passed: number
  /** Bytes of names and values passed. */
  walked: number
}

interface NamesWalk extends PairsWalk {
  readonly names: string[]
  listSize: number
}

interface Pair {
  /** Undefined for a prefix that we do not know. */
  readonly name: string | undefined
  /** Bytes of name and value. */
  readonly size: number
  /** Given where its name is the wanted one. */
  readonly value?: Uint8Array
}

/** Extended attributes (squashfs: Extended Attribute Table; fs/squashfs/xattr.c). Everything is read on demand. */
export class XattrTable {
  readonly #ids: LookupTable
  readonly #pairs: MetadataTable
  readonly #pause: () => void
  readonly #lists = new ResumableWalks<NamesWalk, string[]>()
  readonly #searches = new ResumableWalks<PairsWalk, Uint8Array | undefined>()
  readonly #nameLists: XattrNameLists

  constructor(
    source: ByteSource,
    reader: MetadataReader,
    superblock: Pick<Superblock, 'xattrTable' | 'idTable' | 'bytesUsed'>,
    pause: () => void,
  ) {
    this.#pause = pause
    const { xattrTable, idTable, bytesUsed } = superblock
    const bytes = new Uint8Array(Math.min(HEADER_SIZE, bytesUsed - xattrTable))
    source.readInto(xattrTable, bytes)
    const header = ByteReader.over(bytes, `${reader.label}: xattr table header`)
    const pairsStart = header.offset64()
    const count = header.u32()
    header.skip(4)
    if (pairsStart < idTable || pairsStart > xattrTable) {
      throw new FsError(
        'EIO',
        `${reader.label}: xattr pairs at ${pairsStart}, expected ${idTable}..${xattrTable}`,
      )
    }
    this.#ids = new LookupTable(source, reader, 'xattr id table', {
      count,
      recordSize: ID_SIZE,
      listStart: xattrTable + HEADER_SIZE,
      listEnd: bytesUsed,
      lowest: pairsStart,
    })
    this.#pairs = new MetadataTable(reader, pairsStart, this.#ids.start, 'xattr table')
    this.#nameLists = new XattrNameLists(count, { open: (index) => this.#pairsOf(index) }, pause)
  }

  /** Position of the first pair: where the preceding table ends. */
  get start(): number {
    return this.#pairs.start
  }

  /** Bytes of the pairs of one set, which the kernel counts into `st_blocks`. @throws FsError EIO */
  size(index: number): number {
    return this.#set(index).size
  }

  /** All names that some inode of the image may have; undefined where that is not known, or not yet. */
  allNames(): ReadonlySet<string> | undefined {
    return this.#nameLists.all()
  }

  /** Full names in stored order. Prefixes that we do not know are left out, as in the kernel. */
  names(index: number): readonly string[] {
    const known = this.#nameLists.ofSet(index)
    if (known !== undefined) return known
    return this.#lists.run(
      () => `${index}`,
      () => ({ ...this.#begin(index), names: [], listSize: 0 }),
      (walk) => {
        for (let pair = this.#next(walk); pair !== undefined; pair = this.#next(walk)) {
          if (pair.name !== undefined) this.#addName(walk, pair.name)
          this.#pause()
        }
        return walk.names
      },
    )
  }

  value(index: number, wanted: string): Uint8Array | undefined {
    if (this.#nameLists.ofSet(index)?.includes(wanted) === false) return undefined
    return this.#searches.run(
      () => `${index}:${wanted}`,
      () => this.#begin(index),
      (walk) => {
        for (let pair = this.#next(walk, wanted); pair !== undefined; pair = this.#next(walk, wanted)) {
          if (pair.value !== undefined) return pair.value
          this.#pause()
        }
        return undefined
      },
    )
  }

  #pairsOf(index: number) {
    const walk = this.#begin(index)
    return () => this.#next(walk)
  }

  #addName(walk: NamesWalk, name: string): void {
    walk.listSize += name.length + 1
    if (walk.listSize > XATTR_LIST_MAX) {
      throw new FsError(
        'E2BIG',
        `${this.#pairs.what}: names of set ${walk.index} exceed ${XATTR_LIST_MAX} bytes`,
      )
    }
    walk.names.push(name)
  }

  #begin(index: number): PairsWalk {
    const { block, offset, count } = this.#set(index)
    const cursor =
      count === 0 ? undefined : new MetadataCursor(this.#pairs, this.#pairs.start + block, offset)
    return { index, cursor, count, passed: 0, walked: 0 }
  }

  /** The next pair, with its value where its name is the wanted one. After a `Postponed` it is the next one again. */
  #next(walk: PairsWalk, wanted?: string): Pair | undefined {
    const { cursor, count } = walk
    if (cursor === undefined || walk.passed >= count) return undefined
    cursor.mark()
    try {
      const pair = this.#pair(walk, cursor, wanted)
      walk.passed += 1
      return pair
    } catch (error) {
      cursor.back()
      throw error
    }
  }

  #pair(walk: PairsWalk, cursor: MetadataCursor, wanted: string | undefined): Pair {
    const at = cursor.take(4)
    const type = cursor.view.getUint16(at, true)
    const nameSize = cursor.view.getUint16(at + 2, true)
    const name = this.#name(walk, cursor, type, nameSize)
    if (name !== undefined && name === wanted) {
      const isOutOfLine = (type & OUT_OF_LINE) !== 0
      const value = isOutOfLine ? this.#readOutOfLine(cursor) : this.#readValue(cursor)
      return { name, value, size: nameSize + value.length }
    }
    const valueSize = this.#valueSize(cursor)
    const size = nameSize + valueSize
    if (walk.walked + size > XATTR_SET_MAX) {
      throw new FsError('EIO', `${this.#pairs.what}: set ${walk.index} has more than ${XATTR_SET_MAX} bytes`)
    }
    cursor.skip(valueSize)
    walk.walked += size
    return { name, size }
  }

  /** @returns undefined for a prefix that we do not know */
  #name(walk: PairsWalk, cursor: MetadataCursor, type: number, nameSize: number): string | undefined {
    const prefix = (type & ~(PREFIX_MASK | OUT_OF_LINE)) === 0 ? PREFIXES[type & PREFIX_MASK] : undefined
    if (prefix === undefined) {
      cursor.skip(nameSize)
      return undefined
    }
    if (nameSize === 0 || prefix.length + nameSize > XATTR_NAME_MAX) {
      throw new FsError(
        'EIO',
        `${this.#pairs.what}: set ${walk.index}, pair ${walk.passed}: name of ${nameSize} bytes`,
      )
    }
    const nameAt = cursor.take(nameSize)
    return prefix + cursor.bytes.toString('latin1', nameAt, nameAt + nameSize)
  }

  #readOutOfLine(cursor: MetadataCursor): Uint8Array {
    const size = takeU32(cursor)
    if (size !== REFERENCE_SIZE) {
      throw new FsError(
        'EIO',
        `${this.#pairs.what}: out-of-line value of ${size} bytes, expected a reference`,
      )
    }
    const { block, offset } = takeReference(cursor)
    return this.#readValue(new MetadataCursor(this.#pairs, this.#pairs.start + block, offset))
  }

  #readValue(cursor: MetadataCursor): Uint8Array {
    return cursor.copy(this.#valueSize(cursor))
  }

  #valueSize(cursor: MetadataCursor): number {
    const size = takeU32(cursor)
    if (size <= XATTR_SIZE_MAX) return size
    throw new FsError('EIO', `${this.#pairs.what}: value of ${size} bytes, at most ${XATTR_SIZE_MAX}`)
  }

  #set(index: number): XattrSet {
    const cursor = this.#ids.record(index)
    const { block, offset } = takeReference(cursor)
    const at = cursor.take(8)
    const count = cursor.view.getUint32(at, true)
    const size = cursor.view.getUint32(at + 4, true)
    if (count > PAIRS_MAX || offset >= METADATA_SIZE) {
      throw new FsError(
        'EIO',
        `${this.#pairs.what}: set ${index} has ${count} pairs at ${block}:${offset}, at most ${PAIRS_MAX}`,
      )
    }
    return { block, offset, count, size }
  }
}

function takeU32(cursor: MetadataCursor): number {
  const at = cursor.take(4)
  return cursor.view.getUint32(at, true)
}

function takeReference(cursor: MetadataCursor): MetadataReference {
  const at = cursor.take(REFERENCE_SIZE)
  return referenceAt(cursor.view, at)
}
