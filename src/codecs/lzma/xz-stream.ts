import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { ByteReader, FsError } from '../../base/index.ts'
import { BRANCH_FILTERS, type BranchFilterInfo } from './bcj.ts'
import { crc64 } from './crc64.ts'
import type { LzmaDecoder } from './decoder.ts'
import { decodeLzma2 } from './lzma2.ts'

/**
 * The xz container (xz: doc/xz-file-format.txt): stream header, blocks, index, footer, and nothing after it that
 * anybody reads. mksquashfs writes one block, CRC32, and up to one branch filter; the kernel reads no more.
 */

const HEADER_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
const FOOTER_MAGIC = 0x5a59
const LZMA2_FILTER = 0x21
const MAX_VARINT_BYTES = 9

interface Check {
  readonly size: number
  sum(bytes: Uint8Array): Uint8Array
}

const CHECKS: ReadonlyMap<number, Check> = new Map<number, Check>([
  [0, { size: 0, sum: () => new Uint8Array(0) }],
  [1, { size: 4, sum: crc32Bytes }],
  [4, { size: 8, sum: crc64 }],
  [10, { size: 32, sum: (bytes) => createHash('sha256').update(bytes).digest() }],
])

function crc32Bytes(bytes: Uint8Array): Uint8Array {
  const sum = new Uint8Array(4)
  new DataView(sum.buffer).setUint32(0, crc32(bytes), true)
  return sum
}

function bad(what: string): FsError {
  return new FsError('EIO', `xz: ${what}`)
}

/** §1.2: seven bits a byte, lowest first. As a number: sizes above 2^53 are damage. */
function readVarint(reader: ByteReader): number {
  let value = 0
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const byte = reader.u8()
    value += (byte & 0x7f) * 2 ** (7 * i)
    if ((byte & 0x80) === 0) {
      if (!Number.isSafeInteger(value) || (byte === 0 && i > 0)) break
      return value
    }
  }
  throw bad('malformed number')
}

function expectCrc32(bytes: Uint8Array, stored: number, what: string): void {
  if (crc32(bytes) !== stored) throw bad(`${what} does not match its CRC32`)
}

function expectZeros(bytes: Uint8Array, what: string): void {
  if (bytes.some((byte) => byte !== 0)) throw bad(`${what} is not zero`)
}

interface BlockHeader {
  readonly storedSize: number | undefined
  readonly decodedSize: number | undefined
  /** In the order of compression. */
  readonly branches: readonly { readonly filter: BranchFilterInfo; readonly start: number }[]
}

/** §3.1. @param header its bytes with size byte and CRC32 */
function decodeBlockHeader(header: Uint8Array): BlockHeader {
  const body = header.subarray(0, header.length - 4)
  expectCrc32(body, ByteReader.over(header.subarray(body.length), 'xz block header').u32(), 'block header')
  const reader = ByteReader.over(body.subarray(1), 'xz block header')
  const flags = reader.u8()
  if ((flags & 0x3c) !== 0) throw bad('reserved flags of a block are set')
  const storedSize = (flags & 0x40) !== 0 ? readVarint(reader) : undefined
  const decodedSize = (flags & 0x80) !== 0 ? readVarint(reader) : undefined
  const branches: { filter: BranchFilterInfo; start: number }[] = []
  for (let left = flags & 3; left > 0; left--) {
    const id = readVarint(reader)
    const filter = BRANCH_FILTERS.get(id)
    const size = readVarint(reader)
    if (filter === undefined || (size !== 0 && size !== 4)) throw bad(`filter ${id} is not supported`)
    const start = size === 4 ? reader.u32() : 0
    if (start % filter.alignment !== 0) throw bad(`start ${start} of filter ${id} is not aligned`)
    branches.push({ filter, start })
  }
  const last = readVarint(reader)
  // The one property is the size of the dictionary; ours is the output, so it is not needed.
  if (last !== LZMA2_FILTER || readVarint(reader) !== 1) throw bad(`last filter ${last} is not LZMA2`)
  if (reader.u8() > 40) throw bad('dictionary size out of range')
  expectZeros(reader.bytes(reader.remaining), 'padding of a block header')
  return { storedSize, decodedSize, branches }
}

interface BlockSizes {
  /** Header, data and check, without the padding: what the index counts. */
  readonly unpadded: number
  readonly decoded: number
}

class XzStreamDecoder {
  readonly #lzma: LzmaDecoder
  readonly #input: Uint8Array
  readonly #output: Uint8Array
  #at = 0
  #to = 0

  constructor(lzma: LzmaDecoder, input: Uint8Array, output: Uint8Array) {
    this.#lzma = lzma
    this.#input = input
    this.#output = output
  }

  decode(): number {
    const magic = this.#take(HEADER_MAGIC.length)
    if (HEADER_MAGIC.some((byte, i) => magic[i] !== byte)) throw bad('no xz magic')
    const flags = this.#take(2)
    expectCrc32(flags, this.#u32(), 'stream header')
    const check = CHECKS.get(flags[1] ?? 0)
    if (flags[0] !== 0 || check === undefined) throw bad(`check type ${flags[1]} is not supported`)
    const blocks: BlockSizes[] = []
    for (let size = this.#u8(); size !== 0; size = this.#u8()) {
      this.#at--
      blocks.push(this.#block(size * 4 + 4, check))
    }
    const indexSize = this.#index(blocks)
    const footerCrc = this.#u32()
    const footer = this.#take(6)
    expectCrc32(footer, footerCrc, 'stream footer')
    const reader = ByteReader.over(footer, 'xz footer')
    if (reader.u32() * 4 + 4 !== indexSize) throw bad('footer and index disagree')
    if (reader.u8() !== flags[0] || reader.u8() !== flags[1]) throw bad('footer and header disagree')
    const end = this.#take(2)
    if (((end[0] ?? 0) | ((end[1] ?? 0) << 8)) !== FOOTER_MAGIC) throw bad('no footer magic')
    return this.#to
  }

  #block(headerSize: number, check: Check): BlockSizes {
    const start = this.#at
    const header = decodeBlockHeader(this.#take(headerSize))
    const from = this.#to
    const dataStart = this.#at
    decodeLzma2(this.#lzma, this.#input, dataStart, this.#output, from)
    this.#at = this.#lzma.inputPosition
    this.#to = this.#lzma.outputPosition
    const stored = this.#at - dataStart
    const decoded = this.#to - from
    if ((header.storedSize ?? stored) !== stored || (header.decodedSize ?? decoded) !== decoded) {
      throw bad('block and its header disagree about sizes')
    }
    const bytes = this.#output.subarray(from, this.#to)
    for (const branch of header.branches.toReversed()) branch.filter.convert(bytes, branch.start)
    expectZeros(this.#take(-stored & 3), 'padding of a block')
    const sum = check.sum(bytes)
    const expected = this.#take(check.size)
    if (sum.some((byte, i) => expected[i] !== byte)) throw bad('block does not match its check')
    return { unpadded: this.#at - start - (-stored & 3), decoded }
  }

  /** §4, after its first byte. @returns its size in bytes, without the check at its end excluded */
  #index(blocks: readonly BlockSizes[]): number {
    const start = this.#at - 1
    const reader = ByteReader.over(this.#input.subarray(this.#at), 'xz index')
    const before = reader.remaining
    if (readVarint(reader) !== blocks.length) throw bad('index and blocks disagree about their number')
    for (const block of blocks) {
      if (readVarint(reader) !== block.unpadded || readVarint(reader) !== block.decoded) {
        throw bad('index and blocks disagree about sizes')
      }
    }
    this.#at += before - reader.remaining
    expectZeros(this.#take(-(this.#at - start) & 3), 'padding of the index')
    const body = this.#input.subarray(start, this.#at)
    expectCrc32(body, this.#u32(), 'index')
    return this.#at - start
  }

  #take(length: number): Uint8Array {
    if (length > this.#input.length - this.#at) throw bad(`ends early at ${this.#at}`)
    this.#at += length
    return this.#input.subarray(this.#at - length, this.#at)
  }

  #u8(): number {
    return this.#take(1)[0] ?? 0
  }

  #u32(): number {
    return ByteReader.over(this.#take(4), 'xz').u32()
  }
}

/**
 * @returns decoded length
 * @throws FsError EIO or LzmaError where the data is damaged, ends early, does not fit, or needs what is not
 *   supported here
 */
export function decodeXzStream(lzma: LzmaDecoder, input: Uint8Array, output: Uint8Array): number {
  return new XzStreamDecoder(lzma, input, output).decode()
}
