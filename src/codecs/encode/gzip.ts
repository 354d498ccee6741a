import { constants, deflateSync } from 'node:zlib'
import { loadPackage, nodeLabel, packageLabel, systemLibrary } from '../common/native.ts'
import {
  DEFAULT_LEVELS,
  type Encoder,
  type EncoderCandidate,
  type EncoderSettings,
  placed,
} from './encoder.ts'

/** gzip in squashfs is a zlib stream (RFC 1950). The three encoders give different bytes of nearly the same length. */

/** Has no function that says its version. */
const LIBDEFLATE = 'libdeflate.so.0'

function openLibdeflate({ level = DEFAULT_LEVELS.gzip }: EncoderSettings): Encoder | undefined {
  const library = systemLibrary(LIBDEFLATE)
  if (library === undefined) return undefined
  const compressor = library.bind('void *libdeflate_alloc_compressor(int level)')(level)
  if (compressor === null) return undefined
  const compress = library.bind(
    'size_t libdeflate_zlib_compress(void *c, const void *in, size_t in_n, void *out, size_t out_n)',
  )
  return {
    name: 'gzip',
    tier: 'system',
    library: LIBDEFLATE,
    encode: (input, output) => Number(compress(compressor, input, input.length, output, output.length)),
  }
}

function openNode({ level = DEFAULT_LEVELS.gzip }: EncoderSettings): Encoder {
  return {
    name: 'gzip',
    tier: 'node',
    library: nodeLabel('node:zlib', 'zlib'),
    encode(input, output) {
      return placed(
        deflateSync(input, { level, chunkSize: Math.max(output.length, constants.Z_MIN_CHUNK) }),
        output,
      )
    },
  }
}

function openPako({ level = DEFAULT_LEVELS.gzip }: EncoderSettings): Encoder | undefined {
  const pako = loadPackage('pako') as
    | { deflate(data: Uint8Array, options: { readonly level: number }): Uint8Array }
    | undefined
  if (pako === undefined) return undefined
  return {
    name: 'gzip',
    tier: 'portable',
    library: packageLabel('pako'),
    encode(input, output) {
      return placed(pako.deflate(input, { level }), output)
    },
  }
}

/** Best first. */
export const GZIP_ENCODERS: readonly EncoderCandidate[] = [
  { name: 'gzip', tier: 'system', library: LIBDEFLATE, open: openLibdeflate },
  { name: 'gzip', tier: 'node', library: 'node:zlib', open: openNode },
  { name: 'gzip', tier: 'portable', library: 'pako', open: openPako },
]
