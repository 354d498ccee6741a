import { FsError, type Name, packDevice } from '../../src/base/index.ts'

/** Bytes of a header, and the unit to which contents are filled up. */
export const RECORD = 512

/** Fields of one header as they are stored (POSIX pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"). */
export interface Header {
  /** With the prefix of ustar; one character a byte. */
  readonly path: Name
  readonly linkPath: Name
  /** One character; `0` where it is stored as NUL. */
  readonly type: string
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** As the kernel encodes it in 32 bits. */
  readonly rdev: number
  /** GNU tar's own form, whose last fields are other ones than those of ustar. */
  readonly isGnu: boolean
}

const CHECKSUM_AT = 148
const CHECKSUM_SIZE = 8
const MAGIC_AT = 257
const PREFIX_AT = 345
const PERMISSIONS = 0o7777
/** Of the kernel (include/linux/kdev_t.h: new_encode_dev). */
const MAJOR_MAX = 0xfff
const MINOR_MAX = 0xf_ffff

/** Whether a record is one of zeros, which ends an archive. */
export function isZero(record: Uint8Array): boolean {
  return record.every((byte) => byte === 0)
}

/**
 * Reads one header.
 * @param record 512 bytes
 * @param at its place in the archive, for messages
 * @throws FsError EINVAL if it is no header
 */
export function decodeHeader(record: Buffer, at: number): Header {
  const what = `tar header at byte ${at}`
  if (!hasChecksum(record)) {
    const hint = at === 0 ? ': is this a tar archive?' : ''
    throw new FsError('EINVAL', `${what}: its checksum is wrong${hint}`)
  }
  const magic = text(record, MAGIC_AT, 8)
  const isGnu = magic.startsWith('ustar ')
  const name = text(record, 0, 100)
  const prefix = magic === 'ustar' ? text(record, PREFIX_AT, 155) : ''
  const flag = record[156] ?? 0
  return {
    path: prefix === '' ? name : `${prefix}/${name}`,
    linkPath: text(record, 157, 100),
    type: flag === 0 ? '0' : String.fromCharCode(flag),
    mode: number(record, 100, 8, what) & PERMISSIONS,
    uid: number(record, 108, 8, what),
    gid: number(record, 116, 8, what),
    size: number(record, 124, 12, what),
    mtime: number(record, 136, 12, what),
    rdev: isDevice(flag) ? device(record, what) : 0,
    isGnu,
  }
}

/** Of files that are no devices these fields may hold anything. */
function isDevice(flag: number): boolean {
  return flag === 0x33 || flag === 0x34
}

/** @throws FsError EINVAL for numbers that no kernel has: another device would take its place */
function device(record: Buffer, what: string): number {
  const [major, minor] = [number(record, 329, 8, what), number(record, 337, 8, what)]
  if (!(major >= 0 && major <= MAJOR_MAX && minor >= 0 && minor <= MINOR_MAX)) {
    throw new FsError('EINVAL', `${what}: device ${major}:${minor}, at most ${MAJOR_MAX}:${MINOR_MAX}`)
  }
  return packDevice(major, minor)
}

/** Some writers add bytes with a sign. */
function hasChecksum(record: Buffer): boolean {
  const digits = text(record, CHECKSUM_AT, CHECKSUM_SIZE).trim()
  const stored = /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : -1
  return (
    stored === checksum(record, (byte) => byte) || stored === checksum(record, (byte) => (byte << 24) >> 24)
  )
}

function checksum(record: Buffer, value: (byte: number) => number): number {
  let sum = CHECKSUM_SIZE * 0x20
  for (let at = 0; at < RECORD; at++) {
    if (at < CHECKSUM_AT || at >= CHECKSUM_AT + CHECKSUM_SIZE) sum += value(record[at] ?? 0)
  }
  return sum
}

/** Up to the first NUL. */
function text(record: Buffer, at: number, size: number): string {
  const value = record.toString('latin1', at, at + size)
  const end = value.indexOf('\0')
  return end < 0 ? value : value.slice(0, end)
}

/** Octal digits, or the binary form of GNU tar, whose first bit is set. */
export function number(record: Buffer, at: number, size: number, what: string): number {
  const first = record[at] ?? 0
  return (first & 0x80) === 0 ? octal(record, at, size, what) : binary(record, at, size, what)
}

function octal(record: Buffer, at: number, size: number, what: string): number {
  const digits = text(record, at, size).trim()
  if (digits === '') return 0
  const value = /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN
  if (!Number.isSafeInteger(value))
    throw new FsError('EINVAL', `${what}: ${JSON.stringify(digits)} is no number`)
  return value
}

/** Two's complement, most significant byte first; the first bit only marks the form. */
function binary(record: Buffer, at: number, size: number, what: string): number {
  const isNegative = ((record[at] ?? 0) & 0x40) !== 0
  let value = isNegative ? -1n : 0n
  for (let i = 0; i < size; i++) {
    const byte = record[at + i] ?? 0
    value = (value << 8n) | BigInt(i === 0 && !isNegative ? byte & 0x7f : byte)
  }
  const result = Number(value)
  if (!Number.isSafeInteger(result)) throw new FsError('EINVAL', `${what}: a number of more than 53 bits`)
  return result
}
