import { addressOf, type SharedLibrary } from '../../sys/ffi/ffi.ts'
import { systemLibrary } from '../common/native.ts'
import {
  ARCHITECTURES_64_LITTLE,
  PIECE,
  StreamDamage,
  type StreamDecoder,
  TOO_SHORT,
} from './stream-decoder.ts'

/** The name that the library gives itself, and the one that Fedora has for it. */
const LIBBZ2 = ['libbz2.so.1.0', 'libbz2.so.1']
const BZ_OK = 0
const BZ_STREAM_END = 4

// bz_stream (bzlib.h).
const NEXT_IN = 0
const AVAIL_IN = 8
const NEXT_OUT = 24
const AVAIL_OUT = 32
const STREAM_SIZE = 80

/** bzip2 by libbz2. @returns undefined if the machine has none */
export function openBzip2Stream(): StreamDecoder | undefined {
  if (!ARCHITECTURES_64_LITTLE.includes(process.arch)) return undefined
  const library = LIBBZ2.map(systemLibrary).find((one) => one !== undefined)
  return library && decoderOf(library)
}

function decoderOf(library: SharedLibrary): StreamDecoder {
  const start = library.bind('int BZ2_bzDecompressInit(void *stream, int verbosity, int small)')
  const decompress = library.bind('int BZ2_bzDecompress(void *stream)')
  const end = library.bind('int BZ2_bzDecompressEnd(void *stream)')
  const stream = Buffer.alloc(STREAM_SIZE)
  /** Between members the library holds nothing. */
  let isOpen = false
  const close = (): void => {
    if (isOpen) end(stream)
    isOpen = false
  }

  function* decode(input: Uint8Array): Generator<Uint8Array> {
    stream.writeBigUInt64LE(BigInt(addressOf(input)), NEXT_IN)
    stream.writeUInt32LE(input.length, AVAIL_IN)
    for (let isFull = false; isFull || stream.readUInt32LE(AVAIL_IN) > 0; ) {
      if (!isOpen) {
        const [next, available] = [stream.readBigUInt64LE(NEXT_IN), stream.readUInt32LE(AVAIL_IN)]
        stream.fill(0)
        if (Number(start(stream, 0, 0)) !== BZ_OK) throw new StreamDamage(library.name, 'cannot be started')
        isOpen = true
        stream.writeBigUInt64LE(next, NEXT_IN)
        stream.writeUInt32LE(available, AVAIL_IN)
      }
      const piece = Buffer.allocUnsafeSlow(PIECE)
      stream.writeBigUInt64LE(BigInt(addressOf(piece)), NEXT_OUT)
      stream.writeUInt32LE(PIECE, AVAIL_OUT)
      const result = Number(decompress(stream))
      if (result !== BZ_OK && result !== BZ_STREAM_END) {
        throw new StreamDamage(library.name, 'the data are damaged')
      }
      const length = PIECE - stream.readUInt32LE(AVAIL_OUT)
      if (length > 0) yield piece.subarray(0, length)
      isFull = length === PIECE && result === BZ_OK
      if (result === BZ_STREAM_END) close()
    }
  }
  return {
    decode,
    // biome-ignore lint/correctness/useYield: nothing is left when all input was taken
    *finish() {
      if (isOpen) throw new StreamDamage(library.name, TOO_SHORT)
    },
    close,
  }
}
