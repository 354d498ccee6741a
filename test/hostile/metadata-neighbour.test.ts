import { expect, test } from 'vitest'
import { MetadataWindow } from '../../squashfs/metadata/metadata-reader.ts'
import { type ByteSource, FsError } from '../../src/base/index.ts'

/** 64 KiB of which the bytes from `from` to `to` cannot be read, as where a block does not verify. */
function damagedSource(from: number, to: number): ByteSource {
  return {
    size: 65_536,
    label: 'test',
    readInto(position, target) {
      if (position < to && position + target.length > from) throw new FsError('EIO', 'damaged')
      target.forEach((_, i) => {
        target[i] = (position + i) % 251
      })
    },
  }
}

test('metadata before and after a damaged place is still read, and the damaged place never is', () => {
  const window = new MetadataWindow(damagedSource(8192, 12_288), 0, 65_536)
  for (const [position, length] of [
    [0, 2],
    [2, 8190],
    [12_288, 100],
    [5000, 3192],
  ] as const) {
    const bytes = window.fetch(position, length)
    expect(bytes).toHaveLength(length)
    expect([bytes[0], bytes[length - 1]]).toEqual([position % 251, (position + length - 1) % 251])
  }
  for (const [position, length] of [
    [8191, 2],
    [8192, 2],
    [0, 8193],
    [12_287, 1],
  ] as const) {
    expect(() => window.fetch(position, length)).toThrow('damaged')
  }
  // A failed read leaves nothing behind that a later one could take for good.
  expect(window.fetch(0, 1)[0]).toBe(0)
  expect(() => window.fetch(9000, 1)).toThrow('damaged')
})
