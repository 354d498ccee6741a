import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  mksquashfs,
  needs,
  run,
  seenByUs,
  titled,
  walkTree,
  withTempDir,
} from '../library/index.ts'

/** PuzzleFS images of everything that a squashfs image can hold, field by field beside what they were made of. */

const need = needs('root', 'fuse', 'mksquashfs')
/** 36 000 names and 5 GiB of zeros: some minutes. */
const FULL = process.env['ATOMFS_STRESS'] === '1'
const TIMEOUT = FULL ? 1_800_000 : 120_000

/** The format has no times and no holes, and counts the links of directories as it likes. */
const AS_STORED = { ignore: ['mtime', 'blocks'], ignoreDirectoryNlink: true } as const

async function expectSame(temp: string, image: string, tree: string, least: number): Promise<void> {
  const expected = walkTree(tree)
  expect(expected.length).toBeGreaterThan(least)
  expect(compareTrees(await seenByUs(temp, image), expected, AS_STORED)).toEqual([])
}

describe('a PuzzleFS image of a tree with everything', () => {
  test.skipIf(!need.ok)(
    titled(`shows what it was made of, raw and compressed${FULL ? ', of a large tree' : ''}`, need),
    async () => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        mkdirSync(tree)
        buildSourceTree(tree, { size: FULL ? 'full' : 'small' })
        const least = FULL ? 36_000 : 400
        const program = join(temp, 'puzzlefs')
        symlinkSync(ATOMFS_FUSE, program)
        await run(program, ['build', tree, `${temp}/oci:raw`], { timeout: TIMEOUT })
        await expectSame(temp, `${temp}/oci:raw`, tree, least)
        await run(program, ['build', '-c', '-b', 'raw', tree, `${temp}/oci:compressed`], { timeout: TIMEOUT })
        await expectSame(temp, `${temp}/oci:compressed`, tree, least)
      })
    },
    TIMEOUT,
  )

  test.skipIf(!need.ok)(
    titled('shows what a squashfs image held that it was made of', need),
    async () => {
      await withTempDir(async (temp) => {
        const tree = join(temp, 'tree')
        mkdirSync(tree)
        buildSourceTree(tree, { size: 'small', seed: 2 })
        const image = await mksquashfs(tree, join(temp, 'image.sqfs'), { compressor: 'zstd' })
        await atomfsFuse(['convert', '-q', image, `oci-puzzlefs:${temp}/oci:image`])
        await expectSame(temp, `${temp}/oci:image`, tree, 400)
      })
    },
    TIMEOUT,
  )
})
