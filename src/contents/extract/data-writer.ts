import {
  type BlockRef,
  type BlockStore,
  type ExtentSink,
  FsError,
  MAX_BLOCK_SIZE,
  shortBlock,
} from '../../base/index.ts'
import { readHostFile } from '../../molecule/index.ts'
import { pwrite } from '../../sys/files/file-io.ts'

/** Decodes the pieces of files and writes them. Holes stay holes. For one thread. */
export class DataWriter {
  readonly #store: BlockStore
  readonly #whole = new Uint8Array(MAX_BLOCK_SIZE)
  /** The last block of which only a part was wanted: small files lie side by side in one. */
  readonly #shared = new Uint8Array(MAX_BLOCK_SIZE)
  #sharedRef: BlockRef | undefined
  #sharedLength = 0

  constructor(store: BlockStore) {
    this.#store = store
  }

  /**
   * @param describe gives the pieces to a sink
   * @param offset of the first one in the file of `fd`, bytes
   * @returns where the last data end
   * @throws FsError EIO for damage; ENOSPC, EDQUOT, EFBIG of the file
   */
  write(fd: number, describe: (sink: ExtentSink) => void, offset = 0): number {
    let at = offset
    let dataEnd = offset
    describe({
      hole: (length) => {
        at += length
      },
      block: (block, from, length) => {
        writeAll(fd, at, this.#read(block, from, length))
        at += length
        dataEnd = at
      },
      file: (from, position, length) => {
        for (let done = 0; done < length; ) {
          const part = this.#whole.subarray(0, Math.min(length - done, this.#whole.length))
          const count = readHostFile(from, position + done, part)
          if (count === 0)
            throw new FsError('EIO', `the file ended early: ${length - done} bytes are missing`)
          writeAll(fd, at + done, part.subarray(0, count))
          done += count
        }
        at += length
        dataEnd = at
      },
    })
    return dataEnd
  }

  #read(block: BlockRef, from: number, length: number): Uint8Array {
    if (from === 0 && length === block.maxSize) {
      const decoded = this.#store.readBlock(block, this.#whole)
      if (decoded < length) throw shortBlock(block, length, decoded)
      return this.#whole.subarray(0, length)
    }
    if (!isSame(block, this.#sharedRef)) {
      this.#sharedRef = undefined
      this.#sharedLength = this.#store.readBlock(block, this.#shared)
      this.#sharedRef = block
    }
    if (from + length > this.#sharedLength) throw shortBlock(block, from + length, this.#sharedLength)
    return this.#shared.subarray(from, from + length)
  }
}

function isSame(one: BlockRef, other: BlockRef | undefined): boolean {
  return (
    other !== undefined &&
    one.position === other.position &&
    one.source === other.source &&
    one.storedSize === other.storedSize &&
    one.kindBits === other.kindBits
  )
}

/** `pwrite` is short only where an error stopped it: the next call throws that error. */
function writeAll(fd: number, offset: number, data: Uint8Array): void {
  for (let done = 0; done < data.length; ) {
    const count = pwrite(fd, offset + done, done === 0 ? data : data.subarray(done))
    if (count === 0) throw new FsError('EIO', 'the file takes no more bytes')
    done += count
  }
}
