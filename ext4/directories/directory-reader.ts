import { type LayerEntry, type Name, ResumableWalks } from '../../src/base/index.ts'
import { hasInlineData } from '../inodes/inline-data.ts'
import { INODE_FLAGS, type Inode } from '../inodes/inode.ts'
import type { InodeTable } from '../inodes/inode-table.ts'
import { COMPAT } from '../superblock/features.ts'
import type { Volume } from '../volume/volume.ts'
import { DirectoryBlocks } from './directory-blocks.ts'
import { Ext4DirectoryCursor, hasName, toEntry } from './directory-cursor.ts'
import { entryAt } from './entry.ts'
import { assertInside, leavesFor } from './hash-tree.ts'

/** Below this an index saves nothing, bytes. */
const SMALL = 4096

/** Lists and searches the directories of one file system. */
export class DirectoryReader {
  readonly #blocks: DirectoryBlocks
  readonly #pause: () => void
  readonly #searches = new ResumableWalks<Ext4DirectoryCursor, LayerEntry | undefined>()

  constructor(volume: Volume, table: InodeTable, pause: () => void) {
    this.#blocks = new DirectoryBlocks(volume, table)
    this.#pause = pause
  }

  /** @throws FsError ENOTDIR, EIO */
  open(inode: Inode, position: number): Ext4DirectoryCursor {
    this.#blocks.assertDirectory(inode)
    return new Ext4DirectoryCursor(this.#blocks, inode, position, this.#pause)
  }

  /** @throws FsError ENOTDIR, EIO */
  lookup(inode: Inode, name: Name): LayerEntry | undefined {
    if (name === '.' || name === '..') return undefined
    const bytes = Buffer.from(name, 'latin1')
    const leaves = this.#hasIndex(inode) ? leavesFor(this.#blocks, inode, bytes) : undefined
    if (leaves !== undefined) return this.#lookupIn(leaves, inode, bytes)
    return this.#searches.run(
      () => `${inode.number} ${name}`,
      () => this.open(inode, 0),
      (cursor) => cursor.find(bytes),
    )
  }

  #hasIndex(inode: Inode): boolean {
    this.#blocks.assertDirectory(inode)
    const { features, blockSize } = this.#blocks.volume.superblock
    return (
      (features.compat & COMPAT.dir_index) !== 0 &&
      (inode.flags & INODE_FLAGS.hasIndex) !== 0 &&
      inode.size > Math.max(SMALL, blockSize) &&
      !hasInlineData(inode)
    )
  }

  #lookupIn(leaves: Iterable<number>, inode: Inode, name: Buffer): LayerEntry | undefined {
    const { volume } = this.#blocks
    const { blockSize } = volume.superblock
    for (const leaf of leaves) {
      this.#pause()
      assertInside(volume, inode, leaf)
      const part = this.#blocks.part(inode, leaf * blockSize)
      if (part === undefined) continue
      for (let at = 0; at < part.end; ) {
        const entry = entryAt(volume, part, at, inode.number)
        if (entry.inode !== 0 && hasName(part, at, entry, name)) {
          return toEntry(this.#blocks, inode, part, at, entry)
        }
        at += entry.length
      }
    }
    return undefined
  }
}
