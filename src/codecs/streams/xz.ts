import { addressOf } from '../../sys/ffi/ffi.ts'
import { systemLibrary } from '../common/native.ts'
import {
  ARCHITECTURES_64_LITTLE,
  PIECE,
  StreamDamage,
  type StreamDecoder,
  TOO_SHORT,
} from './stream-decoder.ts'

const LIBLZMA = 'liblzma.so.5'
const LZMA_OK = 0
const LZMA_STREAM_END = 1
const LZMA_BUF_ERROR = 10
const LZMA_RUN = 0
const LZMA_FINISH = 3
const LZMA_CONCATENATED = 0x08
const REASONS = new Map([
  [5, 'out of memory'],
  [6, 'needs a dictionary of more than 512 MiB'],
  [7, 'the data are in another format'],
  [8, 'options that this version does not know'],
  [9, 'the data are damaged'],
  [LZMA_BUF_ERROR, TOO_SHORT],
])
/** The dictionary of a stream is as hostile as the rest; xz -9 has 64 MiB. */
const MEMORY_LIMIT = 512 << 20

// struct lzma_stream (lzma/base.h).
const NEXT_IN = 0
const AVAIL_IN = 8
const NEXT_OUT = 24
const AVAIL_OUT = 32
const STREAM_SIZE = 136

/** xz by liblzma. @returns undefined if the machine has none */
export function openXzStream(): StreamDecoder | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBLZMA) : undefined
  if (library === undefined) return undefined
  const start = library.bind('int lzma_stream_decoder(void *stream, uint64_t memlimit, uint32_t flags)')
  const code = library.bind('int lzma_code(void *stream, int action)')
  const end = library.bind('void lzma_end(void *stream)')
  const stream = Buffer.alloc(STREAM_SIZE)
  if (Number(start(stream, MEMORY_LIMIT, LZMA_CONCATENATED)) !== LZMA_OK) return undefined

  function* run(input: Uint8Array, action: number): Generator<Uint8Array> {
    stream.writeBigUInt64LE(BigInt(addressOf(input)), NEXT_IN)
    stream.writeBigUInt64LE(BigInt(input.length), AVAIL_IN)
    for (let result = LZMA_OK, isFull = true; result === LZMA_OK && (isFull || action === LZMA_FINISH); ) {
      const piece = Buffer.allocUnsafeSlow(PIECE)
      stream.writeBigUInt64LE(BigInt(addressOf(piece)), NEXT_OUT)
      stream.writeBigUInt64LE(BigInt(PIECE), AVAIL_OUT)
      result = Number(code(stream, action))
      const length = PIECE - Number(stream.readBigUInt64LE(AVAIL_OUT))
      if (length > 0) yield piece.subarray(0, length)
      isFull = length === PIECE
      // Nothing to read and nothing to write is no fault while more may come.
      if (result === LZMA_BUF_ERROR && action === LZMA_RUN) return
      if (result !== LZMA_OK && result !== LZMA_STREAM_END) {
        throw new StreamDamage(LIBLZMA, REASONS.get(result) ?? `error ${result}`)
      }
    }
  }
  return {
    decode: (input) => run(input, LZMA_RUN),
    finish: () => run(Buffer.alloc(1).subarray(0, 0), LZMA_FINISH),
    close: () => end(stream),
  }
}
