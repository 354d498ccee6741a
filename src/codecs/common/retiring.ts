import type { Codec } from './codec.ts'
import { mayNeedPackages } from './native.ts'

/**
 * Failures until a codec retires. Each costs as much as a block has bytes, 1 MiB at most, once and for all; one damaged
 * block, met a few times, should not slow down all the good ones.
 */
const FAILURES_MAX = 8

/**
 * A codec of `node:zlib`. Its functions for whole buffers never let go of their output chunk and context when they throw
 * (Node 20.20, 22.23, 24.21; gzip and zstd), so after some failures another codec takes over for the rest of the thread's
 * life: an image whose blocks are all damaged must not eat the machine.
 * @param successor from a package; undefined where there is none
 */
export function retiring(codec: Codec, successor: () => Codec | undefined): Codec {
  mayNeedPackages()
  let failures = 0
  let next: Codec | undefined
  return {
    ...codec,
    decode(input, output) {
      if (next !== undefined) return next.decode(input, output)
      try {
        return codec.decode(input, output)
      } catch (error) {
        failures += 1
        if (failures >= FAILURES_MAX) next = successor()
        throw error
      }
    },
  }
}
