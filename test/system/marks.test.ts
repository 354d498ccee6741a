import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mountKernelOverlay, needs, run, titled, unmount } from '../library/index.ts'
import { readXattrs, setXattr } from '../library/programs/native.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** Names and attributes that mean something to an overlay are data where a program in a mount has made them. */

const need = needs('root', 'fuse')
const withKernel = needs('root', 'fuse', 'kernel-overlayfs')
const withOther = needs('root', 'fuse', 'fuse-overlayfs')

/** What `play` makes, and all that there is in `d`. */
const NAMES = ['.wh..wh..opq', '.wh.b', '.wh.c', 'a', 'b', 'c', 'd', 'e']
const ATTRIBUTES = [
  'trusted.overlay.opaque',
  'user.overlay.opaque',
  'user.overlay.redirect',
  'user.fuseoverlayfs.opaque',
  'user.fuseoverlayfs.override_stat',
  'user.containers.override_stat',
  'security.fuseoverlayfs.override_stat',
]

interface MarkScene extends Scene {
  readonly lower: string
  readonly upper: string
}

/** A mount in which a program made all marks there are, and that is over. */
async function marked(options: string, play: (scene: MarkScene) => Promise<void>): Promise<void> {
  await inScene(async (scene) => {
    const { folder, target, atomfs } = scene
    const [lower, upper] = [join(folder, 'l'), join(folder, 'u')]
    for (const path of ['l/d', 'u', 'w']) mkdirSync(join(folder, path), { recursive: true })
    for (const name of ['a', 'b', 'c', 'd', 'e']) writeFileSync(join(lower, 'd', name), name)
    const list = `lowerdir=${lower},upperdir=${upper},workdir=${join(folder, 'w')}${options}`
    expect(await atomfs('overlay', '-o', list, target)).toMatchObject(SILENT)
    writeFileSync(join(target, 'd/.wh..wh..opq'), '')
    writeFileSync(join(target, 'd/.wh.b'), '')
    writeFileSync(join(target, 'd/x'), '')
    renameSync(join(target, 'd/x'), join(target, 'd/.wh.c'))
    for (const path of ['', 'd', 'd/e', 'd/.wh.b']) {
      for (const name of ATTRIBUTES) setXattr(Buffer.from(join(target, path)), name, Buffer.from('y'))
    }
    // Owners are written down for all of an upper where they are for its root.
    chmodSync(target, 0o755)
    expect(seen(target)).toEqual(EXPECTED)
    await unmount(target)
    await play({ ...scene, lower, upper })
  })
}

interface Seen {
  readonly names: readonly string[]
  readonly content: string
  readonly attributes: readonly (readonly string[])[]
}

const EXPECTED: Seen = {
  names: NAMES,
  content: 'b',
  attributes: ['', 'd', 'd/e', 'd/.wh.b'].map(() => [...ATTRIBUTES].sort()),
}

function seen(target: string): Seen {
  return {
    names: readdirSync(join(target, 'd')).sort(),
    content: readFileSync(join(target, 'd/b'), 'latin1'),
    attributes: ['', 'd', 'd/e', 'd/.wh.b'].map((path) =>
      Object.keys(readXattrs(Buffer.from(join(target, path)))).sort(),
    ),
  }
}

describe.skipIf(!need.ok)(titled('marks of an overlay that a program makes in a mount', need), () => {
  for (const [how, options] of [
    ['real owners', ''],
    ['recorded owners', ',xattr_permissions=2'],
  ] as const) {
    test(`marks that a program makes are data at the next mount and in a later lower, with ${how}`, async () => {
      await marked(options, async ({ folder, target, atomfs, lower, upper }) => {
        const again = `lowerdir=${lower},upperdir=${upper},workdir=${join(folder, 'w')}${options}`
        expect(await atomfs('overlay', '-o', again, target)).toMatchObject(SILENT)
        expect(seen(target)).toEqual(EXPECTED)
        await unmount(target)
        expect(await atomfs('overlay', '-o', `lowerdir=${upper}:${lower}`, target)).toMatchObject(SILENT)
        expect(seen(target)).toEqual(EXPECTED)
        await unmount(target)
        for (const path of ['u2', 'w2']) mkdirSync(join(folder, path))
        const below = `lowerdir=${upper}:${lower},upperdir=${folder}/u2,workdir=${folder}/w2${options}`
        expect(await atomfs('overlay', '-o', below, target)).toMatchObject(SILENT)
        for (const path of ['d', 'd/e', 'd/.wh.b']) {
          // Copied up: what is copied must say no more than what was there.
          setXattr(Buffer.from(join(target, path)), 'user.x', Buffer.from('x'))
          await run('setfattr', ['-x', 'user.x', join(target, path)])
        }
        await unmount(target)
        expect(await atomfs('overlay', '-o', below, target)).toMatchObject(SILENT)
        // The root of an overlay is the upper's own.
        expect(seen(target)).toEqual({ ...EXPECTED, attributes: [[], ...EXPECTED.attributes.slice(1)] })
      })
    })
  }
})

describe.skipIf(!withKernel.ok)(titled('an upper with marks as data under overlayfs', withKernel), () => {
  for (const userxattr of [true, false]) {
    test(`marks that are data hide nothing in overlayfs of the kernel, ${userxattr ? 'userxattr' : 'trusted'}`, async () => {
      await marked('', async ({ folder, target, lower, upper }) => {
        await mountKernelOverlay([lower], target, { upper: { upper, work: join(folder, 'w') }, userxattr })
        const names = readdirSync(join(target, 'd'))
        expect(names).toEqual(expect.arrayContaining(['a', 'b', 'c', 'd', 'e', '..wh.b', '..wh..wh..opq']))
        expect(readFileSync(join(target, 'd/b'), 'latin1')).toBe('b')
        const attributes = Object.keys(readXattrs(Buffer.from(join(target, 'd'))))
        const own = userxattr ? 'user.overlay.opaque' : 'trusted.overlay.opaque'
        // Linux takes the escape off since 6.7.
        if (attributes.includes(own))
          expect(attributes).not.toContain(own.replace('.overlay.', '.overlay.overlay.'))
      })
    })
  }
})

describe.skipIf(!withOther.ok)(titled('an upper with marks as data under fuse-overlayfs', withOther), () => {
  test('marks that are data hide nothing in fuse-overlayfs', async () => {
    await marked('', async ({ folder, target, lower, upper }) => {
      const list = `lowerdir=${lower},upperdir=${upper},workdir=${join(folder, 'w')}`
      await run('fuse-overlayfs', ['-o', list, target], { timeout: 20_000 })
      const names = readdirSync(join(target, 'd'))
      expect(names).toEqual(expect.arrayContaining(['a', 'b', 'c', 'd', 'e', '..wh.b', '..wh..wh..opq']))
      expect(readFileSync(join(target, 'd/b'), 'latin1')).toBe('b')
    })
  })

  test('a fuse-overlayfs inside a mount can delete and copy up', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      for (const path of ['l/l', 'u', 'w', 'inner']) mkdirSync(join(folder, path), { recursive: true })
      for (const name of ['a', 'b']) writeFileSync(join(folder, 'l/l', name), name)
      const list = `lowerdir=${folder}/l,upperdir=${folder}/u,workdir=${folder}/w`
      expect(await atomfs('overlay', '-o', list, target)).toMatchObject(SILENT)
      for (const name of ['u', 'w']) mkdirSync(join(target, name))
      const inner = join(folder, 'inner')
      const nested = ['-o', `lowerdir=${target}/l,upperdir=${target}/u,workdir=${target}/w`, inner]
      for (const round of [1, 2]) {
        await run('fuse-overlayfs', nested, { timeout: 20_000 })
        if (round === 1) {
          await run('rm', [join(inner, 'a')])
          await run('sh', ['-c', `echo more >> ${join(inner, 'b')}; mkdir ${join(inner, 'new')}`])
        }
        expect(readdirSync(inner).sort()).toEqual(['b', 'new'])
        expect(readFileSync(join(inner, 'b'), 'latin1')).toBe('bmore\n')
        expect(existsSync(join(inner, 'a'))).toBe(false)
        await unmount(inner)
      }
    })
  })
})
