import { type ByteSource, FsError } from '../../src/base/index.ts'
import { InodeTable } from '../inodes/inode-table.ts'
import { COMPAT, INCOMPAT } from '../superblock/features.ts'
import {
  decodeSuperblock,
  readSuperblock,
  SUPERBLOCK_POSITION,
  SUPERBLOCK_SIZE,
  type Superblock,
} from '../superblock/superblock.ts'
import { journalMap } from '../volume/journal-map.ts'
import type { MetadataCache } from '../volume/metadata-cache.ts'
import { Volume } from '../volume/volume.ts'
import { hasFastCommit } from './fast-commits.ts'
import { decodeJournalSuperblock } from './journal-superblock.ts'
import { Log } from './log.ts'
import { recover } from './recovery.ts'

/** What the journal held at the last unmount, or crash. */
export interface Replay {
  readonly transactions: number
  /** Blocks that are read from the journal instead of from their places. */
  readonly blocks: number
}

/** A file system as it is once its journal was replayed. Nothing was written. */
export interface OpenVolume {
  readonly volume: Volume
  /** Undefined where nothing was to be replayed. */
  readonly replay: Replay | undefined
}

/**
 * Opens the file system of a source, with its journal replayed in memory where it has to be.
 * @param label for messages
 * @throws FsError EINVAL for what is no ext file system, and for features that cannot be read; EIO for damage
 */
export function openVolume(source: ByteSource, label: string, cache?: MetadataCache): OpenVolume {
  const superblock = readSuperblock(source)
  const volume = new Volume({ source, superblock, label, cache })
  const { compat, incompat } = superblock.features
  const isNeeded = (incompat & INCOMPAT.needs_recovery) !== 0 && (compat & COMPAT.has_journal) !== 0
  if (!isNeeded) return { volume, replay: undefined }
  if (superblock.journalDevice !== 0) {
    throw new FsError(
      'EINVAL',
      `${label}: its journal is on another device and must be replayed first: run e2fsck on it`,
    )
  }
  const { journalInode, blockSize } = superblock
  const inode = new InodeTable(volume).read(journalInode)
  const log = new Log(source, volume, inode)
  const position = log.position(0)
  const head = decodeJournalSuperblock(log.read(0).bytes, label, position, log.count, blockSize)
  const { copies, transactions, next } = recover(log, head)
  if (head.hasFastCommits && hasFastCommit(fastBlocks(log, head.end + 1, head.fastCommitEnd), next)) {
    throw new FsError('EINVAL', `${label}: fast commits in the journal cannot be replayed: run e2fsck on it`)
  }
  if (copies.size === 0) return { volume, replay: { transactions, blocks: 0 } }
  const journal = journalMap(copies)
  const replayed = new Volume({ source, superblock, label, cache, journal })
  const renewed = superblockOf(replayed, source.size)
  return {
    volume: new Volume({ source, superblock: renewed, label, cache, journal }),
    replay: { transactions, blocks: copies.size },
  }
}

function* fastBlocks(log: Log, start: number, end: number): Generator<Uint8Array> {
  for (let block = start; block < end; block++) yield log.read(block).bytes
}

/** The superblock after the replay: a transaction may have it, too. */
function superblockOf(volume: Volume, size: number): Superblock {
  const { blockSize } = volume.superblock
  const block = Math.floor(SUPERBLOCK_POSITION / blockSize)
  const from = SUPERBLOCK_POSITION % blockSize
  const bytes = volume.rawBlock(block).subarray(from, from + SUPERBLOCK_SIZE)
  const superblock = decodeSuperblock(bytes, volume.label, size)
  if (superblock.blockSize !== blockSize) {
    throw volume.damage(0, `the journal changes the block size from ${blockSize} to ${superblock.blockSize}`)
  }
  return superblock
}
