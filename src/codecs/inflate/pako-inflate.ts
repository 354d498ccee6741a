import { loadPackage, packageLabel } from '../common/native.ts'
import { emptyBlocks } from './empty-blocks.ts'
import {
  boundaryOf,
  type EntryPoint,
  type Inflated,
  inflateDamage,
  type RawInflate,
  Z,
} from './raw-inflate.ts'

interface PakoStream {
  input: Uint8Array
  next_in: number
  avail_in: number
  output: Uint8Array
  next_out: number
  avail_out: number
  data_type: number
}

/** The part of pako that is used: zlib's own interface. */
interface Pako {
  readonly ZStream: new () => PakoStream
  zlibInflateInit2(stream: PakoStream, bits: number): number
  zlibInflateReset(stream: PakoStream): number
  zlibInflateSetDictionary(stream: PakoStream, window: Uint8Array): number
  zlibInflate(stream: PakoStream, flush: number): number
}

const RAW = -15
const NOTHING = new Uint8Array(0)

/** In JavaScript. @returns undefined where the package is not installed */
export function openPakoInflate(): RawInflate | undefined {
  const pako = loadPackage('pako') as Pako | undefined
  if (pako === undefined) return undefined
  const library = packageLabel('pako')
  const stream = new pako.ZStream()
  if (pako.zlibInflateInit2(stream, RAW) !== Z.OK) return undefined
  const must = (result: number): void => {
    if (result !== Z.OK) throw inflateDamage(library, result)
  }
  const run = (input: Uint8Array, output: Uint8Array, flush: number): number => {
    stream.input = input
    stream.next_in = 0
    stream.avail_in = input.length
    stream.output = output
    stream.next_out = 0
    stream.avail_out = output.length
    const result = pako.zlibInflate(stream, flush)
    stream.input = stream.output = NOTHING
    if (result !== Z.STREAM_END && result !== Z.OK && result !== Z.BUF_ERROR) {
      throw inflateDamage(library, result)
    }
    return result
  }
  return {
    library,
    tier: 'portable',
    begin({ bits, before, window }: EntryPoint) {
      must(pako.zlibInflateReset(stream))
      if (window.length > 0) must(pako.zlibInflateSetDictionary(stream, window))
      // It has no inflatePrime. Room for one byte, so that it does not stop before it has begun.
      if (bits > 0) run(emptyBlocks(bits, before), new Uint8Array(1), Z.NO_FLUSH)
    },
    inflate(input, output, stopAtBlocks): Inflated {
      const result = run(input, output, stopAtBlocks ? Z.BLOCK : Z.NO_FLUSH)
      const ended = result === Z.STREAM_END
      return {
        made: output.length - stream.avail_out,
        taken: input.length - stream.avail_in,
        ended,
        ...boundaryOf(stream.data_type, ended),
      }
    },
    close: () => undefined,
  }
}
