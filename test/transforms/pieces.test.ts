import { describe, expect, test } from 'vitest'
import type { ByteSource } from '../../src/base/index.ts'
import { PiecesSource } from '../../src/transforms/index.ts'
import { memorySource } from '../ext4/support/describe.ts'

const BYTES = Buffer.from(Array.from({ length: 100 }, (_, i) => i))
const PIECES = [
  { position: 90, length: 5 },
  { length: 3 },
  { position: 10, length: 20 },
  { position: 0, length: 1 },
]
const ALL = Buffer.concat([
  BYTES.subarray(90, 95),
  Buffer.alloc(3),
  BYTES.subarray(10, 30),
  BYTES.subarray(0, 1),
])

describe('a file in pieces', () => {
  test('every range of it is read from where it lies', () => {
    const source = new PiecesSource(memorySource(BYTES), PIECES)
    expect(source.size).toBe(29)
    for (let from = 0; from <= 29; from++) {
      for (let to = from; to <= 29; to++) {
        const target = Buffer.alloc(to - from, 255)
        source.readInto(from, target)
        expect(target.equals(ALL.subarray(from, to)), `${from}..${to}`).toBe(true)
      }
    }
    expect(() => source.readInto(29, Buffer.alloc(1))).toThrow(/outside 29 bytes/)
    expect(new PiecesSource(memorySource(BYTES), []).size).toBe(0)
  })

  test('what is at hand, and what will be needed, is asked of the source; holes need nothing', () => {
    const asked: string[] = []
    const below: ByteSource = {
      ...memorySource(BYTES),
      isAtHand: (position, length) => {
        asked.push(`at hand ${position}+${length}`)
        return position !== 10
      },
      willNeed: (position, length) => void asked.push(`needed ${position}+${length}`),
    }
    const source = new PiecesSource(below, PIECES)
    expect(source.isAtHand(2, 6)).toBe(true)
    expect(source.isAtHand(7, 2)).toBe(false)
    source.willNeed(0, 1000)
    expect(asked).toEqual(['at hand 92+3', 'at hand 10+1', 'needed 90+5', 'needed 10+20', 'needed 0+1'])
  })

  test('a piece that does not lie in the source is refused', () => {
    expect(() => new PiecesSource(memorySource(BYTES), [{ position: 99, length: 2 }])).toThrow(
      /outside 100 bytes/,
    )
  })
})
