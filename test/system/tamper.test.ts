import { closeSync, copyFileSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  inScene,
  judge,
  makeVerifiedImage,
  Reader,
  type Region,
  type Scene,
  type Survey,
  survey,
  type VerifiedImage,
  type VerifiedLayer,
} from '../hostile/index.ts'
import { makeTempDir, needs, Random, removeTempDir, titled } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'

/**
 * One byte of a verified image is changed, anywhere: whoever reads the mount gets right answers or errors, never
 * wrong ones. `ATOMFS_FLIPS=2000 npx vitest run --project system tamper` runs the whole of it, some 15 minutes.
 */
const FLIPS = Number(process.env['ATOMFS_FLIPS'] ?? 40)
/** Other numbers give other flips. */
const SEED = Number(process.env['ATOMFS_SEED'] ?? 2026)

const need = needs('root', 'fuse', 'mksquashfs', 'veritysetup', 'umount')

let temp = ''
let image: VerifiedImage
let reader: Reader
let golden: Survey
let known: readonly string[]

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  image = await makeVerifiedImage(temp)
  reader = await Reader.start()
  golden = await inScene(temp, async (scene) => {
    expect(await scene.mount(image.source)).toMatchObject({ status: 0, stderr: '' })
    const found = await reader.survey(scene.target)
    await scene.unmount()
    return found
  })
  known = Object.keys(golden.items)
})

afterAll(() => {
  reader?.stop()
  if (temp !== '') removeTempDir(temp)
})

interface Flip {
  readonly layer: VerifiedLayer
  readonly region: Region
  readonly position: number
  /** What the byte is combined with. */
  readonly mask: number
}

/** Changes one byte in place; a second time restores it. */
function apply({ layer, position, mask }: Flip): void {
  const fd = openSync(layer.path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    expect(readSync(fd, byte, 0, 1, position)).toBe(1)
    byte[0] = byte[0]! ^ mask
    writeSync(fd, byte, 0, 1, position)
  } finally {
    closeSync(fd)
  }
}

/** Spread evenly over the regions of both layers. */
function flips(count: number, seed: number): readonly Flip[] {
  const random = new Random(seed)
  const places = image.layers.flatMap((layer) => layer.regions.map((region) => ({ layer, region })))
  return Array.from({ length: count }, (_, i) => {
    const place = places[i % places.length]!
    const position = random.int(place.region.start, place.region.end - 1)
    return { ...place, position, mask: random.int(1, 255) }
  })
}

type Mode = 'lazy' | 'auto' | 'eager'
type Outcome = 'at mount' | 'at read' | 'not read'

/** The periods share no divisor with the number of regions, so that each mode meets each region. */
function modeOf(i: number): Mode {
  if (i % 41 === 40) return 'eager'
  return i % 7 === 5 ? 'auto' : 'lazy'
}

type Tally = Map<string, Record<Outcome, number>>

function table(counts: Tally): string {
  const outcomes = ['at mount', 'at read', 'not read'] as const
  const sums = { 'at mount': 0, 'at read': 0, 'not read': 0 }
  for (const row of counts.values()) for (const outcome of outcomes) sums[outcome] += row[outcome]
  const lines = [...[...counts].sort(([a], [b]) => (a < b ? -1 : 1)), ['total', sums] as const].map(
    ([name, row]) => name.padEnd(26) + outcomes.map((outcome) => `${row[outcome]}`.padStart(10)).join(''),
  )
  return [`flips, by where they show: ${outcomes.join(', ')}`, ...lines].join('\n')
}

/** Mounts, reads everything, and unmounts. @returns where the damage showed */
async function tryFlip(scene: Scene, flip: Flip, mode: Mode, wrong: string[]): Promise<Outcome> {
  const where = `byte ${flip.position} (${flip.region.name}) ^ ${flip.mask}, ${mode}`
  const mounted = await scene.mount(image.source, `--verify=${mode}`)
  if (mounted.status !== 0) {
    scene.expectRefused(mounted, /layer|verity|superblock|squashfs/)
    return 'at mount'
  }
  expect(mounted).toMatchObject({ stdout: '', stderr: '' })
  const found = await reader.survey(scene.target, known)
  const verdict = judge(found, golden)
  wrong.push(...verdict.wrong.map((line) => `${where}: ${line}`))
  // Where something was refused the log says in which layer; the line comes by way of another thread.
  if (verdict.refused.length > 0)
    await until(() => / error: .*sha256:[0-9a-f]{64}/.test(scene.log()), 'a line in the log')
  const log = scene.log()
  if (/bug:|uncaught|unhandled/.test(log)) wrong.push(`${where}: log: ${log.slice(0, 2000)}`)
  await scene.unmount()
  scene.expectNothingLeft()
  return verdict.refused.length > 0 ? 'at read' : 'not read'
}

describe.skipIf(!need.ok)(titled('a verified image', need), () => {
  test('an intact verified image shows the content of its layers', () => {
    expect(JSON.stringify(golden)).not.toContain('"!')
    const [lower, upper] = image.trees.map((tree) =>
      survey(tree, [], { entries: 1e5, fileBytes: 1e9, depth: 99 }),
    )
    for (const [path, item] of Object.entries(golden.items)) {
      const origin = upper!.items[path] ?? lower!.items[path]
      expect({ path, content: item.content, target: item.target }).toEqual({
        path,
        content: origin?.content,
        target: origin?.target,
      })
    }
    expect(known).not.toContain('gone')
    expect(known).not.toContain('bin/f3')
    expect(known).not.toContain('hidden/f0')
    expect(known.length).toBeGreaterThan(450)
  })

  test(
    `a verified image with one changed byte never gives a wrong answer (${FLIPS} times)`,
    async () => {
      const wrong: string[] = []
      const counts: Tally = new Map()
      await inScene(temp, async (scene) => {
        for (const [i, flip] of flips(FLIPS, SEED).entries()) {
          const mode = modeOf(i)
          apply(flip)
          let outcome: Outcome
          try {
            outcome = await tryFlip(scene, flip, mode, wrong)
          } catch (error) {
            const { position, region, mask } = flip
            throw new Error(`flip ${i}, ${mode}, byte ${position} (${region.name}) ^ ${mask}`, {
              cause: error,
            })
          } finally {
            apply(flip)
          }
          const key = `${mode.padEnd(6)}${flip.region.name}`
          const row = counts.get(key) ?? { 'at mount': 0, 'at read': 0, 'not read': 0 }
          row[outcome] += 1
          counts.set(key, row)
          // Both layers are small: everything that the tree covers, and the tree, is compared at mount.
          const isCovered = !/verity (?:superblock|padding)/.test(flip.region.name)
          if (mode !== 'lazy' && isCovered) expect({ flip, outcome }).toMatchObject({ outcome: 'at mount' })
        }
        // What was restored is right again.
        expect((await scene.mount(image.source)).stderr).toBe('')
        expect(judge(await reader.survey(scene.target, known), golden)).toMatchObject({
          wrong: [],
          refused: [],
        })
        await scene.unmount()
      })
      console.log(table(counts))
      expect(wrong).toEqual([])
      const total = (outcome: Outcome): number =>
        [...counts.values()].reduce((sum, row) => sum + row[outcome], 0)
      expect(total('at mount')).toBeGreaterThan(0)
      expect(total('at read')).toBeGreaterThan(0)
      expect(total('at mount') + total('at read') + total('not read')).toBe(FLIPS)
    },
    Math.max(300_000, FLIPS * 2500),
  )

  test('a change of a mounted verified image is found by the next read, and other reads still work', async () => {
    await inScene(temp, async (scene) => {
      const layer = image.layers[0]!
      const data = layer.regions.find((region) => region.name === 'data')!
      expect(await scene.mount(image.source)).toMatchObject({ status: 0, stderr: '' })
      const pid = scene.daemonPid()
      const before = await reader.survey(join(scene.target, 'etc'))
      expect(JSON.stringify(before)).not.toContain('"!')
      const random = new Random(7)
      const damage = Array.from({ length: 12 }, () => ({
        layer,
        region: data,
        position: random.int(data.start, data.end - 1),
        mask: 0x40,
      }))
      damage.forEach(apply)
      try {
        // Of the file's pages and of ours: the next reader comes to the daemon, and the daemon to the file.
        writeFileSync('/proc/sys/vm/drop_caches', '1')
        const verdict = judge(await reader.survey(scene.target, known), golden)
        expect(verdict.wrong).toEqual([])
        expect(verdict.refused.length).toBeGreaterThan(0)
        expect(verdict.right).toBeGreaterThan(1000)
        const digest = /[0-9a-f]{64}$/.exec(layer.path)![0]
        const line = new RegExp(`layer sha256:${digest}: data block \\d+ at byte \\d+: expected`)
        await until(() => line.test(scene.log()), 'the layer and the block in the log')
        const verified = await scene.atomfs('verify', scene.target)
        expect(verified).toMatchObject({ status: 1 })
        expect(verified.stdout).toMatch(new RegExp(`^sha256:${digest}: CORRUPTION FOUND$`, 'm'))
        expect(verified.stdout).toMatch(/^sha256:[0-9a-f]{64}: OK$/m)
      } finally {
        damage.forEach(apply)
      }
      expect(scene.daemonPid()).toBe(pid)
      // A refused read is not remembered: the daemon verifies what the file says now.
      writeFileSync('/proc/sys/vm/drop_caches', '1')
      expect(judge(await reader.survey(scene.target, known), golden)).toMatchObject({
        wrong: [],
        refused: [],
      })
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })

  test('a verified image truncated while mounted gives errors, not zeros', async () => {
    await inScene(temp, async (scene) => {
      const path = image.layers[1]!.path
      const copy = join(scene.folder, 'copy')
      copyFileSync(path, copy)
      expect(
        await scene.atomfs('mount', '--root-hash', image.layers[1]!.rootHash, copy, scene.target),
      ).toMatchObject({
        status: 0,
        stderr: '',
      })
      const plain = await reader.survey(scene.target)
      await scene.unmount()
      await scene.atomfs(
        'mount',
        '--verify=lazy',
        '--root-hash',
        image.layers[1]!.rootHash,
        copy,
        scene.target,
      )
      writeFileSync(copy, Buffer.alloc(0))
      const verdict = judge(await reader.survey(scene.target, Object.keys(plain.items)), plain)
      expect(verdict.wrong).toEqual([])
      expect(verdict.refused.length).toBeGreaterThan(10)
      expect(scene.log()).not.toMatch(/bug:/)
      await scene.unmount()
      scene.expectNothingLeft()
    })
  })
})
