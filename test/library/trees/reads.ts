import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { readMapped } from '../programs/direct-io.ts'
import type { Random } from './random.ts'

/** `direct` passes offset and length to the file system as they are; the others go through the page cache. */
export type ReadWay = 'buffered' | 'direct' | 'mapped'

export interface ReadRange {
  readonly way: ReadWay
  readonly offset: number
  readonly length: number
}

const WAYS: readonly ReadWay[] = ['buffered', 'direct', 'mapped']

/** A range of a file, often at the edge of a block or of the file, of 1 byte to some megabytes. */
export function randomRange(random: Random, size: number, blockSize: number): ReadRange {
  const way = random.pick(WAYS)
  const near = random.chance(0.5)
  const base = near ? random.int(0, Math.floor(size / blockSize)) * blockSize : random.int(0, size - 1)
  const offset = Math.max(0, Math.min(size - 1, base + random.int(-3, 3)))
  const length = random.pick([
    1,
    2,
    511,
    4096,
    4097,
    blockSize - 1,
    blockSize,
    blockSize + 1,
    3 * blockSize + 5,
  ])
  return { way, offset, length: Math.min(length + random.int(0, 3), size - offset) }
}

/** @returns all bytes of a range that lies inside the file. @throws Error where the file ends before */
export function readRange(path: Buffer | string, { way, offset, length }: ReadRange): Buffer {
  const direct = way === 'direct' ? constants.O_DIRECT : 0
  const fd = openSync(path, constants.O_RDONLY | direct)
  try {
    if (way === 'mapped') return readMapped(fd, offset, length)
    const bytes = Buffer.alloc(length)
    for (let filled = 0; filled < length; ) {
      const count = readSync(fd, bytes, filled, length - filled, offset + filled)
      if (count === 0)
        throw new Error(`${path.toString()}: ends at ${offset + filled}, expected ${length} bytes`)
      filled += count
    }
    return bytes
  } finally {
    closeSync(fd)
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
