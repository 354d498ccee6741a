import type { Volume } from '../volume/volume.ts'

/** Inode, length of the entry, length of the name, type of the file: then the name. */
export const ENTRY_HEADER = 8
const ALIGNMENT = 4
/** In blocks of 64 KiB an entry that takes the rest of one is stored so (fs/ext4/ext4.h:ext4_rec_len_from_disk). */
const REST_OF_LARGE_BLOCK = 0xffff
const LARGE_BLOCK = 0x1_0000

/** One entry of a directory as it is stored (ext4: Linear Directories); `inode` is 0 where it has none. */
export interface StoredEntry {
  readonly inode: number
  readonly length: number
  readonly nameLength: number
  /** `EXT4_FT_*`; 0 where the file system does not keep it. */
  readonly type: number
}

/** A part of a directory: one of its blocks, or what of it lies in an inode. */
export interface EntryArea {
  readonly bytes: Buffer
  readonly view: DataView
  readonly end: number
  /** Block where it lies, for messages. */
  readonly block: number
}

/** @throws DamageError (fs/ext4/dir.c:__ext4_check_dir_entry) */
export function entryAt(volume: Volume, area: EntryArea, at: number, directory: number): StoredEntry {
  const { view, end, block } = area
  const room = end - at
  const fail = (what: string): Error =>
    volume.damage(block, `directory ${directory}: entry at ${at}: ${what}`)
  if (room < ENTRY_HEADER) throw fail(`${room} bytes are left`)
  const inode = view.getUint32(at, true)
  const stored = view.getUint16(at + 4, true)
  const isLarge = volume.superblock.blockSize === LARGE_BLOCK
  const length = isLarge && (stored === REST_OF_LARGE_BLOCK || stored === 0) ? LARGE_BLOCK : stored
  const nameLength = view.getUint8(at + 6)
  const type = view.getUint8(at + 7)
  if (length % ALIGNMENT !== 0 || length < ENTRY_HEADER + ALIGNMENT || length > room) {
    throw fail(`${length} bytes long, ${room} are left`)
  }
  if (ENTRY_HEADER + nameLength > length) throw fail(`a name of ${nameLength} bytes in ${length}`)
  if (inode > volume.superblock.inodeCount) {
    throw fail(`inode ${inode} of ${volume.superblock.inodeCount}`)
  }
  return { inode, length, nameLength, type }
}
