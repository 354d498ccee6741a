import { libraryLabel, loadPackage, packageLabel, systemLibrary } from '../common/native.ts'
import {
  DEFAULT_LEVELS,
  type Encoder,
  type EncoderCandidate,
  type EncoderSettings,
  placed,
} from './encoder.ts'

const LIBLZ4 = 'liblz4.so.1'

function openLiblz4({ level = DEFAULT_LEVELS.lz4 }: EncoderSettings): Encoder | undefined {
  const library = systemLibrary(LIBLZ4)
  if (library === undefined) return undefined
  const fast = library.bind('int LZ4_compress_default(const void *src, void *dst, int src_n, int dst_n)')
  const high = library.bind(
    'int LZ4_compress_HC(const void *src, void *dst, int src_n, int dst_n, int level)',
  )
  return {
    name: 'lz4',
    tier: 'system',
    library: libraryLabel(library, 'const char *LZ4_versionString(void)'),
    encode: (input, output) =>
      Number(
        level < 2
          ? fast(input, output, input.length, output.length)
          : high(input, output, input.length, output.length, level),
      ),
  }
}

const LZ4_NAPI = 'lz4-napi'

function openLz4Napi({ level = DEFAULT_LEVELS.lz4 }: EncoderSettings): Encoder | undefined {
  const lz4 = loadPackage(LZ4_NAPI) as { compressSync(data: Uint8Array): Uint8Array } | undefined
  // The package has no HC levels, and another compressor than the one that was asked for is never taken.
  if (lz4 === undefined || level > 1) return undefined
  return {
    name: 'lz4',
    tier: 'node',
    library: packageLabel(LZ4_NAPI),
    encode(input, output) {
      // The package puts the decoded size, four bytes, in front.
      return placed(lz4.compressSync(input).subarray(4), output)
    },
  }
}

/** Best first. */
export const LZ4_ENCODERS: readonly EncoderCandidate[] = [
  { name: 'lz4', tier: 'system', library: LIBLZ4, open: openLiblz4 },
  { name: 'lz4', tier: 'node', library: LZ4_NAPI, open: openLz4Napi },
]
