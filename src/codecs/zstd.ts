import { readFileSync } from 'node:fs'
import * as zlib from 'node:zlib'
import { messageOf } from '../base/index.ts'
import { type Candidate, type Codec, damaged } from './common/codec.ts'
import { atThreadEnd, loadPackage, packageFile, packageLabel, systemLibrary } from './common/native.ts'
import { retiring } from './common/retiring.ts'
import { zstdFrameLength } from './zstd-frame.ts'

type Identity = Pick<Codec, 'name' | 'tier' | 'library'>

/** The first frame of `input`, all that is decoded. @throws FsError EIO where there is none */
function firstFrame(codec: Identity, input: Uint8Array): Uint8Array {
  const length = zstdFrameLength(input)
  if (length === 0) throw damaged(codec, 'no zstd frame')
  return length === input.length ? input : input.subarray(0, length)
}

const LIBZSTD = 'libzstd.so.1'

function openLibzstd(): Codec | undefined {
  const library = systemLibrary(LIBZSTD)
  if (library === undefined) return undefined
  const context = library.bind('void *ZSTD_createDCtx(void)')()
  if (context === null) return undefined
  const free = library.bind('size_t ZSTD_freeDCtx(void *c)')
  atThreadEnd(() => free(context))
  const decompress = library.bind(
    'size_t ZSTD_decompressDCtx(void *c, void *dst, size_t dst_n, const void *src, size_t src_n)',
  )
  const errorName = library.bind('const char *ZSTD_getErrorName(size_t code)')
  const codec: Identity = { name: 'zstd', tier: 'system', library: LIBZSTD }
  const decodeFrames = (input: Uint8Array, output: Uint8Array): number => {
    const result = decompress(context, output, output.length, input, input.length)
    // Errors are the highest values of size_t.
    if (Number(result) > output.length) throw damaged(codec, String(errorName(result)))
    return Number(result)
  }
  return {
    ...codec,
    decode: (input, output) => decodeFrames(firstFrame(codec, input), output),
    decodeFrames,
  }
}

type ZstdDecompressSync = (input: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array

function openNode(): Codec | undefined {
  // Node 22.15 and later; a Node without it has no such name to import.
  const { zstdDecompressSync } = zlib as { readonly zstdDecompressSync?: ZstdDecompressSync }
  if (zstdDecompressSync === undefined) return undefined
  const codec: Identity = { name: 'zstd', tier: 'node', library: 'node:zlib' }
  const decoder: Codec = {
    ...codec,
    decode(input, output) {
      if (output.length === 0) throw damaged(codec, 'no room for output')
      const frame = firstFrame(codec, input)
      let decoded: Uint8Array
      try {
        decoded = zstdDecompressSync(frame, { maxOutputLength: output.length })
      } catch (error) {
        throw damaged(codec, messageOf(error))
      }
      output.set(decoded)
      return decoded.length
    },
  }
  return retiring(decoder, openZstdCodec)
}

/** A C++ vector inside the WebAssembly memory. */
interface WasmVector {
  resize(length: number, fill: number): void
}

/** One frame, as it comes. */
export interface ZstdStreamBinding {
  begin(): boolean
  /** Collects input. @param take gets what was decoded meanwhile; memory that is used again */
  transform(input: Uint8Array, take: (bytes: Uint8Array) => void): boolean
  /** Decodes what was collected. */
  flush(take: (bytes: Uint8Array) => void): boolean
  delete(): void
}

/** The part of zstd-codec's binding that is used. */
interface ZstdBinding {
  readonly ZstdDecompressStreamBinding: new () => ZstdStreamBinding
  readonly VectorU8: new () => WasmVector
  readonly ZstdCodec: new () => { decompress(target: WasmVector, source: WasmVector): number }
  cloneToVector(target: WasmVector, bytes: Uint8Array): void
  cloneAsTypedArray(source: WasmVector): Uint8Array
}

interface WasmInstance {
  readonly exports: object
}

interface ZstdBindingOptions {
  instantiateWasm(imports: object, receive: (instance: WasmInstance) => void): unknown
}

/** TypeScript knows WebAssembly as part of the DOM only. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => WasmInstance
}

const ZSTD_CODEC = 'zstd-codec'
const ZSTD_CODEC_BINDING = 'zstd-codec/lib/zstd-codec-binding-wasm.js'

/**
 * Loads the package's WebAssembly synchronously. Its own `run` does so in a promise, which never settles on a
 * thread that does not return to its event loop; the binding has a hook for those who instantiate themselves.
 */
export function loadZstdBinding(): ZstdBinding | undefined {
  const create = loadPackage(ZSTD_CODEC_BINDING) as ((options: ZstdBindingOptions) => unknown) | undefined
  if (create === undefined) return undefined
  const text = readFileSync(packageFile(ZSTD_CODEC_BINDING), 'latin1')
  const encoded = /"data:application\/octet-stream;base64,([A-Za-z0-9+/=]+)"/.exec(text)?.[1]
  if (encoded === undefined) return undefined
  const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly
  const module = new Module(Buffer.from(encoded, 'base64'))
  const binding = create({
    instantiateWasm(imports, receive) {
      const instance = new Instance(module, imports)
      receive(instance)
      return instance.exports
    },
  })
  return binding as ZstdBinding
}

function openZstdCodec(): Codec | undefined {
  const binding = loadZstdBinding()
  if (binding === undefined) return undefined
  const zstd = new binding.ZstdCodec()
  const source = new binding.VectorU8()
  const target = new binding.VectorU8()
  const codec: Identity = { name: 'zstd', tier: 'portable', library: packageLabel(ZSTD_CODEC) }
  const decodeFrames = (input: Uint8Array, output: Uint8Array): number => {
    binding.cloneToVector(source, input)
    target.resize(output.length, 0)
    const length = zstd.decompress(target, source)
    if (length < 0 || length > output.length) throw damaged(codec, 'bad data, or more than the limit')
    target.resize(length, 0)
    output.set(binding.cloneAsTypedArray(target))
    return length
  }
  return {
    ...codec,
    decode: (input, output) => decodeFrames(firstFrame(codec, input), output),
    decodeFrames,
  }
}

/** Best first, by measurement (docs/adr/0003-codecs.md). */
export const ZSTD: readonly Candidate[] = [
  { name: 'zstd', tier: 'system', library: LIBZSTD, open: openLibzstd },
  { name: 'zstd', tier: 'node', library: 'node:zlib (Node 22.15 or later)', open: openNode },
  { name: 'zstd', tier: 'portable', library: ZSTD_CODEC, open: openZstdCodec },
]
