import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { mke2fs } from '../library/images/ext.ts'
import { encryptByGocryptfs } from '../library/images/gocryptfs.ts'
import { makeLuks } from '../library/images/luks.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import {
  isMounted,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'

/** The built library: its daemon is a program of its own. */
const BUILT = resolve(import.meta.dirname, '../../dist/index.js')
const library = (await import(BUILT)) as typeof import('../../src/index.ts')
const { getDriver, IMAGE_TYPE, IMAGE_USAGE, initImage, newPartitionReader, ROOT_FS, umount } = library
const { unlockSource, wipeKeys } = library

const need = needs('fuse', 'mksquashfs', 'mke2fs')
const withGocryptfs = needs('fuse', 'mksquashfs', 'mke2fs', 'gocryptfs')

let folder = ''
let squashfs = ''
let ext3 = ''
let sif = ''
beforeAll(async () => {
  if (!need.ok) return
  folder = makeTempDir()
  vi.stubEnv('ATOMFS_TEST_RUN_DIR', join(folder, 'run'))
  for (const [tree, name] of [
    ['tree/etc', 'first'],
    ['other/upper/etc', 'second'],
    ['other/work', 'x'],
  ] as const) {
    mkdirSync(join(folder, tree), { recursive: true })
    writeFileSync(join(folder, tree, name), `${name}\n`)
  }
  squashfs = await mksquashfs(join(folder, 'tree'), join(folder, 'squashfs'))
  const options = '-t ext3 -b 1024'
  ext3 = await mke2fs(join(folder, 'ext3'), { options, megabytes: 8, from: join(folder, 'other') })
  sif = join(folder, 'image.sif')
  const partition = (file: string, fileSystem: number, use: number) => ({
    ...{ type: SIF_TYPE.partition, data: readFileSync(file) },
    partition: [fileSystem, use, '02'] as const,
  })
  writeFileSync(sif, makeSif({ parts: [partition(squashfs, 1, 2), partition(ext3, 2, 4)] }))
}, 60_000)
afterAll(() => {
  vi.unstubAllEnvs()
  if (folder !== '') removeTempDir(folder)
})

let count = 0
/** Runs with a directory to mount on, and leaves no mount. */
async function withTarget(use: (target: string) => Promise<void>): Promise<void> {
  const target = join(folder, `target-${++count}`)
  mkdirSync(target)
  try {
    await use(target)
  } finally {
    await unmount(target)
  }
}

describe.skipIf(!need.ok)(titled("the names of Apptainer's package image", need), () => {
  test('what mke2fs and mksquashfs make is recognized, and only ext3 of the ext file systems', async () => {
    for (const [options, isExt3] of [
      ['-t ext3', true],
      ['-t ext3 -O meta_bg,^resize_inode', true],
      ['-t ext3 -O ^has_journal', false],
      ['-t ext3 -O extents', false],
      ['-t ext3 -O uninit_bg', false],
      ['-t ext2', false],
      ['-t ext4', false],
      // Too small for a journal.
      ['-t ext3 -b 4096 -N 16', false],
    ] as const) {
      const megabytes = options.includes('-N') ? 4 : 16
      const file = await mke2fs(join(folder, 'try'), { options, megabytes })
      const open = (): number => {
        const image = initImage(file)
        image.close()
        return image.type
      }
      if (isExt3) expect([options, open()]).toEqual([options, IMAGE_TYPE.EXT3])
      else expect(open, options).toThrow(/^file is not a valid ext3 image$/)
    }
    const image = initImage(squashfs)
    const bytes = await text(newPartitionReader(image, ROOT_FS).setEncoding('latin1'))
    image.close()
    expect(bytes).toBe(readFileSync(squashfs, 'latin1'))
  })

  test('the root of a SIF is a mount with its overlays, of the file that was opened', async () => {
    await withTarget(async (target) => {
      const image = initImage(sif)
      try {
        renameSync(sif, `${sif}.moved`)
        expect(await image.root(target)).toEqual({ path: target, readonly: true })
        expect(readdirSync(join(target, 'etc'))).toEqual(['first', 'second'])
        expect(image.getOverlayPartitions()).toHaveLength(1)
      } finally {
        renameSync(`${sif}.moved`, sif)
        image.close()
      }
      expect(await umount(target)).toEqual([])
      await expect(image.root(target)).rejects.toMatchObject({ code: 'EBADF' })
    })
  })

  test('the root of a directory is itself', async () => {
    const image = initImage(join(folder, 'tree'))
    expect(await image.root('/nowhere')).toEqual({ path: join(folder, 'tree'), readonly: true })
    image.close()
  })

  test('the driver mounts squashfs and ext3 by their offsets, and an overlay of both', async () => {
    const driver = getDriver('atomfs-fuse')!
    const image = initImage(sif)
    try {
      const [root] = image.getRootFsPartitions()
      const [overlay] = image.getOverlayPartitions()
      await withTarget(async (low) => {
        await withTarget(async (high) => {
          await withTarget(async (target) => {
            const flags = 1 | 2 | 4
            await driver.start({ sessionPath: folder, usernsFd: -1, fuseFd: -1 })
            const common = { source: image.source, flags }
            await driver.mount({ ...common, target: low, filesystem: 'squashfs', offset: root!.offset })
            const { offset, size } = overlay!
            const fsOptions = ['errors=remount-ro']
            await driver.mount({ ...common, target: high, filesystem: 'ext3', offset, size, fsOptions })
            expect(readdirSync(high)).toContain('lost+found')
            await driver.mount({
              ...{ source: 'overlay', target, filesystem: 'overlay', flags },
              fsOptions: [`lowerdir=${high}/upper:${low}`],
            })
            expect(readdirSync(join(target, 'etc'))).toEqual(['first', 'second'])
            await driver.stop(target)
            expect(isMounted(target)).toBe(false)
            // The engine unmounts first.
            await run('umount', [high])
            await driver.stop('')
            await driver.stop(high)
            await driver.stop(low)
            expect([low, high].filter(isMounted)).toEqual([])
          })
        })
      })
    } finally {
      image.close()
    }
    expect(image.usage & IMAGE_USAGE.OVERLAY).toBe(IMAGE_USAGE.OVERLAY)
  })

  test('encrypted partitions are mounted with their key, which is refused where it is wrong', async () => {
    const passphrase = 'secret'
    const data = makeLuks({ plain: readFileSync(squashfs), passphrase })
    const encrypted = join(folder, 'encrypted.sif')
    const part = { type: SIF_TYPE.partition, data, partition: [5, 2, '02'] } as const
    writeFileSync(encrypted, makeSif({ parts: [part] }))
    const image = initImage(encrypted)
    try {
      const { offset, size, type } = image.getRootFsPartition()
      expect([type, image.encryptedRootFs()]).toEqual([IMAGE_TYPE.ENCRYPTSQUASHFS, 'encryptfs'])
      await withTarget(async (target) => {
        await expect(image.root(target)).rejects.toMatchObject({ code: 'ENOKEY' })
        const wrong = unlockSource({ source: encrypted, passphrase: 'other' })
        await expect(wrong).rejects.toMatchObject({ code: 'EKEYREJECTED' })
        await unlockSource({ source: encrypted, passphrase })
        expect(await image.root(target)).toEqual({ path: target, readonly: true })
        expect(readdirSync(join(target, 'etc'))).toEqual(['first'])
        await umount(target)
        wipeKeys()
        const key = Buffer.from(passphrase)
        const driver = getDriver('atomfs-fuse')!
        const params = { source: image.source, target, filesystem: 'encryptfs', flags: 1, offset, size, key }
        await driver.mount(params)
        expect(readdirSync(join(target, 'etc'))).toEqual(['first'])
        await driver.stop(target)
        wipeKeys()
        expect(key.toString()).toBe(passphrase)
        await expect(driver.mount({ ...params, filesystem: 'zfs' })).rejects.toMatchObject({
          code: 'EOPNOTSUPP',
        })
      })
    } finally {
      image.close()
    }
  })

  test.skipIf(!withGocryptfs.ok)(
    titled(
      'the driver mounts a directory of gocryptfs between two of squashfs, as Apptainer does',
      withGocryptfs,
    ),
    async () => {
      const passphrase = 'secret'
      const outer = await encryptByGocryptfs(squashfs, join(folder, 'gocryptfs'), passphrase)
      const driver = getDriver('atomfs-fuse')!
      await withTarget(async (root) => {
        await withTarget(async (plain) => {
          await withTarget(async (cipher) => {
            const key = Buffer.from(passphrase)
            const between = { source: cipher, target: plain, filesystem: 'gocryptfs', flags: 1, key }
            await driver.mount({ source: outer, target: cipher, filesystem: 'squashfs', flags: 1 })
            await expect(driver.mount({ ...between, flags: 0 })).rejects.toMatchObject({ code: 'EROFS' })
            const wrong = { ...between, key: Buffer.from('other') }
            await expect(driver.mount(wrong)).rejects.toMatchObject({ code: 'EKEYREJECTED' })
            await driver.mount(between)
            const inner = join(plain, 'squashfs-123')
            await driver.mount({ source: inner, target: root, filesystem: 'squashfs', flags: 1 })
            try {
              expect(readdirSync(join(root, 'etc'))).toEqual(['first'])
            } finally {
              for (const target of [root, plain, cipher]) await driver.stop(target)
              wipeKeys()
            }
          })
        })
      })
    },
  )

  test('a mount that fails says why, and leaves nothing', async () => {
    await withTarget(async (target) => {
      const driver = getDriver('atomfs-fuse')!
      const mount = driver.mount({ source: ext3, target, filesystem: 'squashfs', offset: 1 << 30, flags: 1 })
      await expect(mount).rejects.toThrow(/offset 1073741824 is at or behind the end/)
      expect(isMounted(target)).toBe(false)
    })
  })
})
