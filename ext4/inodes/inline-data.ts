import type { Volume } from '../volume/volume.ts'
import { BLOCK_FIELD_AT, BLOCK_FIELD_SIZE, INODE_FLAGS, type Inode } from './inode.ts'
import { readInodeAttributes } from './inode-attributes.ts'
import type { InodeTable } from './inode-table.ts'

/** The attribute `system.data`: content beyond the first 60 bytes. */
const SYSTEM_INDEX = 7
const DATA_NAME = 'data'

/** A piece of content that lies in the record of its inode. */
export interface InlinePiece {
  readonly bytes: Uint8Array
  /** Block of the inode table, and position in it. */
  readonly block: number
  readonly start: number
}

/** Whether the content lies in the inode itself (ext4: Inline Data, EXT4_INLINE_DATA_FL). */
export function hasInlineData({ flags }: Inode): boolean {
  return (flags & INODE_FLAGS.hasInlineData) !== 0
}

/**
 * The content of a small file, directory or link, that lies in its inode (ext4: Inline Data): one piece, or two.
 * @throws FsError EIO
 */
export function readInlineData(volume: Volume, table: InodeTable, inode: Inode): readonly InlinePiece[] {
  const attributes = readInodeAttributes(volume, table, inode)
  const { record, area, entries } = attributes ?? {}
  const { blockNumber: block, start } = record ?? table.record(inode.number)
  const first = { bytes: inode.blockField, block, start: start + BLOCK_FIELD_AT }
  const data = entries?.find(({ index, name }) => index === SYSTEM_INDEX && name === DATA_NAME)
  const size = data === undefined || data.valueInode !== 0 ? 0 : data.size
  if (inode.size > BLOCK_FIELD_SIZE + size) {
    const room = `${inode.size} bytes of inline data, room for ${BLOCK_FIELD_SIZE + size}`
    throw volume.damage(block, `inode ${inode.number}: ${room}`)
  }
  if (data === undefined || area === undefined || record === undefined || size === 0) return [first]
  const at = area.base + data.offset
  return [first, { bytes: record.block.bytes.subarray(at, at + size), block, start: at }]
}
