import { createHash, hash as hashOf } from 'node:crypto'
import { FsError } from '../../src/base/index.ts'
import type { BlockQueue } from './block-queue.ts'
import { DataTable } from './data-table.ts'
import type { FragmentWriter } from './fragment-writer.ts'
import { DigestTable } from './memory/digest-table.ts'

/** A file up to this size is held, so that a second copy of it is never compressed, bytes. */
const HELD_FILE = 4 << 20
/** Of all files: 32 TiB in blocks of 128 KiB. Each takes four bytes of memory. */
const BLOCKS_MAX = 1 << 28
const NO_BYTES = new Uint8Array(0)
/** Before each block in the digest of a larger file. */
const HOLE = Uint8Array.of(0)
const DATA = Uint8Array.of(1)

export interface DataOptions {
  readonly blockSize: number
  /** Absent: tail ends are blocks of their own. */
  readonly fragments: FragmentWriter | undefined
  /** Tail ends of files that have whole blocks go into fragments, too (`-tailends`). */
  readonly tailEnds: boolean
  readonly compressData: boolean
  readonly deduplicate: boolean
}

/** A content while it comes. */
interface Incoming {
  readonly size: number
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  /** For messages. */
  readonly label: string
}

/** Stores the contents of files: blocks, holes, tail ends and what was stored before. */
export class DataWriter {
  readonly table = new DataTable()
  readonly #queue: BlockQueue
  readonly #options: DataOptions
  readonly #known = new DigestTable()
  /** Larger files, by a digest of their own kind. */
  readonly #knownLarge = new DigestTable()
  /** Sizes of large files that were met: only one of the same size can be a copy. */
  readonly #largeSizes = new Set<number>()
  readonly #zeros: Buffer

  constructor(queue: BlockQueue, options: DataOptions) {
    this.#queue = queue
    this.#options = options
    this.#zeros = Buffer.alloc(options.blockSize)
  }

  /**
   * Stores one content. Returns as soon as its blocks are under way.
   * @returns its row in `table`
   * @throws FsError EIO if there are more or fewer bytes than `size`; EFBIG; ENOSPC
   */
  async store(content: Incoming): Promise<number> {
    const { size, label } = content
    const blocks = size / this.#options.blockSize
    if (this.table.blocks + blocks > BLOCKS_MAX) {
      const whose = blocks > BLOCKS_MAX ? '' : 'the image has '
      const what = `${size} bytes, ${whose}with more than ${BLOCKS_MAX} blocks: choose a larger --block-size`
      throw new FsError('EFBIG', `${JSON.stringify(label)}: ${what}`)
    }
    return size <= HELD_FILE ? await this.#storeHeld(content) : await this.#storeStreamed(content)
  }

  async #storeHeld(content: Incoming): Promise<number> {
    const bytes = await collect(content)
    const digest = this.#options.deduplicate ? hashOf('sha256', bytes, 'buffer') : undefined
    const known = digest && this.#known.get(digest)
    if (known !== undefined) return known
    const writing = this.#begin(content.size)
    if (digest !== undefined) this.#known.add(digest, writing.row)
    const { blockSize } = this.#options
    for (let at = 0; at < bytes.length; at += blockSize)
      await writing.block(bytes.subarray(at, at + blockSize))
    return writing.row
  }

  /** A copy of an earlier file is known only at its end; then the image goes back to where the copy began. */
  async #storeStreamed(content: Incoming): Promise<number> {
    const { blockSize, deduplicate } = this.#options
    const mayBeCopy = deduplicate && this.#largeSizes.has(content.size)
    if (mayBeCopy) await this.#queue.drain()
    const start = mayBeCopy ? this.#queue.output.mark() : undefined
    const hash = createHash('sha256')
    const writing = this.#begin(content.size)
    // A hole is hashed as such: files of terabytes have little else. The blocks between have one length.
    const put = async (bytes: Uint8Array): Promise<void> => {
      const isHole = this.#isZero(bytes)
      if (deduplicate) hash.update(isHole ? HOLE : DATA)
      if (deduplicate && !isHole) hash.update(bytes)
      await writing.block(bytes, isHole)
    }
    let block = Buffer.allocUnsafeSlow(blockSize)
    let filled = 0
    let length = 0
    // The tail end waits until it is known that the file is no copy: it may go into a fragment.
    for await (const chunk of content.chunks) {
      length += chunk.length
      checkLength(content, length)
      for (let at = 0; at < chunk.length; ) {
        if (filled === 0 && chunk.length - at >= blockSize) {
          await put(chunk.subarray(at, at + blockSize))
          at += blockSize
          continue
        }
        const count = Math.min(blockSize - filled, chunk.length - at)
        block.set(chunk.subarray(at, at + count), filled)
        filled += count
        at += count
        if (filled < blockSize) continue
        await put(block)
        block = Buffer.allocUnsafeSlow(blockSize)
        filled = 0
      }
    }
    if (length !== content.size) throw wrongLength(content, length)
    if (!deduplicate) {
      if (filled > 0) await writing.block(block.subarray(0, filled))
      return writing.row
    }
    const digest = hash.update(DATA).update(block.subarray(0, filled)).digest()
    const known = start && this.#knownLarge.get(digest)
    if (start !== undefined && known !== undefined) {
      await this.#queue.drain()
      this.#queue.output.rewind(start)
      this.table.drop(writing.row)
      return known
    }
    if (filled > 0) await writing.block(block.subarray(0, filled))
    this.#largeSizes.add(content.size)
    this.#knownLarge.add(digest, writing.row)
    return writing.row
  }

  #isZero(bytes: Uint8Array): boolean {
    return this.#zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
  }

  /** Takes the blocks of one file in order; the last one may be shorter. */
  #begin(size: number): {
    readonly row: number
    readonly block: (bytes: Uint8Array, isHole?: boolean) => Promise<void>
  } {
    const { blockSize, fragments, tailEnds, compressData } = this.#options
    const tail = size % blockSize
    const inFragment = fragments !== undefined && tail > 0 && (tailEnds || size < blockSize)
    const count = inFragment ? Math.floor(size / blockSize) : Math.ceil(size / blockSize)
    const { table } = this
    const row = table.add()
    let index = 0
    let isPlaced = false
    const block = async (bytes: Uint8Array, isHole = this.#isZero(bytes)): Promise<void> => {
      const at = index++
      if (at >= count) {
        const { fragment, offset } = (await fragments?.add(bytes)) ?? { fragment: 0, offset: 0 }
        table.setFragment(row, fragment, offset)
        return
      }
      table.addBlock(row)
      if (isHole) {
        table.addHole(row, bytes.length)
        return
      }
      await this.#queue.add(
        bytes,
        (position, stored) => {
          if (!isPlaced) table.setStart(row, position)
          isPlaced = true
          table.setBlock(row, at, stored)
        },
        compressData,
      )
    }
    return { row, block }
  }
}

async function collect(content: Incoming): Promise<Uint8Array> {
  if (content.size === 0) {
    for await (const chunk of content.chunks) checkLength(content, chunk.length)
    return NO_BYTES
  }
  const { chunks } = content
  let bytes: Uint8Array | undefined
  let length = 0
  const take = (chunk: Uint8Array): void => {
    checkLength(content, length + chunk.length)
    // Most files come in one piece, which needs no copy.
    if (chunk.length === content.size) bytes = chunk
    else {
      bytes ??= Buffer.allocUnsafeSlow(content.size)
      bytes.set(chunk, length)
    }
    length += chunk.length
  }
  // What is there at once is not waited for: there are as many files as there are names.
  if (Symbol.iterator in chunks) for (const chunk of chunks) take(chunk)
  else for await (const chunk of chunks) take(chunk)
  if (length !== content.size) throw wrongLength(content, length)
  return bytes ?? NO_BYTES
}

function checkLength(content: Incoming, length: number): void {
  if (length > content.size) throw wrongLength(content, length)
}

function wrongLength({ label, size }: Incoming, length: number): FsError {
  return new FsError(
    'EIO',
    `${JSON.stringify(label)}: ${length} bytes came, ${size} were announced; did it change meanwhile?`,
  )
}
