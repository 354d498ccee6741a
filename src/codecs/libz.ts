import { addressOf, type SharedLibrary } from '../sys/ffi/ffi.ts'
import { type Candidate, type Codec, damaged } from './common/codec.ts'
import { systemLibrary } from './common/native.ts'

/** zlib's own interface (zlib.h). One stream is kept and started anew for each block. */

const LIBZ = 'libz.so.1'

const Z_OK = 0
const Z_STREAM_END = 1
const Z_FINISH = 4
const RESULTS = new Map([
  [2, 'needs a dictionary'],
  [-3, 'bad data'],
  [-4, 'out of memory'],
])

// struct z_stream of a 64-bit machine.
const NEXT_IN = 0
const AVAIL_IN = 8
const NEXT_OUT = 24
const AVAIL_OUT = 32
const TOTAL_OUT = 40
const STREAM_SIZE = 112

/** Machines on which the struct above is right. */
const ARCHITECTURES_64_LITTLE = ['x64', 'arm64', 'riscv64', 'loong64']

/** What zlib compares with its own version: only the first digit counts. */
const VERSION = '1.2.11'

function open(): Codec | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBZ) : undefined
  return library === undefined ? undefined : openLibz(library)
}

function openLibz(library: SharedLibrary): Codec | undefined {
  const init = library.bind('int inflateInit_(void *stream, const char *version, int stream_size)')
  const reset = library.bind('int inflateReset(void *stream)')
  const inflate = library.bind('int inflate(void *stream, int flush)')
  const stream = Buffer.alloc(STREAM_SIZE)
  if (Number(init(stream, VERSION, STREAM_SIZE)) !== Z_OK) return undefined
  const codec = { name: 'gzip', tier: 'system', library: LIBZ } as const

  const point = (next: number, available: number, bytes: Uint8Array): void => {
    stream.writeBigUInt64LE(BigInt(addressOf(bytes)), next)
    stream.writeUInt32LE(bytes.length, available)
  }

  return {
    ...codec,
    decode(input, output) {
      if (Number(reset(stream)) !== Z_OK) throw damaged(codec, 'the stream cannot be started anew')
      point(NEXT_IN, AVAIL_IN, input)
      point(NEXT_OUT, AVAIL_OUT, output)
      const result = Number(inflate(stream, Z_FINISH))
      if (result !== Z_STREAM_END) {
        throw damaged(codec, RESULTS.get(result) ?? 'ends early or decodes to more than the limit')
      }
      return Number(stream.readBigUInt64LE(TOTAL_OUT))
    },
  }
}

/** For machines without libdeflate. */
export const LIBZ_CANDIDATE: Candidate = { name: 'gzip', tier: 'system', library: LIBZ, open }
