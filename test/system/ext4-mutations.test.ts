import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ByteSource, FsError } from '../../src/base/index.ts'
import { memorySource, walkImage } from '../ext4/support/describe.ts'
import { crashedCopies } from '../library/changes/ext-work.ts'
import { mke2fs } from '../library/images/ext.ts'
import { makeTempDir, needs, Random, removeTempDir, titled } from '../library/index.ts'
import { TreeBuilder } from '../library/trees/source-tree.ts'

/** Damaged file systems, read in this process and never by the kernel: an answer or EIO, in time and in bounded memory. */

const need = needs('root', 'loop', 'mke2fs')
/** Damaged images of all forms together. */
const MUTATIONS = Number(process.env['ATOMFS_MUTATIONS'] ?? 200)
const SEED = Number(process.env['ATOMFS_FUZZ_SEED'] ?? 1)
const LIMITS = { names: 2000, fileBytes: 1 << 17 }
/** More than the caches, the listing and the pieces of one walk take together. */
const MOST_MEMORY = 512 << 20

const FORMS: readonly string[] = [
  '-t ext2 -b 1024 -I 128',
  '-t ext3 -b 1024',
  '-t ext4 -b 1024 -O ^metadata_csum',
  '-t ext4 -b 4096 -O ^metadata_csum,^64bit,uninit_bg,inline_data,ea_inode',
  '-t ext4 -b 1024',
]
const CRASHED = { options: '-t ext4 -b 1024 -J size=1 -O ^metadata_csum', mount: 'rw,data=journal' }

interface Sample {
  readonly name: string
  readonly bytes: Buffer
  /** Where a walk reads metadata: the beginnings of pieces, bytes. */
  readonly metadata: readonly number[]
}

let temp = ''
const samples: Sample[] = []

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  const source = join(temp, 'source')
  mkdirSync(source)
  fill(source)
  for (const options of FORMS) {
    const file = await mke2fs(join(temp, 'image'), {
      options: `${options} -N 256`,
      megabytes: 4,
      from: source,
    })
    addSample(options, readFileSync(file))
  }
  mkdirSync(join(temp, 'crashed'))
  const [copy = ''] = await crashedCopies(join(temp, 'crashed'), CRASHED, 5, { copies: 1, megabytes: 8 })
  addSample('crashed', readFileSync(copy))
})
afterAll(() => removeTempDir(temp))

/** A tree with each form of what an inode may be. */
function fill(root: string): void {
  const tree = new TreeBuilder(root, 3)
  tree.directory('few')
  tree.directory('many')
  for (let i = 0; i < 60; i++)
    tree.file(`many/${'n'.repeat(i)}-${i}`, i % 9 === 0 ? tree.random.bytes(i * 30) : '')
  tree.file('few/large', tree.random.bytes(300_000))
  for (const size of [20, 100, 900]) tree.symlink(`few/link-${size}`, 'x'.repeat(size))
  tree.file('few/attributes', 'x')
  for (let i = 0; i < 6; i++) tree.xattr('few/attributes', `user.n${i}`, tree.random.bytes(i * 20))
  tree.link('few/again', 'few/attributes')
}

function addSample(name: string, bytes: Buffer): void {
  const read = new Set<number>()
  const source = memorySource(bytes)
  const recording: ByteSource = {
    ...source,
    readInto(position, target) {
      if (target.length <= 4096) read.add(position)
      source.readInto(position, target)
    },
  }
  const { errors, tree } = walkImage(recording)
  expect([name, errors]).toEqual([name, 0])
  expect(tree.size).toBeGreaterThan(10)
  samples.push({ name, bytes, metadata: [...read] })
}

const NUMBERS = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]

function mutate(random: Random, { bytes, metadata }: Sample): Buffer {
  const copy = Buffer.from(bytes)
  for (let left = random.int(1, 6); left > 0; left--) {
    const piece = random.chance(0.9) ? random.pick(metadata) : random.int(0, bytes.length - 1)
    // Structures begin at multiples of four, and the first of a block matter most.
    const at = Math.min(
      piece + random.pick([random.int(0, 15) * 4, random.int(0, 1023), random.int(0, 255) * 4]),
      bytes.length - 8,
    )
    switch (random.int(0, 4)) {
      case 0:
        copy[at] = (copy[at] ?? 0) ^ (1 << random.int(0, 7))
        break
      case 1:
        copy.writeUInt32LE((random.pick(NUMBERS) + random.int(-1, 1)) >>> 0, at)
        break
      case 2:
        copy.writeUInt16LE(random.pick(NUMBERS) & 0xffff, at)
        break
      case 3:
        // A number of another place: blocks and inodes that are there.
        copy.copy(copy, at, random.pick(metadata) + random.int(0, 15) * 4, random.pick(metadata) + 4)
        copy.writeUInt32LE(bytes.readUInt32LE(random.pick(metadata) + random.int(0, 31) * 4), at)
        break
      default:
        bytes.copy(copy, piece, random.pick(metadata), random.pick(metadata) + 128)
    }
  }
  return copy
}

describe.skipIf(!need.ok)(titled('a damaged file system', need), () => {
  test(`${MUTATIONS} damaged images are read to an end, and every failure is EIO`, () => {
    const outcomes = { refused: 0, errors: 0, whole: 0 }
    let slowest = [0, 0] as readonly [number, number]
    let largest = 0
    for (let run = 0; run < MUTATIONS; run++) {
      const sample = samples[run % samples.length]
      if (sample === undefined) throw new Error('no sample')
      const bytes = mutate(new Random(SEED * 1_000_003 + run), sample)
      const start = performance.now()
      try {
        const { errors } = walkImage(memorySource(bytes), LIMITS)
        if (errors > 0) outcomes.errors += 1
        else outcomes.whole += 1
      } catch (error) {
        if (!(error instanceof FsError) || !['EIO', 'EINVAL'].includes(error.code)) {
          throw new Error(`run ${run} of seed ${SEED}, ${sample.name}`, { cause: error })
        }
        outcomes.refused += 1
      }
      const took = performance.now() - start
      if (took > slowest[0]) slowest = [took, run]
      largest = Math.max(largest, process.memoryUsage.rss())
    }
    console.log(
      outcomes,
      `slowest: ${slowest[0].toFixed(0)} ms, run ${slowest[1]}; ${largest >> 20} MiB resident`,
    )
    expect(outcomes.refused).toBeGreaterThan(MUTATIONS / 100)
    expect(outcomes.errors).toBeGreaterThan(MUTATIONS / 10)
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    expect(heapUsed + arrayBuffers).toBeLessThan(MOST_MEMORY)
  }, 3_600_000)
})
