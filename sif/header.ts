import { ByteReader, type ByteSource, FsError } from '../src/base/index.ts'
import { architectureName, quoted } from './types.ts'

/** Bytes of the global header. */
export const HEADER_SIZE = 128

const LAUNCH_SIZE = 32
const MAGIC = Buffer.from('SIF_MAGIC\0')
const VERSION = '01'

/** Bytes of one record of the table of objects. */
export const RECORD_SIZE = 585

/**
 * Most records of a table: an image in the wild has 48, and one of OCI layers as many as it has blobs. The format allows
 * 2^32 − 2, which would be read one by one.
 */
const MOST_RECORDS = 65_536

/** 9999-12-31, seconds: the end of what a date can be written as. */
const LAST_TIME = 253_402_300_799

/** The first 128 bytes of a SIF. Positions and sizes in bytes from the start of the file. */
export interface SifHeader {
  /** The line by which the file can be run; empty where there is none. */
  readonly launchScript: string
  readonly version: string
  /** Of the primary partition, as Go names it; `unknown` without one. */
  readonly architecture: string
  /** UUID, lower case. */
  readonly id: string
  /** Seconds since 1970; absent for a time that nothing was made at: deterministic builds. */
  readonly created?: number
  readonly modified?: number
  /** Records that the file calls free. */
  readonly free: number
  readonly total: number
  readonly tableOffset: number
}

/** Whether a file that begins with these bytes is a SIF, of any version. */
export function looksLikeSif(head: Uint8Array): boolean {
  return MAGIC.every((byte, at) => head[LAUNCH_SIZE + at] === byte)
}

/** How many bytes `looksLikeSif` looks at. */
export const MAGIC_END = LAUNCH_SIZE + MAGIC.length

/** @returns the header as it lies there. @throws FsError EIO where the file is shorter */
export function headerBytes(source: ByteSource): Uint8Array {
  if (source.size < HEADER_SIZE) {
    const wrong = `a SIF of ${source.size} bytes, which is less than its header of ${HEADER_SIZE}`
    throw new FsError('EIO', `${source.label}: ${wrong}: the file is cut off`)
  }
  const bytes = new Uint8Array(HEADER_SIZE)
  source.readInto(0, bytes)
  return bytes
}

/**
 * Reads the global header, and checks that the table of objects lies in the file.
 * @throws FsError EINVAL for what is no SIF or one of another version; EIO for damage
 */
export function readHeader(source: ByteSource): SifHeader {
  const { label, size } = source
  const bytes = headerBytes(source)
  if (!looksLikeSif(bytes)) throw new FsError('EINVAL', `${label}: is no SIF (no SIF_MAGIC at byte 32)`)
  const reader = ByteReader.over(bytes, `${label}: SIF header`)
  const launchScript = textOf(reader.bytes(LAUNCH_SIZE)).trimEnd()
  reader.skip(MAGIC.length)
  const version = textOf(reader.bytes(3))
  if (version !== VERSION) {
    const cause = version === '00' ? 'releases of 2018 made such files: build the image anew' : 'not known'
    throw new FsError(
      'EINVAL',
      `${label}: SIF version ${quoted(version)}, expected ${quoted(VERSION)} (${cause})`,
    )
  }
  const architecture = architectureName(reader.bytes(3))
  const id = uuidOf(reader.bytes(16))
  const created = timeOf(reader.u64())
  const modified = timeOf(reader.u64())
  const free = numberOf(reader.u64())
  const total = numberOf(reader.u64())
  const tableOffset = numberOf(reader.u64())
  if (!(total >= 0 && total <= MOST_RECORDS)) {
    throw new FsError(
      'EIO',
      `${label}: SIF header: ${total} records of objects, at most ${MOST_RECORDS} are read`,
    )
  }
  const end = tableOffset + total * RECORD_SIZE
  if (!(tableOffset >= 0 && end <= size)) {
    const place = `the table of objects ends at byte ${end}, and the file at ${size}`
    throw new FsError('EIO', `${label}: SIF header: ${place}: the file is cut off or damaged`)
  }
  const times = {
    ...(created === undefined ? {} : { created }),
    ...(modified === undefined ? {} : { modified }),
  }
  return { launchScript, version, architecture, id, ...times, free, total, tableOffset }
}

/** Up to the first NUL. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString('utf8')
}

/** A signed number of 64 bits. What is larger than 2^53 is not exact; it lies outside of every file. */
export function numberOf(stored: bigint): number {
  return Number(BigInt.asIntN(64, stored))
}

/** @returns undefined for times before 1970, which deterministic builds write, and for those that no calendar has */
export function timeOf(stored: bigint): number | undefined {
  const seconds = numberOf(stored)
  return seconds > 0 && seconds <= LAST_TIME ? seconds : undefined
}

function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
