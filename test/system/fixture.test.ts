import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readLayout } from '../library/images/oci-layout.ts'
import {
  bytesUsed,
  compareTrees,
  mountsBelow,
  needs,
  run,
  type TreeEntry,
  titled,
  walkInChild,
  walkTree,
  withAtomfs,
  withKernelMerge,
  withTempDir,
} from '../library/index.ts'

const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url))
const golden = JSON.parse(readFileSync(`${fixtures}/oci.demo.tree.json`, 'utf8')) as TreeEntry[]

const kernel = needs('kernel-squashfs', 'kernel-overlayfs', 'loop', 'mount')
const fuse = needs('root', 'fuse')
const veritysetup = needs('veritysetup')

describe('the bundled image', () => {
  test.skipIf(!kernel.ok).each(['demo', 'demo-noverity'])(
    titled('the kernel merges the layers of tag %s to the golden tree', kernel),
    async (tag) => {
      const images = readLayout(`${fixtures}/oci`, tag).layers.map((layer) => layer.blobPath)
      const actual = await withTempDir((temp) =>
        withKernelMerge(temp, images, (target) => walkTree(target), { userxattr: true }),
      )
      // Kernels differ in what they count as links of a merged directory.
      expect(compareTrees(actual, golden, { ignoreDirectoryNlink: true })).toEqual([])
    },
  )

  test.skipIf(!fuse.ok).each([
    ['demo', []],
    ['demo-noverity', ['--allow-missing-verity']],
  ] as const)(titled('atomfs-fuse shows the golden tree for tag %s', fuse), async (tag, args) => {
    await withTempDir(async (temp) => {
      const source = `${fixtures}/oci:${tag}`
      const actual = await withAtomfs(
        temp,
        source,
        ({ target }) => walkInChild(target, { timeout: 60_000 }),
        args,
      )
      expect(compareTrees(actual, golden, { ignoreDirectoryNlink: true })).toEqual([])
      expect(mountsBelow(temp)).toEqual([])
    })
  })

  test.skipIf(!veritysetup.ok)(
    titled('veritysetup verifies each layer of the bundled image with its root hash', veritysetup),
    async () => {
      for (const layer of readLayout(`${fixtures}/oci`, 'demo').layers) {
        const offset = Math.ceil(bytesUsed(layer.blobPath) / 4096) * 4096
        const verify = (rootHash: string) =>
          run(
            'veritysetup',
            ['verify', layer.blobPath, layer.blobPath, rootHash, `--hash-offset=${offset}`],
            {
              allowFailure: true,
              env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
            },
          )
        expect(await verify(layer.rootHash!)).toMatchObject({ status: 0 })
        expect((await verify('00'.repeat(32))).status).not.toBe(0)
      }
    },
  )
})
