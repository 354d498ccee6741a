import { type ByteSource, DamageError, LruCache } from '../../src/base/index.ts'
import {
  CHECKPOINT_SIZE,
  decodeCheckpoint,
  decodeInode,
  INODE_SIZE,
  type IndexHeader,
  PAGE,
  type StoredCheckpoint,
  type StoredInode,
} from '../format/layout.ts'
import { readIndexHeader } from '../format/read-header.ts'

/** Pages of all indexes of a session, bytes. */
export const PAGE_CACHE_BYTES = 8 << 20

/** Pages by image and number. */
export type PageCache = LruCache<number, Uint8Array>

/** Images of a session whose pages are told apart by one number. */
const PAGES_MAX = 2 ** 40
let images = 0

/** The bytes of an index, through a cache of its pages. */
export class IndexPages {
  readonly header: IndexHeader
  readonly label: string
  readonly #source: ByteSource
  readonly #cache: PageCache
  readonly #key: number

  /** @throws FsError EINVAL, EIO */
  constructor(source: ByteSource, label: string, cache: PageCache = new LruCache(PAGE_CACHE_BYTES)) {
    this.#source = source
    this.#cache = cache
    this.#key = images++ * PAGES_MAX
    this.label = label
    this.header = readIndexHeader(source)
  }

  /** A copy. @throws FsError EIO outside of the index */
  read(position: number, length: number): Buffer {
    const { size } = this.header
    if (!(position >= PAGE && length >= 0 && position + length <= size)) {
      throw this.damage(position, `${length} bytes at ${position}, outside of the index of ${size} bytes`)
    }
    const bytes = Buffer.allocUnsafe(length)
    for (let done = 0; done < length; ) {
      const at = position + done
      const from = at % PAGE
      const part = this.#page((at - from) / PAGE).subarray(from, from + length - done)
      bytes.set(part, done)
      done += part.length
    }
    return bytes
  }

  /** @throws FsError EIO where there is no such inode */
  inode(number: number): StoredInode {
    const { inodes, inodeCount } = this.header
    if (!(Number.isInteger(number) && number >= 0 && number < inodeCount)) {
      throw this.damage(inodes, `inode ${number} of ${inodeCount}`)
    }
    const at = inodes + number * INODE_SIZE
    return decodeInode(this.read(at, INODE_SIZE), `${this.label}: inode ${number}`)
  }

  checkpoint(row: number): StoredCheckpoint {
    const at = this.header.checkpoints + row * CHECKPOINT_SIZE
    return decodeCheckpoint(this.read(at, CHECKPOINT_SIZE), `${this.label}: checkpoint ${row}`)
  }

  damage(position: number, what: string): DamageError {
    return new DamageError(this.label, position, `${this.label}: index of a layer: ${what}`)
  }

  #page(number: number): Uint8Array {
    const key = this.#key + number
    const cached = this.#cache.get(key)
    if (cached !== undefined) return cached
    const page = new Uint8Array(PAGE)
    this.#source.readInto(number * PAGE, page)
    this.#cache.set(key, page, PAGE)
    return page
  }
}
