import { createHash } from 'node:crypto'
import { type ByteSource, checkRange, DamageError } from '../base/index.ts'
import { toHex } from './block-digest.ts'
import { describeFailure, type VerityCounters, type VerityFailure } from './failure.ts'
import { DIGEST_SIZE, fsVerityOf, LEAF_SIZE, leafDigest, leafDigests } from './fs-verity.ts'

/** Bytes that are read at once where a whole file is hashed: they are hashed twice, and stay in the processor's cache. */
const READ_SIZE = 256 << 10

/** What is remembered of a file that was hashed as a whole. Plain data for all threads; nobody changes it any more. */
export interface BlockDigests {
  /** Bytes of the file. */
  readonly size: number
  /** One sha256 for each `LEAF_SIZE` bytes. */
  readonly digests: SharedArrayBuffer
}

/** A file that was hashed as a whole. */
export interface HashedFile {
  readonly blocks: BlockDigests
  /** Of all bytes, hex. */
  readonly digest: string
  /** The digest that the kernel's fs-verity would give, hex. */
  readonly fsVerity: string
}

/** Reads and hashes all of a source. @param algorithm of the digest, `sha256` or `sha512`. @throws FsError EIO */
export function hashSource(source: ByteSource, algorithm: string): HashedFile {
  const { size } = source
  const digests = new SharedArrayBuffer(Math.ceil(size / LEAF_SIZE) * DIGEST_SIZE)
  const leaves = new Uint8Array(digests)
  const whole = createHash(algorithm)
  const room = new Uint8Array(Math.min(READ_SIZE, size))
  for (let at = 0; at < size; at += READ_SIZE) {
    const bytes = room.subarray(0, Math.min(READ_SIZE, size - at))
    source.readInto(at, bytes)
    whole.update(bytes)
    leafDigests(bytes, leaves.subarray((at / LEAF_SIZE) * DIGEST_SIZE))
  }
  return { blocks: { size, digests }, digest: whole.digest('hex'), fsVerity: fsVerityOf(size, leaves) }
}

/** The bytes that are read, and what they were when all of them were hashed. */
export interface HashedSourceOptions {
  readonly source: ByteSource
  readonly blocks: BlockDigests
  /** Where to count; by default nowhere. */
  readonly counters?: VerityCounters
  /** Called at every mismatch, before `readInto` throws. */
  readonly onFailure?: (failure: VerityFailure) => void
}

/**
 * The bytes of a file that was hashed as a whole once, each block compared with what it was then every time it is read: a
 * file that changes yields the same bytes or EIO. One instance a thread.
 */
export class HashedSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #digests: Buffer
  readonly #counters: VerityCounters | undefined
  readonly #onFailure: ((failure: VerityFailure) => void) | undefined

  constructor({ source, blocks, counters, onFailure }: HashedSourceOptions) {
    this.size = blocks.size
    this.label = source.label
    this.#source = source
    this.#digests = Buffer.from(blocks.digests)
    this.#counters = counters
    this.#onFailure = onFailure
  }

  /** @throws DamageError for a block that is not what it was, FsError EIO */
  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    const start = position - (position % LEAF_SIZE)
    const end = Math.min(this.size, Math.ceil((position + target.length) / LEAF_SIZE) * LEAF_SIZE)
    const isWhole = start === position && end === position + target.length
    // Others can see shared memory before it is verified.
    const bytes = isWhole && !isShared(target) ? target : new Uint8Array(end - start)
    this.#source.readInto(start, bytes)
    for (let at = 0; at < bytes.length; at += LEAF_SIZE) {
      const failure = this.#check((start + at) / LEAF_SIZE, bytes.subarray(at, at + LEAF_SIZE))
      if (failure === undefined) continue
      target.fill(0)
      this.#onFailure?.(failure)
      throw new DamageError(this.label, failure.position, describeFailure(failure))
    }
    if (bytes !== target) target.set(bytes.subarray(position - start, position - start + target.length))
  }

  isAtHand(position: number, length: number): boolean {
    const start = position - (position % LEAF_SIZE)
    const end = Math.min(this.size, Math.ceil((position + length) / LEAF_SIZE) * LEAF_SIZE)
    return this.#source.isAtHand?.(start, Math.max(0, end - start)) !== false
  }

  willNeed(position: number, length: number): void {
    this.#source.willNeed?.(position, length)
  }

  close(): void {
    this.#source.close?.()
  }

  #check(block: number, bytes: Uint8Array): VerityFailure | undefined {
    const actual = leafDigest(bytes)
    const expected = this.#digests.toString('latin1', block * DIGEST_SIZE, (block + 1) * DIGEST_SIZE)
    if (this.#counters !== undefined) this.#counters.blocksChecked += 1
    if (actual === expected) return undefined
    if (this.#counters !== undefined) this.#counters.failures += 1
    return {
      kind: 'data',
      label: this.label,
      level: undefined,
      block,
      position: block * LEAF_SIZE,
      expected: toHex(expected),
      actual: toHex(actual),
    }
  }
}

function isShared({ buffer }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer
}
