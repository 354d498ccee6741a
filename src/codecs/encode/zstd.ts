import * as zlib from 'node:zlib'
import { libraryLabel, nodeLabel, systemLibrary } from '../common/native.ts'
import {
  DEFAULT_LEVELS,
  type Encoder,
  type EncoderCandidate,
  type EncoderSettings,
  placed,
} from './encoder.ts'

const LIBZSTD = 'libzstd.so.1'

function openLibzstd({ level = DEFAULT_LEVELS.zstd }: EncoderSettings): Encoder | undefined {
  const library = systemLibrary(LIBZSTD)
  if (library === undefined) return undefined
  const context = library.bind('void *ZSTD_createCCtx(void)')()
  if (context === null) return undefined
  const compress = library.bind(
    'size_t ZSTD_compressCCtx(void *c, void *dst, size_t dst_n, const void *src, size_t src_n, int level)',
  )
  return {
    name: 'zstd',
    tier: 'system',
    library: libraryLabel(library, 'const char *ZSTD_versionString(void)'),
    encode(input, output) {
      const result = Number(compress(context, output, output.length, input, input.length, level))
      // Errors are the highest values of size_t; the usual one is that the result does not fit.
      return result > output.length ? 0 : result
    },
  }
}

interface ZstdOptions {
  readonly params: Readonly<Record<number, number>>
}
interface NodeZstd {
  readonly zstdCompressSync?: (input: Uint8Array, options: ZstdOptions) => Uint8Array
  readonly constants: { readonly ZSTD_c_compressionLevel?: number }
}

function openNode({ level = DEFAULT_LEVELS.zstd }: EncoderSettings): Encoder | undefined {
  // Node 22.15 and later.
  const { zstdCompressSync, constants } = zlib as NodeZstd
  const parameter = constants.ZSTD_c_compressionLevel
  if (zstdCompressSync === undefined || parameter === undefined) return undefined
  return {
    name: 'zstd',
    tier: 'node',
    library: nodeLabel('node:zlib', 'zstd'),
    encode(input, output) {
      return placed(zstdCompressSync(input, { params: { [parameter]: level } }), output)
    },
  }
}

/** Best first. The package zstd-codec has no part in writing: it gives no access to its errors. */
export const ZSTD_ENCODERS: readonly EncoderCandidate[] = [
  { name: 'zstd', tier: 'system', library: LIBZSTD, open: openLibzstd },
  { name: 'zstd', tier: 'node', library: 'node:zlib (Node 22.15 or later)', open: openNode },
]
