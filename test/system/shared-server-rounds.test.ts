import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMounted, makeTempDir, Random, removeTempDir, run } from '../library/index.ts'
import { isGone, until } from '../library/programs/wait.ts'
import { entries, SILENT } from '../library/scenes/life.ts'
import { descriptorsOf, holdings, type SharedScene, withShared } from '../library/scenes/shared.ts'
import { makeSharedSources, type SharedSource, type SharedSources } from '../library/scenes/shared-images.ts'

/** Mounts of every kind come and go at one server, again and again. */

/** ATOMFS_STRESS=1: as many as a server sees in a day of builds. */
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
const ROUNDS = Number(process.env['ATOMFS_ROUNDS'] ?? (IS_LONG ? 1000 : 24))
const MOST_ALIVE = IS_LONG ? 40 : 8
const SEED = Number(process.env['ATOMFS_SEED'] ?? 20)
/** Looks at what the server holds while nothing but one mount is alive. */
const LOOKS = IS_LONG ? 10 : 2
/** Heaps of a quiet server differ by less, MiB. */
const NOISE = 8

let folder = ''
let images: SharedSources

beforeAll(async () => {
  folder = makeTempDir()
  images = await makeSharedSources(folder, 2 << 20)
})

afterAll(() => removeTempDir(folder))

interface Alive extends SharedSource {
  readonly target: string
}

const WAYS: readonly ((scene: SharedScene, target: string) => Promise<unknown>)[] = [
  async ({ atomfs }, target) => expect(await atomfs('umount', target)).toMatchObject(SILENT),
  (_, target) => run('umount', [target]),
  (_, target) => run('fusermount3', ['-u', target]),
  (_, target) => run('umount', ['-l', target]),
]

/** Mounts that come and go. Their targets are free again as soon as they went. */
class Crowd {
  readonly #scene: SharedScene
  readonly #random = new Random(SEED)
  readonly #alive: Alive[] = []
  readonly #free = Array.from({ length: MOST_ALIVE }, (_, i) => `m${i}`)
  #goal = 1
  mounts = 0
  /** Alive at once. */
  most = 0

  constructor(scene: SharedScene) {
    this.#scene = scene
  }

  /** One more mount, which is read. At a number that changes each time, as many go as are too many for the next one. */
  async round(number: number): Promise<void> {
    const random = this.#random
    if (this.#alive.length >= this.#goal) {
      this.#goal = random.int(1, MOST_ALIVE)
      while (this.#alive.length >= this.#goal) await this.#unmountOne()
    }
    const name = this.#free.shift() ?? ''
    // In the first rounds every kind has its turn.
    const { sources } = images
    const source = sources[number] ?? random.pick(sources)
    const target = await this.#scene.mount(source.source, name, ...source.words)
    this.mounts += 1
    this.#alive.push({ ...source, target })
    await this.#read({ ...source, target })
    await this.#read(random.pick(this.#alive))
    this.most = Math.max(this.most, this.#alive.length)
  }

  async empty(): Promise<void> {
    while (this.#alive.length > 0) await this.#unmountOne()
  }

  async #read({ target, kind }: Alive): Promise<void> {
    const { stdout } = await run('cat', [join(target, 'etc/motd')])
    expect(`${kind}: ${stdout}`).toBe(`${kind}: hello\n`)
    await run('cmp', [join(images.tree, 'large'), join(target, 'large')])
  }

  async #unmountOne(): Promise<void> {
    const one = this.#random.pick(this.#alive)
    this.#alive.splice(this.#alive.indexOf(one), 1)
    await this.#random.pick(WAYS)(this.#scene, one.target)
    expect(isMounted(one.target)).toBe(false)
    this.#free.push(one.target.slice(this.#scene.folder.length + 1))
  }
}

interface Look {
  readonly descriptors: number
  readonly threads: number
  readonly entries: number
  /** PSS, MiB. */
  readonly memory: number
}

/** What a server holds when nothing happens: no image of a mount that has ended, and no worker that rests. */
async function quietLook(pid: number, runDir: string): Promise<Look> {
  const isSettled = (): boolean =>
    entries(runDir).length === 1 &&
    descriptorsOf(pid).filter((path) => path.startsWith(folder)).length === 1 &&
    descriptorsOf(pid).filter((path) => path === '/dev/fuse').length === 1
  await until(isSettled, 'the end of all that have gone')
  // The caches of a server that nobody reads are given back after some seconds, and workers end.
  let least = pssOf(pid)
  for (let look = 0; IS_LONG && look < 12; look++) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    least = Math.min(least, pssOf(pid))
  }
  return { ...holdings(pid), entries: entries(runDir).length, memory: least }
}

function pssOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Math.round(Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) / 102.4) / 10
}

describe('a shared server', () => {
  test(
    'holds in the end what it held at the start, after many mounts of all kinds',
    async () => {
      await withShared(async (scene) => {
        const { mount, atomfs, runDir, servers, target } = scene
        for (const { source, words, isIndexed } of images.sources) {
          if (!isIndexed) continue
          await atomfs('mount', ...words, source, target('first'))
          await atomfs('umount', target('first'))
        }
        const [{ source: squashfs } = { source: '' }] = images.sources
        const kept = await mount(squashfs, 'kept')
        const [pid = 0] = servers()
        const crowd = new Crowd(scene)
        for (let number = 0; number < images.sources.length; number++) await crowd.round(number)
        await crowd.empty()
        const looks = [await quietLook(pid, runDir)]
        for (let look = 1; look <= LOOKS; look++) {
          for (let number = 0; number < ROUNDS / LOOKS; number++) await crowd.round(number)
          await crowd.empty()
          looks.push(await quietLook(pid, runDir))
          if (IS_LONG)
            process.stderr.write(
              `${crowd.mounts} mounts, ${crowd.most} at once: ${JSON.stringify(looks.at(-1))}\n`,
            )
        }
        expect(servers()).toEqual([pid])
        const [first, last] = [looks[0]!, looks.at(-1)!]
        const isAsBefore = (): boolean => {
          const { descriptors, threads } = holdings(pid)
          return descriptors <= first.descriptors && threads <= first.threads
        }
        await until(isAsBefore, 'descriptors and threads as before')
        expect(last.entries).toBe(first.entries)
        // Its heaps grow to what the most mounts at once took, and no further.
        if (IS_LONG) expect(last.memory).toBeLessThanOrEqual(looks[LOOKS / 2]!.memory + NOISE)
        expect((await run('cat', [join(kept, 'etc/motd')])).stdout).toBe('hello\n')
      })
    },
    IS_LONG ? 7_200_000 : 240_000,
  )
})

describe('a shared server that is killed', () => {
  const COUNT = IS_LONG ? 40 : 11

  test(`leaves ${COUNT} mounts that say so, and umount cleans them up`, async () => {
    await withShared(async (scene) => {
      const { mount, atomfs, runDir, servers, target } = scene
      const { sources } = images
      for (const { source, words, isIndexed } of sources) {
        if (!isIndexed) continue
        await atomfs('mount', ...words, source, target('first'))
        await atomfs('umount', target('first'))
      }
      const targets: string[] = []
      for (let i = 0; i < COUNT; i++) {
        const { source, words } = sources[i % sources.length]!
        targets.push(await mount(source, `m${i}`, ...words))
      }
      const [pid = 0] = servers()
      // Readers that are in the middle of it. They end with an error, none of them waits for ever.
      const loop =
        'while cat "$0/large" >/dev/null && ls "$0/none$RANDOM" 2>&1 | grep -q "No such"; do :; done'
      const readers = targets.map((place) => run('bash', ['-c', loop, place], { timeout: 60_000 }))
      await Promise.all(targets.map((place) => run('cat', [join(place, 'etc/motd')])))
      process.kill(pid, 'SIGKILL')
      const complaints = await Promise.all(
        targets.map(
          async (place) => (await run('stat', ['-f', place], { allowFailure: true, timeout: 10_000 })).stderr,
        ),
      )
      for (const complaint of complaints) expect(complaint).toMatch(/not connected|connection abort/)
      await until(() => isGone(pid), 'its end')
      await Promise.all(readers)
      // The program cleans up what it unmounts, and what umount(8) has left: when it is asked, or at the next mount.
      for (const [i, place] of targets.entries()) {
        if (i % 2 === 0) expect(await atomfs('umount', place)).toMatchObject(SILENT)
        else await run('umount', [place])
        if (i % 4 === 1) expect((await atomfs('umount', place)).stderr).toContain('is not mounted')
      }
      expect(targets.filter(isMounted)).toEqual([])
      for (let i = 3; i < COUNT; i += 4) {
        const place = await mount(sources[0]!.source, `m${i}`)
        expect((await run('cat', [join(place, 'etc/motd')])).stdout).toBe('hello\n')
        if (i > 3) expect(await atomfs('umount', place)).toMatchObject(SILENT)
      }
      expect(servers()).not.toContain(pid)
      expect(servers()).toHaveLength(1)
      expect(entries(runDir)).toHaveLength(1)
    })
  }, 400_000)
})
