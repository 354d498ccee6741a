import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  atomfsFuse,
  buildLayers,
  mksquashfs,
  run,
  withAtomfs,
  withTempDir,
  writeOciLayout,
} from '../library/index.ts'

/** What `inspect` counts, against what a mount shows. */

interface Usage {
  readonly shows: { readonly entries: number; readonly bytes: number }
  readonly layers: readonly Readonly<Record<string, { readonly entries: number; readonly bytes: number }>>[]
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly shown: boolean }[]
  readonly unreadable: { readonly count: number }
}

async function usageOf(source: string, ...args: string[]): Promise<Usage> {
  return JSON.parse((await atomfsFuse(['inspect', '--json', '--usage', ...args, source])).stdout).usage
}

/** Names below a directory, and bytes of the regular files among them, each once. */
async function countIn(directory: string): Promise<Usage['shows']> {
  const { stdout } = await run('find', [directory, '-mindepth', '1', '-printf', '%y %i %s\\0'])
  const entries = stdout
    .split('\0')
    .slice(0, -1)
    .map((line) => line.split(' '))
  const sizes = new Map(entries.filter(([type]) => type === 'f').map(([, ino, size]) => [ino, Number(size)]))
  return { entries: entries.length, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) }
}

describe('inspect --usage', () => {
  test('the counts of random layers are those of the mount, and of the layers by themselves', async () => {
    await withTempDir(async (folder) => {
      const directories = buildLayers(folder, { seed: 5, count: 5, changes: 120 })
      const layers = await Promise.all(
        directories.map(async (directory) => ({ file: await mksquashfs(directory, `${directory}.sqfs`) })),
      )
      const oci = join(folder, 'oci')
      await writeOciLayout(oci, [{ tag: 'x', layers }])
      const usage = await usageOf(`${oci}:x`, '--top', '1000')
      await withAtomfs(
        folder,
        `${oci}:x`,
        async ({ target }) => expect(usage.shows).toEqual(await countIn(target)),
        ['--allow-missing-verity'],
      )
      expect(usage.layers).toHaveLength(5)
      expect(usage.unreadable.count).toBe(0)
      const sumOf = (name: string) => usage.layers.reduce((sum, layer) => sum + layer[name]!.entries, 0)
      expect(sumOf('shows')).toBeGreaterThan(usage.shows.entries - 1)
      for (const name of ['adds', 'replaces', 'hides']) expect(sumOf(name), name).toBeGreaterThan(0)
      const sizes = usage.files.map(({ bytes }) => bytes)
      expect(sizes).toEqual([...sizes].sort((a, b) => b - a))

      const { stdout } = await atomfsFuse(['inspect', `${oci}:x`])
      expect(stdout).toMatch(/^LAYER +HOLDS +ADDS +REPLACES +HIDES +SHOWS$/m)
      expect(stdout).toMatch(new RegExp(`^together +${usage.shows.entries} \\(`, 'm'))
      expect(stdout).toMatch(/^SIZE +LAYER +STATE +LARGEST FILES$/m)
    })
  })

  test('an image file and a directory are counted as mounts show them', async () => {
    await withTempDir(async (folder) => {
      const tree = join(folder, 'tree')
      mkdirSync(join(tree, 'sub'), { recursive: true })
      for (const name of ['a', '.wh.b', 'sub/c\n', 'sub/.wh..wh..opq'])
        writeFileSync(join(tree, name), 'four')
      const image = await mksquashfs(tree, join(folder, 'image'))
      // An image file is shown as it is; a directory is a layer, with marks.
      expect((await usageOf(image)).shows).toEqual({ entries: 5, bytes: 16 })
      expect((await usageOf(tree)).shows).toEqual({ entries: 3, bytes: 8 })
      expect((await usageOf(tree, '--top=1')).files).toEqual([
        { path: '/a', layer: 0, bytes: 4, shown: true },
      ])
      expect((await atomfsFuse(['inspect', '--usage', tree])).stdout).toContain('/sub/c\\n\n')
      for (const [args, why] of [
        [['--top', 'x'], 'option --top=x: expected a whole number from 0 to 1000'],
        [['--html', 'x', '--json'], '--html goes without --json'],
        [['--html', tree], 'is no regular file'],
      ] as const) {
        const { status, stdout, stderr } = await atomfsFuse(['inspect', ...args, image], {
          allowFailure: true,
        })
        expect([status, stdout]).toEqual([1, ''])
        expect(stderr).toMatch(/^Error: [^\n]*\n$/)
        expect(stderr).toContain(why)
      }
    })
  })
})
