import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readLayout } from '../library/images/oci-layout.ts'
import {
  appendVerity,
  buildLayers,
  buildSourceTree,
  bytesUsed,
  compareTrees,
  isMounted,
  makeTempDir,
  mksquashfs,
  mountPoints,
  needs,
  removeTempDir,
  type TreeEntry,
  tar2sqfs,
  titled,
  walkInChild,
  walkTree,
  withKernelMerge,
  withKernelOverlay,
  withKernelSquashfs,
  writeOciLayout,
} from '../library/index.ts'

const need = needs(
  'root',
  'mksquashfs',
  'tar2sqfs',
  'tar',
  'veritysetup',
  'kernel-squashfs',
  'kernel-overlayfs',
  'loop',
)

describe.skipIf(!need.ok)(titled('packers, mounts and oracles of the tests', need), () => {
  let temp = ''
  let source: readonly TreeEntry[] = []
  beforeAll(() => {
    temp = makeTempDir()
    mkdirSync(`${temp}/source`)
    buildSourceTree(`${temp}/source`)
    source = walkTree(`${temp}/source`)
  })
  afterAll(() => removeTempDir(temp))

  test('the kernel shows the source tree in an image of mksquashfs, before and after hash tree and layout', async () => {
    const image = await mksquashfs(`${temp}/source`, `${temp}/m.squashfs`, {
      compressor: 'zstd',
      blockSize: 65_536,
    })
    const { rootHash, hashOffset } = await appendVerity(image)
    expect(hashOffset % 4096).toBe(0)
    expect(hashOffset - bytesUsed(image)).toBeLessThan(4096)
    expect(readFileSync(image).toString('latin1', hashOffset, hashOffset + 6)).toBe('verity')
    await writeOciLayout(`${temp}/oci`, [{ tag: 'one', layers: [{ file: image, rootHash }] }])
    const layer = readLayout(`${temp}/oci`, 'one').layers[0]
    expect(layer).toMatchObject({ rootHash, size: statSync(image).size })
    await withKernelSquashfs(temp, layer!.blobPath, async (target) => {
      expect(compareTrees(walkTree(target), source)).toEqual([])
      expect(compareTrees(await walkInChild(target), source)).toEqual([])
    })
  })

  test('the kernel shows the source tree in an image of tar2sqfs', async () => {
    const directory = `${temp}/reduced`
    mkdirSync(directory)
    buildSourceTree(directory, { noSockets: true, noSpecialLinks: true })
    const image = await tar2sqfs(directory, `${temp}/t.squashfs`, { compressor: 'gzip' })
    await withKernelSquashfs(temp, image, (target) => {
      // tar2sqfs counts every entry of a directory as a link.
      expect(compareTrees(walkTree(target), walkTree(directory), { ignoreDirectoryNlink: true })).toEqual([])
    })
  })

  test.each([
    [1, 'trusted'],
    [2, 'user'],
    [3, 'trusted'],
    [4, 'user'],
    [5, 'trusted'],
    [6, 'user'],
  ] as const)(
    'overlayfs over images of random layers equals overlayfs over their directories (seed %i, %s)',
    async (seed, form) => {
      const parent = `${temp}/layers${seed}`
      mkdirSync(parent)
      const directories = buildLayers(parent, { seed, form })
      const images: string[] = []
      for (const directory of directories) images.push(await mksquashfs(directory, `${directory}.squashfs`))
      const options = { userxattr: form === 'user' }
      const packed = await withKernelMerge(
        temp,
        images,
        (target) => walkTree(target, { skipGhosts: true }),
        options,
      )
      const plain = await withKernelOverlay(
        temp,
        directories.toReversed(),
        (target) => walkTree(target, { skipGhosts: true }),
        options,
      )
      expect(packed.length).toBeGreaterThan(5)
      expect(compareTrees(packed, plain, { ignoreDirectoryNlink: true })).toEqual([])
    },
  )

  test('the mount helper unmounts after its block fails', async () => {
    const image = `${temp}/m2.squashfs`
    await mksquashfs(`${temp}/source/types`, image)
    let used = ''
    const failing = withKernelSquashfs(temp, image, (target) => {
      used = target
      expect(isMounted(target)).toBe(true)
      throw new Error('planned')
    })
    await expect(failing).rejects.toThrow('planned')
    expect(mountPoints().filter((point) => point.startsWith(temp))).toEqual([])
    expect(used).not.toBe('')
  })
})
