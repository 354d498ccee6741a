import { type ImageSummary, omitUndefined } from '../src/base/index.ts'
import type { Ext4Image } from './image.ts'
import { COMPAT, featureNames, INCOMPAT } from './superblock/features.ts'
import type { Superblock } from './superblock/superblock.ts'

/** What people should know of a file system that was not unmounted, or is known to be damaged. */
export function remarkOf({ superblock, replay }: Ext4Image): string | undefined {
  const { state } = superblock
  if (state === 'clean') return undefined
  if (state === 'has errors') return 'the file system is marked as having errors: run e2fsck on it'
  if (replay === undefined) return 'the file system was not unmounted, and has no journal: run e2fsck on it'
  const { transactions, blocks } = replay
  return `the file system was not unmounted: its journal is replayed in memory, ${transactions} transactions, ${blocks} blocks`
}

/**
 * Why fuse2fs must not write to a file system (`ImageKind.writeObstacle`): it replays no journal, and crashes with one, and
 * it believes what the bitmaps say. e2fsck loses the offset when it opens the file again after a journal.
 */
export function writeObstacle(
  { state, features }: Superblock,
  { path, offset }: { readonly path: string; readonly offset: number },
): string | undefined {
  const isAtOffset = offset > 0
  if ((features.incompat & INCOMPAT.needs_recovery) !== 0) {
    const way = isAtOffset
      ? `mount it once by the kernel, as root: mount -o loop,offset=${offset} '${path}' DIR`
      : `run e2fsck -y -E journal_only '${path}'`
    return `has a journal that was not replayed: ${way}`
  }
  if (state === 'clean') return undefined
  const what = state === 'has errors' ? 'is marked as having errors' : 'was not unmounted'
  return `${what}: run e2fsck -f '${path}${isAtOffset ? `?offset=${offset}` : ''}'`
}

/** What `inspect` tells of a file system, by its superblock as it is after the replay of its journal. */
export function summarize(image: Ext4Image): ImageSummary {
  const { superblock, replay } = image
  const { features, blockSize, blockCount, inodeCount, freeInodes } = superblock
  return {
    kind: 'ext4',
    compressor: 'none',
    blockSize,
    inodes: inodeCount - freeInodes,
    bytesUsed: blockCount * blockSize,
    hasXattrs: (features.compat & COMPAT.ext_attr) !== 0,
    mkfsTime: superblock.mkfsTime,
    features: featureNames(features),
    state: superblock.state,
    ...(superblock.volumeName === '' ? {} : { volumeName: superblock.volumeName }),
    uuid: Buffer.from(superblock.uuid).toString('hex'),
    inodeSize: superblock.inodeSize,
    freeBlocks: superblock.freeBlocks,
    ...omitUndefined({ replayed: replay, remark: remarkOf(image) }),
  }
}
