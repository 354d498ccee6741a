import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inScene, judge, peakMemory, Reader, type Scene, type Survey } from '../hostile/index.ts'
import { makeTempDir, needs, Random, removeTempDir, titled } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'
import { type StoredChunk, stored } from '../puzzlefs/support/chunks.ts'
import { writePuzzleLayout } from '../puzzlefs/support/layout.ts'
import { mutateChunk, mutateMessage } from '../puzzlefs/support/mutate.ts'
import { SAMPLE_CHUNKS, sampleImages } from '../puzzlefs/support/sample.ts'

/**
 * Damaged PuzzleFS images through real mounts. Where the damage got a digest of its own the daemon answers everything, lives
 * on and stays within its memory; where it did not, every answer is right or EIO.
 */

const need = needs('root', 'fuse', 'umount')
const MUTATIONS = Number(process.env['ATOMFS_MUTATIONS'] ?? 6)
const SEED = Number(process.env['ATOMFS_FUZZ_SEED'] ?? 1)
const TIMEOUT = 120_000 + 5000 * MUTATIONS
const LIMITS = { entries: 1000, fileBytes: 1 << 20, depth: 20 }
const MEMORY_BOUND = 100 * 2 ** 20

const samples = sampleImages()

let temp = ''
let reader: Reader
let golden: Survey
/** Largest resident size of the daemon of an intact image, and of any, bytes. */
let usual = 0
let peak = 0

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  reader = await Reader.start()
  golden = await inScene(temp, async (scene) => {
    const found = await survey(scene, samples[0]!.rootfs, SAMPLE_CHUNKS)
    if (found === undefined) throw new Error('the intact image is refused')
    return found
  })
  usual = peak
  expect(Object.keys(golden.items).length).toBeGreaterThan(100)
  expect(JSON.stringify(golden)).not.toContain('"!')
})

afterAll(() => {
  reader?.stop()
  if (temp !== '') removeTempDir(temp)
})

function layoutIn({ folder }: Scene): string {
  return join(folder, 'oci')
}

function writeLayout(scene: Scene, rootfs: Buffer, chunks: readonly StoredChunk[]): void {
  writePuzzleLayout(layoutIn(scene), [{ tag: 'image', rootfs, chunks }])
}

/** Mounts an image, asks everything, unmounts it. @returns undefined where it was refused, in one line */
async function survey(
  scene: Scene,
  rootfs: Buffer,
  chunks: readonly StoredChunk[],
  beforeReading: () => void = () => {},
): Promise<Survey | undefined> {
  writeLayout(scene, rootfs, chunks)
  const mounted = await scene.mount(`${layoutIn(scene)}:image`, '-o', 'cache_size=16M')
  if (mounted.status !== 0) {
    scene.expectRefused(mounted, /sha256:[0-9a-f]{64}/)
    expect(mounted.stderr).not.toMatch(/internal error|TypeError|RangeError/)
    return undefined
  }
  expect(mounted).toMatchObject({ stdout: '', stderr: '' })
  const pid = scene.daemonPid()
  beforeReading()
  const known = golden === undefined ? [] : Object.keys(golden.items)
  const found = await reader.survey(scene.target, known, LIMITS)
  peak = Math.max(peak, peakMemory(pid))
  if (usual > 0) expect(peakMemory(pid)).toBeLessThan(usual + MEMORY_BOUND)
  if (JSON.stringify(found).includes('!EIO')) {
    await until(() => scene.log().includes(' error: '), 'a line in the log')
  }
  expect(scene.log()).not.toMatch(/bug:|uncaught|unhandled|internal|heap/)
  expect(scene.daemonPid()).toBe(pid)
  await scene.unmount()
  scene.expectNothingLeft()
  return found
}

function expectSensible({ items }: Survey): void {
  const answers = Object.values(items).flatMap((item) =>
    Object.values(item).flatMap((text) => text.split(' ')),
  )
  // Names that the image has no more are ENOENT; the kernel refuses a directory in itself with ELOOP.
  for (const answer of answers.filter((text) => text.startsWith('!')))
    expect(['!EIO', '!ENOENT', '!ENOTDIR', '!EOPNOTSUPP', '!ELOOP', '!EINVAL', '!ENXIO']).toContain(answer)
}

describe.skipIf(!need.ok)(titled(`${MUTATIONS} damages of each sort, seed ${SEED}`, need), () => {
  test(
    'metadata and chunks that are damaged and have digests of their own give answers or errors',
    async () => {
      const counts = { refused: 0, withErrors: 0, whole: 0 }
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 2_000_003 + run)
        const index = random.int(0, SAMPLE_CHUNKS.length - 1)
        const old = SAMPLE_CHUNKS[index]!
        const chunk = { ...old, ...stored(random.chance(0.3) ? mutateChunk(random, old.bytes) : old.bytes) }
        const chunks = SAMPLE_CHUNKS.map((one, i) => (i === index ? chunk : one))
        const { rootfs } = random.pick(sampleImages(chunks))
        const damaged = random.chance(0.8) ? mutateMessage(random, rootfs) : rootfs
        await inScene(temp, async (scene) => {
          const found = await survey(scene, damaged, chunks)
          if (found === undefined) counts.refused += 1
          else if (JSON.stringify(found).includes('!EIO')) counts.withErrors += 1
          else counts.whole += 1
          if (found !== undefined) expectSensible(found)
        })
      }
      const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
      console.log(counts, `peak memory of a daemon ${mib(peak)}, usual ${mib(usual)}`)
      expect(counts.refused).toBeLessThan(MUTATIONS)
    },
    TIMEOUT,
  )

  test(
    'what changes under a mount is right or EIO',
    async () => {
      const { rootfs } = samples[1]!
      let refused = 0
      for (let run = 0; run < MUTATIONS; run++) {
        const random = new Random(SEED * 2_000_029 + run)
        const victim = random.pick([...SAMPLE_CHUNKS, stored(rootfs)])
        const isMetadata = victim.bytes === rootfs
        const damaged = (isMetadata ? mutateMessage : mutateChunk)(random, victim.bytes)
        await inScene(temp, async (scene) => {
          const file = join(layoutIn(scene), 'blobs/sha256', victim.hex)
          const found = await survey(scene, rootfs, SAMPLE_CHUNKS, () => {
            if (random.chance(0.1) && !isMetadata) rmSync(file)
            else writeFileSync(file, damaged)
          })
          const verdict = judge(found!, golden)
          expect([run, verdict.wrong]).toEqual([run, []])
          refused += verdict.refused.length
        })
      }
      expect(refused).toBeGreaterThan(0)
    },
    TIMEOUT,
  )
})
