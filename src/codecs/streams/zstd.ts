import { addressOf } from '../../sys/ffi/ffi.ts'
import { systemLibrary } from '../common/native.ts'
import {
  ARCHITECTURES_64_LITTLE,
  PIECE,
  StreamDamage,
  type StreamDecoder,
  TOO_SHORT,
} from './stream-decoder.ts'

const LIBZSTD = 'libzstd.so.1'

// ZSTD_inBuffer and ZSTD_outBuffer (zstd.h): a pointer, the size, the position.
const SIZE = 8
const POSITION = 16
const BUFFER_SIZE = 24

/** zstd by libzstd. Its own limit for windows, 128 MiB, stays. @returns undefined if the machine has none */
export function openZstdStream(): StreamDecoder | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBZSTD) : undefined
  const stream = library?.bind('void *ZSTD_createDStream(void)')() ?? null
  if (library === undefined || stream === null) return undefined
  const decompress = library.bind('size_t ZSTD_decompressStream(void *stream, void *output, void *input)')
  const isError = library.bind('uint32_t ZSTD_isError(size_t code)')
  const errorName = library.bind('const char *ZSTD_getErrorName(size_t code)')
  const free = library.bind('size_t ZSTD_freeDStream(void *stream)')
  const source = Buffer.alloc(BUFFER_SIZE)
  const target = Buffer.alloc(BUFFER_SIZE)
  /** Between frames. */
  let isDone = true

  function* decode(input: Uint8Array): Generator<Uint8Array> {
    source.writeBigUInt64LE(BigInt(addressOf(input)), 0)
    source.writeBigUInt64LE(BigInt(input.length), SIZE)
    source.writeBigUInt64LE(0n, POSITION)
    for (let isFull = false; isFull || Number(source.readBigUInt64LE(POSITION)) < input.length; ) {
      const piece = Buffer.allocUnsafeSlow(PIECE)
      target.writeBigUInt64LE(BigInt(addressOf(piece)), 0)
      target.writeBigUInt64LE(BigInt(PIECE), SIZE)
      target.writeBigUInt64LE(0n, POSITION)
      const result = decompress(stream, target, source)
      if (Number(isError(result)) !== 0) throw new StreamDamage(LIBZSTD, String(errorName(result)))
      const length = Number(target.readBigUInt64LE(POSITION))
      if (length > 0) yield piece.subarray(0, length)
      isDone = Number(result) === 0
      isFull = length === PIECE && !isDone
    }
  }
  return {
    decode,
    // biome-ignore lint/correctness/useYield: nothing is left when all input was taken
    *finish() {
      if (!isDone) throw new StreamDamage(LIBZSTD, TOO_SHORT)
    },
    close: () => {
      free(stream)
    },
  }
}
