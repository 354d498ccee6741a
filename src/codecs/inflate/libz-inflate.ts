import { addressOf } from '../../sys/ffi/ffi.ts'
import { atThreadEnd, systemLibrary } from '../common/native.ts'
import { ARCHITECTURES_64_LITTLE } from '../streams/stream-decoder.ts'
import {
  boundaryOf,
  type EntryPoint,
  type Inflated,
  inflateDamage,
  type RawInflate,
  Z,
} from './raw-inflate.ts'

const LIBZ = 'libz.so.1'
/** What zlib compares with its own version: only the first digit counts. */
const VERSION = '1.2.11'
/** No header: deflate alone, with the largest window. */
const RAW = -15

// struct z_stream of a 64-bit machine (zlib.h).
const NEXT_IN = 0
const AVAIL_IN = 8
const NEXT_OUT = 24
const AVAIL_OUT = 32
const DATA_TYPE = 88
const STREAM_SIZE = 112

/** By libz, which enters a stream at any bit. @returns undefined where the machine has none */
export function openLibzInflate(): RawInflate | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBZ) : undefined
  if (library === undefined) return undefined
  const init = library.bind('int inflateInit2_(void *stream, int bits, const char *version, int stream_size)')
  const reset = library.bind('int inflateReset(void *stream)')
  const prime = library.bind('int inflatePrime(void *stream, int bits, int value)')
  const setWindow = library.bind('int inflateSetDictionary(void *stream, const void *window, uint32_t size)')
  const run = library.bind('int inflate(void *stream, int flush)')
  const end = library.bind('int inflateEnd(void *stream)')
  const stream = Buffer.alloc(STREAM_SIZE)
  if (Number(init(stream, RAW, VERSION, STREAM_SIZE)) !== Z.OK) return undefined
  const must = (result: unknown): void => {
    if (Number(result) !== Z.OK) throw inflateDamage(LIBZ, Number(result))
  }
  atThreadEnd(() => end(stream))
  return {
    library: LIBZ,
    tier: 'system',
    begin({ bits, before, window }: EntryPoint) {
      must(reset(stream))
      if (bits > 0) must(prime(stream, bits, before >> (8 - bits)))
      if (window.length > 0) must(setWindow(stream, window, window.length))
    },
    inflate(input, output, stopAtBlocks): Inflated {
      stream.writeBigUInt64LE(BigInt(addressOf(input)), NEXT_IN)
      stream.writeUInt32LE(input.length, AVAIL_IN)
      stream.writeBigUInt64LE(BigInt(addressOf(output)), NEXT_OUT)
      stream.writeUInt32LE(output.length, AVAIL_OUT)
      const result = Number(run(stream, stopAtBlocks ? Z.BLOCK : Z.NO_FLUSH))
      const ended = result === Z.STREAM_END
      if (!ended && result !== Z.OK && result !== Z.BUF_ERROR) throw inflateDamage(LIBZ, result)
      return {
        made: output.length - stream.readUInt32LE(AVAIL_OUT),
        taken: input.length - stream.readUInt32LE(AVAIL_IN),
        ended,
        ...boundaryOf(stream.readInt32LE(DATA_TYPE), ended),
      }
    },
    close: () => {
      end(stream)
    },
  }
}
