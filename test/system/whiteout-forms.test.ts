import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { atomfsFuse, mountKernelOverlay, needs, run, titled, unmount } from '../library/index.ts'
import { inScene, type Scene, SILENT } from '../library/scenes/life.ts'

/** Uppers in which devices 0:0 cannot be made. */

const withKernel = needs('root', 'fuse', 'kernel-overlayfs')
const withOther = needs('root', 'fuse', 'fuse-overlayfs')
const need = needs('root', 'fuse')

const LONG = 'n'.repeat(255)

/** A lower directory `l`, an overlay of the kernel on `o` to keep changes in, and the folders it is made of. */
async function prepare({ folder }: Scene): Promise<void> {
  for (const path of ['l/d', 'o', 'o1', 'o2', 'o3', 'again'])
    mkdirSync(join(folder, path), { recursive: true })
  for (const name of [LONG, 'short', `d/${LONG}`, 'd/kept']) writeFileSync(join(folder, 'l', name), 'x')
  const upper = { upper: join(folder, 'o2'), work: join(folder, 'o3') }
  await mountKernelOverlay([join(folder, 'o1')], join(folder, 'o'), { upper })
  for (const path of ['o/u', 'o/w']) mkdirSync(join(folder, path))
}

describe.skipIf(!withKernel.ok)(titled('an upper on an overlay', withKernel), () => {
  test('an upper on an overlay accepts deletions of long names, and other programs see them', async () => {
    await inScene(async (scene) => {
      const { folder, target, atomfs } = scene
      await prepare(scene)
      const list = `lowerdir=${folder}/l,upperdir=${folder}/o/u,workdir=${folder}/o/w`
      for (const round of [1, 2]) {
        expect(await atomfs('overlay', '-o', list, target)).toMatchObject(SILENT)
        if (round === 1) for (const name of [LONG, 'short', `d/${LONG}`]) rmSync(join(target, name))
        expect(readdirSync(target)).toEqual(['d'])
        expect(readdirSync(join(target, 'd'))).toEqual(['kept'])
        await unmount(target)
      }
      const lowers = [join(folder, 'o/u'), join(folder, 'l')]
      expect(await atomfs('overlay', '-o', `lowerdir=${lowers.join(':')}`, target)).toMatchObject(SILENT)
      expect(readdirSync(target)).toEqual(['d'])
      await unmount(target)
      await mountKernelOverlay(lowers, target, { userxattr: true })
      // The kernel knows no `.wh.` names. It lists names that were deleted by attribute since Linux 6.8 no more.
      expect(existsSync(join(target, 'd', LONG))).toBe(false)
      expect(existsSync(join(target, LONG))).toBe(false)
    })
  })
})

describe.skipIf(!withOther.ok)(titled('an upper on a mount of fuse-overlayfs', withOther), () => {
  test('an upper on fuse-overlayfs is refused in one line that names the cause, and nothing is left behind', async () => {
    await inScene(async ({ folder, target, atomfs }) => {
      for (const path of ['l', 'fl', 'fu', 'fw', 'f']) mkdirSync(join(folder, path))
      const list = `lowerdir=${folder}/fl,upperdir=${folder}/fu,workdir=${folder}/fw`
      await run('fuse-overlayfs', ['-o', list, join(folder, 'f')], { timeout: 20_000 })
      for (const path of ['f/u', 'f/w']) mkdirSync(join(folder, path))
      const refused = await atomfs(
        'overlay',
        '-o',
        // With a shared server two processes try, and fuse-overlayfs fails the second one: "list directory: ENOENT".
        `server=own,lowerdir=${folder}/l,upperdir=${folder}/f/u,workdir=${folder}/f/w`,
        target,
      )
      expect(refused.status).toBe(1)
      expect(refused.stderr).toMatch(
        /^Error: .*f\/u: .*deletions cannot be kept here.*another file system.*\n$/,
      )
      expect(readdirSync(join(folder, 'f/u'))).toEqual([])
      expect(readdirSync(join(folder, 'f/w/work'))).toEqual([])
    })
  })
})

describe.skipIf(!need.ok)(titled('FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT', need), () => {
  test('FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT makes deletions files .wh.NAME, as in fuse-overlayfs', async () => {
    await inScene(async ({ folder, target, runDir }) => {
      for (const path of ['l/d', 'u', 'w']) mkdirSync(join(folder, path), { recursive: true })
      for (const name of ['a', 'd/b']) writeFileSync(join(folder, 'l', name), 'x')
      const args = ['overlay', '-o', `lowerdir=${folder}/l,upperdir=${folder}/u,workdir=${folder}/w`, target]
      const env = { FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT: 'y' }
      expect(await atomfsFuse(args, { runDir, env })).toMatchObject(SILENT)
      for (const name of ['a', 'd/b']) rmSync(join(target, name))
      expect(readdirSync(target)).toEqual(['d'])
      await unmount(target)
      expect(readdirSync(join(folder, 'u')).sort()).toEqual(['.wh.a', 'd'])
      expect(readdirSync(join(folder, 'u/d'))).toEqual(['.wh.b'])
      expect(await atomfsFuse(args, { runDir })).toMatchObject(SILENT)
      expect(readdirSync(target)).toEqual(['d'])
    })
  })
})
