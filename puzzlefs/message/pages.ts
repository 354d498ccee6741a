import { type ByteSource, LruCache, viewOf } from '../../src/base/index.ts'

/** Bytes that are read and kept together: several of the blocks that are verified at once. */
export const PAGE_SIZE = 16 << 10
/** Pages that the layers of one session keep together, bytes. */
const METADATA_CACHE_BYTES = 8 << 20
/** A page number is below this: images are smaller than 2^53 bytes. */
const PAGES = 2 ** 39

/** A part of an image. Nobody changes it. */
export interface Page {
  readonly bytes: Buffer
  readonly view: DataView
}

/** Most pages that are found without a look at their order of use: entries, names and inodes lie in different ones. */
const RECENT = 64

/** The cache of all images that one thread has open, each with numbers of its own. */
export class PageCache {
  readonly #pages: LruCache<number, Page>
  /** Direct-mapped, a quarter of the cache at most: keeping an order of use costs more than reading from a page. */
  readonly #recent: { key: number; page: Page | undefined }[]
  #spaces = 0

  constructor(bytes = METADATA_CACHE_BYTES) {
    const recent = Math.max(1, Math.min(RECENT, Math.floor(bytes / PAGE_SIZE / 4)))
    this.#recent = Array.from({ length: recent }, () => ({ key: -1, page: undefined }))
    this.#pages = new LruCache(bytes - recent * PAGE_SIZE)
  }

  /** Room for another image. */
  space(): { get(page: number): Page | undefined; set(page: number, content: Page): void } {
    const first = this.#spaces * PAGES
    this.#spaces += 1
    return {
      get: (page) => this.#get(first + page),
      set: (page, content) => this.#pages.set(first + page, content, content.bytes.length),
    }
  }

  #get(key: number): Page | undefined {
    const recent = this.#recent[key % this.#recent.length]
    if (recent?.key === key) return recent.page
    const page = this.#pages.get(key)
    if (recent !== undefined && page !== undefined) {
      recent.key = key
      recent.page = page
    }
    return page
  }
}

/** The bytes of one image, read in pages. Positions are bytes; callers stay within `size`. */
export class Pages {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #cache: ReturnType<PageCache['space']>
  /** The page used last: most reads go on where the one before ended. */
  #number = -1
  #page: Page | undefined

  constructor(source: ByteSource, cache: PageCache) {
    this.size = source.size
    this.label = source.label
    this.#source = source
    this.#cache = cache.space()
  }

  /** @param at a multiple of 2. @throws FsError EIO; Postponed */
  u16(at: number): number {
    const number = Math.floor(at / PAGE_SIZE)
    return this.#at(number).view.getUint16(at - number * PAGE_SIZE, true)
  }

  /** @param at a multiple of 4. @throws FsError EIO; Postponed */
  u32(at: number): number {
    const number = Math.floor(at / PAGE_SIZE)
    return this.#at(number).view.getUint32(at - number * PAGE_SIZE, true)
  }

  /** A copy. @throws FsError EIO; Postponed */
  bytes(at: number, length: number): Buffer {
    const target = Buffer.allocUnsafeSlow(length)
    for (let done = 0; done < length; ) {
      const number = Math.floor((at + done) / PAGE_SIZE)
      const from = at + done - number * PAGE_SIZE
      const part = this.#at(number).bytes.subarray(from, from + length - done)
      target.set(part, done)
      done += part.length
    }
    return target
  }

  /** A "binary" string, one character a byte. @throws FsError EIO; Postponed */
  text(at: number, length: number): string {
    const number = Math.floor(at / PAGE_SIZE)
    const from = at - number * PAGE_SIZE
    const { bytes } = this.#at(number)
    if (from + length > bytes.length) return this.bytes(at, length).toString('latin1')
    return bytes.toString('latin1', from, from + length)
  }

  #at(number: number): Page {
    if (number === this.#number && this.#page !== undefined) return this.#page
    const page = this.#cache.get(number) ?? this.#read(number)
    this.#number = number
    this.#page = page
    return page
  }

  #read(number: number): Page {
    const start = number * PAGE_SIZE
    const bytes = Buffer.allocUnsafeSlow(Math.min(PAGE_SIZE, this.size - start))
    this.#source.readInto(start, bytes)
    const page = { bytes, view: viewOf(bytes) }
    this.#cache.set(number, page)
    return page
  }
}
