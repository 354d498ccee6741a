import {
  type AnswerBuffer,
  type BlockStore,
  type DataPath,
  ExtentReader,
  type FileSystem,
  type HostFileReader,
  type ReadRequest,
} from '../../base/index.ts'

/** How files are read on the calling thread. */
export interface InlineOptions {
  /** See `ExtentReaderOptions`. */
  readonly shortReads?: boolean
}

const noHostFiles: HostFileReader = () => 0

/** Answers READ on the calling thread, from a small cache of decoded blocks: the reference for the pool. */
export class InlineDataPath implements DataPath {
  readonly #fileSystem: FileSystem
  readonly #reader: ExtentReader

  /**
   * @param store of the blocks; or a reader with its cache, that several mounts may have
   * @param cacheSize bytes of decoded blocks to keep
   */
  constructor(
    fileSystem: FileSystem,
    store: BlockStore | ExtentReader,
    readHostFile: HostFileReader = noHostFiles,
    cacheSize = 0,
    options: InlineOptions = {},
  ) {
    this.#fileSystem = fileSystem
    this.#reader =
      store instanceof ExtentReader ? store : new ExtentReader(store, readHostFile, { ...options, cacheSize })
  }

  read({ nodeId, offset, size }: Omit<ReadRequest, 'token'>, answer: AnswerBuffer): 'reply' {
    const start = answer.length
    const end = this.#reader.read(
      (sink) => this.#fileSystem.read(nodeId, offset, size, sink),
      (length) => answer.claim(length),
    )
    if (start + end < answer.length) answer.rewind(start + end)
    return 'reply'
  }
}
