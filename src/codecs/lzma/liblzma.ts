import { addressOf, type SharedLibrary } from '../../sys/ffi/ffi.ts'
import { type Codec, damaged } from '../common/codec.ts'
import { atThreadEnd, systemLibrary } from '../common/native.ts'
import { decodeLzmaAloneHeader, LZMA_ALONE_HEADER_SIZE } from './alone.ts'

/** liblzma's streams (lzma/base.h, lzma/container.h). One stream is kept and started anew for each block. */

export const LIBLZMA = 'liblzma.so.5'

const LZMA_OK = 0
const LZMA_STREAM_END = 1
const LZMA_DATA_ERROR = 9
const LZMA_RUN = 0
const LZMA_FINISH = 3
const LZMA_TELL_UNSUPPORTED_CHECK = 2
const RESULTS = new Map([
  [3, 'check type is not supported'],
  [5, 'out of memory'],
  [6, 'needs more memory than allowed'],
  [7, 'not in this format'],
  [8, 'options are not supported'],
  [LZMA_DATA_ERROR, 'bad data'],
])

/**
 * The most a decoder may allocate, bytes: the dictionary size in an xz header is as hostile as the rest. 64 MiB,
 * the largest of all xz presets, fits; mksquashfs takes at most the size of a block, 1 MiB.
 */
const MEMORY_LIMIT = 128 * 1024 * 1024
const MIN_DICTIONARY = 4096

/** Without progress, lzma_code answers LZMA_OK once and then LZMA_BUF_ERROR. */
const MAX_CALLS = 8

// struct lzma_stream of a 64-bit machine.
const NEXT_IN = 0
const AVAIL_IN = 8
const NEXT_OUT = 24
const AVAIL_OUT = 32
const TOTAL_OUT = 40
const STREAM_SIZE = 136

/** Machines on which the struct above is right. */
const ARCHITECTURES_64_LITTLE = ['x64', 'arm64', 'riscv64', 'loong64']

class LzmaStream {
  readonly #bytes = Buffer.alloc(STREAM_SIZE)
  readonly #code: (stream: Uint8Array, action: number) => number

  constructor(library: SharedLibrary) {
    const code = library.bind('int lzma_code(void *stream, int action)')
    this.#code = (stream, action) => Number(code(stream, action))
    const end = library.bind('void lzma_end(void *stream)')
    atThreadEnd(() => end(this.#bytes))
  }

  get handle(): Uint8Array {
    return this.#bytes
  }

  get totalOut(): number {
    return Number(this.#bytes.readBigUInt64LE(TOTAL_OUT))
  }

  setOutput(output: Uint8Array): void {
    this.#point(NEXT_OUT, AVAIL_OUT, output)
  }

  /** `input` must stay reachable while this runs. @returns the first result that is not LZMA_OK, or that */
  run(input: Uint8Array, action: number): number {
    this.#point(NEXT_IN, AVAIL_IN, input)
    let result = LZMA_OK
    for (let call = 0; call < MAX_CALLS && result === LZMA_OK; call++) {
      result = this.#code(this.#bytes, action)
      if (action === LZMA_RUN && this.#bytes.readBigUInt64LE(AVAIL_IN) === 0n) break
    }
    return result
  }

  #point(next: number, available: number, bytes: Uint8Array): void {
    this.#bytes.writeBigUInt64LE(BigInt(addressOf(bytes)), next)
    this.#bytes.writeBigUInt64LE(BigInt(bytes.length), available)
  }
}

function open64(): SharedLibrary | undefined {
  return ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBLZMA) : undefined
}

/** xz through liblzma. @returns undefined where the machine has none */
export function openLiblzmaXz(): Codec | undefined {
  const library = open64()
  if (library === undefined) return undefined
  const start = library.bind('int lzma_stream_decoder(void *stream, uint64_t memlimit, uint32_t flags)')
  const stream = new LzmaStream(library)
  const codec = { name: 'xz', tier: 'system', library: LIBLZMA } as const
  return {
    ...codec,
    decode(input, output) {
      let result = Number(start(stream.handle, MEMORY_LIMIT, LZMA_TELL_UNSUPPORTED_CHECK))
      if (result === LZMA_OK) {
        stream.setOutput(output)
        result = stream.run(input, LZMA_FINISH)
      }
      if (result !== LZMA_STREAM_END) throw damaged(codec, reasonOfResult(result))
      return stream.totalOut
    },
  }
}

function reasonOfResult(result: number): string {
  return RESULTS.get(result) ?? 'ends early or decodes to more than the limit'
}

/** lzma through liblzma. @returns undefined where the machine has none */
export function openLiblzmaAlone(): Codec | undefined {
  const library = open64()
  if (library === undefined) return undefined
  const start = library.bind('int lzma_alone_decoder(void *stream, uint64_t memlimit)')
  const stream = new LzmaStream(library)
  const header = Buffer.alloc(LZMA_ALONE_HEADER_SIZE)
  const codec = { name: 'lzma', tier: 'system', library: LIBLZMA } as const

  const decodeAs = (input: Uint8Array, output: Uint8Array): number => {
    const result = Number(start(stream.handle, MEMORY_LIMIT))
    if (result !== LZMA_OK) return result
    stream.setOutput(output)
    const afterHeader = stream.run(header, LZMA_RUN)
    if (afterHeader !== LZMA_OK) return afterHeader
    return stream.run(input.subarray(LZMA_ALONE_HEADER_SIZE), LZMA_FINISH)
  }

  return {
    ...codec,
    decode(input, output) {
      const { dictionarySize, decodedSize } = decodeLzmaAloneHeader(input)
      if (decodedSize !== undefined && decodedSize > output.length) {
        throw damaged(codec, `header says ${decodedSize} bytes, at most ${output.length} are allowed`)
      }
      header.set(input.subarray(0, LZMA_ALONE_HEADER_SIZE))
      // No match can reach further back than the output is long, so a larger dictionary is only memory.
      header.writeUInt32LE(Math.min(dictionarySize, Math.max(output.length, MIN_DICTIONARY)), 1)
      let result = decodeAs(input, output)
      if (result === LZMA_DATA_ERROR && decodedSize !== undefined) {
        // Older versions of liblzma take either a size or an end marker; mksquashfs writes both.
        header.fill(0xff, 5)
        result = decodeAs(input, output.subarray(0, decodedSize))
      }
      if (result !== LZMA_STREAM_END) throw damaged(codec, reasonOfResult(result))
      if (decodedSize !== undefined && stream.totalOut !== decodedSize) {
        throw damaged(codec, `decodes to ${stream.totalOut} bytes, header says ${decodedSize}`)
      }
      return stream.totalOut
    },
  }
}
