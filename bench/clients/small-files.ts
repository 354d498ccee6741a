import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { Random } from '../../test/library/trees/random.ts'

export interface ClientReport {
  readonly ms: number
  readonly bytes: number
  /** Digest of all bytes, in the order of the files. */
  readonly sha256: string
}

const FILES_IN_DIRECTORY = 1000
/** Sizes in bytes go from the least to the most, evenly. */
const SIZE = { least: 100, most: 700 }
const POOL_BYTES = 2 ** 20

/** Makes `count` files of a few hundred bytes, all different, in directories of a thousand. */
export function createFiles(directory: string, count: number): ClientReport {
  const pool = new Random(5).bytes(POOL_BYTES)
  const contents = Array.from({ length: count }, (_, i) => contentOf(pool, i))
  const start = performance.now()
  mkdirSync(directory)
  for (const [i, content] of contents.entries()) {
    if (i % FILES_IN_DIRECTORY === 0) mkdirSync(directoryOf(directory, i))
    const fd = openSync(pathOf(directory, i), 'wx')
    writeSync(fd, content)
    closeSync(fd)
  }
  const ms = performance.now() - start
  return report(ms, contents)
}

/** Reads what `createFiles` has made, in the same order. */
export function readFiles(directory: string, count: number): ClientReport {
  const all = Buffer.alloc(count * SIZE.most)
  let end = 0
  const start = performance.now()
  for (let i = 0; i < count; i += 1) {
    const fd = openSync(pathOf(directory, i), 'r')
    end += readSync(fd, all, end, SIZE.most, null)
    closeSync(fd)
  }
  const ms = performance.now() - start
  return report(ms, [all.subarray(0, end)])
}

function contentOf(pool: Buffer, i: number): Buffer {
  const length = SIZE.least + ((i * 37) % (SIZE.most - SIZE.least + 1))
  const start = (i * 509) % (POOL_BYTES - SIZE.most)
  return pool.subarray(start, start + length)
}

function report(ms: number, pieces: readonly Buffer[]): ClientReport {
  const digest = createHash('sha256')
  let bytes = 0
  for (const piece of pieces) {
    digest.update(piece)
    bytes += piece.length
  }
  return { ms, bytes, sha256: digest.digest('hex') }
}

const directoryOf = (root: string, i: number) => `${root}/d${Math.floor(i / FILES_IN_DIRECTORY)}`
const pathOf = (root: string, i: number) => `${directoryOf(root, i)}/file-${i % FILES_IN_DIRECTORY}`
