import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hostileImages } from '../hostile/hostile-images.ts'
import { inScene, peakMemory, Reader, type Scene, type Survey, smallTree } from '../hostile/index.ts'
import { makeTempDir, mksquashfs, needs, Random, removeTempDir, run, titled } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'

/**
 * Images that nobody verifies, damaged on purpose or at random: the daemon answers every question, with errors where
 * it must, lives on, logs no exception that nobody expected, and stays within its memory.
 */
const MUTATIONS = Number(process.env['ATOMFS_MUTATIONS'] ?? 60)

const need = needs('root', 'fuse', 'mksquashfs', 'umount')
const LIMITS = { entries: 3000, fileBytes: 1 << 20, depth: 40 }
const MEMORY_BOUND = 100 * 2 ** 20

let temp = ''
let bytes: Buffer
let readers: readonly Reader[] = []
/** Largest resident size of a daemon that served the intact image, and of any, bytes. */
let usualMemory = 0
let peak = 0

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  const tree = smallTree(join(temp, 'tree'))
  // Stored metadata: a flip there reaches the parser, and not only the decompressor.
  const extra = ['-noI', '-noId', '-noX', '-noF']
  bytes = readFileSync(await mksquashfs(tree, join(temp, 'image.sqfs'), { blockSize: 16_384, extra }))
  // One for each lane of the random part.
  readers = [await Reader.start(), await Reader.start()]
  await inScene(temp, async (scene) => {
    expect(await tryImage(scene, bytes)).toMatchObject({ limited: false })
  })
  expect(usualMemory).toBeGreaterThan(0)
})

afterAll(() => {
  for (const reader of readers) reader.stop()
  if (temp !== '') removeTempDir(temp)
})

/** Mounts an image, surveys it, unmounts it. @returns undefined where it was refused, in one line */
async function tryImage(
  scene: Scene,
  content: Uint8Array,
  reader = readers[0]!,
): Promise<Survey | undefined> {
  const path = join(scene.folder, 'image')
  writeFileSync(path, content)
  const mounted = await scene.mount(path, '-o', 'cache_size=16M')
  if (mounted.status !== 0) {
    scene.expectRefused(mounted, /image/)
    expect(mounted.stderr).not.toMatch(/internal error|TypeError|RangeError/)
    return undefined
  }
  expect(mounted).toMatchObject({ stdout: '', stderr: '' })
  const pid = scene.daemonPid()
  const found = await reader.survey(scene.target, [], LIMITS)
  const memory = peakMemory(pid)
  expect(memory).toBeGreaterThan(0)
  if (usualMemory === 0) usualMemory = memory
  peak = Math.max(peak, memory)
  expect(memory).toBeLessThan(usualMemory + MEMORY_BOUND)
  // Damage is logged, by way of another thread; without that the next line would prove nothing.
  if (JSON.stringify(found).includes('"!EIO"')) {
    await until(() => scene.log().includes(' error: '), 'a line in the log')
  }
  expect(scene.log()).not.toMatch(/bug:|uncaught|unhandled|internal|heap/)
  const answers = Object.values(found.items).flatMap((item) =>
    Object.values(item).flatMap((text) => text.split(' ')),
  )
  const errors = new Set(answers.filter((text) => text.startsWith('!')))
  // What is damaged is EIO; the kernel itself refuses names and links that make no sense.
  for (const error of errors)
    expect(['!EIO', '!ELOOP', '!ENAMETOOLONG', '!EINVAL', '!ENXIO', '!ENOTDIR']).toContain(error)
  await scene.unmount()
  scene.expectNothingLeft()
  return found
}

const hostile = hostileImages()

describe.skipIf(!need.ok)(titled('an image that sets traps', need), () => {
  test.each([...hostile.keys()])('an image that sets a trap gives answers or errors: %s', async (name) => {
    await inScene(temp, async (scene) => {
      await tryImage(scene, hostile.get(name)!)
      // The usual programs come to an end too.
      const path = join(scene.folder, 'image')
      if ((await scene.mount(path)).status !== 0) return
      const pid = scene.daemonPid()
      const script = `
        timeout -k 1 20 find "$0" -maxdepth 12 -ls >"$1" 2>&1; find=$?
        timeout -k 1 20 find "$0" -maxdepth 3 -type f -size -10M -exec cat {} + >"$1" 2>&1; cat=$?
        timeout -k 1 20 ls -lR "$0/." 2>&1 | head -c 100000 >"$1"
        echo "$find $cat"`
      const { stdout } = await run('bash', ['-c', script, scene.target, join(scene.folder, 'output')])
      // 124 and 137 are the time-out's.
      expect(stdout).toMatch(/^[01] [01]\n$/)
      expect(scene.daemonPid()).toBe(pid)
      expect(scene.log()).not.toMatch(/bug:|uncaught|unhandled/)
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })
})

/** Places where the structures lie, and everything else now and then. */
function mutate(random: Random): Buffer {
  const image = Buffer.from(bytes)
  const used = Number(image.readBigUInt64LE(40))
  const inodes = Number(image.readBigUInt64LE(64))
  const place = (): number => {
    const dice = random.int(0, 9)
    if (dice === 0) return random.int(0, 95)
    return dice === 1 ? random.int(96, inodes - 1) : random.int(inodes, used - 1)
  }
  for (let i = random.int(1, 4); i > 0; i -= 1) {
    const at = place()
    const length = Math.min(random.int(1, 64), used - at)
    const kind = random.int(0, 3)
    if (kind === 0) image[at] = image[at]! ^ (1 << random.int(0, 7))
    else if (kind === 1) image.fill(random.pick([0, 0xff]), at, at + length)
    else if (kind === 2) image.copy(image, at, place(), used)
    else random.bytes(Math.min(length, 8)).copy(image, at)
  }
  return image
}

describe.skipIf(!need.ok)(titled('an image damaged at random', need), () => {
  test(
    `an image damaged at random ${MUTATIONS} times gives answers or errors`,
    async () => {
      let refused = 0
      let withErrors = 0
      const failures: string[] = []
      let next = 1
      const runLane = async (reader: Reader): Promise<void> => {
        // Each failure may have cost a time-out.
        while (next <= MUTATIONS && failures.length < 10) {
          const seed = next
          next += 1
          try {
            const found = await inScene(temp, (scene) => tryImage(scene, mutate(new Random(seed)), reader))
            if (found === undefined) refused += 1
            else if (JSON.stringify(found).includes('!EIO')) withErrors += 1
          } catch (error) {
            failures.push(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`)
          }
        }
      }
      await Promise.all(readers.map(runLane))
      const mib = (count: number): string => `${Math.round(count / 2 ** 20)} MiB`
      console.log(
        `${MUTATIONS} mutations: ${refused} refused at mount, ${withErrors} with errors when read; ` +
          `peak memory of a daemon ${mib(peak)}, usual ${mib(usualMemory)}`,
      )
      expect(failures).toEqual([])
      expect(refused).toBeGreaterThan(0)
      expect(withErrors).toBeGreaterThan(0)
    },
    Math.max(300_000, MUTATIONS * 2500),
  )
})
