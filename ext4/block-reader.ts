import { type BlockReader, type BlockRef, type ByteSource, DamageError } from '../src/base/index.ts'
import { ESCAPED, PIECE_SIZE } from './files/file-reader.ts'
import { JOURNAL_MAGIC } from './volume/volume.ts'

/** Reads pieces of files as they lie in the image, or in its journal. For one thread. */
export class Ext4BlockReader implements BlockReader {
  readonly #source: ByteSource

  constructor(source: ByteSource) {
    this.#source = source
  }

  /** @throws FsError EIO */
  readBlock({ position, storedSize, kindBits }: BlockRef, target: Uint8Array): number {
    if (storedSize < 1 || storedSize > PIECE_SIZE || target.length < storedSize) {
      const { label } = this.#source
      throw new DamageError(label, position, `${label}: ${storedSize} bytes of data at ${position}`)
    }
    this.#source.readInto(position, target.subarray(0, storedSize))
    if (kindBits === ESCAPED) {
      new DataView(target.buffer, target.byteOffset, target.byteLength).setUint32(0, JOURNAL_MAGIC)
    }
    return storedSize
  }
}
