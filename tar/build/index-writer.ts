import { writeSync } from 'node:fs'
import { deflateRawSync } from 'node:zlib'
import { direntType, FsError, isDirectory } from '../../src/base/index.ts'
import {
  CHECKPOINT_SIZE,
  ENTRY_SIZE,
  encodeCheckpoint,
  encodeHeader,
  encodeInode,
  INODE_SIZE,
  type IndexHeader,
  PAGE,
  type StoredCheckpoint,
  TYPE_BELOW,
  TYPE_HOLLOW,
} from '../format/layout.ts'
import type { Checkpoint } from '../gzip/checkpoint.ts'
import { HeapData } from './heap-data.ts'
import { HeapWriter } from './heap-writer.ts'
import { LayerTree, type Moves, ROOT } from './layer-tree.ts'

/** Level 6 takes three times as long for 8 % less. */
const WINDOW_LEVEL = 1
/** Bytes of the names of one directory: an entry has 32 bits for their place. */
const NAMES_MAX = 2 ** 32 - 1

/** What a layer takes for granted of the layers below it. */
export interface Needs {
  /** It names what lies in directories for which it has no entries. */
  readonly directories: boolean
  /** It has hard links to files that it does not have. */
  readonly files: boolean
}

/** Writes an index behind the hash tree of its blob. */
export class IndexWriter {
  readonly tree: LayerTree
  readonly #fd: number
  readonly #heap: HeapWriter
  readonly #points: StoredCheckpoint[] = []
  #needs: Needs = { directories: false, files: false }
  #hollow: ReadonlySet<number> = new Set()

  /** @param start behind the hash tree. @param limit most bytes of the index */
  constructor(fd: number, start: number, moves?: Moves, limit?: number) {
    this.#fd = fd
    this.#heap = new HeapWriter(fd, start, limit)
    this.tree = new LayerTree(new HeapData(this.#heap), moves)
  }

  /** @returns bytes that it takes */
  addCheckpoint({ archiveAt, blobAt, bits, window }: Checkpoint): number {
    const stored = window.length === 0 ? window : deflateRawSync(window, { level: WINDOW_LEVEL })
    const at = this.#heap.add(stored)
    this.#points.push({ archiveAt, blobAt, bits, window: at, windowSize: stored.length })
    return CHECKPOINT_SIZE + stored.length
  }

  /**
   * Writes what is left.
   * @returns bytes of the index, and what its layer needs of others
   * @throws FsError as `LayerTree.finish`; EFBIG
   */
  finish(facts: Pick<IndexHeader, 'form' | 'digest' | 'blobSize' | 'archiveSize' | 'blobRootHash'>): {
    readonly size: number
    readonly needs: Needs
  } {
    this.tree.finish()
    this.#writeDirectories()
    const checkpoints = this.#writeRows(CHECKPOINT_SIZE, this.#points.length, (row, to) => {
      const point = this.#points[row]
      if (point !== undefined) encodeCheckpoint(point, to, 0)
    })
    const { inodes } = this.tree
    const inodesAt = this.#writeRows(INODE_SIZE, inodes.length, (row, to) =>
      encodeInode(inodes.read(row), to, 0),
    )
    this.#heap.align(PAGE)
    const size = this.#heap.position
    this.#heap.flush()
    const header = encodeHeader({
      ...facts,
      checkpoints,
      checkpointCount: this.#points.length,
      inodes: inodesAt,
      inodeCount: inodes.length,
      size,
    })
    writeSync(this.#fd, header, 0, header.length, 0)
    return { size, needs: this.#needs }
  }

  #writeRows(size: number, count: number, encode: (row: number, to: Buffer) => void): number {
    const start = this.#heap.position
    const row = Buffer.alloc(size)
    for (let i = 0; i < count; i++) {
      encode(i, row)
      this.#heap.add(row)
    }
    return start
  }

  /** Those that can be reached; what was replaced has no entries. */
  #writeDirectories(): void {
    const { inodes } = this.tree
    this.#hollow = this.tree.hollow()
    inodes.countLink(ROOT, 2)
    for (const waiting = [ROOT]; waiting.length > 0; ) {
      const directory = waiting.pop() ?? ROOT
      const rows = this.tree.entriesOf(directory)
      inodes.setData(directory, rows.length, this.#writeEntries(rows))
      for (const row of rows) {
        const inode = this.tree.names.inodeOf(row)
        this.#note(inode)
        if (isDirectory(inodes.modeOf(inode))) {
          inodes.countLink(inode, 2)
          inodes.countLink(directory)
          waiting.push(inode)
        } else inodes.countLink(inode)
      }
    }
  }

  #typeOf(inode: number): number {
    const { inodes } = this.tree
    if (inodes.isBelow(inode)) return TYPE_BELOW
    return this.#hollow.has(inode) ? TYPE_HOLLOW : direntType(inodes.modeOf(inode))
  }

  #note(inode: number): void {
    const { inodes } = this.tree
    const { directories, files } = this.#needs
    const [isImplied, isBelow] = [inodes.isImplied(inode), inodes.isBelow(inode)]
    if (isImplied || isBelow) this.#needs = { directories: directories || isImplied, files: files || isBelow }
  }

  /** Entries of one size, and behind them the names. */
  #writeEntries(rows: readonly number[]): number {
    const { names } = this.tree
    const start = this.#heap.position
    const entry = Buffer.alloc(ENTRY_SIZE)
    let at = 0
    for (const row of rows) {
      const inode = names.inodeOf(row)
      const { length } = names.bytesOf(row)
      entry.writeUInt32LE(inode, 0)
      entry.writeUInt32LE(at, 4)
      entry.writeUInt8(length, 8)
      entry.writeUInt8(this.#typeOf(inode), 9)
      this.#heap.add(entry)
      at += length
      if (at > NAMES_MAX) throw new FsError('EFBIG', 'a directory with more than 4 GiB of names')
    }
    for (const row of rows) this.#heap.add(names.bytesOf(row))
    return start
  }
}
