import { FsError, messageOf } from '../../base/index.ts'
import { packageLabel } from '../common/native.ts'
import { loadZstdBinding, type ZstdStreamBinding } from '../zstd.ts'
import type { FrameDecoder, FrameStep } from './frame-decoder.ts'
import { FrameEnd } from './frame-end.ts'

const ZSTD_CODEC = 'zstd-codec'

/**
 * By the WebAssembly of zstd-codec, whose memory of 16 MiB suffices for windows of 8 MiB. It takes one block at a time,
 * because it gives all that the input decodes to at once.
 * @returns undefined where the package is not installed
 */
export function openPackageFrames(): FrameDecoder | undefined {
  const binding = loadZstdBinding()
  if (binding === undefined) return undefined
  const library = packageLabel(ZSTD_CODEC)
  let stream: ZstdStreamBinding | undefined
  let end = new FrameEnd()
  let ready: Uint8Array[] = []
  const collect = (bytes: Uint8Array): void => {
    if (bytes.length > 0) ready.push(Uint8Array.from(bytes))
  }
  const close = (): void => {
    stream?.delete()
    stream = undefined
  }
  const begin = (): void => {
    close()
    end = new FrameEnd()
    ready = []
  }
  const feed = (bytes: Uint8Array): void => {
    if (end.isSkippable || bytes.length === 0) return
    let isDecoded = false
    try {
      if (stream === undefined) {
        stream = new binding.ZstdDecompressStreamBinding()
        stream.begin()
      }
      isDecoded = stream.transform(bytes, collect) && stream.flush(collect)
    } catch (error) {
      throw new FsError('EIO', `zstd data that ${library} cannot decode: ${messageOf(error)}`, {
        cause: error,
      })
    }
    if (!isDecoded) throw new FsError('EIO', `damaged zstd data (${library})`)
  }
  return {
    library,
    tier: 'portable',
    begin,
    decode(input, output): FrameStep {
      const taken = ready.length > 0 ? 0 : end.take(input, true)
      if (taken > 0) feed(input.subarray(0, taken))
      let made = 0
      for (let part = ready[0]; part !== undefined && made < output.length; part = ready[0]) {
        const given = part.subarray(0, output.length - made)
        output.set(given, made)
        made += given.length
        if (given.length === part.length) ready.shift()
        else ready[0] = part.subarray(given.length)
      }
      const ended = end.isReached && ready.length === 0
      if (ended) begin()
      return { made, taken, ended }
    },
    close,
  }
}
