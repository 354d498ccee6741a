import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { openStreamDecoder, type StreamName } from '../../src/codecs/streams/index.ts'
import { findProgram, Random } from '../library/index.ts'

const random = new Random(7)
const CONTENT = Buffer.concat([random.text(600_000), Buffer.alloc(900_000), random.bytes(300_000)])

function packed(program: string, content: Uint8Array): Buffer {
  return spawnSync(program, ['-c'], { input: content, maxBuffer: 1 << 26 }).stdout
}

function has(name: StreamName): boolean {
  const decoder = openStreamDecoder(name)
  decoder?.close()
  return findProgram(name) !== undefined && decoder !== undefined
}

function decoded(name: StreamName, bytes: Buffer, size: number): Buffer {
  const decoder = openStreamDecoder(name)!
  const pieces: Uint8Array[] = []
  try {
    for (let at = 0; at < bytes.length; at += size)
      pieces.push(...decoder.decode(bytes.subarray(at, at + size)))
    pieces.push(...decoder.finish())
  } finally {
    decoder.close()
  }
  return Buffer.concat(pieces)
}

describe.each(['xz', 'bzip2', 'zstd'] as const)('a stream of %s', (name) => {
  const missing = has(name) ? '' : ` (skipped: no program or library for ${name})`

  test.skipIf(missing !== '')(`decodes to what went in, in pieces of any size${missing}`, () => {
    const bytes = packed(name, CONTENT)
    for (const size of [997, 1 << 16, bytes.length]) {
      expect(decoded(name, bytes, size).equals(CONTENT)).toBe(true)
    }
    expect(decoded(name, packed(name, Buffer.alloc(0)), 1)).toHaveLength(0)
  })

  test.skipIf(missing !== '')(`may have several members${missing}`, () => {
    const [first, second] = [CONTENT.subarray(0, 700_000), CONTENT.subarray(700_000)]
    const bytes = Buffer.concat([packed(name, first), packed(name, second)])
    for (const size of [1000, bytes.length]) expect(decoded(name, bytes, size).equals(CONTENT)).toBe(true)
  })

  test.skipIf(missing !== '')(`that is cut off or damaged is refused${missing}`, () => {
    const bytes = packed(name, CONTENT)
    for (const length of [1, 20, bytes.length >> 1, bytes.length - 1]) {
      expect(() => decoded(name, bytes.subarray(0, length), 5000)).toThrow(/too early/)
    }
    const damaged = Buffer.from(bytes)
    for (let at = 200; at < 260; at++) damaged[at] = damaged[at]! ^ 0x55
    expect(() => decoded(name, damaged, 5000)).toThrow()
  })
})
