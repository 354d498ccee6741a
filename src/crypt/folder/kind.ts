import {
  type BlockReader,
  type ByteSource,
  DamageError,
  FsError,
  type ImageFacts,
  type ImageKind,
} from '../../base/index.ts'
import { FolderLayer, PIECE_SIZE } from './layer.ts'

/** Nobody looks for them: the container of an encrypted folder names them. */
const NAMED: Pick<ImageKind, 'mediaTypes' | 'isMediaType' | 'probe' | 'regions' | 'standsAlone'> = {
  mediaTypes: '',
  isMediaType: () => false,
  probe: () => false,
  regions: () => [],
  standsAlone: true,
}

function factsOf({ size: bytesUsed }: ByteSource): ImageFacts {
  return { bytesUsed, blockSize: PIECE_SIZE, metadataStart: bytesUsed, detail: '' }
}

/** The tree of an encrypted folder, in a file in memory. */
export const FOLDER_TREE: ImageKind = {
  ...NAMED,
  name: 'gocryptfs-tree',
  title: 'the tree of a gocryptfs directory',
  describe: factsOf,
  open: () => ({
    openLayer: (image) => new FolderLayer(image),
    openBlocks: ({ source }) => new FileReader(source),
  }),
  summarize: ({ size }) => summaryOf('gocryptfs-tree', size),
}

/** The decrypted content of one file of it. */
export const FOLDER_FILE: ImageKind = {
  ...NAMED,
  name: 'gocryptfs-file',
  title: 'a file of a gocryptfs directory',
  describe: factsOf,
  open: () => ({
    openLayer: ({ label }) => {
      throw new FsError('EINVAL', `${label}: is a file, and no layer`)
    },
    openBlocks: ({ source }) => new FileReader(source),
  }),
  summarize: ({ size }) => summaryOf('gocryptfs-file', size),
}

function summaryOf(kind: string, bytesUsed: number): ReturnType<ImageKind['summarize']> {
  return { kind, compressor: 'none', blockSize: PIECE_SIZE, inodes: 1, bytesUsed, hasXattrs: false }
}

/** Reads pieces of a file that was decrypted below. */
class FileReader implements BlockReader {
  readonly #source: ByteSource

  constructor(source: ByteSource) {
    this.#source = source
  }

  /** @throws FsError EIO */
  readBlock({ position, storedSize }: { position: number; storedSize: number }, target: Uint8Array): number {
    if (storedSize < 1 || storedSize > target.length) {
      const { label } = this.#source
      throw new DamageError(label, position, `${label}: ${storedSize} bytes of data at ${position}`)
    }
    this.#source.readInto(position, target.subarray(0, storedSize))
    return storedSize
  }
}
