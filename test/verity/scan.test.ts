import { describe, expect, test } from 'vitest'
import { mergeReports, openVerity, splitBlocks, treeGeometry, verifyRange } from '../../src/verity/index.ts'
import { failureOf, pattern, verityImage } from './support.ts'

const BLOCKS = 600

/** 600 blocks of 512 bytes; 16 digests in a hash block: levels of 38, 3 and 1 blocks. */
function image() {
  const made = verityImage(pattern(BLOCKS * 512), {
    dataBlockSize: 512,
    hashBlockSize: 512,
    salt: Uint8Array.of(5),
  })
  const { table } = openVerity({ source: made.source, rootHash: made.rootHash, dataLength: BLOCKS * 512 })
  const levels = treeGeometry(table, 32, table.treeOffset).levels
  return { source: made.source, table, levels }
}

describe('a whole scan', () => {
  test('a whole scan finds no damage in a good image and reads every block once', () => {
    const { source, table } = image()
    source.reads = []
    const progress: number[][] = []
    const report = verifyRange({ source, table, onProgress: (done, total) => progress.push([done, total]) })
    expect(report).toEqual({ from: 0, to: 600, badBlocks: 0, failures: [], unreadable: [], truncated: false })
    expect(progress).toEqual([[600, 600]])
    expect(source.reads.reduce((sum, read) => sum + read.length, 0)).toBe((600 + 38 + 3 + 1) * 512)
  })

  test('a whole scan lists all damaged data blocks', () => {
    const { source, table } = image()
    for (const block of [0, 15, 16, 599]) source.flip(block * 512 + 100)
    const report = verifyRange({ source, table })
    expect(report.badBlocks).toBe(4)
    expect(report.failures.map((failure) => [failure.kind, failure.block])).toEqual([
      ['data', 0],
      ['data', 15],
      ['data', 16],
      ['data', 599],
    ])
  })

  test('a whole scan lists a damaged hash block once, counts the blocks below it and continues behind it', () => {
    const { source, table, levels } = image()
    source.flip(levels[0]!.start + 2 * 512)
    source.flip(levels[1]!.start + 512)
    source.flip(599 * 512)
    const report = verifyRange({ source, table })
    expect(report.failures.map((failure) => [failure.kind, failure.level, failure.block])).toEqual([
      ['hash', 0, 2],
      ['hash', 1, 1],
      ['data', undefined, 599],
    ])
    expect(report.badBlocks).toBe(16 + 256 + 1)
  })

  test('a whole scan of a file with a damaged root block reports all of it as bad', () => {
    const { source, table, levels } = image()
    source.flip(levels[2]!.start)
    const report = verifyRange({ source, table })
    expect(report.badBlocks).toBe(BLOCKS)
    expect(report.failures).toHaveLength(1)
  })

  test('a whole scan limits the length of its list', () => {
    const { source, table } = image()
    source.bytes.fill(0, 0, BLOCKS * 512)
    const report = verifyRange({ source, table, listLimit: 7 })
    expect(report.badBlocks).toBe(BLOCKS)
    expect(report.failures).toHaveLength(7)
    expect(report.truncated).toBe(true)
  })

  test('a whole scan continues behind a block that the disk cannot read', () => {
    const { source, table, levels } = image()
    for (const position of [0, 299 * 512 + 5, 300 * 512, levels[0]!.start + 37 * 512])
      source.unreadable.add(position)
    const report = verifyRange({ source, table })
    expect(report.failures).toEqual([])
    // Block 37 of level 0 holds the last 8 digests.
    const blocks = [0, 299, 300, ...Array.from({ length: 8 }, (_, i) => 592 + i)]
    expect(report.unreadable.map((entry) => entry.block)).toEqual(blocks)
    expect(report.badBlocks).toBe(11)
  })
})

describe('a scan in ranges', () => {
  test('scans of ranges joined give the result of the whole scan', () => {
    const { source, table, levels } = image()
    for (const block of [3, 127, 128, 400]) source.flip(block * 512)
    source.flip(levels[1]!.start + 2 * 512)
    const ranges = splitBlocks(table, 4)
    expect(ranges).toEqual([
      { from: 0, to: 256 },
      { from: 256, to: 512 },
      { from: 512, to: 600 },
    ])
    const reports = ranges.map((range) => verifyRange({ source, table, ...range }))
    expect(mergeReports(reports)).toEqual(verifyRange({ source, table }))
  })

  test('ranges that cut a damaged hash block list it once after joining', () => {
    const { source, table, levels } = image()
    source.flip(levels[1]!.start)
    const reports = [
      { from: 0, to: 100 },
      { from: 100, to: 600 },
    ].map((range) => verifyRange({ source, table, ...range }))
    expect(reports.map((report) => report.badBlocks)).toEqual([100, 156])
    expect(mergeReports(reports)).toEqual(verifyRange({ source, table }))
  })

  test('the ranges of a scan cover every block once, for any number of parts', () => {
    const { table } = image()
    for (const parts of [0, 1, 2, 3, 5, 1000]) {
      let next = 0
      for (const { from, to } of splitBlocks(table, parts)) {
        expect(from).toBe(next)
        expect(to).toBeGreaterThan(from)
        next = to
      }
      expect(next).toBe(BLOCKS)
    }
  })

  test.each([
    [-1, 5],
    [5, 4],
    [0, 601],
    [0.5, 3],
    [0, Number.NaN],
  ])('the scan range from %d to %d is refused', (from, to) => {
    const { source, table } = image()
    expect(failureOf(() => verifyRange({ source, table, from, to })).code).toBe('EINVAL')
  })
})
