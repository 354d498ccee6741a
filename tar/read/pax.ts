import { FsError, type Name } from '../../src/base/index.ts'

/** Values by keyword; one character a byte. */
export type PaxRecords = Map<string, string>

/** Records of several headers: a later one of the same keyword counts. */
export class PaxCollection {
  readonly records: PaxRecords = new Map()
  readonly #most: number
  #size = 0

  /** @param most bytes of keywords and values */
  constructor(most: number) {
    this.#most = most
  }

  /** @param at byte of the archive, for messages. @throws FsError EFBIG */
  add(records: PaxRecords, at: number): void {
    for (const [key, value] of records) {
      const before = this.records.get(key)
      this.#size += value.length + (before === undefined ? key.length : -before.length)
      if (this.#size > this.#most) {
        throw new FsError(
          'EFBIG',
          `extended header at byte ${at}: records of more than ${this.#most} bytes in all`,
        )
      }
      this.records.set(key, value)
    }
  }
}

/**
 * Reads the records of an extended header, `LENGTH KEYWORD=VALUE\n` each (POSIX pax(1), "pax Extended Header"). Values
 * are bytes and may hold anything, NULs and newlines too.
 * @throws FsError EINVAL if they are none
 */
export function decodePax(bytes: Buffer, at: number): PaxRecords {
  const records: PaxRecords = new Map()
  const text = bytes.toString('latin1')
  for (let start = 0; start < text.length; ) {
    const space = text.indexOf(' ', start)
    const digits = text.slice(start, space)
    const end = start + Number(digits)
    const equals = text.indexOf('=', space)
    const isRecord = space > start && /^\d{1,8}$/.test(digits) && equals > space && equals < end
    if (!isRecord || end > text.length || text[end - 1] !== '\n') {
      // Some writers fill up with NULs.
      if (/^\0+$/.test(text.slice(start))) break
      throw new FsError('EINVAL', `extended header at byte ${at}: no record at its byte ${start}`)
    }
    addRecord(records, text.slice(space + 1, equals), text.slice(equals + 1, end - 1))
    start = end
  }
  return records
}

/** A map of form 0.0 repeats two keywords for each piece: their values are joined, as form 0.1 has them. */
function addRecord(records: PaxRecords, key: string, value: string): void {
  if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
    const before = records.get('GNU.sparse.map')
    records.set('GNU.sparse.map', before === undefined ? value : `${before},${value}`)
  } else {
    records.set(key, value)
  }
}

/** A number as PAX writes it, with a fraction and a sign. @param what has the records, for messages. @throws FsError EINVAL */
export function paxNumber(records: PaxRecords, key: string, what: string): number | undefined {
  const text = records.get(key)
  // An empty value takes back the one of a global header.
  if (text === undefined || text === '') return undefined
  const value = /^-?\d+(\.\d*)?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value
  throw new FsError('EINVAL', `${what}: ${key} is ${JSON.stringify(text)}, no number of up to 53 bits`)
}

/** A number of bytes. @throws FsError EINVAL */
export function paxSize(records: PaxRecords, key: string, what: string): number | undefined {
  const size = paxNumber(records, key, what)
  if (size === undefined || (Number.isSafeInteger(size) && size >= 0)) return size
  throw new FsError('EINVAL', `${what}: ${key} is ${size}, no number of bytes`)
}

/** A time as it is stored, nanoseconds forward from the seconds. */
export interface TarTime {
  /** Since 1970; whole, may be negative. */
  readonly seconds: number
  /** 0 to 999 999 999. */
  readonly nanoseconds: number
}

/** A time as PAX writes it; what is finer than nanoseconds is cut off. @throws FsError EINVAL */
export function paxTime(records: PaxRecords, key: string, what: string): TarTime | undefined {
  if (paxNumber(records, key, what) === undefined) return undefined
  const [whole = '', fraction = ''] = (records.get(key) ?? '').split('.')
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  const seconds = Number(whole)
  if (!whole.startsWith('-') || nanoseconds === 0) return { seconds: seconds + 0, nanoseconds }
  return { seconds: seconds - 1, nanoseconds: 1e9 - nanoseconds }
}

/** Extended attributes, in both forms: that of star and GNU tar, and that of libarchive. @throws FsError EINVAL */
export function paxAttributes(records: PaxRecords, what: string): [name: Name, value: Uint8Array][] {
  const found = new Map<Name, Uint8Array>()
  for (const [key, value] of records) {
    if (key.startsWith('LIBARCHIVE.xattr.')) {
      found.set(urlDecoded(key.slice('LIBARCHIVE.xattr.'.length)), Buffer.from(value, 'base64'))
    }
  }
  for (const [key, value] of records) {
    if (key.startsWith('SCHILY.xattr.'))
      found.set(key.slice('SCHILY.xattr.'.length), Buffer.from(value, 'latin1'))
  }
  for (const name of found.keys()) {
    if (name.includes('\0'))
      throw new FsError('EINVAL', `${what}: attribute ${JSON.stringify(name)} has a NUL in its name`)
  }
  return [...found]
}

function urlDecoded(text: string): Name {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
