import { createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { type ByteSource, checkRange, DamageError, FsError } from '../../base/index.ts'
import { type Secret, secretBytes } from '../keys/secret.ts'
import {
  CIPHER_BLOCK,
  FILE_ID_SIZE,
  HEADER_SIZE,
  NONCE_SIZE,
  PLAIN_BLOCK,
  plainSize,
  TAG_SIZE,
} from './layout.ts'

/** Blocks that are read at once. */
const BLOCKS_AT_ONCE = 64

/** One encrypted file. Plain data. */
export interface GocryptfsFile {
  /** Hex; each block is authenticated with it, so that no block of another file is taken for one of this. */
  readonly fileId: string
  readonly key: Secret
}

/** What an encrypted file of gocryptfs holds. Each block that is read is authenticated. One instance a thread. */
export class GocryptfsSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  #key: KeyObject | undefined
  /** Number of the block, big-endian, and the id of the file. */
  readonly #authenticated = Buffer.alloc(8 + FILE_ID_SIZE)
  #room = Buffer.alloc(0)

  /** @throws FsError EIO for a file of an impossible size, and where the key was wiped */
  constructor(source: ByteSource, { fileId, key }: GocryptfsFile) {
    const size = plainSize(source.size)
    if (size === undefined) {
      throw new FsError('EIO', `${source.label}: gocryptfs: no file has ${source.size} bytes: it is cut off`)
    }
    this.size = size
    this.label = source.label
    this.#source = source
    this.#key = createSecretKey(secretBytes(key, source.label))
    this.#authenticated.write(fileId, 8, 'hex')
  }

  /** @throws DamageError for a block that was changed; FsError EIO */
  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    for (let done = 0; done < target.length; ) {
      const at = position + done
      const skip = at % PLAIN_BLOCK
      const length = Math.min(target.length - done, BLOCKS_AT_ONCE * PLAIN_BLOCK - skip)
      this.#readBlocks((at - skip) / PLAIN_BLOCK, skip, target.subarray(done, done + length))
      done += length
    }
  }

  isAtHand(position: number, length: number): boolean {
    const { start, end } = this.#stored(position, length)
    return this.#source.isAtHand?.(start, end - start) !== false
  }

  willNeed(position: number, length: number): void {
    const { start, end } = this.#stored(position, length)
    if (end > start) this.#source.willNeed?.(start, end - start)
  }

  close(): void {
    this.#key = undefined
    this.#source.close?.()
  }

  /** @param skip bytes of the first block that are not wanted */
  #readBlocks(first: number, skip: number, target: Uint8Array): void {
    const { start, end } = this.#stored(first * PLAIN_BLOCK, skip + target.length)
    const stored = this.#take(end - start)
    this.#source.readInto(start, stored)
    let done = -skip
    for (let at = 0, block = first; at < stored.length; at += CIPHER_BLOCK, block++) {
      const plain = this.#decrypt(stored.subarray(at, at + CIPHER_BLOCK), block)
      const from = Math.max(0, -done)
      const wanted = plain.subarray(from, Math.min(plain.length, target.length - done))
      target.set(wanted, done + from)
      done += plain.length
    }
  }

  #decrypt(stored: Buffer, block: number): Uint8Array {
    if (this.#key === undefined) throw new FsError('EIO', `${this.label}: read after it was closed`)
    const nonce = stored.subarray(0, NONCE_SIZE)
    const content = stored.subarray(NONCE_SIZE, -TAG_SIZE)
    if (nonce.every((byte) => byte === 0)) {
      // Where the file had a hole when it was written.
      if (stored.every((byte) => byte === 0)) return content
      throw this.#damage(block, 'has no nonce')
    }
    this.#authenticated.writeBigUInt64BE(BigInt(block))
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce)
    decipher.setAAD(this.#authenticated)
    decipher.setAuthTag(stored.subarray(-TAG_SIZE))
    const plain = decipher.update(content)
    try {
      decipher.final()
    } catch {
      throw this.#damage(block, 'does not match its authentication tag')
    }
    return plain
  }

  #damage(block: number, what: string): DamageError {
    const position = block * PLAIN_BLOCK
    return new DamageError(
      this.label,
      position,
      `${this.label}: gocryptfs: block at byte ${position} ${what}`,
    )
  }

  #take(length: number): Buffer {
    if (this.#room.length < length) this.#room = Buffer.alloc(length)
    return this.#room.subarray(0, length)
  }

  /** Where the blocks lie that hold a range. */
  #stored(position: number, length: number): { readonly start: number; readonly end: number } {
    const first = Math.floor(position / PLAIN_BLOCK)
    const last = Math.ceil((position + length) / PLAIN_BLOCK)
    const at = (block: number): number => Math.min(this.#source.size, HEADER_SIZE + block * CIPHER_BLOCK)
    return { start: at(first), end: at(last) }
  }
}
