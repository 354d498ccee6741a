import { ByteReader, FsError, type Name } from '../../src/base/index.ts'

/** Begins the attributes in an inode, and a block of them. */
export const ATTRIBUTE_MAGIC = 0xea02_0000

const ENTRY_SIZE = 16
/** Longest value (include/uapi/linux/limits.h: XATTR_SIZE_MAX), bytes. */
export const VALUE_MAX = 0x1_0000

/** One attribute as it is stored (ext4: Extended Attributes). */
export interface AttributeEntry {
  /** Says which prefix the name has. */
  readonly index: number
  readonly name: Name
  /** Position of the value, from the base of the list. */
  readonly offset: number
  readonly size: number
  /** The inode that has the value as its content; 0 where it stands in the list. */
  readonly valueInode: number
  readonly hash: number
}

/** A part of a block with attributes: entries from the front, values towards the back. */
export interface AttributeArea {
  readonly view: DataView
  /** Of the first entry. */
  readonly start: number
  readonly end: number
  /** What offsets of values count from. */
  readonly base: number
}

/**
 * All entries of a list, in their order.
 * @param what for messages
 * @throws FsError EIO where entries or values leave the area, or values lie among entries
 */
export function decodeEntries(
  { view, start, end, base }: AttributeArea,
  what: string,
): readonly AttributeEntry[] {
  const entries: AttributeEntry[] = []
  let at = start
  // Four zero bytes end the list; a list that fills its area has none.
  while (at + 4 <= end && view.getUint32(at, true) !== 0) {
    const reader = new ByteReader(view, at, end, what)
    const nameLength = reader.u8()
    const index = reader.u8()
    const offset = reader.u16()
    const valueInode = reader.u32()
    const size = reader.u32()
    const hash = reader.u32()
    const name = Buffer.from(reader.bytes(nameLength)).toString('latin1')
    entries.push({ index, name, offset, size, valueInode, hash })
    at += Math.ceil((ENTRY_SIZE + nameLength) / 4) * 4
  }
  for (const { name, offset, size, valueInode } of entries) {
    if (valueInode !== 0 || size === 0) continue
    const from = base + offset
    if (from >= at && from + size <= end) continue
    const place = `value of ${JSON.stringify(name)} at ${from}+${size} outside ${at}..${end}`
    throw new FsError('EIO', `${what}: ${place}`)
  }
  return entries
}
