import { execFileSync } from 'node:child_process'
import { constants, crc32, deflateRawSync, gzipSync } from 'node:zlib'
import { openEncoder } from '../../src/codecs/encode/index.ts'
import { findProgram } from '../library/index.ts'

/** Compresses an archive in a form that can be entered in the middle. */
export interface BlobForm {
  readonly name: string
  /** The program that has to be there. */
  readonly program?: string
  readonly compress: (archive: Buffer) => Buffer
}

const MOST = 1 << 30

/** Filters bytes by a program. */
export function filtered(program: string, args: readonly string[], bytes: Buffer): Buffer {
  return execFileSync(program, args, { input: bytes, maxBuffer: MOST, stdio: ['pipe', 'pipe', 'ignore'] })
}

function cut(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size))
  return pieces
}

/** A gzip member with an extra field (RFC 1952, 2.3.1.1). */
function member(content: Buffer, extra: Buffer, size = 0): Buffer {
  const deflated = deflateRawSync(content)
  const header = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, extra.length, 0])
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc32(content))
  trailer.writeUInt32LE(content.length, 4)
  const whole = Buffer.concat([header, extra, deflated, trailer])
  // BGZF has the size of the member, less 1, in its field.
  if (size > 0) whole.writeUInt16LE(whole.length - 1, 12 + 4)
  return whole
}

/** The form of bgzip (SAM specification, 4.1): members of at most 64 KiB, and an empty one at the end. */
function blocked(archive: Buffer): Buffer {
  const extra = Buffer.from([0x42, 0x43, 2, 0, 0, 0])
  return Buffer.concat([...cut(archive, 0xff00), Buffer.alloc(0)].map((piece) => member(piece, extra, 1)))
}

/** The form of eStargz (stargz-snapshotter, docs/estargz.md): a member each for header and content, a table and a footer. */
function stargz(archive: Buffer): Buffer {
  const members: Buffer[] = []
  for (let at = 0; at < archive.length; ) {
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8) || 0
    const content = Math.ceil(size / 512) * 512
    members.push(gzipSync(archive.subarray(at, at + 512)))
    if (content > 0) members.push(gzipSync(archive.subarray(at + 512, at + 512 + content)))
    at += 512 + content
  }
  const place = members.reduce((sum, { length }) => sum + length, 0)
  const footer = Buffer.from(`SG\x16\x00${place.toString(16).padStart(16, '0')}STARGZ`, 'latin1')
  return Buffer.concat([...members, member(Buffer.alloc(0), footer)])
}

/** Blocks that begin anew, as with `pigz -i`, in one member. */
function independent(archive: Buffer): Buffer {
  const flushed = cut(archive, 128 << 10).map((piece) =>
    deflateRawSync(piece, { finishFlush: constants.Z_FULL_FLUSH }),
  )
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc32(archive))
  trailer.writeUInt32LE(archive.length % 2 ** 32, 4)
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])
  // An empty block of fixed codes, the last one.
  return Buffer.concat([header, ...flushed, Buffer.from([3, 0]), trailer])
}

/** Frames as zstd(1) makes them from files, with their size in the header. */
function framesOf(pieces: readonly Buffer[]): Buffer[] {
  const encoder = openEncoder({ name: 'zstd', level: 1, blockSize: 1 << 20 })
  return pieces.map((piece) => {
    const frame = Buffer.alloc(piece.length + 1000)
    return frame.subarray(0, encoder.encode(piece, frame))
  })
}

/** A frame that decoders pass over (RFC 8878, 3.1.2). */
function skippable(content: Buffer, kind: number): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(0x184d_2a50 + kind)
  head.writeUInt32LE(content.length, 4)
  return Buffer.concat([head, content])
}

/** zstd's seekable format: frames, and a table of them in a skippable one (contrib/seekable_format). */
function seekable(archive: Buffer): Buffer {
  const pieces = cut(archive, 150_000)
  const frames = framesOf(pieces)
  const table = Buffer.alloc(frames.length * 8 + 9)
  frames.forEach((frame, i) => {
    table.writeUInt32LE(frame.length, i * 8)
    table.writeUInt32LE(pieces[i]!.length, i * 8 + 4)
  })
  table.writeUInt32LE(frames.length, frames.length * 8)
  table.writeUInt32LE(0x8f92_eab1, frames.length * 8 + 5)
  return Buffer.concat([...frames, skippable(table, 14)])
}

/** zstd:chunked as to its frames: small ones, which are not of one size, and tables in skippable ones. */
function chunked(archive: Buffer): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0, size = 512; at < archive.length; at += size, size = 512 + ((size * 7919) % 100_000)) {
    pieces.push(archive.subarray(at, at + size))
  }
  return Buffer.concat([
    ...framesOf(pieces),
    skippable(Buffer.alloc(3000, 'toc'), 0),
    skippable(Buffer.alloc(64), 0),
  ])
}

export const BLOB_FORMS: readonly BlobForm[] = [
  { name: 'no compression', compress: (archive) => archive },
  { name: 'gzip -1', compress: (archive) => gzipSync(archive, { level: 1 }) },
  { name: 'gzip -6', program: 'gzip', compress: (archive) => filtered('gzip', ['-6', '-c'], archive) },
  { name: 'gzip -9', compress: (archive) => gzipSync(archive, { level: 9 }) },
  { name: 'gzip, stored blocks', compress: (archive) => gzipSync(archive, { level: 0 }) },
  {
    name: 'gzip of many members with zeros behind them',
    compress: (archive) =>
      Buffer.concat([...cut(archive, 50_000).map((piece) => gzipSync(piece)), Buffer.alloc(100)]),
  },
  { name: 'gzip of independent blocks', compress: independent },
  { name: 'pigz', program: 'pigz', compress: (archive) => filtered('pigz', ['-c', '-b', '128'], archive) },
  { name: 'pigz -i', program: 'pigz', compress: (archive) => filtered('pigz', ['-c', '-i'], archive) },
  { name: 'the form of bgzip', compress: blocked },
  { name: 'bgzip', program: 'bgzip', compress: (archive) => filtered('bgzip', ['-c'], archive) },
  { name: 'eStargz', compress: stargz },
  {
    name: 'zstd of one small frame',
    program: 'zstd',
    compress: (archive) => filtered('zstd', ['-q', '-c'], archive),
  },
  { name: 'pzstd', program: 'pzstd', compress: (archive) => filtered('pzstd', ['-q', '-c', '-1'], archive) },
  { name: 'seekable zstd', program: 'zstd', compress: seekable },
  { name: 'zstd:chunked', program: 'zstd', compress: chunked },
]

/** Those whose program is there. */
export function presentForms(): readonly BlobForm[] {
  return BLOB_FORMS.filter(({ program }) => program === undefined || findProgram(program) !== undefined)
}

/** A member of one block of fixed codes that decodes to zeros: matches of 258 bytes (RFC 1951, 3.2.6). */
export function zerosInOneBlock(archive: Buffer, from: number, to: number): Buffer {
  const before = deflateRawSync(archive.subarray(0, from), { finishFlush: constants.Z_FULL_FLUSH })
  const bits = new BitWriter()
  bits.add(0, 1)
  bits.add(1, 2)
  let left = to - from
  bits.addCode(0x30, 8)
  left -= 1
  for (; left >= 258; left -= 258) {
    bits.addCode(0xc5, 8)
    bits.addCode(0, 5)
  }
  for (; left > 0; left--) bits.addCode(0x30, 8)
  bits.addCode(0, 7)
  // An empty stored block brings the stream to a whole byte.
  bits.add(0, 3)
  const block = Buffer.concat([bits.bytes(), Buffer.from([0, 0, 0xff, 0xff])])
  const after = deflateRawSync(archive.subarray(to))
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc32(archive))
  trailer.writeUInt32LE(archive.length % 2 ** 32, 4)
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])
  return Buffer.concat([header, before, block, after, trailer])
}

/** Bits from the lowest of each byte on. */
class BitWriter {
  readonly #bytes: number[] = []
  #bit = 0

  add(value: number, count: number): void {
    for (let i = 0; i < count; i++) this.#push((value >> i) & 1)
  }

  /** Codes of Huffman stand the other way round. */
  addCode(code: number, count: number): void {
    for (let i = count - 1; i >= 0; i--) this.#push((code >> i) & 1)
  }

  bytes(): Buffer {
    return Buffer.from(this.#bytes)
  }

  #push(bit: number): void {
    if (this.#bit === 0) this.#bytes.push(0)
    const last = this.#bytes.length - 1
    this.#bytes[last] = this.#bytes[last]! | (bit << this.#bit)
    this.#bit = (this.#bit + 1) % 8
  }
}
