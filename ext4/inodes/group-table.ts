import { ByteReader } from '../../src/base/index.ts'
import { CRC16_START, crc16, crc32c, crc32cOfWord } from '../common/checksums.ts'
import { COMPAT, INCOMPAT, RO_COMPAT } from '../superblock/features.ts'
import type { Superblock } from '../superblock/superblock.ts'
import type { Volume } from '../volume/volume.ts'

/** Bytes of a descriptor that all have, and what its second half begins with. */
const FIRST_HALF = 32
const CHECKSUM_AT = 0x1e
const CHECKSUM_SIZE = 2
const NO_BYTES = new Uint8Array(CHECKSUM_SIZE)
/** Places of inode tables kept. */
const TABLES_KEPT = 256

/** Where the inodes of each group lie (ext4: Block Group Descriptors). */
export class GroupTable {
  readonly #volume: Volume
  readonly #perBlock: number
  // Direct-mapped: group, first block of its inode table.
  readonly #groups = new Float64Array(TABLES_KEPT).fill(-1)
  readonly #tables = new Float64Array(TABLES_KEPT)

  constructor(volume: Volume) {
    this.#volume = volume
    this.#perBlock = volume.superblock.blockSize / volume.superblock.descriptorSize
  }

  /** First block of the inode table of a group that is there. @throws DamageError */
  inodeTable(group: number): number {
    const slot = group % TABLES_KEPT
    if (this.#groups[slot] === group) return this.#tables[slot] ?? 0
    const table = this.#read(group)
    this.#tables[slot] = table
    this.#groups[slot] = group
    return table
  }

  #read(group: number): number {
    const volume = this.#volume
    const { blockSize, descriptorSize, inodesPerGroup, inodeSize } = volume.superblock
    const number = this.#blockOf(Math.floor(group / this.#perBlock))
    const start = (group % this.#perBlock) * descriptorSize
    const { bytes, view } = volume.block(number, 'groups')
    const what = `descriptor of group ${group}`
    const reader = new ByteReader(view, start, start + descriptorSize, `${volume.label}: ${what}`)
    // Its bitmaps.
    reader.skip(8)
    const low = reader.u32()
    // Counts, flags, snapshots, checksums of bitmaps, unused inodes.
    reader.skip(CHECKSUM_AT - 12)
    const checksum = reader.u16()
    const expected = descriptorChecksum(
      volume.superblock,
      group,
      bytes.subarray(start, start + descriptorSize),
    )
    if (expected !== undefined && checksum !== expected) {
      const sums = `checksum 0x${checksum.toString(16)}, expected 0x${expected.toString(16)}`
      throw volume.damage(number, `${what}: ${sums}`)
    }
    let high = 0
    if (descriptorSize > FIRST_HALF) {
      reader.skip(8)
      high = reader.u32()
    }
    const table = high * 2 ** 32 + low
    const blocks = Math.ceil((inodesPerGroup * inodeSize) / blockSize)
    volume.assertBlocks(table, blocks, () => `inode table of group ${group}`)
    return table
  }

  /** The block of descriptors with an index (fs/ext4/super.c:descriptor_loc). */
  #blockOf(index: number): number {
    const { superblock } = this.#volume
    const { features, blockSize, firstMetaGroup, firstDataBlock, blocksPerGroup } = superblock
    const superblockBlock = blockSize === 1024 ? 1 : 0
    const isMeta = (features.incompat & INCOMPAT.meta_bg) !== 0
    if (!isMeta || index < firstMetaGroup) return superblockBlock + index + 1
    const group = this.#perBlock * index
    // Where block 0 belongs to no group, the superblock in block 1 is a second one before them.
    const second = blockSize === 1024 && index === 0 && firstDataBlock === 0 ? 1 : 0
    return firstDataBlock + group * blocksPerGroup + (hasSuperblock(superblock, group) ? 1 : 0) + second
  }
}

/** Whether a group begins with a copy of the superblock (fs/ext4/balloc.c:ext4_bg_has_super). */
function hasSuperblock({ features, backupGroups }: Superblock, group: number): boolean {
  if (group === 0) return true
  if ((features.compat & COMPAT.sparse_super2) !== 0) return backupGroups.includes(group)
  if (group === 1 || (features.roCompat & RO_COMPAT.sparse_super) === 0) return true
  return [3, 5, 7].some((base) => isPower(group, base))
}

function isPower(value: number, base: number): boolean {
  let power = base
  while (power < value) power *= base
  return power === value
}

/** fs/ext4/super.c:ext4_group_desc_csum. @returns undefined where descriptors have none */
function descriptorChecksum(
  { checksumSeed, features, uuid }: Superblock,
  group: number,
  bytes: Uint8Array,
): number | undefined {
  const rest = CHECKSUM_AT + CHECKSUM_SIZE
  if (checksumSeed !== undefined) {
    const before = crc32c(crc32cOfWord(checksumSeed, group), bytes, 0, CHECKSUM_AT)
    return crc32c(crc32c(before, NO_BYTES), bytes, rest) & 0xffff
  }
  if ((features.roCompat & RO_COMPAT.uninit_bg) === 0) return undefined
  const number = new Uint8Array(4)
  new DataView(number.buffer).setUint32(0, group, true)
  const before = crc16(crc16(crc16(CRC16_START, uuid), number), bytes, 0, CHECKSUM_AT)
  return crc16(before, bytes, rest)
}
