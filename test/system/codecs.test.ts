import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CompressorName } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { binaryBytes, textBytes } from '../codecs/samples.ts'
import { needs, titled } from '../library/programs/tools.ts'

/** Data blocks as mksquashfs writes them, decoded by every decoder and compared with what `unsquashfs -cat` gives. */

const IMAGES: readonly (readonly [CompressorName, ...string[]])[] = [
  ['gzip'],
  ['gzip', '-Xcompression-level', '1', '-Xwindow-size', '8'],
  ['gzip', '-Xstrategy', 'huffman_only,run_length_encoded,fixed'],
  ['lzma'],
  ['lzo'],
  ['lzo', '-Xalgorithm', 'lzo1x_1_11'],
  ['lz4'],
  ['lz4', '-Xhc'],
  ['zstd'],
  ['zstd', '-Xcompression-level', '22', '-b', '1M'],
  ['xz'],
  ['xz', '-Xdict-size', '25%', '-b', '32K'],
  ['xz', '-b', '1M', '-Xbcj', 'x86,powerpc,ia64,arm,armthumb,sparc'],
  ['lzma', '-b', '1M'],
]
const COMPRESSED_BIT = 1 << 24
const FILE_TYPE = 2

interface StoredBlock {
  readonly bytes: Uint8Array
  readonly compressed: boolean
}

interface StoredFile {
  readonly blockSize: number
  readonly blocks: readonly StoredBlock[]
}

/**
 * The blocks of the one file of an image made with -noI (inodes in clear) and -no-fragments. Its inode is the first
 * (squashfs: Inode Table, Basic File); the reader proper has its own tests.
 */
function blocksOf(image: Buffer): StoredFile {
  const blockSize = image.readUInt32LE(12)
  const inode = Number(image.readBigUInt64LE(64)) + 2
  expect(image.readUInt16LE(inode)).toBe(FILE_TYPE)
  let position = image.readUInt32LE(inode + 16)
  const count = Math.ceil(image.readUInt32LE(inode + 28) / blockSize)
  const blocks = Array.from({ length: count }, (_, i) => {
    const word = image.readUInt32LE(inode + 32 + 4 * i)
    const size = word & (COMPRESSED_BIT - 1)
    position += size
    return {
      bytes: image.subarray(position - size, position),
      compressed: (word & COMPRESSED_BIT) === 0,
    }
  })
  return { blockSize, blocks }
}

const need = needs('mksquashfs', 'unsquashfs')

describe.skipIf(!need.ok)(titled('blocks of mksquashfs', need), () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'codecs-'))
    const text = textBytes(600_000, 61)
    writeFileSync(join(folder, 'file'), Buffer.concat([text, binaryBytes(1_500_000, 20 << 20)]))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(IMAGES.map((options) => options.join(' ')))('blocks of mksquashfs are decoded: %s', (line) => {
    const [name, ...options] = line.split(' ') as [CompressorName, ...string[]]
    const path = join(folder, `${line.replaceAll(/\W/g, '_')}.sqfs`)
    const fixed = ['-noI', '-no-fragments', '-no-xattrs', '-noappend', '-no-progress', '-quiet']
    const run = { timeout: 120_000, maxBuffer: 16 << 20 }
    execFileSync('mksquashfs', [join(folder, 'file'), path, '-comp', name, ...options, ...fixed], run)
    const expected = execFileSync('unsquashfs', ['-cat', path, 'file'], run)
    expect(expected.equals(readFileSync(join(folder, 'file')))).toBe(true)

    const { blockSize, blocks } = blocksOf(readFileSync(path))
    expect(blocks.filter(({ compressed }) => compressed).length).toBeGreaterThan(0)
    for (const codec of CANDIDATES[name].map(openCandidate)) {
      if (codec === undefined) continue
      const output = new Uint8Array(blockSize)
      const pieces = blocks.map(({ bytes, compressed }) =>
        compressed ? output.slice(0, codec.decode(bytes, output)) : bytes,
      )
      expect(Buffer.concat(pieces).equals(expected), codec.library).toBe(true)
    }
  })
})
