import { FsError } from '../../base/index.ts'

const MAGIC = 0xfd2f_b528
/** Sixteen numbers, told apart by their lowest four bits (RFC 8878, 3.1.2). */
const SKIPPABLE = 0x184_d2a5
const DICTIONARY_ID_SIZES = [0, 1, 2, 4]
const BLOCK_HEADER = 3
const BLOCK_RLE = 1
const BLOCK_RESERVED = 3
/** Most content of one block, bytes (RFC 8878, 3.1.1.2). */
const BLOCK_MAX = 128 << 10
const CHECK_SUM = 4

/** What comes next: bytes to look at, or to pass over. */
interface Wish {
  readonly length: number
  /** Absent: they are passed over. */
  readonly read?: (bytes: Buffer) => void
}

/** Finds where a frame ends whose bytes come piece by piece, from its headers alone (RFC 8878, 3.1). */
export class FrameEnd {
  /** It has no content. */
  isSkippable = false
  /** Its content has no more bytes, as far as its blocks have come. */
  contentBound = 0
  readonly #wishes: Wish[] = [{ length: 4, read: (bytes) => this.#magic(bytes) }]
  readonly #seen: number[] = []
  #passed = 0
  #hasCheckSum = false

  get isReached(): boolean {
    return this.#wishes.length === 0
  }

  /**
   * @param bytes those that follow what was given before
   * @param ofOneBlock stops behind the next block at the latest
   * @returns how many of them belong to the frame
   * @throws FsError EIO for what is no frame
   */
  take(bytes: Uint8Array, ofOneBlock = false): number {
    const before = this.contentBound
    let at = 0
    for (let wish = this.#wishes[0]; wish !== undefined && at < bytes.length; wish = this.#wishes[0]) {
      const isBehindBlock = this.contentBound > before && wish.read !== undefined
      if (ofOneBlock && isBehindBlock) return at
      const count = Math.min(wish.length - this.#passed, bytes.length - at)
      if (wish.read !== undefined) this.#seen.push(...bytes.subarray(at, at + count))
      at += count
      this.#passed += count
      this.#settle()
    }
    return at
  }

  /** Goes on from all wishes that are fulfilled. */
  #settle(): void {
    for (
      let wish = this.#wishes[0];
      wish !== undefined && this.#passed >= wish.length;
      wish = this.#wishes[0]
    ) {
      this.#wishes.shift()
      this.#passed = 0
      wish.read?.(Buffer.from(this.#seen.splice(0)))
    }
  }

  #magic(bytes: Buffer): void {
    const magic = bytes.readUInt32LE(0)
    if (magic === MAGIC) this.#wishes.push({ length: 1, read: (one) => this.#descriptor(one[0] ?? 0) })
    else if (magic >>> 4 === SKIPPABLE) {
      this.isSkippable = true
      this.#wishes.push({
        length: 4,
        read: (size) => void this.#wishes.push({ length: size.readUInt32LE(0) }),
      })
    } else throw new FsError('EIO', `no zstd frame begins with 0x${magic.toString(16)}`)
  }

  #descriptor(value: number): void {
    const isSingle = (value & 0x20) !== 0
    const sizeFlag = value >> 6
    const sizeBytes = sizeFlag === 0 ? (isSingle ? 1 : 0) : 1 << sizeFlag
    this.#hasCheckSum = (value & 4) !== 0
    const dictionary = DICTIONARY_ID_SIZES[value & 3] ?? 0
    this.#wishes.push({ length: (isSingle ? 0 : 1) + dictionary + sizeBytes })
    this.#wishes.push(this.#block())
  }

  #block(): Wish {
    return {
      length: BLOCK_HEADER,
      read: (bytes) => {
        const header = bytes.readUIntLE(0, BLOCK_HEADER)
        const type = (header >> 1) & 3
        if (type === BLOCK_RESERVED) throw new FsError('EIO', 'a zstd block of a type that is reserved')
        const size = header >> 3
        this.contentBound += type === 0 || type === BLOCK_RLE ? Math.min(size, BLOCK_MAX) : BLOCK_MAX
        this.#wishes.push({ length: type === BLOCK_RLE ? 1 : size })
        const isLast = (header & 1) !== 0
        if (!isLast) this.#wishes.push(this.#block())
        else if (this.#hasCheckSum) this.#wishes.push({ length: CHECK_SUM })
      },
    }
  }
}
