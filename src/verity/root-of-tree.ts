import { type ByteSource, FsError } from '../base/index.ts'
import { blockDigest, toHex } from './block-digest.ts'
import { treeGeometry, treeOffsetAfter } from './geometry.ts'
import { findVeritySuperblock } from './open.ts'
import { checkParameters } from './table.ts'

/**
 * The root hash of the hash tree that an image brings with it. It says what the tree is, not that the image is the one
 * that somebody means: whoever changed the image can have changed the tree.
 * @param dataLength bytes of the image, such as squashfs `bytes_used`
 * @returns hex; undefined where there is no tree
 * @throws FsError EIO where there is one and it is damaged or cut off
 */
export function rootHashOfTree(source: ByteSource, dataLength: number): string | undefined {
  const found = findVeritySuperblock(source, dataLength)
  if (found === undefined) return undefined
  const { superblock, hashOffset } = found
  const what = `layer ${source.label}: verity superblock at byte ${hashOffset}`
  const algorithm = checkParameters(superblock, what)
  const { hashBlockSize, dataBlockSize, hashType, salt } = superblock
  const treeOffset = treeOffsetAfter(hashOffset, hashBlockSize)
  const { levels, treeEnd, coveredBytes } = treeGeometry(superblock, algorithm.digestSize, treeOffset)
  if (treeEnd > source.size || coveredBytes > hashOffset) {
    throw new FsError('EIO', `${what}: a tree that ends at byte ${treeEnd}, in a file of ${source.size}`)
  }
  const top = levels.at(-1)
  const block = new Uint8Array(top === undefined ? dataBlockSize : hashBlockSize)
  source.readInto(top?.start ?? 0, block)
  return toHex(blockDigest(algorithm, hashType, salt, block.length)(block))
}
