import {
  type BlockRef,
  type BlockStore,
  type ExtentSink,
  type FileSystem,
  FsError,
  LruCache,
} from '../base/index.ts'
import { type DataPath, REPLY_FILLED, type ReadRequest, type ReadTarget } from './data-path.ts'

/** Fills `target` from an open host file. @throws FsError EIO when the file ended early */
export type HostFileReader = (fd: number, position: number, target: Uint8Array) => void

/** Answers READ on the calling thread, from a small cache of decoded blocks: the reference for the pool. */
export class InlineDataPath implements DataPath {
  readonly #fileSystem: FileSystem
  readonly #store: BlockStore
  readonly #readHostFile: HostFileReader
  readonly #blocks: LruCache<string, Uint8Array>

  constructor(fileSystem: FileSystem, store: BlockStore, readHostFile: HostFileReader, cacheSize: number) {
    this.#fileSystem = fileSystem
    this.#store = store
    this.#readHostFile = readHostFile
    this.#blocks = new LruCache(cacheSize)
  }

  read(request: Pick<ReadRequest, 'nodeId' | 'offset' | 'size'>, reply: ReadTarget): typeof REPLY_FILLED {
    const sink: ExtentSink = {
      hole: (length) => reply.zeros(length),
      block: (block, from, length) => {
        const bytes = this.#block(block)
        if (from + length > bytes.length) throw shortBlock(block, from + length, bytes.length)
        reply.data(bytes.subarray(from, from + length))
      },
      file: (fd, position, length) => this.#readHostFile(fd, position, reply.claim(length)),
    }
    this.#fileSystem.read(request.nodeId, request.offset, request.size, sink)
    return REPLY_FILLED
  }

  #block(block: BlockRef): Uint8Array {
    const key = `${block.source}:${block.position}:${block.storedSize}:${block.compressed}`
    const cached = this.#blocks.get(key)
    if (cached !== undefined) return cached
    const target = new Uint8Array(block.maxSize)
    const length = this.#store.readBlock(block, target)
    // A short block in memory of its own size: the cache counts no more than that.
    const bytes = length === target.length ? target : target.slice(0, length)
    this.#blocks.set(key, bytes, bytes.length)
    return bytes
  }
}

/** A fragment or block that decodes to less than a file claims of it: squashfs-tools#398. */
export function shortBlock(block: BlockRef, needed: number, decoded: number): FsError {
  return new FsError(
    'EIO',
    `data block at byte ${block.position}: a file needs ${needed} bytes of it, it decodes to ${decoded}`,
  )
}
