import { describe, expect, test } from 'vitest'
import type { BlockRef, BlockStore, SourceId } from '../../../src/base/index.ts'
import { ReadAhead } from '../../../src/fuse/blocks/read-ahead.ts'

const KIB = 1 << 10

function block(position: number, source = 0): BlockRef {
  return {
    source: source as SourceId,
    position: position * KIB,
    storedSize: 10 * KIB,
    kindBits: 0,
    maxSize: 0,
  }
}

/** What was asked for, in KiB. */
function withAsked(use: (ahead: ReadAhead) => void): [source: number, from: number, length: number][] {
  const asked: [number, number, number][] = []
  const willNeed: BlockStore['willNeed'] = (source, from, length) => {
    asked.push([source, from / KIB, length / KIB])
  }
  use(new ReadAhead({ willNeed } as BlockStore))
  return asked
}

describe('what is asked for ahead of readers', () => {
  test('is what follows a block whose neighbour was read before, once for each half of it', () => {
    const asked = withAsked((ahead) => {
      for (let at = 100; at < 1000; at += 10) ahead.note(block(at))
    })
    expect(asked).toEqual([
      [0, 120, 512],
      [0, 380, 512],
      [0, 640, 512],
      [0, 900, 512],
    ])
  })

  test('is nothing for blocks that lie far from each other, or in different images', () => {
    const asked = withAsked((ahead) => {
      for (const at of [0, 2000, 40_000, 5000, 90_000]) ahead.note(block(at))
      for (const source of [1, 2, 1, 2]) ahead.note(block(100, source))
    })
    expect(asked).toEqual([])
  })

  test('begins anew for a neighbour that lies before what was asked for', () => {
    const asked = withAsked((ahead) => {
      for (const at of [1000, 1100, 700, 720]) ahead.note(block(at))
    })
    expect(asked).toEqual([
      [0, 1110, 512],
      [0, 710, 512],
    ])
  })

  test('is 8 MiB behind a piece that is copied up, and nothing more for its blocks', () => {
    const asked = withAsked((ahead) => {
      ahead.noteCopy(block(300))
      for (const at of [100, 200, 300]) ahead.note(block(at))
    })
    expect(asked).toEqual([[0, 310, 8192]])
  })
})
