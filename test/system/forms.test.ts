import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { S_IFCHR } from '../../src/base/index.ts'
import {
  atomfsFuse,
  buildSourceTree,
  compareTrees,
  makeTempDir,
  mergedByKernel,
  mksquashfs,
  needs,
  ociSource,
  readInodes,
  removeTempDir,
  seenByUs,
  TreeBuilder,
  type TreeEntry,
  titled,
  UNVERIFIED,
  walkTree,
  withAtomfs,
  withTarget,
} from '../library/index.ts'

/** The forms in which layers and images come that random layers do not have. */

const need = needs('root', 'fuse', 'mksquashfs', 'kernel-squashfs', 'kernel-overlayfs', 'loop')

let temp = ''
let count = 0
beforeAll(() => {
  temp = makeTempDir()
})
afterAll(() => removeTempDir(temp))

/** Packs what `fill` makes. @returns path of the image */
async function layer(fill: (tree: TreeBuilder) => void): Promise<string> {
  count += 1
  const directory = join(temp, `layer${count}`)
  mkdirSync(directory)
  const tree = new TreeBuilder(directory, count)
  tree.mtime('', 1_400_000_000)
  fill(tree)
  tree.close()
  return await mksquashfs(directory, `${directory}.squashfs`, { compressor: 'zstd' })
}

async function merged(...images: readonly string[]): Promise<readonly TreeEntry[]> {
  count += 1
  return await seenByUs(temp, await ociSource(temp, `oci${count}`, images), UNVERIFIED)
}

const pathsOf = (entries: readonly TreeEntry[]) => entries.map(({ path }) => path)

/** The lowest layer of most tests. */
const base = () =>
  layer((tree) => {
    for (const name of ['keep', 'gone', 'both']) {
      tree.directory(name)
      tree.file(`${name}/one`, `${name} one`)
      tree.file(`${name}/two`, `${name} two`)
    }
    tree.file('file', 'a file')
    tree.file('file2', 'another')
  })

describe.skipIf(!need.ok)(titled('whiteouts', need), () => {
  test('.wh.NAME hides the name below in lookups and listings, and is not shown itself', async () => {
    const upper = await layer((tree) => {
      tree.file('.wh.file')
      tree.file('.wh.gone')
      tree.directory('keep')
      tree.file('keep/.wh.two')
      // Deleted below and new in the same layer: only what is below goes.
      tree.file('keep/.wh.one')
      tree.file('keep/one', 'new')
      // Bookkeeping of AUFS deletes nothing.
      tree.directory('.wh..wh.plnk')
      tree.file('.wh..wh.aufs')
    })
    const shown = await merged(await base(), upper)
    expect(pathsOf(shown)).toEqual(['.', 'both', 'both/one', 'both/two', 'file2', 'keep', 'keep/one'])
    expect(shown.find(({ path }) => path === 'keep/one')?.size).toBe(3)
  })

  test('.wh..wh..opq hides all names of lower layers in its directory', async () => {
    const upper = await layer((tree) => {
      tree.directory('keep')
      tree.file('keep/.wh..wh..opq')
      tree.file('keep/three')
    })
    const top = await layer((tree) => {
      tree.directory('keep')
      tree.file('keep/four')
    })
    const shown = pathsOf(await merged(await base(), upper, top))
    expect(shown.filter((path) => path.startsWith('keep'))).toEqual(['keep', 'keep/four', 'keep/three'])
    expect(shown).toContain('both/one')
  })

  test('OCI whiteouts give the tree that device 0:0 and the opaque attribute give', async () => {
    const lower = await base()
    const oci = await layer((tree) => {
      tree.directory('both')
      tree.file('both/.wh..wh..opq')
      tree.file('both/new')
      tree.file('.wh.gone')
    })
    const kernelForm = await layer((tree) => {
      tree.directory('both')
      tree.xattr('both', 'trusted.overlay.opaque', 'y')
      tree.file('both/new')
      tree.node('gone', S_IFCHR, 0, 0, 0)
    })
    const ignore = ['mtime', 'blocks'] as const
    const expected = await mergedByKernel(temp, [lower, kernelForm])
    expect(compareTrees(await merged(lower, kernelForm), expected)).toEqual([])
    expect(compareTrees(await merged(lower, oci), expected, { ignore })).toEqual([])
  })

  test.each(['trusted', 'user'] as const)(
    '%s.overlay.whiteout in a directory with opaque=x hides as in the kernel',
    async (form) => {
      const upper = await layer((tree) => {
        tree.directory('both')
        tree.xattr('both', `${form}.overlay.opaque`, 'x')
        tree.file('both/one')
        tree.xattr('both/one', `${form}.overlay.whiteout`, 'y')
        // Not empty, so a file like others.
        tree.file('both/two', 'content')
        tree.xattr('both/two', `${form}.overlay.whiteout`, 'y')
        tree.file('both/three')
      })
      const lower = await base()
      const shown = await merged(lower, upper)
      expect(pathsOf(shown).filter((path) => path.startsWith('both'))).toEqual([
        'both',
        'both/three',
        'both/two',
      ])
      expect(compareTrees(shown, await mergedByKernel(temp, [lower, upper], form))).toEqual([])
    },
  )
})

describe.skipIf(!need.ok)(titled('stacks of layers', need), () => {
  test('the lower copy of a layer that is twice in an image adds nothing', async () => {
    const lower = await base()
    const hides = await layer((tree) => {
      tree.file('.wh.gone')
      tree.directory('keep')
      tree.file('keep/.wh.one')
    })
    expect(
      compareTrees(await merged(lower, hides, lower), await merged(lower), { ignoreDirectoryNlink: true }),
    ).toEqual([])
    expect(
      compareTrees(await merged(lower, lower), await mergedByKernel(temp, [lower]), {
        ignoreDirectoryNlink: true,
      }),
    ).toEqual([])
  })

  test('a layer with every type of file is shown like its source', async () => {
    const directory = join(temp, 'everything')
    mkdirSync(directory)
    buildSourceTree(directory, { size: 'small' })
    const image = await mksquashfs(directory, `${directory}.squashfs`)
    const shown = await merged(image)
    expect(
      compareTrees(shown, walkTree(directory), { ignore: ['blocks'], ignoreDirectoryNlink: true }),
    ).toEqual([])
  })

  test('an image of 200 layers shows the merge of all of them', async () => {
    const images: string[] = []
    for (let i = 0; i < 200; i += 1) {
      images.push(
        await layer((tree) => {
          tree.directory('etc')
          tree.file(`etc/only-${i}`, `${i}`)
          tree.file('etc/all', `layer ${i}`)
          if (i % 3 === 2) tree.node(`etc/only-${i - 1}`, S_IFCHR, 0, 0, 0)
          if (i === 50) tree.xattr('etc', 'trusted.overlay.opaque', 'y')
        }),
      )
    }
    const shown = await merged(...images)
    const kept = Array.from({ length: 150 }, (_, i) => i + 50).filter((i) => i % 3 !== 1 || i === 199)
    expect(pathsOf(shown)).toEqual(['.', 'etc', 'etc/all', ...kept.map((i) => `etc/only-${i}`).sort()])
    expect(shown.find(({ path }) => path === 'etc/all')?.size).toBe('layer 199'.length)
  })

  test('inode numbers are unique over the layers, equal in two mounts, and shared by hard links only', async () => {
    const fill = (mark: string) => (tree: TreeBuilder) => {
      tree.directory('d')
      for (let i = 0; i < 30; i += 1) tree.file(`d/${mark}${i}`, mark)
      tree.link(`d/${mark}-link`, `d/${mark}3`)
    }
    const images = [await layer(fill('a')), await layer(fill('b')), await layer(fill('c'))]
    const source = await ociSource(temp, 'inodes', images)
    const inodes = () => withAtomfs(temp, source, ({ target }) => readInodes(target), UNVERIFIED)
    const first = await inodes()
    expect(await inodes()).toEqual(first)
    expect(first.get('d/a-link')).toBe(first.get('d/a3'))
    expect(first.size).toBe(2 + 3 * 31)
    expect(new Set(first.values()).size).toBe(2 + 3 * 30)
  })
})

describe.skipIf(!need.ok)(titled('mount options', need), () => {
  test('subdir= shows a directory of the merge as the root, and uid= and gid= apply to all files', async () => {
    const lower = await base()
    const upper = await layer((tree) => {
      tree.directory('keep')
      tree.directory('keep/deep er')
      tree.file('keep/deep er/x')
      tree.owner('keep/deep er/x', 5, 6)
    })
    const source = await ociSource(temp, 'subdir', [lower, upper])
    const all = await seenByUs(temp, source, UNVERIFIED)
    const shown = await seenByUs(temp, source, [...UNVERIFIED, '-o', 'subdir=keep,uid=1234,gid=4321'])
    const expected = all
      .filter(({ path }) => path === 'keep' || path.startsWith('keep/'))
      .map((entry) => ({ ...entry, path: entry.path.slice(5) || '.', uid: 1234, gid: 4321 }))
    expect(compareTrees(shown, expected)).toEqual([])
    const deep = await seenByUs(temp, source, [...UNVERIFIED, '-o', 'subdir=/keep/deep er'])
    expect(pathsOf(deep)).toEqual(['.', 'x'])
    expect(deep[1]).toMatchObject({ uid: 5, gid: 6 })
    for (const [path, text] of [
      ['keep/none', /keep\/none/],
      ['file', /file/],
      ['../etc', /\.\./],
    ] as const) {
      await withTarget(temp, async (target) => {
        const result = await atomfsFuse(['mount', ...UNVERIFIED, '-o', `subdir=${path}`, source, target], {
          runDir: join(temp, 'run'),
          allowFailure: true,
        })
        expect(result.status).toBe(1)
        expect(result.stderr).toMatch(/^Error: [^\n]+\n$/)
        expect(result.stderr).toMatch(text)
      })
    }
  })

  test.each([1, 4096, 1_000_003])('offset=%i mounts an image in the middle of a file', async (offset) => {
    const image = await base()
    const file = join(temp, `offset-${offset}`)
    writeFileSync(file, Buffer.alloc(offset, 'x'))
    appendFileSync(file, readFileSync(image))
    appendFileSync(file, 'behind it')
    const shown = await seenByUs(temp, file, ['-o', `offset=${offset}`])
    expect(compareTrees(shown, await seenByUs(temp, image))).toEqual([])
  })
})
