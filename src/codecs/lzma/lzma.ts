import { FsError } from '../../base/index.ts'
import { type Candidate, type Codec, type CompressorName, damaged } from '../common/codec.ts'
import { decodeLzmaAlone } from './alone.ts'
import { LzmaDecoder, LzmaError } from './decoder.ts'
import { LIBLZMA, openLiblzmaAlone, openLiblzmaXz } from './liblzma.ts'
import { decodeXzStream } from './xz-stream.ts'

type Decode = (decoder: LzmaDecoder, input: Uint8Array, output: Uint8Array) => number

function openBuiltIn(name: CompressorName, decodeWith: Decode): Codec {
  const decoder = new LzmaDecoder()
  const codec = { name, tier: 'portable', library: 'built in' } as const
  return {
    ...codec,
    decode(input, output) {
      try {
        return decodeWith(decoder, input, output)
      } catch (error) {
        if (error instanceof LzmaError) throw damaged(codec, error.message)
        throw error instanceof FsError ? damaged(codec, error.message) : error
      }
    },
  }
}

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const XZ: readonly Candidate[] = [
  { name: 'xz', tier: 'system', library: LIBLZMA, open: openLiblzmaXz },
  { name: 'xz', tier: 'portable', library: 'built in', open: () => openBuiltIn('xz', decodeXzStream) },
]

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const LZMA: readonly Candidate[] = [
  { name: 'lzma', tier: 'system', library: LIBLZMA, open: openLiblzmaAlone },
  { name: 'lzma', tier: 'portable', library: 'built in', open: () => openBuiltIn('lzma', decodeLzmaAlone) },
]
