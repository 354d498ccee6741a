import { messageOf } from '../base/index.ts'
import { type Candidate, type Codec, damaged } from './common/codec.ts'
import { loadPackage, packageLabel, systemLibrary } from './common/native.ts'
import { decodeLz4Block } from './lz4-block.ts'

const LIBLZ4 = 'liblz4.so.1'

function openLiblz4(): Codec | undefined {
  const library = systemLibrary(LIBLZ4)
  if (library === undefined) return undefined
  const decompress = library.bind('int LZ4_decompress_safe(const void *src, void *dst, int src_n, int dst_n)')
  const codec = { name: 'lz4', tier: 'system', library: LIBLZ4 } as const
  return {
    ...codec,
    decode(input, output) {
      const result = Number(decompress(input, output, input.length, output.length))
      if (result < 0) throw damaged(codec, `bad data near byte ${-result - 1}`)
      return result
    },
  }
}

const LZ4_NAPI = 'lz4-napi'

function openLz4Napi(): Codec | undefined {
  const lz4 = loadPackage(LZ4_NAPI) as { uncompressSync(data: Uint8Array): Uint8Array } | undefined
  if (lz4 === undefined) return undefined
  const codec = { name: 'lz4', tier: 'node', library: packageLabel(LZ4_NAPI) } as const
  let scratch = Buffer.alloc(0)
  return {
    ...codec,
    decode(input, output) {
      if (input.length === 0) throw damaged(codec, 'empty')
      // The package wants the decoded size in front; it takes it as the limit.
      const size = input.length + 4
      if (scratch.length < size) scratch = Buffer.allocUnsafeSlow(size)
      scratch.writeUInt32LE(output.length)
      scratch.set(input, 4)
      let decoded: Uint8Array
      try {
        decoded = lz4.uncompressSync(scratch.subarray(0, size))
      } catch (error) {
        throw damaged(codec, messageOf(error))
      }
      if (decoded.length > output.length) throw damaged(codec, 'decodes to more than the limit')
      output.set(decoded)
      return decoded.length
    },
  }
}

function openBuiltIn(): Codec {
  const codec = { name: 'lz4', tier: 'portable', library: 'built in' } as const
  return {
    ...codec,
    decode(input, output) {
      const result = decodeLz4Block(input, output)
      if (result < 0) throw damaged(codec, `bad data near byte ${-result - 1}`)
      return result
    },
  }
}

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const LZ4: readonly Candidate[] = [
  { name: 'lz4', tier: 'system', library: LIBLZ4, open: openLiblz4 },
  { name: 'lz4', tier: 'node', library: LZ4_NAPI, open: openLz4Napi },
  { name: 'lz4', tier: 'portable', library: 'built in', open: openBuiltIn },
]
