import {
  type BlockRef,
  type BlockStore,
  type ExtentSink,
  FsError,
  isErrno,
  LruCache,
  omitUndefined,
  type Whence,
} from '../../../src/base/index.ts'
import type { Layer, Ref } from '../../stored/layer-flags.ts'
import type { DataSource } from '../disk/copy-data.ts'
import type { HostFileReader } from './upper.ts'

/** Decoded blocks kept, bytes: small files that are copied one after the other share their fragments. */
const BLOCKS = 4 << 20

/** Reads file data of the layers on the calling thread, for copying it. */
export class LayerReader {
  readonly #store: BlockStore
  readonly #readHostFile: HostFileReader
  readonly #blocks = new LruCache<string, Uint8Array>(BLOCKS)

  constructor(store: BlockStore, readHostFile: HostFileReader) {
    this.#store = store
    this.#readHostFile = readHostFile
  }

  /** @returns bytes read, fewer than the target has only at the end of the file. @throws FsError EIO */
  read(layer: Layer, ref: Ref, offset: number, target: Uint8Array): number {
    let filled = 0
    const take = (length: number) => {
      filled += length
      return target.subarray(filled - length, filled)
    }
    layer.extents(ref, offset, target.length, {
      hole: (length) => take(length).fill(0),
      block: (block, from, length) => {
        const bytes = this.#block(block)
        if (from + length > bytes.length) {
          throw new FsError(
            'EIO',
            `data block at byte ${block.position}: a file needs ${from + length} bytes of it, it decodes to ${bytes.length}`,
          )
        }
        take(length).set(bytes.subarray(from, from + length))
      },
      file: (fd, position, length) => this.#readHostFile(fd, position, take(length)),
    })
    return filled
  }

  /** Whether no block of this part of a file would have to come from a disk. */
  isAtHand(layer: Layer, ref: Ref, offset: number, length: number): boolean {
    let found = true
    layer.extents(ref, offset, length, {
      hole: () => {},
      block: (block) => {
        found &&= this.#blocks.has(keyOf(block)) || this.#store.isAtHand?.(block) !== false
      },
      file: () => {},
    })
    return found
  }

  /** The content of a regular file of a layer. */
  source(layer: Layer, ref: Ref): DataSource {
    const fd = hostFile(layer, ref)
    return {
      read: (offset, target) => this.read(layer, ref, offset, target),
      isAtHand: (offset, length) => this.isAtHand(layer, ref, offset, length),
      describe: (offset, length, sink) => layer.extents(ref, offset, length, sink),
      seek: (offset, whence) => seekOrEnd(layer, ref, offset, whence),
      ...omitUndefined({ fd }),
    }
  }

  #block(block: BlockRef): Uint8Array {
    const key = keyOf(block)
    const cached = this.#blocks.get(key)
    if (cached !== undefined) return cached
    const target = new Uint8Array(block.maxSize)
    const bytes = target.subarray(0, this.#store.readBlock(block, target))
    this.#blocks.set(key, bytes, target.length)
    return bytes
  }
}

function keyOf({ source, position, storedSize, kindBits }: BlockRef): string {
  return `${source}:${position}:${storedSize}:${kindBits}`
}

/** The descriptor of a file that lies on this machine as it is. */
function hostFile(layer: Layer, ref: Ref): number | undefined {
  let found: number | undefined
  const sink: ExtentSink = {
    hole: () => {},
    block: () => {},
    file: (fd, position) => {
      if (position === 0) found = fd
    },
  }
  layer.extents(ref, 0, 1, sink)
  return found
}

function seekOrEnd(layer: Layer, ref: Ref, offset: number, whence: Whence): number | undefined {
  try {
    return layer.seek(ref, offset, whence)
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined
    throw error
  }
}
