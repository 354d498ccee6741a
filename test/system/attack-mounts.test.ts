import { lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATTACKS, type Attack } from '../hostile/attack-layers.ts'
import {
  atomfsFuse,
  isMounted,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
  walkTree,
  withTarget,
  withTempDir,
  writeTarImage,
} from '../library/index.ts'

/** The layers of `test/hostile/attack-layers.ts` in real mounts, by the command line. */

const need = needs('root', 'fuse')
const IS_LONG = process.env['ATOMFS_STRESS'] === '1'
/** What is mounted where the long form is not asked for: one of each kind. */
const CHOSEN = [
  ...['a whiteout .wh.', 'a whiteout .wh...', 'an absolute name', 'a name a/../../x'],
  ...['a root that is a symbolic link', 'a hard link through a symbolic link out'],
  ...['a hard link to a symbolic link out, which is written to'],
  ...['a symbolic link out in a layer below, and a directory in its place'],
  ...['10^6 records in one extended header', 'a file with holes that is longer than a file can be'],
  ...['devices, set-id bits and a whiteout of overlayfs', 'members of gzip that hold nothing'],
]
const TAKEN = ATTACKS.filter(({ name }) => IS_LONG || CHOSEN.includes(name))
/** The most that is read of one file: some claim to be as long as a file can be. */
const READ_MAX = 1 << 20

let outside: string
let runDir: string
beforeAll(() => {
  runDir = makeTempDir()
  outside = makeTempDir()
  writeFileSync(join(outside, 'secret'), 'nobody reads or changes this')
})
afterAll(() => [outside, runDir].forEach(removeTempDir))

/** What a mount shows, read by other programs: the serving process is none of them. */
async function namesBelow(target: string): Promise<string[]> {
  const marks = { directory: '/', symlink: '@' } as Readonly<Record<string, string>>
  const entries = walkTree(target, { noContent: true }).filter(({ path }) => path !== '.')
  const files = entries.filter(({ type }) => type === 'file').map(({ path }) => join(target, path))
  if (files.length > 0) await run('head', ['-q', '-c', `${READ_MAX}`, '--', ...files], { timeout: 30_000 })
  return entries.map(({ path, type }) => `${path}${marks[type] ?? ''}`)
}

/** Mounts an attack. @returns the line that refuses it, or the names that are shown */
async function mounted(
  source: string,
  target: string,
  args: readonly string[],
  use: (target: string) => void,
): Promise<string | string[]> {
  const { status, stderr } = await atomfsFuse(['mount', ...args, source, target], {
    allowFailure: true,
    ...{ timeout: 60_000, runDir },
  })
  if (status !== 0) {
    expect(isMounted(target)).toBe(false)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(stderr.length).toBeLessThan(2000)
    return stderr
  }
  try {
    const names = await namesBelow(target)
    use(target)
    return names
  } finally {
    await unmount(target)
  }
}

/** Appends to all files, through the names that the mount shows; links are what the kernel follows, so they are not. */
function writeToFiles(target: string, names: readonly string[]): void {
  for (const name of names) {
    const path = join(target, name)
    if (/[/@]$/.test(name) || !lstatSync(path).isFile() || lstatSync(path).size > READ_MAX) continue
    writeFileSync(path, 'written', { flag: 'a' })
  }
}

function expectOutcome(found: string | readonly string[], { mount }: Attack): void {
  if (mount instanceof RegExp) expect(found).toEqual(expect.stringMatching(mount))
  else expect(found).toEqual([...mount(outside)].sort())
}

describe.skipIf(!need.ok)(titled('a layer that is an attack', need), () => {
  test.each(TAKEN.map((attack): [string, Attack] => [attack.name, attack]))(
    'mounted, is refused in one line or does no harm: %s',
    (_, attack) =>
      withTempDir(async (folder) => {
        const before = walkTree(outside)
        const image = join(folder, 'image')
        const { compress } = attack
        writeTarImage(image, { tag: 't', layers: attack.layers(outside), ...(compress && { compress }) })
        const args = ['--store', join(folder, 'store')]
        await withTarget(folder, async (target) => {
          const found = await mounted(`${image}:t`, target, args, () => undefined)
          expectOutcome(typeof found === 'string' ? found : found.toSorted(), attack)
          if (IS_LONG && typeof found !== 'string') {
            mkdirSync(join(folder, 'changes', 'upper'), { recursive: true })
            const writable = [...args, '--upper', join(folder, 'changes', 'upper')]
            await mounted(`${image}:t`, target, writable, () => writeToFiles(target, found))
          }
        })
        expect(walkTree(outside)).toEqual(before)
        expect(readdirSync(folder).filter((name) => !['store', 'changes'].includes(name))).toEqual(['image'])
        // Some trees are deeper than the functions of Node can remove.
        await run('rm', ['-rf', join(folder, 'changes')])
      }),
    IS_LONG ? 300_000 : 60_000,
  )

  test('the choice names attacks that there are', () => {
    const names = ATTACKS.map(({ name }) => name)
    expect(CHOSEN.filter((name) => !names.includes(name))).toEqual([])
  })
})
