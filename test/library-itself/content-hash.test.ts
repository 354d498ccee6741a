import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { expect, test } from 'vitest'
import { hashContent, withTempDir } from '../library/index.ts'

const GIB = 2 ** 30

/** @param pieces position and bytes */
function sparseHash(path: string, size: number, pieces: readonly (readonly [number, Buffer])[]): string {
  const fd = openSync(path, 'w')
  try {
    ftruncateSync(fd, size)
    for (const [at, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, at)
  } finally {
    closeSync(fd)
  }
  return hashContent(Buffer.from(path), size)
}

test('the hash of a large sparse file depends on its bytes, not on the places of its holes', async () => {
  await withTempDir((temp) => {
    const size = 2 * GIB + 4097
    const data = Buffer.from('island')
    const plain = sparseHash(`${temp}/a`, size, [[GIB + 5, data]])
    const withZeros = sparseHash(`${temp}/b`, size, [
      [12_345, Buffer.alloc(3_000_000)],
      [GIB + 5, data],
    ])
    expect(withZeros).toBe(plain)
    expect(sparseHash(`${temp}/c`, size, [[GIB + 6, data]])).not.toBe(plain)
    expect(
      sparseHash(`${temp}/d`, size, [
        [GIB + 5, data],
        [size - 1, Buffer.of(1)],
      ]),
    ).not.toBe(plain)
    expect(sparseHash(`${temp}/e`, size, [[GIB + 5 + 4096 * 100, data]])).not.toBe(plain)
  })
})
