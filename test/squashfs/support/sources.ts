import { SquashfsBlockReader } from '../../../squashfs/block-reader.ts'
import type { SquashfsImage } from '../../../squashfs/image.ts'
import { type ByteSource, type ExtentSink, FsError } from '../../../src/base/index.ts'
import type { Codec } from '../../../src/codecs/index.ts'

export class MemorySource implements ByteSource {
  readonly label = 'test'
  readonly size: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.size = bytes.length
  }

  readInto(position: number, target: Uint8Array): void {
    if (position < 0 || position + target.length > this.size) {
      throw new FsError('EIO', `test source: ${position}+${target.length} outside ${this.size}`)
    }
    target.set(this.#bytes.subarray(position, position + target.length))
  }
}

/** Counts what is read through it. */
export class CountingSource implements ByteSource {
  readonly label: string
  readonly size: number
  reads = 0
  bytes = 0
  readonly #source: ByteSource

  constructor(source: ByteSource) {
    this.#source = source
    this.label = source.label
    this.size = source.size
  }

  reset(): void {
    this.reads = 0
    this.bytes = 0
  }

  readInto(position: number, target: Uint8Array): void {
    this.reads += 1
    this.bytes += target.length
    this.#source.readInto(position, target)
  }
}

/** For images without a compressed block. */
export const NO_CODEC: Codec = {
  name: 'gzip',
  tier: 'portable',
  library: 'test',
  decode() {
    throw new FsError('EIO', 'nothing in this image is compressed')
  },
}

/** Content of a range of a file, read the way a server does. */
export function readRange(
  image: SquashfsImage,
  source: ByteSource,
  codec: Codec,
  ref: number,
  offset: number,
  length: number,
): Buffer {
  const reader = new SquashfsBlockReader(source, codec)
  const parts: Uint8Array[] = []
  const sink: ExtentSink = {
    hole: (count) => parts.push(new Uint8Array(count)),
    block: (block, from, count) => {
      const target = new Uint8Array(block.maxSize)
      const decoded = reader.readBlock(block, target)
      if (from + count > decoded) throw new FsError('EIO', `block has ${decoded} bytes, need ${from + count}`)
      parts.push(target.subarray(from, from + count))
    },
    file: () => {
      throw new Error('a squashfs image has no host files')
    },
  }
  image.extents(ref, offset, length, sink)
  return Buffer.concat(parts)
}
