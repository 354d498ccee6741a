import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LINK_NAMES } from '../../src/cli/commands/names.ts'
import { ATOMFS_FUSE, isMounted, needs, removeTempDir, run, titled, withTempDir } from '../library/index.ts'
import { inScene, type LifeImage, makeLifeImage, SILENT } from '../library/scenes/life.ts'

/** The links of `install-links`, and the helpers of mount(8) among them. */

const need = needs('root', 'fuse', 'mksquashfs')

const install = (...args: string[]) => run(ATOMFS_FUSE, ['install-links', ...args], { allowFailure: true })

describe('install-links', () => {
  test('install-links makes a link for each name, and again over those of its own', async () => {
    await withTempDir(async (folder) => {
      symlinkSync('/gone/bin/atomfs-fuse', join(folder, 'atomfs'))
      for (const _ of [1, 2]) {
        expect(await install(folder)).toMatchObject({ status: 0, stderr: '' })
        expect(readdirSync(folder).sort()).toEqual([...LINK_NAMES].sort())
      }
      expect(readlinkSync(join(folder, 'atomfs'))).toBe(ATOMFS_FUSE)
      expect(await run(join(folder, 'fuse-overlayfs'), ['--version'])).toMatchObject({
        stdout: expect.stringMatching(/^fuse-overlayfs: version /),
      })
    })
  })

  test('install-links changes nothing where another program has one of the names', async () => {
    await withTempDir(async (folder) => {
      const other = join(folder, 'fuse-overlayfs')
      writeFileSync(other, 'other')
      expect(await install(folder)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(
          /^Error: no link was made: .*\/fuse-overlayfs is not of this program.*\n$/,
        ),
      })
      expect(readdirSync(folder)).toEqual(['fuse-overlayfs'])
      expect(await install(folder, 'atomfs')).toMatchObject({ status: 0 })
      expect(readdirSync(folder).sort()).toEqual(['atomfs', 'fuse-overlayfs'])
      expect(readFileSync(other, 'utf8')).toBe('other')
      const link = join(folder, 'mount.atomfs-fuse')
      symlinkSync('/bin/true', link)
      expect(await install(folder, 'mount.atomfs-fuse')).toMatchObject({ status: 1 })
      expect(readlinkSync(link)).toBe('/bin/true')
    })
  })

  test('install-links names what it does not know', async () => {
    await withTempDir(async (folder) => {
      expect((await install(folder, 'nix')).stderr).toMatch(
        /^Error: the program has no name 'nix'; known are: /,
      )
      expect((await install(join(folder, 'missing'))).stderr).toMatch(
        /^Error: cannot make the link .*ENOENT\n$/,
      )
      expect(readdirSync(folder)).toEqual([])
    })
  })
})

describe.skipIf(!need.ok)(titled('the helpers of mount(8)', need), () => {
  let life: LifeImage
  beforeAll(async () => {
    life = await makeLifeImage()
  })
  afterAll(() => removeTempDir(life.folder))

  test.each(['mount.atomfs-fuse', 'mount.fuse.atomfs-fuse'])(
    '%s mounts with the words of mount(8)',
    async (name) => {
      await inScene(async ({ folder, target, runDir }) => {
        const links = join(folder, 'links')
        mkdirSync(links)
        await install(links)
        expect(lstatSync(join(links, name)).isSymbolicLink()).toBe(true)
        const help = (...flags: string[]) =>
          run(join(links, name), [life.image, target, ...flags], {
            env: { ATOMFS_TEST_RUN_DIR: runDir },
            allowFailure: true,
          })
        expect(await help('-f', '-o', 'ro')).toMatchObject(SILENT)
        expect(isMounted(target)).toBe(false)
        expect(await help('-v', '-o', 'rw,dev,suid', '-t', 'fuse.atomfs-fuse')).toMatchObject(SILENT)
        expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('hello\n')
      })
    },
  )
})
