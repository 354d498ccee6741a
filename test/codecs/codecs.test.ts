import { describe, expect, test } from 'vitest'
import { FsError } from '../../src/base/index.ts'
import { COMPRESSOR_NAMES, type Codec } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { ENCODERS } from './compress.ts'
import { randomSource, SAMPLES, textBytes } from './samples.ts'

const GUARD = 64
const GUARD_BYTE = 0xa5

/** An output in shared memory with bytes around it that nobody may touch. */
function guarded(length: number): { readonly output: Uint8Array; intact(): boolean } {
  const all = new Uint8Array(new SharedArrayBuffer(length + 2 * GUARD)).fill(GUARD_BYTE)
  const guards = [all.subarray(0, GUARD), all.subarray(GUARD + length)]
  return {
    output: all.subarray(GUARD, GUARD + length),
    intact: () => guards.every((guard) => guard.every((byte) => byte === GUARD_BYTE)),
  }
}

/** @returns decoded bytes, or undefined where the codec said EIO; anything else it throws is a bug */
function tryDecode(codec: Codec, input: Uint8Array, output: Uint8Array): Uint8Array | undefined {
  try {
    return output.subarray(0, codec.decode(input, output))
  } catch (error) {
    if (error instanceof FsError && error.code === 'EIO') return undefined
    throw error
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

for (const name of COMPRESSOR_NAMES) {
  const encoders = ENCODERS[name]
  const codecs = CANDIDATES[name].map(openCandidate).filter((codec) => codec !== undefined)

  describe.skipIf(encoders.length === 0)(`${name} (skipped only without a compressor to test with)`, () => {
    test(`the last candidate of ${name} is a portable decoder`, () => {
      expect(codecs.at(-1)?.tier).toBe('portable')
    })

    describe.each(codecs)('$library', (codec) => {
      for (const encoder of encoders) {
        test(`the decoder gives back what ${encoder.label} compressed`, () => {
          for (const { label, bytes } of SAMPLES) {
            const stored = encoder.compress(bytes)
            for (const room of [bytes.length, bytes.length + 100]) {
              const { output, intact } = guarded(room)
              const length = codec.decode(stored, output)
              expect(length, label).toBe(bytes.length)
              expect(same(output.subarray(0, length), bytes), label).toBe(true)
              expect(intact(), label).toBe(true)
            }
          }
        })

        test(`the decoder refuses output of ${encoder.label} that exceeds the limit`, () => {
          for (const { label, bytes } of SAMPLES) {
            const stored = encoder.compress(bytes)
            for (const room of [0, bytes.length >> 1, bytes.length - 1]) {
              const { output, intact } = guarded(room)
              expect(tryDecode(codec, stored, output), `${label} into ${room} bytes`).toBeUndefined()
              expect(intact(), label).toBe(true)
            }
          }
        })

        test(`the decoder refuses ${encoder.label} data that is cut short`, () => {
          const bytes = textBytes(20000, 17)
          const stored = encoder.compress(bytes)
          const next = randomSource(19)
          const near = [0, 1, 2, 3, 4, 5, 8, 12, 13, 14, 18].concat(
            [1, 2, 3, 4, 5, 6, 8].map((n) => stored.length - n),
          )
          const lengths = near.concat(Array.from({ length: 60 }, () => next() % stored.length))
          for (const length of lengths) {
            const { output, intact } = guarded(bytes.length)
            const decoded = tryDecode(codec, stored.slice(0, length), output)
            // An LZ4 block has no end: cut after a run of literals it is a block, but a shorter one.
            if (name === 'lz4' && decoded !== undefined) expect(decoded.length).toBeLessThan(bytes.length)
            else expect(decoded, `${length} of ${stored.length} bytes`).toBeUndefined()
            expect(intact()).toBe(true)
          }
        })
      }

      test('the decoder reads input in shared memory at an odd position', () => {
        const bytes = textBytes(5000, 23)
        const stored = encoders[0]!.compress(bytes)
        const shared = new Uint8Array(new SharedArrayBuffer(stored.length + 3), 3)
        shared.set(stored)
        const { output } = guarded(5000)
        expect(codec.decode(shared, output)).toBe(5000)
        expect(same(output, bytes)).toBe(true)
      })

      test('the decoder still works after it has refused damaged input', () => {
        const bytes = textBytes(5000, 29)
        const stored = encoders[0]!.compress(bytes)
        const { output } = guarded(5000)
        expect(tryDecode(codec, stored.slice(0, 100), output)).toBeUndefined()
        expect(codec.decode(stored, output)).toBe(5000)
        expect(same(output, bytes)).toBe(true)
      })

      // The kernel demands the end of the input of lz4 and lzo only.
      test(
        name === 'lz4' || name === 'lzo'
          ? 'the decoder refuses trailing bytes'
          : 'the decoder ignores trailing bytes',
        () => {
          const bytes = textBytes(5000, 31)
          const stored = Buffer.concat([encoders.at(-1)!.compress(bytes), Buffer.from('trailing')])
          const decoded = tryDecode(codec, stored, guarded(5000).output)
          if (name === 'lz4' || name === 'lzo') expect(decoded).toBeUndefined()
          else expect(decoded !== undefined && same(decoded, bytes)).toBe(true)
        },
      )
    })

    test('500 blocks with a flipped bit give EIO or bounded output, and all decoders agree', () => {
      const next = randomSource(37)
      const bytes = Buffer.concat([textBytes(3000, 41), SAMPLES[6]!.bytes.subarray(0, 3000)])
      const blocks = encoders.map((encoder) => encoder.compress(bytes))
      let refused = 0
      for (let flip = 0; flip < 500; flip++) {
        const stored = Uint8Array.from(blocks[flip % blocks.length]!)
        stored[next() % stored.length]! ^= 1 << (next() & 7)
        const results = codecs.map((codec) => {
          const { output, intact } = guarded(bytes.length + 16)
          const decoded = tryDecode(codec, stored, output)
          expect(intact(), codec.library).toBe(true)
          return decoded
        })
        const reference = results.at(-1)
        if (reference === undefined) {
          refused++
          continue
        }
        // The Adler-32 of gzip covers every byte.
        if (name === 'gzip') expect(same(reference, bytes)).toBe(true)
        for (const decoded of results) {
          if (decoded !== undefined) expect(same(decoded, reference), `flip ${flip}`).toBe(true)
        }
      }
      expect(refused).toBeGreaterThan(0)
    })

    test('500 blocks of noise give EIO or bounded output', () => {
      const next = randomSource(43)
      const head = encoders[0]!.compress(textBytes(500, 47)).slice(0, 18)
      for (let round = 0; round < 500; round++) {
        const noise = Uint8Array.from({ length: 20 + (next() % 200) }, () => next() >>> 9)
        if ((round & 1) === 1) noise.set(head.subarray(0, next() % head.length))
        for (const codec of codecs) {
          const { output, intact } = guarded(next() % 5000)
          const decoded = tryDecode(codec, noise, output)
          expect((decoded?.length ?? 0) <= output.length && intact(), codec.library).toBe(true)
        }
      }
    })

    // lz4 and lzo reach 255 to 1 at most: there the limit tests above are all there is to test.
    test('the decoder stops at the limit when a few KiB expand to 16 MiB of zeros', () => {
      const stored = encoders[0]!.compress(new Uint8Array(16 << 20))
      for (const codec of codecs) {
        const { output, intact } = guarded(128 * 1024)
        expect(tryDecode(codec, stored, output), codec.library).toBeUndefined()
        expect(intact()).toBe(true)
      }
    })
  })
}
