import { ByteReader, type ByteSource, FsError, XATTR_NAME_MAX } from '../src/base/index.ts'
import { LookupTable } from './lookup-table.ts'
import { MetadataCursor, type MetadataReader, MetadataTable } from './metadata.ts'
import { METADATA_SIZE, type MetadataReference, REFERENCE_SIZE, referenceAt } from './metadata-reference.ts'
import type { Superblock } from './superblock.ts'

const PREFIXES = ['user.', 'trusted.', 'security.']
const PREFIX_MASK = 0x00ff
const OUT_OF_LINE = 0x0100
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

/** Extended attributes (squashfs: Extended Attribute Table; fs/squashfs/xattr.c). Everything is read on demand. */
export class XattrTable {
  readonly #ids: LookupTable
  readonly #pairs: MetadataTable

  constructor(
    source: ByteSource,
    reader: MetadataReader,
    superblock: Pick<Superblock, 'xattrTable' | 'idTable' | 'bytesUsed'>,
  ) {
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
  }

  /** Position of the first pair: where the preceding table ends. */
  get start(): number {
    return this.#pairs.start
  }

  /** Bytes of the pairs of one set, which the kernel counts into `st_blocks`. @throws FsError EIO */
  size(index: number): number {
    return this.#set(index).size
  }

  /** Full names in stored order. Prefixes that we do not know are left out, as in the kernel. */
  names(index: number): string[] {
    const names: string[] = []
    let listSize = 0
    this.#walk(index, (name) => {
      listSize += name.length + 1
      if (listSize > XATTR_LIST_MAX) {
        throw new FsError(
          'E2BIG',
          `${this.#pairs.what}: names of set ${index} exceed ${XATTR_LIST_MAX} bytes`,
        )
      }
      names.push(name)
      return false
    })
    return names
  }

  value(index: number, wanted: string): Uint8Array | undefined {
    let value: Uint8Array | undefined
    this.#walk(index, (name, cursor, outOfLine) => {
      if (name !== wanted) return false
      value = outOfLine ? this.#readOutOfLine(cursor) : this.#readValue(cursor)
      return true
    })
    return value
  }

  /** Calls `visit` with the cursor before each value; true ends the walk. */
  #walk(index: number, visit: (name: string, cursor: MetadataCursor, outOfLine: boolean) => boolean): void {
    const { block, offset, count } = this.#set(index)
    if (count === 0) return
    const cursor = new MetadataCursor(this.#pairs, this.#pairs.start + block, offset)
    let walked = 0
    for (let i = 0; i < count; i++) {
      const at = cursor.take(4)
      const type = cursor.view.getUint16(at, true)
      const nameSize = cursor.view.getUint16(at + 2, true)
      const prefix = (type & ~(PREFIX_MASK | OUT_OF_LINE)) === 0 ? PREFIXES[type & PREFIX_MASK] : undefined
      if (prefix === undefined) cursor.skip(nameSize)
      else {
        if (nameSize === 0 || prefix.length + nameSize > XATTR_NAME_MAX) {
          throw new FsError('EIO', `${this.#pairs.what}: set ${index}, pair ${i}: name of ${nameSize} bytes`)
        }
        const nameAt = cursor.take(nameSize)
        const name = prefix + cursor.bytes.toString('latin1', nameAt, nameAt + nameSize)
        if (visit(name, cursor, (type & OUT_OF_LINE) !== 0)) return
      }
      const size = this.#valueSize(cursor)
      walked += nameSize + size
      if (walked > XATTR_SET_MAX) {
        throw new FsError('EIO', `${this.#pairs.what}: set ${index} has more than ${XATTR_SET_MAX} bytes`)
      }
      cursor.skip(size)
    }
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
