import { LruCache, type Name, ResumableWalks } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'
import type { Inode } from '../rootfs/inode.ts'

/** Fields of `FileChunk` and `BlobRef`: bytes of the data, numbers of pointers. */
const CHUNK = { len: 0, blob: 0 } as const
const BLOB = { offset: 0, compressed: 8, digest: 0 } as const

/** Chunks from one place that is remembered to the next. */
const STRIDE = 64
/** Places of all files that are kept, of 8 bytes each. */
const PLACES_KEPT = 1 << 20
/** What a file with remembered places counts for, beside them: its map takes some 200 bytes. */
const MAP_COST = 25
/** Files of fewer chunks are counted anew each time: most files have one or two. */
const FEW = 16
/** Chunks after which others get their turn. */
const CHUNKS_AT_ONCE = 1024

/** A piece of a file in a chunk. */
export interface FileChunk {
  /** Bytes of the file. */
  readonly length: number
  /** The sha256 of the chunk, as a "binary" string. */
  readonly digest: Name
  /** Where the piece begins in the chunk, decoded. */
  readonly offset: number
  readonly isCompressed: boolean
}

/** Where the chunks of one file begin. */
interface FileMap {
  size: number
  /** Position in the file of each chunk whose index is a multiple of `STRIDE`. */
  readonly places: number[]
  /** Chunks that are counted. */
  counted: number
}

/** Where the only stride of a file of few chunks begins. */
const FROM_START: readonly number[] = [0]

function newMap(): FileMap {
  return { size: 0, places: [], counted: 0 }
}

/** The chunks of files. The size of a file is the sum of theirs. */
export class FileMaps {
  readonly #message: Message
  readonly #pause: () => void
  readonly #maps = new LruCache<number, FileMap>(PLACES_KEPT)
  readonly #walks = new ResumableWalks<FileMap, FileMap>(false)

  /** @param pause called where a long walk can go on later; it may throw `Postponed` */
  constructor(message: Message, pause: () => void) {
    this.#message = message
    this.#pause = pause
  }

  /** Bytes of a file. @throws DamageError */
  size(inode: Inode): number {
    const { list } = inode
    if (list.count >= FEW) return this.#map(inode).size
    const map = newMap()
    return list.count === 0 ? 0 : this.#count(map, inode).size
  }

  /** The first piece of a file; undefined where it has none. @throws DamageError */
  first({ list }: Inode): FileChunk | undefined {
    return list.count === 0 ? undefined : this.#chunk(list, 0, this.#length(list, 0))
  }

  /**
   * The pieces of [offset, end) of a file, in order.
   * @param end at most the size of the file
   * @param take gets a chunk, and which bytes of its piece are wanted
   */
  pieces(
    inode: Inode,
    offset: number,
    end: number,
    take: (chunk: FileChunk, from: number, length: number) => void,
  ): void {
    const { list } = inode
    const places = list.count < FEW ? FROM_START : this.#map(inode).places
    let stride = 0
    for (let high = places.length; high - stride > 1; ) {
      const middle = Math.floor((stride + high) / 2)
      if ((places[middle] ?? 0) <= offset) stride = middle
      else high = middle
    }
    let at = places[stride] ?? 0
    for (let index = stride * STRIDE; index < list.count && at < end; index++) {
      const length = this.#length(list, index)
      const from = Math.max(offset, at)
      const stop = Math.min(end, at + length)
      if (from < stop) take(this.#chunk(list, index, length), from - at, stop - from)
      at += length
    }
  }

  #map(inode: Inode): FileMap {
    const known = this.#maps.get(inode.ref)
    if (known !== undefined) return known
    const map = this.#walks.run(
      () => `${inode.ref}`,
      newMap,
      (walk) => this.#count(walk, inode),
    )
    this.#maps.set(inode.ref, map, map.places.length + MAP_COST)
    return map
  }

  #count(map: FileMap, { list, ref }: Inode): FileMap {
    for (; map.counted < list.count; map.counted++) {
      if (map.counted % CHUNKS_AT_ONCE === CHUNKS_AT_ONCE - 1) this.#pause()
      const length = this.#length(list, map.counted)
      if (map.counted % STRIDE === 0) map.places.push(map.size)
      map.size += length
      if (!Number.isSafeInteger(map.size))
        throw this.#message.damage(list.at, `inode ${ref}: a file of 2^53 bytes`)
    }
    return map
  }

  #length(list: StructList, index: number): number {
    return this.#message.u64(this.#message.element(list, index), CHUNK.len)
  }

  #chunk(list: StructList, index: number, length: number): FileChunk {
    const blob = this.#message.struct(this.#message.element(list, index), CHUNK.blob)
    const digest = this.#message.data(blob, BLOB.digest)
    if (digest.length !== 32) throw this.#message.damage(blob.at, `a digest of ${digest.length} bytes`)
    return {
      length,
      digest: this.#message.text(digest),
      offset: this.#message.u64(blob, BLOB.offset),
      isCompressed: this.#message.bit(blob, BLOB.compressed),
    }
  }
}
