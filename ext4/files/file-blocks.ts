import { INODE_FLAGS, type Inode } from '../inodes/inode.ts'
import type { Volume } from '../volume/volume.ts'
import { findByPointers } from './block-map.ts'
import { type BlockRun, HOLE } from './block-run.ts'
import { findByExtents } from './extent-tree.ts'

/**
 * Where blocks of a file lie, whichever way the inode tells it. Not for inodes with inline data.
 * @param wanted number of a block in the file
 * @returns a run that begins with that block
 * @throws DamageError
 */
export function findBlocks(volume: Volume, inode: Inode, wanted: number): BlockRun {
  return (inode.flags & INODE_FLAGS.hasExtents) !== 0
    ? findByExtents(volume, inode, wanted)
    : findByPointers(volume, inode, wanted)
}

/**
 * Reads the beginning of a file through the cache of metadata: link targets, values of attributes.
 * @param length bytes that the file has. @throws DamageError where it has a hole
 */
export function readMetadataFile(volume: Volume, inode: Inode, length: number): Buffer {
  const { blockSize } = volume.superblock
  const content = Buffer.alloc(length)
  for (let at = 0; at < length; at += blockSize) {
    const { first } = findBlocks(volume, inode, at / blockSize)
    if (first === HOLE) throw volume.damage(0, `inode ${inode.number}: nothing at byte ${at} of ${length}`)
    volume.block(first, `content ${inode.number}`).bytes.copy(content, at)
  }
  return content
}
