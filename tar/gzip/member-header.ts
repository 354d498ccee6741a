import { FsError } from '../../src/base/index.ts'
import type { Feed } from './feed.ts'

const ID1 = 0x1f
const ID2 = 0x8b
const DEFLATE = 8
/** Check sum and size behind a member, bytes. */
export const TRAILER = 8
const FLAG = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const
/** A name or comment of a member; nobody needs more. */
const TEXT_MAX = 1 << 16

/** Reads the header of a member (RFC 1952, 2.3). @returns false where no further member begins. @throws FsError EIO where the first one does not */
export function readHeader(feed: Feed, isFirst: boolean): boolean {
  const at = feed.position
  const [id1, id2] = [feed.byte(), feed.byte()]
  if (id1 !== ID1 || id2 !== ID2) {
    if (isFirst) throw new FsError('EIO', `no gzip header at byte ${at}`)
    return false
  }
  const method = feed.must()
  const flags = feed.must()
  if (method !== DEFLATE || (flags & FLAG.reserved) !== 0) {
    throw new FsError('EIO', `gzip header at byte ${at}: method ${method}, flags ${flags}`)
  }
  skip(feed, 6)
  if ((flags & FLAG.extra) !== 0) skip(feed, feed.must() | (feed.must() << 8))
  if ((flags & FLAG.name) !== 0) skipText(feed, at)
  if ((flags & FLAG.comment) !== 0) skipText(feed, at)
  if ((flags & FLAG.headerCrc) !== 0) skip(feed, 2)
  return true
}

function skip(feed: Feed, count: number): void {
  for (let i = 0; i < count; i++) feed.must()
}

function skipText(feed: Feed, at: number): void {
  for (let length = 0; feed.must() !== 0; length++) {
    if (length > TEXT_MAX)
      throw new FsError('EIO', `gzip header at byte ${at}: a name of more than ${TEXT_MAX} bytes`)
  }
}
