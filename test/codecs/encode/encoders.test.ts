import { describe, expect, test } from 'vitest'
import { DEFAULT_LEVELS, type EncoderName } from '../../../src/codecs/encode/encoder.ts'
import {
  ENCODER_NAMES,
  ENCODERS,
  listEncoders,
  openEncoder,
  tryEncoder,
} from '../../../src/codecs/encode/registry.ts'
import { CANDIDATES, openCandidate } from '../../../src/codecs/registry.ts'
import { Random } from '../../library/trees/random.ts'

const BLOCK = 128 << 10
const text = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i % 977}\n`).join('')).subarray(
  0,
  BLOCK,
)

/** Each encoder of this machine with levels at both ends of its range. */
const CASES = ENCODER_NAMES.flatMap((name) =>
  ENCODERS[name].flatMap((candidate) =>
    [1, DEFAULT_LEVELS[name], name === 'gzip' ? 9 : name === 'zstd' ? 19 : 2].map((level) => ({
      name,
      level,
      library: candidate.library,
      encoder: tryEncoder(candidate, { name, level, blockSize: BLOCK }),
    })),
  ),
).filter(({ encoder }) => encoder !== undefined)

function decoded(name: EncoderName, bytes: Uint8Array, library: string): Uint8Array {
  const output = new Uint8Array(BLOCK)
  const candidate = CANDIDATES[name].find((one) => one.library === library)
  const codec = candidate && openCandidate(candidate)
  if (codec === undefined) throw new Error(`no decoder ${library}`)
  return output.subarray(0, codec.decode(bytes, output))
}

describe('encoders', () => {
  test('the machine of the tests has one for each compressor', () => {
    expect(new Set(CASES.map(({ name }) => name))).toEqual(new Set(ENCODER_NAMES))
  })

  test.each(CASES)(
    '$library encodes $name at level $level so that every decoder gets the same bytes',
    ({ name, encoder }) => {
      for (const input of [text, text.subarray(0, 1), Buffer.alloc(BLOCK), text.subarray(5, 70_001)]) {
        const output = new Uint8Array(BLOCK + 1024)
        const length = encoder!.encode(input, output)
        expect(length).toBeGreaterThan(0)
        for (const candidate of CANDIDATES[name].filter((one) => openCandidate(one) !== undefined)) {
          expect(input.equals(decoded(name, output.subarray(0, length), candidate.library))).toBe(true)
        }
      }
    },
  )

  test.each(CASES)('$library says 0 if the result of $name at level $level has no room', ({ encoder }) => {
    const noise = new Random(7).bytes(BLOCK)
    expect(encoder!.encode(noise, new Uint8Array(BLOCK - 1))).toBe(0)
    expect(encoder!.encode(text, new Uint8Array(10))).toBe(0)
    // And goes on as before.
    expect(encoder!.encode(text, new Uint8Array(BLOCK))).toBeGreaterThan(0)
  })

  test('a level out of range is refused with the range', () => {
    expect(() => openEncoder({ name: 'zstd', level: 23, blockSize: BLOCK })).toThrow('zstd has 1 to 22')
  })
})

test('listEncoders names what compresses here, with the version of libraries that say one', () => {
  const reports = listEncoders()
  expect(reports.map(({ name }) => name)).toEqual(
    ENCODER_NAMES.filter((name) => reports.some((report) => report.name === name)),
  )
  const gzip = reports.find(({ name }) => name === 'gzip')
  expect([gzip?.library, ...(gzip?.alternatives ?? [])].join()).toMatch(/node:zlib \d+\.\d+/)
  const zstd = reports.find(({ name }) => name === 'zstd')
  if (zstd !== undefined) expect(zstd.library).toMatch(/ \d+\.\d+\.\d+$/)
})
