import { ByteReader, FsError, type NodeId, type ReplyToken, type Whence } from '../../base/index.ts'
import * as abi from './abi.ts'

/**
 * One request as it lies in the receive buffer (`struct fuse_in_header` and what follows). Each thread has one object
 * for all its requests: callers must not keep it past the reply.
 */
export class Request {
  readonly #bytes: Buffer
  readonly #view: DataView
  length = 0
  opcode = 0
  /** The u64 `unique` as two halves: a BigInt costs more than the rest of the header. */
  readonly #token = { low: 0, high: 0 }
  nodeId: NodeId = 0
  uid = 0
  gid = 0
  pid = 0
  #body: ByteReader

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#body = new ByteReader(this.#view, 0, 0, 'request')
  }

  /**
   * Decodes the header of the message of `length` bytes in the buffer.
   * @throws FsError EIO when the message is shorter than a header, or its length field differs from `length`.
   */
  decodeHeader(length: number): void {
    const header = new ByteReader(this.#view, 0, Math.min(length, abi.IN_HEADER_SIZE), 'fuse_in_header')
    const stated = header.u32()
    this.opcode = header.u32()
    this.#token.low = header.u32()
    this.#token.high = header.u32()
    const nodeLow = header.u32()
    this.nodeId = header.u32() * 2 ** 32 + nodeLow
    this.uid = header.u32()
    this.gid = header.u32()
    this.pid = header.u32()
    header.skip(4)
    if (stated !== length) {
      throw new FsError('EIO', `fuse_in_header: says ${stated} bytes, received ${length}`)
    }
    this.length = length
    this.#body = new ByteReader(this.#view, abi.IN_HEADER_SIZE, length, 'request body')
  }

  /** Names the reply. All requests share this object. */
  get token(): ReplyToken {
    return this.#token
  }

  /** The bytes after the header: read them in the order of the structure. */
  get body(): ByteReader {
    return this.#body
  }

  /** The rest of the body as a NUL-terminated name. @throws FsError EIO without a NUL */
  name(): string {
    const start = this.length - this.#body.remaining
    const end = this.#bytes.indexOf(0, start)
    if (end < 0 || end >= this.length) throw new FsError('EIO', 'request: name without its NUL')
    this.#body.skip(end + 1 - start)
    return this.#bytes.toString('latin1', start, end)
  }
}

/** `struct fuse_read_in`, shared by READ, READDIR and READDIRPLUS. */
export interface ReadIn {
  readonly offset: number
  readonly size: number
}

/** Offset and size in bytes; a size may be larger than what was agreed on. */
export function decodeReadIn(body: ByteReader): ReadIn {
  body.skip(8) // fh
  const offset = body.offset64()
  const size = body.u32()
  return { offset, size }
}

/** `struct fuse_lseek_in` */
export interface LseekIn {
  readonly offset: number
  readonly whence: Whence
}

/** @throws FsError EINVAL, ENXIO for a place that no file reaches */
export function decodeLseekIn(body: ByteReader): LseekIn {
  body.skip(8) // fh
  const offset = fileOffset(body, 'ENXIO')
  const whence = body.u32()
  if (whence === abi.SEEK_DATA) return { offset, whence: 'data' }
  if (whence === abi.SEEK_HOLE) return { offset, whence: 'hole' }
  throw new FsError('EINVAL', `lseek: whence ${whence}`)
}

/**
 * An offset in a file, as a user gave it. No file is longer than 2^53, so a larger offset is no damage: it gives the
 * `code` with which a file system of smaller files answers.
 */
export function fileOffset(body: ByteReader, code: 'EFBIG' | 'ENXIO'): number {
  const low = body.u32()
  const high = body.u32()
  if (high > 0x1f_ffff) throw new FsError(code, `offset of ${high} * 2^32`)
  return high * 2 ** 32 + low
}

/** `unique` of a request, as the kernel sent it. */
export function tokenOf(request: Uint8Array): ReplyToken {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength)
  return { low: view.getUint32(8, true), high: view.getUint32(12, true) }
}

/** `struct fuse_interrupt_in`. @returns the token of the interrupted request */
export function decodeInterruptIn({ body }: Pick<Request, 'body'>): ReplyToken {
  return { low: body.u32(), high: body.u32() }
}
