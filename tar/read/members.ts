import { type ByteSource, FsError, type Name } from '../../src/base/index.ts'
import { decodeHeader, type Header, isZero, RECORD } from './header.ts'
import { cleanPath } from './names.ts'
import { decodePax, type PaxRecords, paxSize } from './pax.ts'

/** A member of an archive without compression, by its place: the content is not read. */
export interface TarMember {
  readonly path: Name
  /** Regular files: byte at which the content begins, and its length. Absent where it does not lie there as it is. */
  readonly place?: { readonly offset: number; readonly length: number }
  /** Hard links: the path of the file. Symbolic links: the target, from the directory of the link. */
  readonly link?: { readonly kind: 'hard' | 'symbolic'; readonly target: Name }
}

/** Records before a member, bytes. */
const EXTENSION_MAX = 1 << 20

/**
 * Walks over the headers of an archive without compression, and passes over what is between them.
 * @throws FsError EINVAL for what is no archive; EIO where it ends too early
 */
export function* readMembers(source: ByteSource): Generator<TarMember> {
  let pax: PaxRecords = new Map()
  let longName: Name | undefined
  let longLink: Name | undefined
  for (let at = 0; at + RECORD <= source.size; ) {
    const record = bytesAt(source, at, RECORD)
    if (isZero(record)) return
    const header = decodeHeader(record, at)
    const start = at + RECORD
    const what = `entry at byte ${at}`
    const size = isExtension(header) ? header.size : (paxSize(pax, 'size', what) ?? header.size)
    if (!(size >= 0) || start + size > source.size) {
      throw new FsError('EIO', `the archive ends at byte ${source.size}, within the member at byte ${at}`)
    }
    at = start + Math.ceil(size / RECORD) * RECORD
    if (isExtension(header)) {
      if (size > EXTENSION_MAX) throw new FsError('EFBIG', `header at byte ${start}: ${size} bytes`)
      const bytes = bytesAt(source, start, size)
      if (header.type === 'L') longName = untilNul(bytes)
      else if (header.type === 'K') longLink = untilNul(bytes)
      else if (header.type === 'x') pax = decodePax(bytes, start)
      continue
    }
    const path = pax.get('path') ?? longName ?? header.path
    const target = pax.get('linkpath') ?? longLink ?? header.linkPath
    yield { path: cleanPath(path, what), ...describe(header, pax, start, size, target) }
    pax = new Map()
    longName = longLink = undefined
  }
}

function isExtension({ type }: Header): boolean {
  return 'xgLK'.includes(type)
}

function describe(
  { type }: Header,
  pax: PaxRecords,
  offset: number,
  length: number,
  target: Name,
): Omit<TarMember, 'path'> {
  if (type === '1') return { link: { kind: 'hard', target } }
  if (type === '2') return { link: { kind: 'symbolic', target } }
  const isSparse = type === 'S' || pax.has('GNU.sparse.major') || pax.has('GNU.sparse.size')
  return (type === '0' || type === '7') && !isSparse ? { place: { offset, length } } : {}
}

function bytesAt(source: ByteSource, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (length > 0) source.readInto(position, bytes)
  return bytes
}

function untilNul(bytes: Buffer): Name {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}
