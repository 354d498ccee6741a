import { ByteReader } from '../src/base/index.ts'
import { numberOf, RECORD_SIZE, textOf, timeOf } from './header.ts'
import { architectureName, TYPE } from './types.ts'

/** Groups, and links to groups, carry these bits. */
const GROUP_MASK = 0xf000_0000

const NAME_SIZE = 128
const EXTRA_SIZE = 384
const FINGERPRINT_SIZE = 20

/** What an object belongs to or speaks of. */
export type Link = { readonly object: number } | { readonly group: number }

/** What a record says beside what all have, by its type. Numbers as the file has them. */
export type Extra =
  | {
      readonly of: 'partition'
      readonly fileSystem: number
      readonly part: number
      /** As Go names it. */
      readonly architecture: string
    }
  | {
      readonly of: 'signature'
      readonly hash: number
      /** Fingerprint of the PGP key, hex; absent for other signatures. */
      readonly fingerprint?: string
    }
  | { readonly of: 'crypto'; readonly format: number; readonly message: number }
  | { readonly of: 'sbom'; readonly format: number }
  | { readonly of: 'oci'; readonly digest: string }
  | { readonly of: 'other' }

/** One object of a SIF. Nothing says that it lies in the file: see `checkObject`. */
export interface SifObject {
  /** Place of its record in the table, from 0. */
  readonly slot: number
  readonly type: number
  readonly id: number
  /** Absent: none. */
  readonly group?: number
  readonly link?: Link
  /** From the start of the file. */
  readonly offset: number
  readonly size: number
  /** Seconds since 1970. */
  readonly created?: number
  readonly modified?: number
  /** Empty for most. */
  readonly name: string
  readonly extra: Extra
}

/**
 * Reads one record.
 * @param record 585 bytes
 * @returns undefined for one that is not in use
 */
export function readDescriptor(record: Uint8Array, slot: number, label: string): SifObject | undefined {
  const reader = ByteReader.over(record.subarray(0, RECORD_SIZE), `${label}: record ${slot + 1} of the SIF`)
  const type = reader.i32()
  const isUsed = reader.u8() !== 0
  if (!isUsed) return undefined
  const id = reader.u32()
  const group = groupOf(reader.u32())
  const link = linkOf(reader.u32())
  const offset = numberOf(reader.u64())
  const size = numberOf(reader.u64())
  // With the padding before it.
  reader.skip(8)
  const created = timeOf(reader.u64())
  const modified = timeOf(reader.u64())
  // Owner and group, which are not used any more.
  reader.skip(16)
  const name = nameOf(reader.bytes(NAME_SIZE))
  const extra = extraOf(type, reader.bytes(EXTRA_SIZE), label)
  return {
    slot,
    type,
    id,
    ...(group === 0 ? {} : { group }),
    ...(link === undefined ? {} : { link }),
    offset,
    size,
    ...(created === undefined ? {} : { created }),
    ...(modified === undefined ? {} : { modified }),
    name,
    extra,
  }
}

function groupOf(stored: number): number {
  return (stored & ~GROUP_MASK) >>> 0
}

function linkOf(stored: number): Link | undefined {
  if (stored === 0) return undefined
  const isGroup = (stored & GROUP_MASK) >>> 0 === GROUP_MASK
  return isGroup ? { group: groupOf(stored) } : { object: stored }
}

/** Only NULs at the end are no part of the name; a single dot is how older files write that there is none. */
function nameOf(bytes: Uint8Array): string {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  const name = Buffer.from(bytes.subarray(0, end)).toString('utf8')
  return name === '.' ? '' : name
}

function extraOf(type: number, bytes: Uint8Array, label: string): Extra {
  const reader = ByteReader.over(bytes, `${label}: SIF record`)
  switch (type) {
    case TYPE.partition: {
      const fileSystem = reader.i32()
      const part = reader.i32()
      return { of: 'partition', fileSystem, part, architecture: architectureName(reader.bytes(3)) }
    }
    case TYPE.signature: {
      const hash = reader.i32()
      const entity = Buffer.from(reader.bytes(FINGERPRINT_SIZE))
      const isNone = entity.every((byte) => byte === 0)
      return { of: 'signature', hash, ...(isNone ? {} : { fingerprint: entity.toString('hex') }) }
    }
    case TYPE.crypto: {
      const format = reader.i32()
      return { of: 'crypto', format, message: reader.i32() }
    }
    case TYPE.sbom:
      return { of: 'sbom', format: reader.i32() }
    case TYPE.rootIndex:
    case TYPE.blob:
      return { of: 'oci', digest: textOf(bytes) }
    default:
      return { of: 'other' }
  }
}
