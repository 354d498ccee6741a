import type { Name } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'

/** Bytes of a sha256. */
const DIGEST_SIZE = 32
/** Pointers of `VerityData`. */
const DIGEST = 0
const VERITY = 1
/** Digests whose places are remembered: neighbouring files share chunks. */
const REMEMBERED = 512

/**
 * The chunks of an image: one entry for each blob that holds data, in the order of their digests. An image names its
 * chunks by digest, and everything here by the index in this table.
 */
export class ChunkTable {
  readonly count: number
  readonly #message: Message
  readonly #list: StructList
  readonly #places = new Map<Name, number>()
  #all: ReadonlyMap<Name, number> | undefined

  constructor(message: Message, list: StructList) {
    this.#message = message
    this.#list = list
    this.count = list.count
  }

  /** The sha256 of a chunk as it is stored, as a "binary" string. @throws DamageError */
  digest(index: number): Name {
    const data = this.#message.data(this.#message.element(this.#list, index), DIGEST)
    if (data.length === DIGEST_SIZE) return this.#message.text(data)
    throw this.#message.damage(data.at, `chunk ${index}: a digest of ${data.length} bytes`)
  }

  /** The fs-verity digest that the image has for a chunk, hex. @throws DamageError */
  verity(index: number): string {
    const data = this.#message.data(this.#message.element(this.#list, index), VERITY)
    return data.length > 2 * DIGEST_SIZE ? '' : this.#message.bytes(data).toString('hex')
  }

  /** The index of a chunk; undefined where the table does not have it. @throws DamageError */
  find(digest: Name): number | undefined {
    const known = this.#places.get(digest)
    if (known !== undefined) return known
    const found = this.#bisect(digest) ?? this.#everywhere(digest)
    if (found === undefined) return undefined
    if (this.#places.size >= REMEMBERED) this.#places.clear()
    this.#places.set(digest, found)
    return found
  }

  #bisect(digest: Name): number | undefined {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.digest(middle) < digest) low = middle + 1
      else high = middle
    }
    return low < this.count && this.digest(low) === digest ? low : undefined
  }

  /** For a table that is out of order, which the reference never writes. */
  #everywhere(digest: Name): number | undefined {
    if (this.#all === undefined) {
      const all = new Map<Name, number>()
      let isSorted = true
      let before = ''
      for (let index = 0; index < this.count && isSorted; index++) {
        const own = this.digest(index)
        isSorted = before <= own
        before = own
      }
      for (let index = 0; !isSorted && index < this.count; index++) all.set(this.digest(index), index)
      this.#all = all
    }
    return this.#all.get(digest)
  }
}
