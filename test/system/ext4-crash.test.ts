import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openVolume } from '../../ext4/journal/open-volume.ts'
import { differences, memorySource, walkImage } from '../ext4/support/describe.ts'
import { crashedCopies, type ExtForm } from '../library/changes/ext-work.ts'
import { withKernelExt } from '../library/images/ext.ts'
import {
  compareTrees,
  makeTempDir,
  needs,
  removeTempDir,
  run,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
} from '../library/index.ts'

/**
 * File systems copied while somebody works in them: what our reader finds in the journal against what e2fsck writes to its
 * place in another copy.
 */

const need = needs('root', 'fuse', 'loop', 'mke2fs', 'e2fsck')

/** Small journals, so that they wrap. */
const FORMS: readonly ExtForm[] = [
  { options: '-t ext3 -b 1024 -J size=1', mount: 'rw' },
  { options: '-t ext4 -b 1024 -J size=1', mount: 'rw' },
  { options: '-t ext3 -b 4096 -J size=4', mount: 'rw,data=journal' },
  { options: '-t ext4 -b 2048 -J size=2 -O ^metadata_csum', mount: 'rw,journal_checksum' },
  { options: '-t ext4 -b 4096 -J size=4 -O inline_data,ea_inode', mount: 'rw,data=journal' },
  {
    options: '-t ext4 -b 1024 -J size=1 -O ^64bit,^metadata_csum',
    mount: 'rw,journal_async_commit,data=writeback',
  },
  { options: '-t ext4 -b 1024 -J size=1 -O orphan_file,metadata_csum_seed', mount: 'rw,data=writeback' },
]

/** Copies, each of one of the forms in turn. */
const COPIES = Number(process.env['ATOMFS_SEEDS'] ?? FORMS.length)
const COPIES_A_MOUNT = 5

let temp = ''

beforeAll(() => {
  temp = makeTempDir()
})
afterAll(() => removeTempDir(temp))

async function recovered(copy: string): Promise<string> {
  const other = `${copy}-recovered`
  copyFileSync(copy, other)
  // 1: something was corrected.
  const { status, stderr } = await run('e2fsck', ['-E', 'journal_only', '-y', other], { allowFailure: true })
  if (status > 1) throw new Error(`e2fsck: ${status}: ${stderr}`)
  return other
}

interface Compared {
  readonly transactions: number
  readonly blocks: number
  readonly names: number
}

/** Block by block, but for the journal itself, and name by name. */
function compare(copy: string, other: string): Compared {
  const bytes = readFileSync(copy)
  const expected = readFileSync(other)
  const { volume, replay } = openVolume(memorySource(bytes), 'copy')
  const { blockSize, blockCount } = volume.superblock
  const wrong: number[] = []
  for (let block = 0; block < blockCount; block++) {
    const ours = volume.rawBlock(block)
    if (ours.equals(expected.subarray(block * blockSize, (block + 1) * blockSize))) continue
    wrong.push(block)
  }
  // The superblock, which says that there is nothing to be replayed any more, and that of the journal.
  expect(wrong.length, `blocks ${wrong}`).toBeLessThanOrEqual(2)
  const ours = walkImage(memorySource(bytes))
  const theirs = walkImage(memorySource(expected))
  expect(differences(ours, theirs)).toEqual([])
  expect([ours.errors, theirs.errors]).toEqual([0, 0])
  return { transactions: replay?.transactions ?? 0, blocks: replay?.blocks ?? 0, names: ours.tree.size }
}

describe.skipIf(!need.ok)(titled('a file system that was copied in the middle of work', need), () => {
  test(`${COPIES} crashed copies are read as e2fsck recovers them, block by block and name by name`, async () => {
    const found: Compared[] = []
    for (let done = 0, turn = 0; done < COPIES; turn++) {
      const form = FORMS[turn % FORMS.length]
      if (form === undefined) throw new Error('no form')
      const folder = join(temp, `${turn}`)
      mkdirSync(folder)
      const copies = COPIES <= FORMS.length ? 1 : Math.min(COPIES_A_MOUNT, COPIES - done)
      for (const copy of await crashedCopies(folder, form, turn + 1, { copies })) {
        found.push(compare(copy, await recovered(copy)))
        done += 1
      }
      rmSync(folder, { recursive: true })
    }
    const replayed = found.filter(({ blocks }) => blocks > 0)
    console.log(
      `${found.length} copies, ${replayed.length} with blocks in the journal, at most ${Math.max(...found.map(({ transactions }) => transactions))} transactions and ${Math.max(...found.map(({ blocks }) => blocks))} blocks`,
    )
    expect(replayed.length).toBeGreaterThan(COPIES / 2)
    expect(Math.max(...found.map(({ names }) => names))).toBeGreaterThan(50)
  }, 3_600_000)

  test('a crashed file is mounted as the kernel shows its recovered copy, and is not changed', async () => {
    const folder = join(temp, 'mounted')
    mkdirSync(folder)
    const [form] = FORMS
    if (form === undefined) throw new Error('no form')
    const [copy = ''] = await crashedCopies(folder, form, 99, { copies: 1 })
    const before = readFileSync(copy)
    const other = await recovered(copy)
    const kernel = await withKernelExt(folder, other, (target) => walkTree(target, { blocks: true }))
    const ours = await withAtomfs(folder, copy, ({ target }) => walkInChild(target, { blocks: true }))
    expect(kernel.length).toBeGreaterThan(20)
    expect(compareTrees(ours, kernel)).toEqual([])
    expect(readFileSync(copy).equals(before)).toBe(true)
    expect(statSync(copy).size).toBe(before.length)
  })
})
