import { FsError } from '../../base/index.ts'
import { addressOf } from '../../sys/ffi/ffi.ts'
import { atThreadEnd, systemLibrary } from '../common/native.ts'
import { ARCHITECTURES_64_LITTLE } from '../streams/stream-decoder.ts'
import type { FrameDecoder, FrameStep } from './frame-decoder.ts'

const LIBZSTD = 'libzstd.so.1'
/** ZSTD_ResetDirective: the session, not the parameters (zstd.h). */
const RESET_SESSION = 1

// ZSTD_inBuffer and ZSTD_outBuffer (zstd.h): a pointer, the size, the position.
const SIZE = 8
const POSITION = 16
const BUFFER_SIZE = 24

/** By libzstd, with its own limit for windows, 128 MiB. @returns undefined where the machine has none */
export function openLibzstdFrames(): FrameDecoder | undefined {
  const library = ARCHITECTURES_64_LITTLE.includes(process.arch) ? systemLibrary(LIBZSTD) : undefined
  const stream = library?.bind('void *ZSTD_createDStream(void)')() ?? null
  if (library === undefined || stream === null) return undefined
  const run = library.bind('size_t ZSTD_decompressStream(void *stream, void *output, void *input)')
  const reset = library.bind('size_t ZSTD_DCtx_reset(void *stream, int what)')
  const isError = library.bind('uint32_t ZSTD_isError(size_t code)')
  const errorName = library.bind('const char *ZSTD_getErrorName(size_t code)')
  const free = library.bind('size_t ZSTD_freeDStream(void *stream)')
  const source = Buffer.alloc(BUFFER_SIZE)
  const target = Buffer.alloc(BUFFER_SIZE)
  let isOpen = true
  const close = (): void => {
    if (isOpen) free(stream)
    isOpen = false
  }
  atThreadEnd(close)
  return {
    library: LIBZSTD,
    tier: 'system',
    begin() {
      reset(stream, RESET_SESSION)
    },
    decode(input, output): FrameStep {
      describe(source, input)
      describe(target, output)
      const result = run(stream, target, source)
      if (Number(isError(result)) !== 0) {
        throw new FsError('EIO', `damaged zstd data (${LIBZSTD}: ${String(errorName(result))})`)
      }
      const [made, taken] = [target, source].map((buffer) => Number(buffer.readBigUInt64LE(POSITION)))
      return { made: made ?? 0, taken: taken ?? 0, ended: Number(result) === 0 }
    },
    close,
  }
}

function describe(buffer: Buffer, bytes: Uint8Array): void {
  buffer.writeBigUInt64LE(BigInt(addressOf(bytes)), 0)
  buffer.writeBigUInt64LE(BigInt(bytes.length), SIZE)
  buffer.writeBigUInt64LE(0n, POSITION)
}
