import { execFileSync } from 'node:child_process'
import { deflateSync } from 'node:zlib'
import { systemLibrary } from '../../src/codecs/common/native.ts'
import type { CompressorName } from '../../src/codecs/index.ts'
import type { ForeignFunction } from '../../src/sys/ffi/ffi.ts'

/** The other direction, for tests only: the compressors of the same libraries, and the `xz` tool. */

export type Compress = (bytes: Uint8Array) => Uint8Array

export interface Encoder {
  readonly label: string
  readonly compress: Compress
}

/** Room for any compressor's worst case. */
function roomFor(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.length * 2 + 4096)
}

function foreign(library: string, prototype: string): ForeignFunction | undefined {
  return systemLibrary(library)?.bind(prototype)
}

function gzipEncoders(): Encoder[] {
  return [
    { label: 'level 9', compress: (bytes) => deflateSync(bytes, { level: 9 }) },
    { label: 'level 1, window 9', compress: (bytes) => deflateSync(bytes, { level: 1, windowBits: 9 }) },
    { label: 'Huffman only', compress: (bytes) => deflateSync(bytes, { strategy: 2 }) },
    { label: 'fixed codes', compress: (bytes) => deflateSync(bytes, { strategy: 4 }) },
  ]
}

function zstdEncoders(): Encoder[] {
  const compress = foreign('libzstd.so.1', 'size_t ZSTD_compress(void *, size_t, const void *, size_t, int)')
  if (compress === undefined) return []
  return [1, 15, 22].map((level) => ({
    label: `level ${level}`,
    compress: (bytes) => {
      const room = roomFor(bytes)
      return room.subarray(0, Number(compress(room, room.length, bytes, bytes.length, level)))
    },
  }))
}

function lz4Encoders(): Encoder[] {
  const fast = foreign('liblz4.so.1', 'int LZ4_compress_default(const void *, void *, int, int)')
  const high = foreign('liblz4.so.1', 'int LZ4_compress_HC(const void *, void *, int, int, int)')
  if (fast === undefined || high === undefined) return []
  const sized = (call: (bytes: Uint8Array, room: Uint8Array) => unknown) => (bytes: Uint8Array) => {
    const room = roomFor(bytes)
    return room.subarray(0, Number(call(bytes, room)))
  }
  return [
    { label: 'fast', compress: sized((bytes, room) => fast(bytes, room, bytes.length, room.length)) },
    { label: 'HC', compress: sized((bytes, room) => high(bytes, room, bytes.length, room.length, 12)) },
  ]
}

function lzoEncoders(): Encoder[] {
  return ['lzo1x_1', 'lzo1x_1_15', 'lzo1x_999'].flatMap((algorithm) => {
    const compress = foreign(
      'liblzo2.so.2',
      `int ${algorithm}_compress(const void *, size_t, void *, void *, void *)`,
    )
    if (compress === undefined) return []
    const work = new Uint8Array(1 << 20)
    return [
      {
        label: algorithm,
        compress: (bytes: Uint8Array) => {
          const room = roomFor(bytes)
          const length = new BigUint64Array(1)
          const result = compress(bytes, bytes.length, room, new Uint8Array(length.buffer), work)
          if (result !== 0) throw new Error(`${algorithm}: ${result}`)
          return room.subarray(0, Number(length[0]))
        },
      },
    ]
  })
}

/** Runs `xz` with these options. */
export function xzTool(bytes: Uint8Array, ...options: readonly string[]): Uint8Array {
  return execFileSync('xz', ['--compress', '--stdout', '--no-warn', ...options], {
    input: bytes,
    maxBuffer: 64 << 20,
    timeout: 60_000,
  })
}

export function hasXzTool(): boolean {
  try {
    execFileSync('xz', ['--version'], { timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/** As mksquashfs does: a size in the header, and an end marker all the same. */
export function withSizeInHeader(lzma: Uint8Array, size: number): Uint8Array {
  const copy = Buffer.from(lzma)
  copy.writeBigUInt64LE(BigInt(size), 5)
  return copy
}

function lzmaEncoders(): Encoder[] {
  if (!hasXzTool()) return []
  const tool = (...options: readonly string[]) => {
    return (bytes: Uint8Array) => xzTool(bytes, '--format=lzma', ...options)
  }
  const size = tool('--lzma1=dict=128KiB')
  return [
    { label: 'end marker only', compress: tool('-6') },
    { label: 'size and end marker', compress: (bytes) => withSizeInHeader(size(bytes), bytes.length) },
    { label: 'lc=0 lp=2 pb=0', compress: tool('--lzma1=lc=0,lp=2,pb=0') },
    { label: 'lc=4 pb=4', compress: tool('--lzma1=lc=4,pb=4,mode=fast') },
  ]
}

function xzEncoders(): Encoder[] {
  if (!hasXzTool()) return []
  const tool = (...options: readonly string[]) => {
    return (bytes: Uint8Array) => xzTool(bytes, ...options)
  }
  return [
    { label: 'CRC32', compress: tool('--check=crc32') },
    { label: 'CRC64, lp=2', compress: tool('--check=crc64', '--lzma2=lc=1,lp=2,pb=1') },
    { label: 'SHA-256', compress: tool('--check=sha256', '--lzma2=dict=4KiB') },
    { label: 'no check', compress: tool('--check=none', '-0') },
    { label: 'several blocks', compress: tool('--check=crc32', '--block-size=3000', '--threads=1') },
  ]
}

/** Remembers what was compressed: the same samples are wanted once per decoder. */
function remembering({ label, compress }: Encoder): Encoder {
  const known = new WeakMap<Uint8Array, Uint8Array>()
  return {
    label,
    compress: (bytes) => {
      const stored = known.get(bytes) ?? compress(bytes)
      known.set(bytes, stored)
      return stored
    },
  }
}

/** All ways to compress on this machine; none where library or tool is missing. */
export const ENCODERS: Readonly<Record<CompressorName, readonly Encoder[]>> = {
  gzip: gzipEncoders().map(remembering),
  lzma: lzmaEncoders().map(remembering),
  lzo: lzoEncoders().map(remembering),
  xz: xzEncoders().map(remembering),
  lz4: lz4Encoders().map(remembering),
  zstd: zstdEncoders().map(remembering),
}
