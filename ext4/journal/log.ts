import { type ByteSource, FsError, viewOf } from '../../src/base/index.ts'
import { HOLE } from '../files/block-run.ts'
import { findBlocks } from '../files/file-blocks.ts'
import type { Inode } from '../inodes/inode.ts'
import type { Volume } from '../volume/volume.ts'

/** The blocks of a journal, by their numbers in it. */
export class Log {
  readonly count: number
  readonly #source: ByteSource
  readonly #volume: Volume
  readonly #inode: Inode
  // The run that was found last: a journal mostly is one.
  #from = 0
  #behind = 0
  #first = HOLE

  /** @param volume as it lies in the source, without any journal */
  constructor(source: ByteSource, volume: Volume, inode: Inode) {
    this.#source = source
    this.#volume = volume
    this.#inode = inode
    this.count = Math.floor(inode.size / volume.superblock.blockSize)
  }

  /** Byte position of a block in the source. @throws FsError EIO */
  position(block: number): number {
    if (!(block >= this.#from && block < this.#behind)) {
      const run = findBlocks(this.#volume, this.#inode, block)
      this.#from = block
      this.#behind = block + run.count
      this.#first = run.first
    }
    if (this.#first === HOLE) throw new FsError('EIO', `${this.#volume.label}: journal has no block ${block}`)
    return (this.#first + (block - this.#from)) * this.#volume.superblock.blockSize
  }

  /** @returns memory of its own. @throws FsError EIO */
  read(block: number): { readonly bytes: Uint8Array; readonly view: DataView } {
    const bytes = new Uint8Array(this.#volume.superblock.blockSize)
    this.#source.readInto(this.position(block), bytes)
    return { bytes, view: viewOf(bytes) }
  }

  /** @param block of the log, where the damage is */
  damage(block: number, what: string): Error {
    const position = this.position(block)
    return new FsError('EIO', `${this.#volume.label}: journal: block ${block} at byte ${position}: ${what}`)
  }
}
