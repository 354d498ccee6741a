import { expect, test } from 'vitest'
import { MetadataWriter } from '../../../squashfs/write/metadata-writer.ts'

test('a table that is larger than positions in it can say is refused, and no position wraps', () => {
  const table = new MetadataWriter(undefined, 20_000)
  const piece = Buffer.alloc(1000)
  for (let i = 0; i < 16; i++) table.write(piece)
  expect(table.position).toEqual({ block: 8194, offset: 16_000 - 8192 })
  expect(() => {
    for (let i = 0; i < 9; i++) table.write(piece)
  }).toThrow(/too many inodes, names or attributes for one of its tables: at most 20000 bytes/)
})
