import {
  type AnswerBuffer,
  type BlockRef,
  type BlockStore,
  type DataPath,
  type ExtentSink,
  type FileSystem,
  FsError,
  LruCache,
  type ReadRequest,
} from '../../base/index.ts'

/** Fills `target` from an open host file. @returns bytes read, fewer than it has only where the file ends */
export type HostFileReader = (fd: number, position: number, target: Uint8Array) => number

/** How files are read on the thread that asks. */
export interface InlineOptions {
  /** A host file that ends early ends the answer, as read(2) does, instead of being damage: writable mounts. */
  readonly shortReads?: boolean
}

/** Answers READ on the calling thread, from a small cache of decoded blocks: the reference for the pool. */
export class InlineDataPath implements DataPath {
  readonly #fileSystem: FileSystem
  readonly #store: BlockStore
  readonly #readHostFile: HostFileReader
  readonly #blocks: LruCache<string, Uint8Array>
  readonly #shortReads: boolean

  /** @param cacheSize bytes of decoded blocks to keep */
  constructor(
    fileSystem: FileSystem,
    store: BlockStore,
    readHostFile: HostFileReader,
    cacheSize: number,
    options: InlineOptions = {},
  ) {
    this.#fileSystem = fileSystem
    this.#store = store
    this.#readHostFile = readHostFile
    this.#blocks = new LruCache(cacheSize)
    this.#shortReads = options.shortReads ?? false
  }

  read(request: Omit<ReadRequest, 'token'>, answer: AnswerBuffer): 'reply' {
    /** Where the answer ends, payload bytes, once a file turned out shorter than described. */
    let end: number | undefined
    const sink: ExtentSink = {
      hole: (length) => answer.zeros(length),
      block: (block, from, length) => {
        const bytes = this.#block(block)
        if (from + length > bytes.length) throw shortBlock(block, from + length, bytes.length)
        answer.data(bytes.subarray(from, from + length))
      },
      file: (fd, position, length) => {
        const start = answer.length
        const count = this.#readHostFile(fd, position, answer.claim(length))
        if (count === length) return
        if (!this.#shortReads) throw shortFile(fd, position, length, count)
        end ??= start + count
      },
    }
    this.#fileSystem.read(request.nodeId, request.offset, request.size, sink)
    if (end !== undefined) answer.rewind(end)
    return 'reply'
  }

  #block(block: BlockRef): Uint8Array {
    const key = `${block.source}:${block.position}:${block.storedSize}:${block.kindBits}`
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

function shortFile(fd: number, position: number, expected: number, found: number): FsError {
  return new FsError(
    'EIO',
    `descriptor ${fd}: file ends at ${position + found}, expected ${expected - found} more bytes`,
  )
}
