import { DT_DIR, FsError, type InodeNumber } from '../../src/base/index.ts'
import { HOST_NUMBERS, type InodeNumbers } from '../stored/inode-numbers.ts'
import { claimedNumber } from '../stored/number-record.ts'
import type { Candidate, Parts } from './parts.ts'

/** A file by the number that its layer gives it. */
export interface Numbered {
  /** Index of the layer, bottom 0. */
  readonly layer: number
  readonly ino: InodeNumber
}

/**
 * The original of a copy that an earlier mount made in what is a layer now: the copy keeps its number. The record in the
 * copy is believed where a layer below has a file of that number under the same name. Its name is its only one, and the
 * copy hides it, so nobody else is shown with that number, whoever wrote the record.
 * @param copy what shows under the name
 * @param next gives the entries of the name below it, by growing depth
 * @throws FsError EIO where the copy is damaged
 */
export function originalOf(
  inodes: InodeNumbers,
  parts: Parts,
  copy: Candidate,
  next: () => Candidate | undefined,
): Numbered | undefined {
  const layer = parts.layer(copy.depth)
  const claimed = claimedNumber(layer, copy.entry.ref)
  if (claimed === undefined || layer.stat(copy.entry.ref).nlink !== 1) return undefined
  try {
    for (let below = next(); below !== undefined; below = next()) {
      const { depth, entry } = below
      if (entry.type === DT_DIR) return undefined
      // What is counted as it is met has another number in each mount.
      if (entry.ino >= HOST_NUMBERS) continue
      const original = { layer: parts.layerIndex(depth), ino: entry.ino }
      if (inodes.ofLayer(original.layer, original.ino) !== claimed) continue
      return parts.layer(depth).stat(entry.ref).nlink === 1 ? original : undefined
    }
    return undefined
  } catch (error) {
    // Damage of what it hides is no damage of the copy.
    if (error instanceof FsError) return undefined
    throw error
  }
}
