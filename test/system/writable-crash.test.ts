import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  type DiaryLine,
  diaryDifferences,
  LAYER_MODE,
  LAYER_TIME,
  layerFiles,
  pageBytes,
  type SeenFile,
  type SeenFiles,
} from '../library/changes/crash.ts'
import {
  atomfsFuse,
  bundleProgram,
  daemonPid,
  mksquashfs,
  needs,
  Random,
  run,
  runProgram,
  titled,
  unmount,
  withTempDir,
} from '../library/index.ts'

/**
 * The daemon is killed in the middle of work. The next mount shows every file as it was before or after the step that
 * was under way, nothing half copied, and all that was written and finished. `ATOMFS_CRASHES` is the number of rounds.
 */

const need = needs('root', 'fuse', 'mksquashfs')
const ROUNDS = Number(process.env['ATOMFS_CRASHES'] ?? 6)
const VARIANTS = [
  { name: 'as it is', options: 'xattr=user', delayed: true },
  { name: 'without the write-back cache', options: 'writeback=0', delayed: false },
  { name: 'with trusted attributes', options: 'writeback=0,xattr=trusted,fsync=strict', delayed: false },
] as const

const PROGRAM = fileURLToPath(new URL('../library/changes/crash-main.ts', import.meta.url))

/** A mount of its own over an image, which is killed and mounted again. */
class Scene {
  readonly target: string
  readonly #folder: string
  readonly #image: string
  readonly #options: string
  /** Inode numbers in the image of files with several names. */
  #shared: ReadonlySet<string> | undefined

  constructor(folder: string, image: string, options: string) {
    this.#folder = folder
    this.#image = image
    this.#options = options
    this.target = join(folder, 'target')
    for (const name of ['target', 'upper', 'run']) mkdirSync(join(folder, name), { recursive: true })
  }

  get #runDir(): string {
    return join(this.#folder, 'run')
  }

  async mount(): Promise<void> {
    const upper = join(this.#folder, 'upper')
    const args = ['mount', '--allow-missing-verity', '--upper', upper, '-o', this.#options]
    await atomfsFuse([...args, this.#image, this.target], { runDir: this.#runDir })
  }

  kill(): void {
    process.kill(daemonPid(this.#runDir), 'SIGKILL')
  }

  async umount(): Promise<void> {
    await atomfsFuse(['umount', this.target], { runDir: this.#runDir })
  }

  async see(): Promise<SeenFiles> {
    const seen = JSON.parse(await runProgram('changes/crash-main', ['look', this.target])) as SeenFiles
    const inodes = Object.values(seen).map(({ inode }) => inode)
    this.#shared ??= new Set(inodes.filter((inode, i) => inodes.indexOf(inode) !== i))
    // Names that share an inode of the image are files of their own.
    const own = Object.entries(seen).map(([name, file]): [string, SeenFile] => {
      return [name, this.#shared?.has(file.inode) ? { ...file, inode: `${file.inode} ${name}` } : file]
    })
    return Object.fromEntries(own)
  }

  /** Works until the mount is gone. @returns what was done */
  async work(seed: number, first: number, grows: boolean, delay: number): Promise<DiaryLine[]> {
    const diary = join(this.#folder, `diary-${first}`)
    const args = ['write', this.target, diary, `${seed}`, `${first}`, `${grows}`]
    // A store into a page that cannot be read any more ends it by SIGBUS.
    const writer = run(process.execPath, [await bundleProgram(PROGRAM), ...args], { allowFailure: true })
    for (let waited = 0; !existsSync(diary) && waited < 20_000; waited += 5) await sleep(5)
    await sleep(delay)
    this.kill()
    const { status, stderr } = await writer
    expect([0, -1], stderr).toContain(status)
    const lines = readFileSync(diary, 'utf8').split('\n')
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as DiaryLine)
  }

  /** What is left in the work directory. */
  leftovers(): string[] {
    return readdirSync(join(this.#folder, 'upper.atomfs-work', 'work'))
  }
}

async function makeImage(folder: string): Promise<string> {
  const tree = join(folder, 'tree')
  const links = new Map<string, string>()
  for (const [name, pages] of layerFiles()) {
    const path = join(tree, name)
    mkdirSync(dirname(path), { recursive: true })
    const first = name.endsWith('h') ? links.get('h') : undefined
    if (first !== undefined) linkSync(first, path)
    else {
      const content = Array.from({ length: pages }, (_, i) => pageBytes(0, i))
      writeFileSync(path, Buffer.concat(content), { mode: LAYER_MODE })
      chmodSync(path, LAYER_MODE)
      utimesSync(path, LAYER_TIME, LAYER_TIME)
      links.set(name.slice(-1), path)
    }
  }
  return await mksquashfs(tree, join(folder, 'image.squashfs'), { compressor: 'lz4' })
}

/** After so many rounds all is copied up, and another upper begins. */
const ROUNDS_OF_AN_UPPER = 5

/** @returns steps made */
async function crash(scene: Scene, random: Random, rounds: number, delayed: boolean): Promise<number> {
  let steps = 1
  await scene.mount()
  let seen = await scene.see()
  expect(Object.keys(seen).sort()).toEqual([...layerFiles().keys()].sort())
  for (let round = 0; round < rounds; round += 1) {
    const seed = random.next()
    const diary = await scene.work(seed, steps, !delayed, random.int(0, 300))
    await scene.umount()
    await scene.mount()
    expect(scene.leftovers(), `seed ${seed}`).toEqual([])
    const now = await scene.see()
    expect(diaryDifferences(seen, diary, now, delayed), `seed ${seed}, round ${round}`).toEqual([])
    steps += diary.length
    seen = now
  }
  await scene.umount()
  return steps
}

describe.skipIf(!need.ok)(titled('a daemon that is killed at any moment', need), () => {
  test.each(VARIANTS)(
    'the upper is consistent after the daemon is killed: $name',
    { timeout: 60_000 + ROUNDS * 20_000 },
    async ({ options, delayed }) => {
      await withTempDir(async (folder) => {
        const image = await makeImage(folder)
        const random = new Random(options.length)
        for (let done = 0; done < ROUNDS; done += ROUNDS_OF_AN_UPPER) {
          const place = join(folder, `scene-${done}`)
          const scene = new Scene(place, image, options)
          const rounds = Math.min(ROUNDS_OF_AN_UPPER, ROUNDS - done)
          try {
            // Nothing is shown by a daemon that had nothing to do.
            expect(await crash(scene, random, rounds, delayed)).toBeGreaterThan(rounds * 4)
          } finally {
            await unmount(scene.target)
          }
        }
      })
    },
  )
})
