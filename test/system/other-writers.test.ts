import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  makeTempDir,
  needs,
  removeTempDir,
  run as runProcess,
  runProgram,
  seenByKernel,
  seenByUs,
  titled,
  withAtomfs,
  withKernelSquashfs,
} from '../library/index.ts'
import {
  type BuiltImage,
  build,
  directoryInode,
  type EntrySpec,
  fileInode,
  inodeBase,
  run,
} from '../squashfs/support/builder.ts'
import { cat, text, u32 } from '../squashfs/support/bytes.ts'

/** What no image of mksquashfs has, but those of other writers do, and the kernel reads. */

const need = needs('root', 'fuse', 'kernel-squashfs', 'loop')
const PLAIN = 1 << 24

let temp = ''
let count = 0
beforeAll(() => {
  temp = makeTempDir()
})
afterAll(() => removeTempDir(temp))

/** Writes the image, padded to whole pages for the loop device. */
function store({ bytes }: BuiltImage): string {
  count += 1
  const path = join(temp, `image${count}.sqfs`)
  writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(-bytes.length & 4095)]))
  return path
}

/** Runs a script on a mount, which it knows as $1. @returns what it writes */
async function runShell(script: string, target: string): Promise<string> {
  return (await runProcess('sh', ['-c', script, 'sh', target])).stdout
}

/** Files that each hold their own name, with these numbers, in a directory whose header has the base number 0. */
function numbered(numbers: readonly number[]): BuiltImage {
  const data = numbers.map((number) => text(`number ${number}\n`))
  const inodes: Uint8Array[] = []
  const entries: EntrySpec[] = []
  let start = 96
  let offset = 0
  for (const [i, number] of numbers.entries()) {
    const { length } = data[i]!
    const inode = fileInode(number, { start, size: length, blocks: [PLAIN | length] })
    entries.push({ name: `f${number}`.padEnd(8, '-'), offset, type: 2, delta: number & 0xffff })
    inodes.push(inode)
    start += length
    offset += inode.length
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  const listing = run(0, entries)
  const root = directoryInode(1, { size: listing.length })
  return build({ data: cat(...data), inodes: [...inodes, root], directories: listing })
}

describe.skipIf(!need.ok)(titled('images of other writers, against the kernel', need), () => {
  test('inode numbers that wrap are shown as by the kernel', async () => {
    const image = store(numbered([5, 32_767, 32_768, 40_000, 65_535, 70_000, 98_304, 4_000_000_000]))
    expect(await seenByUs(temp, image)).toEqual(await seenByKernel(temp, image))
    const list = async (target: string) => JSON.parse(await runProgram('trees/listing-main', [target, '20']))
    const ours = await withAtomfs(temp, image, ({ target }) => list(target))
    const theirs = await withKernelSquashfs(temp, image, list)
    expect(ours).toHaveLength(10)
    // The number of `..` of a root is its parent's where it is mounted.
    const known = (entries: readonly { name: string }[]) => entries.filter(({ name }) => name !== '..')
    expect(known(ours)).toEqual(known(theirs))
  })

  test('an inode number whose low 16 bits are 0 is shown as by the kernel', async () => {
    // The kernel lists it with the number 0, which readdir(3) of glibc takes for a name that was removed.
    const image = store(numbered([65_536, 2]))
    const ask = (target: string) =>
      runShell('cd "$1" && cat f65536-- && stat -c %i f65536-- && ls -i', target)
    expect(await withKernelSquashfs(temp, image, ask)).toBe('number 65536\n65536\n2 f2------\n')
    expect(await withAtomfs(temp, image, ({ target }) => ask(target))).toBe(
      'number 65536\n65536\n    2 f2------\n65536 f65536--\n',
    )
  })

  test('an image with an inode count of 0 is shown as by the kernel', async () => {
    const { bytes } = numbered([5, 6])
    bytes.set(u32(0), 4)
    const image = store({ bytes, refs: [], inodeTable: 0 })
    expect(await seenByUs(temp, image)).toEqual(await seenByKernel(temp, image))
  })

  test('symbolic links without a target are shown as by the kernel', async () => {
    const basic = cat(inodeBase(3, 1, 0o777), u32(1), u32(0))
    const extended = cat(inodeBase(10, 2, 0o777), u32(1), u32(0), u32(0xffff_ffff))
    const listing = run(1, [
      { name: 'basic', offset: 0, type: 3, delta: 0 },
      { name: 'extended', offset: basic.length, type: 3, delta: 1 },
    ])
    const root = directoryInode(3, { size: listing.length })
    const image = store(build({ inodes: [basic, extended, root], directories: listing }))
    expect(await seenByUs(temp, image)).toEqual(await seenByKernel(temp, image))
    const script = 'readlink "$1/basic" "$1/extended"; cd "$1/basic/" && ls'
    const shell = (target: string) => runShell(script, target)
    expect(await withAtomfs(temp, image, ({ target }) => shell(target))).toBe('\n\nbasic\nextended\n')
    expect(await withKernelSquashfs(temp, image, shell)).toBe('\n\nbasic\nextended\n')
  })

  test('a name that is listed twice is the first entry, also after a listing with attributes', async () => {
    const data = ['first\n', 'other\n', 'third\n'].map(text)
    const files = data.map((bytes, i) =>
      fileInode(i + 1, { start: 96 + i * 6, size: bytes.length, blocks: [PLAIN | bytes.length] }),
    )
    const entry = (name: string, file: number) => ({
      name,
      offset: file * files[0]!.length,
      type: 2,
      delta: file,
    })
    // Side by side, and out of order, which a listing cannot know.
    const listing = run(1, [entry('a', 0), entry('a', 1), entry('b', 2), entry('c', 0), entry('b', 1)])
    const root = directoryInode(4, { size: listing.length })
    const image = store(build({ data: cat(...data), inodes: [...files, root], directories: listing }))
    await withAtomfs(temp, image, async ({ target }) => {
      const script =
        'ls -l "$1" >/dev/null; stat -c %n "$1"/* >/dev/null; cat "$1/a" "$1/b"; ls "$1" | head -n1'
      const content = await runShell(script, target)
      expect(content).toBe('first\nthird\na\n')
      expect(await runShell('ls "$1" | grep -c a', target)).toBe('1\n')
    })
    await withKernelSquashfs(temp, image, async (target) => {
      expect(await runShell('cat "$1/a" "$1/b"', target)).toBe('first\nthird\n')
    })
  })
})
