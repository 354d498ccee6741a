import { viewOf } from '../../src/base/index.ts'

/** Tags of a fast commit (fs/ext4/fast_commit.h), each with its length in 16 bits, little-endian. */
const PAD = 0x0007
const TAIL = 0x0008
const HEAD = 0x0009
const TAG_SIZE = 4

/**
 * Whether fast commits follow the last transaction: changes that no reader sees who replays transactions alone. One that
 * was cut off does not count (fs/ext4/fast_commit.c:ext4_fc_replay_scan).
 * @param blocks of the area of fast commits, in order
 * @param sequence number of the transaction that would have come next
 */
export function hasFastCommit(blocks: Iterable<Uint8Array>, sequence: number): boolean {
  let isFirst = true
  for (const bytes of blocks) {
    const view = viewOf(bytes)
    for (let at = 0; at + TAG_SIZE <= bytes.length; ) {
      const tag = view.getUint16(at, true)
      const length = view.getUint16(at + 2, true)
      const value = at + TAG_SIZE
      if (tag === 0 || tag > HEAD || value + length > bytes.length) return false
      if (isFirst && tag !== HEAD) return false
      isFirst = false
      if (tag === HEAD && (length < 8 || view.getUint32(value + 4, true) !== sequence)) return false
      if (tag === TAIL) return length >= 8 && view.getUint32(value, true) === sequence
      at = value + length
      if (tag === PAD) break
    }
  }
  return false
}
