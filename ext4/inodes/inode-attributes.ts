import { OLD_INODE_SIZE } from '../superblock/superblock.ts'
import type { Volume } from '../volume/volume.ts'
import {
  ATTRIBUTE_MAGIC,
  type AttributeArea,
  type AttributeEntry,
  decodeEntries,
} from './attribute-entries.ts'
import type { Inode } from './inode.ts'
import type { InodeRecord, InodeTable } from './inode-table.ts'

/** Attributes that lie in the record of an inode, behind its fields. */
export interface InodeAttributes {
  readonly record: InodeRecord
  readonly area: AttributeArea
  readonly entries: readonly AttributeEntry[]
}

/** @returns undefined where the record has no room, or none are there. @throws FsError EIO */
export function readInodeAttributes(
  volume: Volume,
  table: InodeTable,
  inode: Inode,
): InodeAttributes | undefined {
  const { inodeSize } = volume.superblock
  // Without further fields nothing is behind them (fs/ext4/inode.c:__ext4_iget).
  if (inode.extraSize === 0 || OLD_INODE_SIZE + inode.extraSize + 8 > inodeSize) return undefined
  const record = table.record(inode.number)
  const { view } = record.block
  const at = record.start + OLD_INODE_SIZE + inode.extraSize
  if (view.getUint32(at, true) !== ATTRIBUTE_MAGIC) return undefined
  const area = { view, start: at + 4, end: record.start + inodeSize, base: at + 4 }
  const what = `${volume.label}: inode ${inode.number}: attributes`
  return { record, area, entries: decodeEntries(area, what) }
}
