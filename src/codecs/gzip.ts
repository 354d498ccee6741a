import { constants, inflateSync } from 'node:zlib'
import { messageOf } from '../base/index.ts'
import { type Candidate, type Codec, damaged } from './common/codec.ts'
import { atThreadEnd, loadPackage, packageLabel, SizeCell, systemLibrary } from './common/native.ts'
import { retiring } from './common/retiring.ts'
import { LIBZ_CANDIDATE } from './libz.ts'

/**
 * gzip in squashfs is a zlib stream (RFC 1950) with its Adler-32, which every tier checks. The window size in
 * its header is a promise of the compressor, nothing a decoder with the whole output at hand needs.
 */

const LIBDEFLATE = 'libdeflate.so.0'
const LIBDEFLATE_RESULTS = ['success', 'bad data', 'ends early', 'decodes to more than the limit']

function openLibdeflate(): Codec | undefined {
  const library = systemLibrary(LIBDEFLATE)
  if (library === undefined) return undefined
  const decompressor = library.bind('void *libdeflate_alloc_decompressor(void)')()
  if (decompressor === null) return undefined
  const decompress = library.bind(
    'int libdeflate_zlib_decompress(void *d, const void *in, size_t in_n, void *out, size_t out_n, void *actual)',
  )
  const free = library.bind('void libdeflate_free_decompressor(void *d)')
  atThreadEnd(() => free(decompressor))
  const actual = new SizeCell()
  const codec = { name: 'gzip', tier: 'system', library: LIBDEFLATE } as const
  return {
    ...codec,
    decode(input, output) {
      const result = Number(
        decompress(decompressor, input, input.length, output, output.length, actual.bytes),
      )
      if (result !== 0) throw damaged(codec, LIBDEFLATE_RESULTS[result] ?? `result ${result}`)
      return actual.value
    },
  }
}

function openNode(): Codec {
  const codec = { name: 'gzip', tier: 'node', library: 'node:zlib' } as const
  const decoder: Codec = {
    ...codec,
    decode(input, output) {
      if (output.length === 0) throw damaged(codec, 'no room for output')
      let decoded: Uint8Array
      try {
        // One chunk as large as the limit: the result is not put together from pieces.
        decoded = inflateSync(input, {
          maxOutputLength: output.length,
          chunkSize: Math.max(output.length, constants.Z_MIN_CHUNK),
        })
      } catch (error) {
        throw damaged(codec, messageOf(error))
      }
      output.set(decoded)
      return decoded.length
    },
  }
  return retiring(decoder, openPako)
}

interface PakoStream {
  input: Uint8Array
  next_in: number
  avail_in: number
  output: Uint8Array
  next_out: number
  avail_out: number
  total_out: number
  msg: string
}

/** The part of pako that is used: zlib's own interface, which decodes into a given buffer. */
interface Pako {
  readonly ZStream: new () => PakoStream
  readonly Z_FINISH: number
  readonly Z_OK: number
  readonly Z_STREAM_END: number
  zlibInflateInit(stream: PakoStream): number
  zlibInflateReset(stream: PakoStream): number
  zlibInflate(stream: PakoStream, flush: number): number
}

function openPako(): Codec | undefined {
  const pako = loadPackage('pako') as Pako | undefined
  if (pako === undefined) return undefined
  const stream = new pako.ZStream()
  if (pako.zlibInflateInit(stream) !== pako.Z_OK) return undefined
  const codec = { name: 'gzip', tier: 'portable', library: packageLabel('pako') } as const
  const nothing = new Uint8Array(0)
  return {
    ...codec,
    decode(input, output) {
      pako.zlibInflateReset(stream)
      stream.input = input
      stream.next_in = 0
      stream.avail_in = input.length
      stream.output = output
      stream.next_out = 0
      stream.avail_out = output.length
      const result = pako.zlibInflate(stream, pako.Z_FINISH)
      stream.input = stream.output = nothing
      if (result !== pako.Z_STREAM_END) {
        throw damaged(codec, stream.msg || 'ends early or decodes to more than the limit')
      }
      return stream.total_out
    },
  }
}

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const GZIP: readonly Candidate[] = [
  { name: 'gzip', tier: 'system', library: LIBDEFLATE, open: openLibdeflate },
  LIBZ_CANDIDATE,
  { name: 'gzip', tier: 'node', library: 'node:zlib', open: openNode },
  { name: 'gzip', tier: 'portable', library: 'pako', open: openPako },
]
