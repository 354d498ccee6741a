import { createHash } from 'node:crypto'
import { type ByteSource, FsError } from '../../src/base/index.ts'
import type { SifObject } from '../descriptor.ts'
import { headerBytes } from '../header.ts'
import { checkObject, recordOf, type Sif } from '../sif.ts'
import type { SignedDigest } from './metadata.ts'

/** Bytes of an object that are hashed at once. */
const PIECE = 1 << 20

/** Called after each piece, with its bytes. May wait, or throw to end the work. */
export type OnBytes = (bytes: number) => Promise<void> | void

/** Whether a signature fits what of the header it covers: launch script, magic, version and id. @throws FsError EIO */
export function matchesHeader(sif: Sif, { algorithm, hex }: SignedDigest): boolean {
  const header = headerBytes(sif.source)
  const hash = createHash(algorithm).update(header.subarray(0, 45)).update(header.subarray(48, 64))
  return hash.digest('hex') === hex
}

/**
 * Whether a signature fits the record of an object. Its place in the file, its group and the time of its last change are
 * not covered; its number counts from that of the first object of the group.
 * @throws FsError EIO
 */
export function matchesRecord(
  sif: Sif,
  object: SifObject,
  relativeId: number,
  { algorithm, hex }: SignedDigest,
): boolean {
  const record = recordOf(sif, object)
  const id = Buffer.alloc(4)
  id.writeUInt32LE(relativeId)
  const hash = createHash(algorithm)
    // Type and use.
    .update(record.subarray(0, 5))
    .update(id)
    // Link; size; time of creation; owner, group, name and what is of the type.
    .update(record.subarray(13, 17))
    .update(record.subarray(25, 33))
    .update(record.subarray(41, 49))
    .update(record.subarray(57))
  return hash.digest('hex') === hex
}

/**
 * Hashes objects one after the other, each byte once.
 * @param algorithm as `node:crypto` names it
 * @returns hex
 * @throws FsError EIO where an object does not lie in the file, or cannot be read
 */
export async function digestObjects(
  sif: Sif,
  objects: readonly SifObject[],
  algorithm: string,
  onBytes: OnBytes,
): Promise<string> {
  for (const object of objects) checkObject(sif, object)
  const hash = createHash(algorithm)
  const piece = new Uint8Array(PIECE)
  for (const { offset, size } of objects) {
    for (let at = 0; at < size; at += PIECE) {
      const bytes = piece.subarray(0, Math.min(PIECE, size - at))
      sif.source.readInto(offset + at, bytes)
      hash.update(bytes)
      await onBytes(bytes.length)
    }
  }
  return hash.digest('hex')
}

/**
 * Compares all bytes of a source with digests.
 * @param expected `algorithm:hex`, by the names of `node:crypto`
 * @throws FsError EIO where one differs
 */
export function checkWhole(source: ByteSource, expected: readonly string[]): void {
  const wanted = expected.map((text) => {
    const [algorithm = '', hex = ''] = text.split(':')
    return { text, hex, hash: createHash(algorithm) }
  })
  const piece = new Uint8Array(PIECE)
  for (let at = 0; at < source.size; at += PIECE) {
    const bytes = piece.subarray(0, Math.min(PIECE, source.size - at))
    source.readInto(at, bytes)
    for (const { hash } of wanted) hash.update(bytes)
  }
  for (const { text, hex, hash } of wanted) {
    const actual = hash.digest('hex')
    if (actual === hex) continue
    throw new FsError(
      'EIO',
      `${source.label}: its bytes have digest ${actual}, expected ${text}: it is damaged`,
    )
  }
}
