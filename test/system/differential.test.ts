import { copyFileSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  buildSourceTree,
  COMPRESSORS,
  type Compressor,
  compareTrees,
  daemonPid,
  findProgram,
  makeTempDir,
  mksquashfs,
  needs,
  type PackOptions,
  removeTempDir,
  run,
  seenByKernel,
  seenBySquashfuse,
  seenByUs,
  type TreeEntry,
  tar2sqfs,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
} from '../library/index.ts'

/** Our mount of an image against the kernel's mount of the same image: everything that a reader can ask. */

const need = needs('root', 'fuse', 'mksquashfs', 'tar2sqfs', 'tar', 'kernel-squashfs', 'loop')
const needLzma = needs('root', 'fuse', 'mksquashfs', 'unsquashfs')
const needSquashfuse = needs('squashfuse')

/** lzma is in no kernel. */
const IN_KERNEL = COMPRESSORS.filter((name) => name !== 'lzma')
const KIB = 1024
const PORTABLE = { env: { ATOMFS_CODECS: 'portable' } }

/** Each compressor with a small, a middle and the largest block size; each option of the packer once. */
const CASES: readonly (readonly [string, PackOptions])[] = [
  ...IN_KERNEL.flatMap((compressor) =>
    [4 * KIB, 64 * KIB, 1024 * KIB].map(
      (blockSize) => [`${compressor}, ${blockSize / KIB} KiB`, { compressor, blockSize }] as const,
    ),
  ),
  ...[
    'gzip -no-fragments',
    'zstd -always-use-fragments',
    'zstd -tailends',
    'zstd -no-fragments -no-sparse',
    'gzip -noI',
    'lz4 -noD',
    'zstd -noF',
    'gzip -noX',
    'zstd -noId',
    'xz -noI -noD -noF -noX',
    'zstd -no-exports',
    'gzip -no-sparse',
    'zstd -no-xattrs',
    'zstd -no-duplicates',
    'xz -Xbcj x86 -always-use-fragments',
    'xz -Xbcj x86,arm,powerpc',
  ].map((line) => {
    const [compressor, ...extra] = line.split(' ') as [Compressor, ...string[]]
    return [line, { compressor, extra }] as const
  }),
]

let temp = ''
/** A small tree with a program in it, for the filters of xz. */
let small = ''
let count = 0

beforeAll(() => {
  temp = makeTempDir()
  if (!need.ok && !needLzma.ok) return
  small = join(temp, 'small')
  mkdirSync(small)
  const program = findProgram('mksquashfs')
  buildSourceTree(small, { size: 'small' })
  copyFileSync(realpathSync(program ?? process.execPath), join(small, 'program'))
})
afterAll(() => removeTempDir(temp))

function newImage(): string {
  count += 1
  return join(temp, `${count}.squashfs`)
}

function expectSame(actual: readonly TreeEntry[], expected: readonly TreeEntry[]): void {
  expect(expected.length).toBeGreaterThan(400)
  expect(compareTrees(actual, expected)).toEqual([])
}

describe.skipIf(!need.ok)(titled('our mount beside the mount of the kernel', need), () => {
  test.each(CASES)('our mount equals the mount of the kernel for mksquashfs: %s', async (_, options) => {
    const image = await mksquashfs(small, newImage(), options)
    expectSame(await seenByUs(temp, image), await seenByKernel(temp, image))
  })

  test.each(IN_KERNEL)('our mount equals the mount of the kernel for tar2sqfs: %s', async (compressor) => {
    const tree = join(temp, `tar-${compressor}`)
    mkdirSync(tree)
    buildSourceTree(tree, { size: 'small', noSockets: true, blockSize: 32 * KIB })
    const image = await tar2sqfs(tree, newImage(), { compressor, blockSize: 32 * KIB })
    expectSame(await seenByUs(temp, image), await seenByKernel(temp, image))
  })

  test.each(IN_KERNEL)(
    'the portable codec of %s gives the tree that the kernel shows',
    async (compressor) => {
      const image = await mksquashfs(small, newImage(), { compressor, blockSize: 256 * KIB })
      expectSame(await seenByUs(temp, image, [], PORTABLE), await seenByKernel(temp, image))
    },
  )

  test('our mount shows an image without padding, which a loop device cannot hold', async () => {
    const padded = await mksquashfs(small, newImage(), { compressor: 'zstd' })
    const image = await mksquashfs(small, newImage(), { compressor: 'zstd', extra: ['-nopad'] })
    expect(statSync(image).size % 512).not.toBe(0)
    expectSame(await seenByUs(temp, image), await seenByKernel(temp, padded))
  })

  test('our mount equals that of the kernel for 30 000 names in a directory, 120 levels and 5 GiB with holes', async () => {
    const full = join(temp, 'full')
    mkdirSync(full)
    buildSourceTree(full, { size: 'full' })
    const image = await mksquashfs(full, newImage(), { compressor: 'zstd' })
    const kernel = await seenByKernel(temp, image)
    expect(kernel.length).toBeGreaterThan(36_000)
    expectSame(await seenByUs(temp, image), kernel)
    // And both are what went in.
    const source = walkTree(full)
    expect(compareTrees(kernel, source, { ignore: ['blocks'], ignoreDirectoryNlink: true })).toEqual([])
  })

  test('the portable codecs load no library of the system, and the default codecs load one', async () => {
    const image = await mksquashfs(small, newImage(), { compressor: 'lzo' })
    const libraries = (options: object) =>
      withAtomfs(
        temp,
        image,
        async ({ target, runDir }) => {
          await walkInChild(target)
          const maps = readFileSync(`/proc/${daemonPid(runDir)}/maps`, 'utf8')
          return new Set(maps.match(/lib(lzo2|lzma|lz4|zstd|deflate)\.so/g))
        },
        [],
        options,
      )
    expect(await libraries(PORTABLE)).toEqual(new Set())
    const hasLibrary = (await run('ldconfig', ['-p'], { allowFailure: true })).stdout.includes('liblzo2.so.2')
    expect(await libraries({})).toEqual(new Set(hasLibrary ? ['liblzo2.so'] : []))
  })
})

describe.skipIf(!needLzma.ok)(titled('lzma, which no kernel mounts', needLzma), () => {
  test.each([4, 128, 1024])('our mount equals unsquashfs for lzma blocks of %i KiB', async (kib) => {
    const image = await mksquashfs(small, newImage(), { compressor: 'lzma', blockSize: kib * KIB })
    const unpacked = join(temp, `lzma-${kib}`)
    await run('unsquashfs', ['-no-progress', '-quiet', '-d', unpacked, image])
    const expected = walkTree(unpacked)
    expect(expected.length).toBeGreaterThan(400)
    for (const options of [{}, PORTABLE]) {
      const ours = await seenByUs(temp, image, [], options)
      expect(compareTrees(ours, expected, { ignore: ['blocks'], ignoreDirectoryNlink: true })).toEqual([])
    }
  })

  test.skipIf(!needSquashfuse.ok)(
    titled('our mount equals squashfuse for lzma', needSquashfuse),
    async ({ skip }) => {
      const image = await mksquashfs(small, newImage(), { compressor: 'lzma' })
      let expected: readonly TreeEntry[] = []
      try {
        expected = await seenBySquashfuse(temp, image)
      } catch (error) {
        if (String(error).includes('uses lzma compression')) skip('squashfuse is built without lzma here')
        throw error
      }
      const ignore = ['blocks', 'linkGroup'] as const
      expect(compareTrees(await seenByUs(temp, image), expected, { ignore })).toEqual([])
    },
  )
})
