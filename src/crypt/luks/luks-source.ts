import { type ByteSource, checkRange } from '../../base/index.ts'
import type { SectorCipher } from '../ciphers/sector-cipher.ts'
import { openSectorCipher } from '../ciphers/xts.ts'
import { type Secret, secretBytes } from '../keys/secret.ts'

/** Bytes that are read and decrypted at once. */
const PIECE = 256 << 10
/** dm-crypt counts in units of 512 bytes, whatever the sectors are (`plain64`). */
const UNIT = 512

/** The encrypted part of an image, as the header says it. Plain data. */
export interface LuksSegment {
  readonly offset: number
  readonly size: number
  readonly sectorSize: number
  readonly ivTweak: number
  readonly key: Secret
}

/**
 * What a LUKS2 image holds, decrypted. Nothing tells whether the bytes are those that were encrypted: a sector that was
 * changed decrypts to other bytes. One instance a thread.
 */
export class LuksSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #segment: LuksSegment
  readonly #cipher: SectorCipher
  #room = new Uint8Array(0)

  /** @throws FsError EIO where the key was wiped; EOPNOTSUPP without a cipher */
  constructor(source: ByteSource, segment: LuksSegment) {
    this.size = segment.size
    this.label = source.label
    this.#source = source
    this.#segment = segment
    this.#cipher = openSectorCipher(secretBytes(segment.key, source.label))
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    const { sectorSize } = this.#segment
    for (let done = 0; done < target.length; ) {
      const at = position + done
      const skip = at % sectorSize
      const length = Math.min(target.length - done, PIECE - skip)
      const sectors = this.#sectors(at - skip, skip + length)
      target.set(sectors.subarray(skip, skip + length), done)
      done += length
    }
  }

  isAtHand(position: number, length: number): boolean {
    const { start, end } = this.#aligned(position, length)
    return this.#source.isAtHand?.(this.#segment.offset + start, end - start) !== false
  }

  willNeed(position: number, length: number): void {
    const { start, end } = this.#aligned(position, length)
    if (end > start) this.#source.willNeed?.(this.#segment.offset + start, end - start)
  }

  close(): void {
    this.#cipher.close()
    this.#room.fill(0)
    this.#source.close?.()
  }

  /** Reads whole sectors from a sector on, and decrypts them. @returns memory that the next call uses again */
  #sectors(start: number, length: number): Uint8Array {
    const { offset, sectorSize, ivTweak } = this.#segment
    const bytes = this.#take(Math.ceil(length / sectorSize) * sectorSize)
    this.#source.readInto(offset + start, bytes)
    this.#cipher.decrypt(bytes, sectorSize, ivTweak + start / UNIT, sectorSize / UNIT)
    return bytes
  }

  #take(length: number): Uint8Array {
    // Metadata are read in small pieces, and many images may be open.
    if (this.#room.length < length) this.#room = new Uint8Array(length)
    return this.#room.subarray(0, length)
  }

  /** The sectors that a range touches. */
  #aligned(position: number, length: number): { readonly start: number; readonly end: number } {
    const { sectorSize } = this.#segment
    const start = position - (position % sectorSize)
    const end = Math.min(this.size, Math.ceil((position + length) / sectorSize) * sectorSize)
    return { start, end: Math.max(start, end) }
  }
}
