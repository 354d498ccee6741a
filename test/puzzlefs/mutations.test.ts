import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ByteSource, FsError } from '../../src/base/index.ts'
import { HashedSource, hashSource } from '../../src/verity/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { makeTempDir, needs, removeTempDir, titled } from '../library/index.ts'
import { Random } from '../library/trees/random.ts'
import { disagreements } from './support/agree.ts'
import { decodeByCapnp, writeSchema } from './support/capnp.ts'
import { stored } from './support/chunks.ts'
import { mutateChunk, mutateMessage } from './support/mutate.ts'
import { SAMPLE_CHUNKS, type SampleImage, sampleImages } from './support/sample.ts'
import { type BlobStore, type WalkedFile, walkPuzzle } from './support/walk.ts'

/**
 * Damaged metadata and chunks, read in this process. Where the damage got a digest of its own, so that the parser sees it,
 * what is shown must stand so in the message as capnp(1) reads it; where it did not, everything is right or EIO.
 */

const needCapnp = needs('capnp')
const needZstd = needs('zstd')
/** Of each sort. */
const MUTATIONS = Number(process.env['ATOMFS_MUTATIONS'] ?? 24)
const SEED = Number(process.env['ATOMFS_FUZZ_SEED'] ?? 1)
const TIMEOUT = 60_000 + 100 * MUTATIONS
const LIMITS = { names: 500, fileBytes: 1 << 20 }
/** More than caches and pieces of one walk take together. */
const MOST_MEMORY = 512 << 20
const SLOWEST = 10_000

const samples = sampleImages()
const intact = new Map(SAMPLE_CHUNKS.map((chunk) => [chunk.hex, chunk]))
const store = new Map(SAMPLE_CHUNKS.map(({ hex, bytes }) => [hex, bytes]))

let temp = ''
let schema = ''
beforeAll(() => {
  temp = makeTempDir()
  schema = writeSchema(temp)
})
afterAll(() => removeTempDir(temp))

type Walk = ReturnType<typeof walkPuzzle>

/** @returns undefined where the image is refused. @throws Error for any other failure, and what takes too long */
function attempt(run: number, walk: () => Walk): Walk | undefined {
  const start = performance.now()
  try {
    const found = walk()
    const codes = new Set(found.flatMap((file) => ('error' in file ? [file.error] : [])))
    for (const code of codes) expect(['EIO', 'EOPNOTSUPP']).toContain(code)
    return found
  } catch (error) {
    if (error instanceof FsError && ['EIO', 'EINVAL'].includes(error.code)) return undefined
    throw new Error(`run ${run} of seed ${SEED}`, { cause: error })
  } finally {
    expect([run, performance.now() - start < SLOWEST]).toEqual([run, true])
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    expect(heapUsed + arrayBuffers).toBeLessThan(MOST_MEMORY)
  }
}

function isReadable(file: Walk[number]): file is WalkedFile {
  return !('error' in file)
}

/** What is neither right nor EIO, beside the walk of the intact image. */
function wrongIn(walk: Walk, right: ReadonlyMap<string, Walk[number]>): readonly string[] {
  return walk
    .filter(isReadable)
    .filter((file) => JSON.stringify(file) !== JSON.stringify(right.get(file.path)))
    .map((file) => JSON.stringify(file))
}

describe(`${MUTATIONS} damages of each sort, seed ${SEED}`, () => {
  test.skipIf(!needCapnp.ok)(
    titled('damaged metadata with a digest of their own show nothing that does not stand in them', needCapnp),
    () => {
      const counts = { refused: 0, withErrors: 0, whole: 0, compared: 0 }
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 1_000_003 + run)
        const bytes = mutateMessage(random, samples[run % samples.length]!.rootfs)
        const walk = attempt(run, () => walkPuzzle(memorySource(bytes), store, LIMITS))
        if (walk === undefined) counts.refused += 1
        else if (walk.every(isReadable)) counts.whole += 1
        else counts.withErrors += 1
        const decoded = walk && decodeByCapnp(schema, bytes)
        if (walk === undefined || decoded === undefined) continue
        counts.compared += 1
        expect([run, disagreements(walk.filter(isReadable), decoded, intact)]).toEqual([run, []])
      }
      console.log('metadata:', counts)
      expect(counts.refused).toBeGreaterThan(0)
      expect(counts.withErrors).toBeGreaterThan(0)
      expect(counts.compared).toBeGreaterThan(MUTATIONS / 10)
    },
    TIMEOUT,
  )

  test.skipIf(!needZstd.ok)(
    titled(
      'a damaged chunk with a digest of its own gives the bytes that zstd finds in it, or EIO',
      needZstd,
    ),
    () => {
      const counts = { right: 0, damaged: 0 }
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 1_000_007 + run)
        const index = run % SAMPLE_CHUNKS.length
        const old = SAMPLE_CHUNKS[index]!
        const bytes = mutateChunk(random, old.bytes)
        const form = run % samples.length
        const image = withChunk(index, bytes, old.compressed)[form]!
        // The same tree with the chunk as it is when all of it is decoded at once.
        const plain = withChunk(index, old.compressed ? decodeByZstd(bytes) : bytes, false)[form]!
        const right = byPath(walkPuzzle(memorySource(plain.rootfs), blobsOf(plain), LIMITS))
        const walk = attempt(run, () => walkPuzzle(memorySource(image.rootfs), blobsOf(image), LIMITS)) ?? []
        const known = walk.filter(({ path }) => !('error' in right.get(path)!))
        expect([run, walk.length, wrongIn(known, right)]).toEqual([run, right.size, []])
        if (walk.every(isReadable)) counts.right += 1
        else counts.damaged += 1
      }
      console.log('chunks:', counts)
      expect(counts.damaged).toBeGreaterThan(MUTATIONS / 10)
    },
    TIMEOUT,
  )

  test(
    'a chunk that changed since it got its digest is EIO for its files, and the others are right',
    () => {
      const { rootfs } = samples[0]!
      const right = byPath(walkPuzzle(memorySource(rootfs), store, LIMITS))
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 1_000_009 + run)
        const victim = random.pick(SAMPLE_CHUNKS)
        const bytes = mutateChunk(random, victim.bytes)
        if (bytes.equals(victim.bytes)) continue
        const blobs = new Map([...store, [victim.hex, bytes]])
        const walk = attempt(run, () => walkPuzzle(memorySource(rootfs), blobs, LIMITS)) ?? []
        expect([run, walk.length, wrongIn(walk, right)]).toEqual([run, right.size, []])
        expect(walk.some((file) => !isReadable(file))).toBe(true)
      }
    },
    TIMEOUT,
  )

  test(
    'metadata that change after they were hashed are right or EIO, whatever is asked first',
    () => {
      const { rootfs } = samples[1]!
      const right = byPath(walkPuzzle(memorySource(rootfs), store, LIMITS))
      const { blocks } = hashSource(memorySource(rootfs), 'sha256')
      let damaged = 0
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 1_000_011 + run)
        const changed = mutateMessage(random, rootfs)
        const source: ByteSource = new HashedSource({ source: changing(rootfs, changed, random), blocks })
        const walk = attempt(run, () => walkPuzzle(source, store, LIMITS))
        expect([run, wrongIn(walk ?? [], right)]).toEqual([run, []])
        if (walk?.every(isReadable) !== true) damaged += 1
      }
      expect(damaged).toBeGreaterThan(MUTATIONS / 10)
    },
    TIMEOUT,
  )
})

/** Bytes that change at some read. */
function changing(before: Buffer, after: Buffer, random: Random): ByteSource {
  const intact = memorySource(before)
  const damaged = memorySource(after)
  let left = random.int(0, 6)
  return { ...intact, readInto: (at, target) => (left-- > 0 ? intact : damaged).readInto(at, target) }
}

function byPath(walk: Walk): ReadonlyMap<string, Walk[number]> {
  return new Map(walk.map((file) => [file.path, file]))
}

/** The samples with another chunk in the place of one, of which as much is wanted as before. */
function withChunk(index: number, bytes: Buffer, compressed: boolean): readonly SampleImage[] {
  const chunks = SAMPLE_CHUNKS.map((other, i) =>
    i === index ? { ...stored(bytes), plain: other.plain, compressed } : other,
  )
  return sampleImages(chunks)
}

function blobsOf({ chunks }: SampleImage): BlobStore {
  return new Map(chunks.map(({ hex, bytes }) => [hex, bytes]))
}

/** As far as it gets. */
function decodeByZstd(bytes: Buffer): Buffer {
  return spawnSync('zstd', ['-dcq'], { input: bytes, stdio: ['pipe', 'pipe', 'ignore'], timeout: 20_000 })
    .stdout
}
