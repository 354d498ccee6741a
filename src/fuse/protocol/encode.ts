import {
  type AnswerBuffer,
  type Entry,
  ERRNO,
  type ErrnoCode,
  type InodeNumber,
  majorOf,
  minorOf,
  type ReplyToken,
  type Stat,
  type StatFs,
} from '../../base/index.ts'
import { ATTR_SIZE, OUT_HEADER_SIZE, STATX_BASIC_STATS, STATX_BTIME } from './abi.ts'

/**
 * Time-outs of entries and attributes, seconds. The image cannot change, so this is the longest time that the kernel
 * can convert to jiffies without special cases.
 */
export const FOREVER_SECONDS = 0x7fff_ffff

/** Writes one reply: `struct fuse_out_header` and its payload, in one buffer that is reused for all replies. */
export class Reply implements AnswerBuffer {
  readonly bytes: Buffer
  readonly #view: DataView
  readonly #shownInode: (ino: InodeNumber) => number
  #position = OUT_HEADER_SIZE

  /**
   * @param room the header and most payload bytes of any reply: so many bytes, or this buffer
   * @param shownInode maps an inode number of the file system to the number to show
   */
  constructor(room: number | Buffer, shownInode: (ino: InodeNumber) => number = asItIs) {
    this.#shownInode = shownInode
    this.bytes = typeof room === 'number' ? Buffer.alloc(OUT_HEADER_SIZE + room) : room
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
  }

  /** Payload bytes written so far. */
  get length(): number {
    return this.#position - OUT_HEADER_SIZE
  }

  begin(): void {
    this.#position = OUT_HEADER_SIZE
  }

  /** Drops the bytes written since the caller read `length` as `mark`. */
  rewind(mark: number): void {
    this.#position = OUT_HEADER_SIZE + mark
  }

  u16(value: number): void {
    this.#view.setUint16(this.#take(2), value, true)
  }

  u32(value: number): void {
    this.#view.setUint32(this.#take(4), value, true)
  }

  /** A safe integer, also a negative one (seconds before 1970), as 64 bits in two's complement. */
  u64(value: number): void {
    const at = this.#take(8)
    this.#view.setUint32(at, value % 2 ** 32, true)
    this.#view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
  }

  inode(ino: InodeNumber): void {
    this.u64(this.#shownInode(ino))
  }

  zeros(length: number): void {
    const at = this.#take(length)
    this.bytes.fill(0, at, at + length)
  }

  data(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#take(bytes.length))
  }

  name(name: string): void {
    this.bytes.write(name, this.#take(name.length), 'latin1')
  }

  /** Room for `length` payload bytes, which the caller fills before it finishes the reply. */
  claim(length: number): Uint8Array {
    const at = this.#take(length)
    return this.bytes.subarray(at, at + length)
  }

  /** Writes the header of a success. @returns bytes of the whole message */
  finish(token: ReplyToken): number {
    encodeHeader(this.#view, this.#position, token)
    return this.#position
  }

  /** Drops the payload and writes the header of an error. @returns bytes of the whole message */
  fail(code: ErrnoCode, token: ReplyToken): number {
    this.begin()
    encodeErrorHeader(this.#view, code, token)
    return OUT_HEADER_SIZE
  }

  #take(length: number): number {
    const at = this.#position
    if (at + length > this.bytes.length) throw new RangeError(`reply: ${length} bytes at ${at} do not fit`)
    this.#position = at + length
    return at
  }
}

/** `struct fuse_out_header` of a success, at the start of `view`. @param length bytes of the whole message */
export function encodeHeader(view: DataView, length: number, token: ReplyToken): void {
  view.setUint32(0, length, true)
  view.setInt32(4, 0, true)
  encodeToken(view, token)
}

/** The whole message of an error, at the start of `view`. Only this function gives errno its sign. */
export function encodeErrorHeader(view: DataView, code: ErrnoCode, token: ReplyToken): void {
  view.setUint32(0, OUT_HEADER_SIZE, true)
  view.setInt32(4, -ERRNO[code], true)
  encodeToken(view, token)
}

/** The u64 `unique` of the request. */
function encodeToken(view: DataView, { low, high }: ReplyToken): void {
  view.setUint32(8, low, true)
  view.setUint32(12, high, true)
}

/** `struct fuse_attr`, 88 bytes. */
export function encodeAttr(reply: Reply, stat: Stat): void {
  reply.inode(stat.ino)
  reply.u64(stat.size)
  reply.u64(stat.blocks)
  reply.u64(stat.atime)
  reply.u64(stat.mtime)
  reply.u64(stat.ctime)
  reply.u32(stat.atimeNsec)
  reply.u32(stat.mtimeNsec)
  reply.u32(stat.ctimeNsec)
  reply.u32(stat.mode)
  reply.u32(stat.nlink)
  reply.u32(stat.uid)
  reply.u32(stat.gid)
  reply.u32(stat.rdev)
  reply.u32(stat.blksize)
  reply.u32(0)
}

/** `struct fuse_entry_out`, 128 bytes. Without an entry: a negative one (nodeid 0), which the kernel caches. */
export function encodeEntry(reply: Reply, entry: Entry | undefined): void {
  reply.u64(entry?.nodeId ?? 0)
  reply.u32(entry?.generation ?? 0)
  reply.u32(0)
  reply.u64(FOREVER_SECONDS)
  reply.u64(entry === undefined ? 0 : FOREVER_SECONDS)
  reply.u32(0)
  reply.u32(0)
  if (entry === undefined) reply.zeros(ATTR_SIZE)
  else encodeAttr(reply, entry.stat)
}

/** `struct fuse_attr_out`, 104 bytes. */
export function encodeAttrOut(reply: Reply, stat: Stat): void {
  reply.u64(FOREVER_SECONDS)
  reply.u32(0)
  reply.u32(0)
  encodeAttr(reply, stat)
}

/** `struct fuse_statx_out`, 288 bytes. The bit of the birth time is set where it is known; images have none. */
export function encodeStatx(reply: Reply, stat: Stat): void {
  reply.u64(FOREVER_SECONDS)
  reply.u32(0)
  reply.u32(0)
  reply.zeros(16)
  reply.u32(stat.btime === undefined ? STATX_BASIC_STATS : STATX_BASIC_STATS | STATX_BTIME)
  reply.u32(stat.blksize)
  reply.u64(0)
  reply.u32(stat.nlink)
  reply.u32(stat.uid)
  reply.u32(stat.gid)
  reply.u16(stat.mode)
  reply.u16(0)
  reply.inode(stat.ino)
  reply.u64(stat.size)
  reply.u64(stat.blocks)
  reply.u64(0)
  encodeStatxTime(reply, stat.atime, stat.atimeNsec)
  encodeStatxTime(reply, stat.btime ?? 0, stat.btimeNsec ?? 0)
  encodeStatxTime(reply, stat.ctime, stat.ctimeNsec)
  encodeStatxTime(reply, stat.mtime, stat.mtimeNsec)
  reply.u32(majorOf(stat.rdev))
  reply.u32(minorOf(stat.rdev))
  reply.u32(0)
  reply.u32(0)
  reply.zeros(112)
}

function encodeStatxTime(reply: Reply, seconds: number, nanoseconds: number): void {
  reply.u64(seconds)
  reply.u32(nanoseconds)
  reply.u32(0)
}

/** `struct fuse_kstatfs`, 80 bytes. */
export function encodeStatFs(reply: Reply, statfs: StatFs): void {
  reply.u64(statfs.blocks)
  reply.u64(statfs.blocksFree)
  reply.u64(statfs.blocksAvailable)
  reply.u64(statfs.files)
  reply.u64(statfs.filesFree)
  reply.u32(statfs.blockSize)
  reply.u32(statfs.nameMax)
  reply.u32(statfs.blockSize)
  reply.zeros(28)
}

function asItIs(ino: InodeNumber): number {
  return ino
}
