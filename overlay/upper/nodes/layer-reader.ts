import {
  type BlockStore,
  ExtentReader,
  type ExtentSink,
  type HostFileReader,
  isErrno,
  omitUndefined,
  type Whence,
} from '../../../src/base/index.ts'
import type { Layer, Ref } from '../../stored/layer-flags.ts'
import type { DataSource } from '../disk/copy-data.ts'

/** Bytes of decoded blocks to keep. */
const BLOCKS = 4 << 20

/** Reads file data of the layers on the calling thread, for copies. */
export class LayerReader {
  readonly #reader: ExtentReader

  constructor(store: BlockStore, readHostFile: HostFileReader) {
    this.#reader = new ExtentReader(store, readHostFile, { cacheSize: BLOCKS })
  }

  /** @returns bytes read, fewer than the target has only at the end of the file. @throws FsError EIO */
  read(layer: Layer, ref: Ref, offset: number, target: Uint8Array): number {
    let filled = 0
    return this.#reader.read(
      (sink) => layer.extents(ref, offset, target.length, sink),
      (length) => {
        filled += length
        return target.subarray(filled - length, filled)
      },
    )
  }

  /** True where all blocks of this part of a file can be read without waiting for a disk. */
  isAtHand(layer: Layer, ref: Ref, offset: number, length: number): boolean {
    let found = true
    layer.extents(ref, offset, length, {
      hole: () => {},
      block: (block) => {
        found &&= this.#reader.isAtHand(block)
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
}

/** The descriptor of a file that lies on the host as it is; undefined for a file in an image. */
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
