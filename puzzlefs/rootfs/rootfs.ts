import { type ByteSource, FsError } from '../../src/base/index.ts'
import { Message, type StructList } from '../message/message.ts'
import { type PageCache, Pages } from '../message/pages.ts'
import { ChunkTable } from './chunk-table.ts'

/** The version of the format that is read: that of puzzlefs 0.2.0 and later. */
const VERSION = 3
/** Most layers of metadata: each build on top of another adds one. */
const LAYERS_LIMIT = 4096

/** Fields of `Rootfs` and `InodeVector`: bytes of the data, numbers of pointers. */
const ROOTFS = { manifestVersion: 0, metadatas: 0, fsVerityData: 1 } as const
const VECTOR = { inodes: 0 } as const

/** One layer of metadata: its inodes in the order of their numbers. */
export interface InodeVector {
  readonly inodes: StructList
  /** Reference of its first inode. */
  readonly first: number
}

/** The metadata of one image as they lie there: nothing but their layers is read beforehand. */
export class Rootfs {
  readonly message: Message
  /** Topmost first. */
  readonly vectors: readonly InodeVector[]
  /** Number of inodes of all layers: references are below it. */
  readonly inodeCount: number
  readonly chunks: ChunkTable

  /** @throws FsError EINVAL for another version of the format; EIO for damage */
  constructor(source: ByteSource, cache: PageCache) {
    const message = new Message(new Pages(source, cache))
    const root = message.root()
    const version = message.u64(root, ROOTFS.manifestVersion)
    if (version !== VERSION) {
      throw new FsError(
        'EINVAL',
        `${message.label}: PuzzleFS image of version ${version}, expected ${VERSION}: build it again`,
      )
    }
    const layers = message.structs(root, ROOTFS.metadatas)
    if (layers.count === 0) throw message.damage(root.at, 'no layer of metadata')
    if (layers.count > LAYERS_LIMIT) {
      throw message.damage(layers.at, `${layers.count} layers of metadata, at most ${LAYERS_LIMIT}`)
    }
    const vectors: InodeVector[] = []
    let first = 0
    for (let index = 0; index < layers.count; index++) {
      const inodes = message.structs(message.element(layers, index), VECTOR.inodes)
      vectors.push({ inodes, first })
      first += inodes.count
      if (first > message.budget) throw message.damage(inodes.at, `${first} inodes in ${message.words} words`)
    }
    this.message = message
    this.vectors = vectors
    this.inodeCount = first
    this.chunks = new ChunkTable(message, message.structs(root, ROOTFS.fsVerityData))
  }
}
