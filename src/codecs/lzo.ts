import { type Candidate, type Codec, damaged } from './common/codec.ts'
import { SizeCell, systemLibrary } from './common/native.ts'
import { Lzo1xDecoder, LzoError } from './lzo1x.ts'

const LIBLZO2 = 'liblzo2.so.2'
/** lzo/lzoconf.h */
const LZO_ERRORS = new Map([
  [-4, 'ends early'],
  [-5, 'decodes to more than the limit'],
  [-6, 'match reaches before the start'],
  [-7, 'no end marker'],
  [-8, 'bytes after the end marker'],
])

function openLiblzo2(): Codec | undefined {
  const library = systemLibrary(LIBLZO2)
  if (library === undefined) return undefined
  const decompress = library.bind(
    'int lzo1x_decompress_safe(const void *src, size_t src_n, void *dst, void *dst_n, void *work)',
  )
  const length = new SizeCell()
  const codec = { name: 'lzo', tier: 'system', library: LIBLZO2 } as const
  return {
    ...codec,
    decode(input, output) {
      length.value = output.length
      const result = Number(decompress(input, input.length, output, length.bytes, null))
      if (result !== 0) throw damaged(codec, LZO_ERRORS.get(result) ?? `error ${result}`)
      return length.value
    },
  }
}

function openBuiltIn(): Codec {
  const decoder = new Lzo1xDecoder()
  const codec = { name: 'lzo', tier: 'portable', library: 'built in' } as const
  return {
    ...codec,
    decode(input, output) {
      try {
        return decoder.decode(input, output)
      } catch (error) {
        throw error instanceof LzoError ? damaged(codec, error.message) : error
      }
    },
  }
}

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const LZO: readonly Candidate[] = [
  { name: 'lzo', tier: 'system', library: LIBLZO2, open: openLiblzo2 },
  { name: 'lzo', tier: 'portable', library: 'built in', open: openBuiltIn },
]
