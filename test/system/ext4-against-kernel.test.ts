import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mke2fs, withKernelExt } from '../library/images/ext.ts'
import {
  buildSourceTree,
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
} from '../library/index.ts'
import { buildExtTree } from '../library/trees/ext-tree.ts'

/** Our mount of ext2, ext3 and ext4 file systems against the kernel's mount of the same file. */

const need = needs('root', 'fuse', 'loop', 'mke2fs', 'setfacl', 'find')
const FULL = process.env['ATOMFS_STRESS'] === '1'

interface Row {
  readonly options: string
  readonly blockSize?: number
  readonly hasLargeValues?: boolean
  /** Only with ATOMFS_STRESS=1. */
  readonly isLong?: boolean
  readonly names?: number
  readonly megabytes?: number
}

const ROWS: readonly Row[] = [
  { options: '-t ext4' },
  { options: '-t ext2 -I 128 -b 1024', blockSize: 1024 },
  { options: '-t ext3', isLong: true },
  { options: '-t ext4 -O inline_data,ea_inode,large_dir', hasLargeValues: true },
  { options: '-t ext4 -b 1024 -O meta_bg,^resize_inode,sparse_super2', blockSize: 1024 },
  { options: '-t ext4 -O bigalloc -b 2048', blockSize: 2048, megabytes: 160, isLong: true },
  { options: '-t ext4 -O ^metadata_csum,uninit_bg,^64bit' },
  { options: '-t ext4 -b 1024 -I 128 -O ^flex_bg,^extent,^64bit', blockSize: 1024, isLong: true },
  { options: '-t ext2', isLong: true },
  { options: '-t ext2 -b 2048 -O filetype,^dir_index', blockSize: 2048, isLong: true },
  { options: '-t ext2 -O ^filetype', isLong: true },
  { options: '-t ext2 -r 0 -I 128 -O none', isLong: true },
  { options: '-t ext3 -b 1024', blockSize: 1024, isLong: true },
  { options: '-t ext3 -b 2048 -I 128', blockSize: 2048, isLong: true },
  { options: '-t ext3 -O meta_bg,^resize_inode', isLong: true },
  { options: '-t ext4 -I 512 -O inline_data', isLong: true },
  { options: '-t ext4 -I 1024 -O inline_data -b 1024', blockSize: 1024, isLong: true },
  { options: '-t ext4 -O metadata_csum_seed,mmp', isLong: true },
  { options: '-t ext4 -O ^has_journal,uninit_bg,^metadata_csum', isLong: true },
  { options: '-t ext4 -O ^64bit,^metadata_csum', isLong: true },
  { options: '-t ext4 -O bigalloc -C 65536', megabytes: 400, isLong: true },
  { options: '-t ext4 -O sparse_super2 -E num_backup_sb=1', isLong: true },
  { options: '-t ext4 -O large_dir -b 1024', blockSize: 1024, names: 20_000, isLong: true },
  { options: '-t ext4 -O ^huge_file,^dir_nlink,^extra_isize', isLong: true },
  { options: '-t ext4 -O fast_commit,orphan_file', isLong: true },
  { options: '-t ext4 -O encrypt -O ^encrypt -O verity', isLong: true },
  { options: '-t ext2 -o hurd', isLong: true },
  { options: '-t ext4 -O stable_inodes,^dir_index', isLong: true },
]

let temp = ''
let count = 0

beforeAll(() => {
  temp = makeTempDir()
})
afterAll(() => removeTempDir(temp))

function newImage(): string {
  count += 1
  return join(temp, `${count}.img`)
}

/** Times in nanoseconds, and what else `walkTree` leaves out: `st_ino`, sizes of directories. */
async function listed(target: string): Promise<string[]> {
  const format = '%P %i %A@ %T@ %C@ %s %b %D\\0'
  const { stdout } = await run('find', [target, '-printf', format], { timeout: 60_000 })
  return stdout
    .split('\0')
    .map((line) => line.replace(/ \d+$/, ''))
    .sort()
}

interface Seen {
  readonly tree: TreeEntry[]
  readonly lines: string[]
}

async function seenBoth(image: string): Promise<{ readonly ours: Seen; readonly kernel: Seen }> {
  const kernel = await withKernelExt(temp, image, async (target) => ({
    lines: await listed(target),
    tree: walkTree(target, { blocks: true }),
  }))
  const ours = await withAtomfs(temp, image, async ({ target }) => ({
    lines: await listed(target),
    tree: await walkInChild(target, { blocks: true, timeout: 200_000 }),
  }))
  return { ours, kernel }
}

function expectSame({ ours, kernel }: { readonly ours: Seen; readonly kernel: Seen }): void {
  expect(compareTrees(ours.tree, kernel.tree)).toEqual([])
  expect(ours.lines.filter((line, i) => line !== kernel.lines[i])).toEqual([])
  expect(ours.lines.length).toBe(kernel.lines.length)
}

describe.skipIf(!need.ok)(titled('our mount of a file system beside the mount of the kernel', need), () => {
  test.each(ROWS.filter(({ isLong }) => FULL || !isLong))(
    'our mount equals the mount of the kernel for mke2fs $options',
    async ({ options, blockSize = 4096, hasLargeValues = false, names = 1500, megabytes = 48 }) => {
      const image = await mke2fs(newImage(), {
        options: `${options}${options.includes('-b ') ? '' : ` -b ${blockSize}`}`,
        megabytes,
      })
      const fill = (target: string): Promise<void> =>
        buildExtTree(target, { blockSize, hasLargeValues, names })
      await withKernelExt(temp, image, fill, 'rw')
      const seen = await seenBoth(image)
      expect(seen.kernel.tree.length).toBeGreaterThan(1900)
      expectSame(seen)
    },
    300_000,
  )

  test.each(FULL ? ['ext2', 'ext3', 'ext4'] : ['ext3'])(
    'our mount shows what mke2fs -t %s -d copies',
    async (type) => {
      const source = join(temp, `source-${type}`)
      mkdirSync(source)
      buildSourceTree(source, { size: 'small' })
      const image = await mke2fs(newImage(), { options: `-t ${type} -b 4096`, from: source })
      expectSame(await seenBoth(image))
    },
  )
})
